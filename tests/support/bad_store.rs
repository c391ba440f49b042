//! A store that answers exactly what a test wants, after as much of a body as the test wants it to read, and keeps all of
//! it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a store does with a request.
pub struct Reply {
    /// So many bytes of the body are read before the answer; `usize::MAX` for all.
    pub read: usize,
    /// The answer.
    pub answer: Vec<u8>,
    /// Whether the connection ends after it.
    pub close: bool,
}

/// After the whole body this answer, with the length of its own body.
pub fn reply(status: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        answer.extend([name, ": ", value, "\r\n"]);
    }
    answer.push_str("\r\n");
    answer.push_str(body);
    Reply { read: usize::MAX, answer: answer.into_bytes(), close: false }
}

/// A request as it came.
#[derive(Clone)]
pub struct Request {
    /// Its head.
    pub head: String,
    /// As much of its body as was read.
    pub body: Vec<u8>,
}

impl Request {
    /// The first line.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A running store.
pub struct BadStore {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl BadStore {
    /// Starts one; `answer` gets a request's head and its number (0 = first).
    pub fn start(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::<Mutex<Vec<Request>>>::default();
        let (kept, answer) = (Arc::clone(&seen), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &kept, &*answer));
            }
        });
        Self { address, seen }
    }

    /// A URL on this store.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.seen.lock().expect("no panic while held").clone()
    }
}

fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(&Request, usize) -> Reply + Sync),
) {
    let mut buffer = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(read) => buffer.extend_from_slice(&chunk[..read]),
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        let mut request = Request { head, body: Vec::new() };
        let number = {
            let mut seen = seen.lock().expect("no panic while held");
            seen.push(request.clone());
            seen.len() - 1
        };
        let reply = answer(&request, number);
        let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let wanted: usize = reply.read.min(length);
        while buffer.len() < wanted {
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => break,
                Ok(read) => buffer.extend_from_slice(&chunk[..read]),
            }
        }
        let taken = buffer.len().min(wanted);
        request.body = buffer.drain(..taken).collect();
        seen.lock().expect("no panic while held")[number] = request;
        if stream.write_all(&reply.answer).is_err() {
            return;
        }
        if reply.close {
            // The rest is drained for a moment, or the answer could be lost with a reset.
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
            while matches!(stream.read(&mut chunk), Ok(read) if read > 0 && reply.read > 0) {}
            return;
        }
    }
}
