//! Plain links: any http(s) URL, by the same rules as everything else.

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::http::Fetch;
use crate::http::address;
use crate::run::Run;
use crate::secret::header_map;
use crate::service::{About, DefaultRole, Links, Place};
use crate::services::{Kind, Plan, Service};
use crate::task::DownloadTask;
use crate::words::Phrase;

pub(super) static KIND: Kind = Kind {
    about: About {
        id: "link",
        name: "Links",
        description: "Any link to a file",
        product: "Plain URLs",
        uploads: false,
        downloads: true,
        links: Links::Any("Link to {host}"),
        takes: |_| false,
        label: "Link",
        place: Place::InTheLink,
        key_variable: None,
        account: None,
        default: DefaultRole::Never,
        settings: &[],
    },
    refusals: &[],
    open: |_| Box::pin(async { Ok(Arc::new(Link) as Arc<dyn Service>) }),
};

pub(crate) struct Link;

/// The hidden part of a link goes when its transfer is canceled, or with the files in `resume/`.
pub(super) fn link_not_kept() -> Error {
    Error::invalid(Phrase::LinkNotKept).advise(Phrase::PasteLinkAgain)
}

#[async_trait]
impl Service for Link {
    fn kind(&self) -> &'static Kind {
        &KIND
    }

    async fn prepare(&self, task: &DownloadTask, run: &Run) -> Result<Plan> {
        let record = run.resume_record();
        let text = task.url(record.url).ok_or_else(link_not_kept)?;
        let url =
            address::parse_http(&text).map_err(|why| Error::invalid(Phrase::LinkUnusable).because(why))?;
        let id = url.host_str().unwrap_or("download").to_owned();
        let mut fetch = Fetch::get(url, None);
        fetch.headers = header_map(&record.headers)?;
        Ok(Plan { id, fetch, rangeable: true, title: None, expected_size: None, pages_welcome: true })
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }
}
