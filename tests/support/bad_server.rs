//! A server that answers exactly the bytes that a test wants, however wrong: it knows no HTTP of its own.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Something that a test says when it is time, so that no guess about time is needed.
#[derive(Clone, Default)]
pub struct Signal(Arc<AtomicBool>);

impl Signal {
    /// It is time.
    pub fn give(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is time.
    pub fn is_given(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Waits until it is time; a test that fails before does not hold its server up for ever.
    fn wait(&self) {
        let began = Instant::now();
        while !self.is_given() && began.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// One thing to do on a connection after a request's head has been read.
pub enum Step {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Do nothing for this long.
    Wait(Duration),
    /// Do nothing until the test says so.
    Until(Signal),
    /// Close in order (FIN).
    Close,
    /// Break off (RST).
    Reset,
}

/// A running server; every request's head is kept.
pub struct BadServer {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl BadServer {
    /// Starts a server; `answer` gets a request's head and its number (0 = first).
    pub fn start(answer: impl Fn(&str, usize) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = listener.local_addr().expect("an address");
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let (seen, answer) = (Arc::clone(&heads), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        Self { address, heads }
    }

    /// A URL on this server.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The heads of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.heads.lock().expect("no panic while held").clone()
    }
}

fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<String>>,
    answer: &(dyn Fn(&str, usize) -> Vec<Step> + Sync),
) {
    let mut buffer = Vec::new();
    let mut byte = [0; 4096];
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read(&mut byte) {
                Ok(0) | Err(_) => return,
                Ok(read) => buffer.extend_from_slice(&byte[..read]),
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        let number = {
            let mut seen = seen.lock().expect("no panic while held");
            seen.push(head.clone());
            seen.len() - 1
        };
        for step in answer(&head, number) {
            match step {
                Step::Send(bytes) => {
                    if stream.write_all(&bytes).is_err() {
                        return;
                    }
                }
                Step::Wait(time) => std::thread::sleep(time),
                Step::Until(signal) => signal.wait(),
                Step::Close => {
                    // The other side may be gone already.
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
                Step::Reset => {
                    reset(stream);
                    return;
                }
            }
        }
    }
}

/// Closing with unread or unsent data pending makes the system send RST; a zero linger makes it certain.
fn reset(stream: TcpStream) {
    let socket = socket2::Socket::from(stream);
    let _ = socket.set_linger(Some(Duration::ZERO));
}

/// A response's head with these lines, then this body.
pub fn response(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// The first byte that a `Range: bytes=N-` asks for.
pub fn range_start(head: &str) -> Option<usize> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("range: bytes="))?;
    line.split_once('=')?.1.split('-').next()?.trim().parse().ok()
}
