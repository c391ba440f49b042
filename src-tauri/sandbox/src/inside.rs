//! A sandbox that is asked by a call: no port, no socket, nothing that anybody else could connect to. A request is an
//! HTTP request all the same, with what a client adds on the wire, so that it means here what it means there.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, BodyDataStream};
use axum::http::header::{CONTENT_LENGTH, HOST};
use axum::http::{HeaderValue, Request, Response};
use bytes::Bytes;
use futures_util::Stream;
use http_body::Body as HttpBody;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::wire::{Closed, Hangup, Metered};
use crate::{Sandbox, server};

impl Sandbox {
    /// Answers a request as it would over a connection that is used for this one alone. Dropping the future is what
    /// closing the connection is: what came of the body until then stays.
    ///
    /// # Errors
    /// It closes the connection in place of an answer.
    pub async fn answer<B>(&self, request: Request<B>) -> Result<Response<BodyDataStream>, Closed>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let gone = self.stopping.child_token();
        let _gone_at_the_end = gone.clone().drop_guard();
        let (mut parts, body) = request.into_parts();
        // Upgrades and forwarded extensions of the client mean nothing here.
        parts.extensions.clear();
        if let Some(length) = body.size_hint().exact()
            && length > 0
        {
            parts.headers.entry(CONTENT_LENGTH).or_insert(length.into());
        }
        if let Some(host) = parts.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
            parts.headers.entry(HOST).or_insert(host);
        }
        // As it is written in the first line of a request.
        if let Some(path) = parts.uri.path_and_query().cloned() {
            parts.uri = path.into();
        }
        let whole = body.is_end_stream();
        let body = Body::new(body);
        let body = if whole { body } else { Body::from_stream(UntilGone::new(body, gone.clone())) };
        let answered = server::answered(
            0,
            Request::from_parts(parts, body),
            self.router.clone(),
            &self.shared,
            gone.clone(),
        );
        let mut answered = tokio::select! {
            () = gone.cancelled() => return Err(Closed),
            answered = answered => answered,
        };
        if answered.response.extensions().get::<Hangup>().is_some() {
            return Err(Closed);
        }
        answered.entry.answered(answered.response.status().as_u16());
        answered.finishing.0 = None;
        Ok(answered.response.map(|body| Metered::response(body, &answered.entry).into_data_stream()))
    }
}

/// A body that breaks off when its connection would be gone. Who reads it lives on, to keep what came.
struct UntilGone {
    body: BodyDataStream,
    gone: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl UntilGone {
    fn new(body: Body, gone: CancellationToken) -> Self {
        Self { body: body.into_data_stream(), gone: Box::pin(gone.cancelled_owned()) }
    }
}

impl Stream for UntilGone {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.gone.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(axum::Error::new(Closed))));
        }
        Pin::new(&mut self.body).poll_next(context)
    }
}
