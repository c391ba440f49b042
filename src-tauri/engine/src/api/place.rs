//! Where the holder of a data folder is found: a socket in that folder (a named pipe on Windows), and the file `holder`
//! beside the lock, which says who holds it.
//!
//! On Unix the folder and the socket are open to their owner alone, and both ends look at whose process is at the other.
//! A pipe has no folder: its name is drawn at random and stands in the file, with a word that a client must know; only
//! the owner can read both.

use std::io;
use std::path::Path;
#[cfg(unix)]
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::wire::{HolderKind, WireSecret};
use crate::files::own_folder::open_own;

/// Says who holds the folder.
const FILE: &str = "holder";

/// Who holds a data folder, as the file says it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Said {
    pub kind: HolderKind,
    pub pid: u32,
    pub program: String,
    /// Where it serves.
    pub place: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<WireSecret>,
}

impl Said {
    pub fn read(data_dir: &Path) -> Option<Self> {
        /// It is never longer.
        const LONGEST: u64 = 64 * 1024;
        let file = open_own(&data_dir.join(FILE), std::fs::File::options().read(true)).ok()?;
        let text = io::read_to_string(io::Read::take(file, LONGEST)).ok()?;
        serde_json::from_str(&text).ok()
    }

    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        // After a crash it says nothing true anyway: no disk is waited for.
        let mut file =
            crate::files::own_folder::private_file().write(true).truncate(true).open(data_dir.join(FILE))?;
        io::Write::write_all(&mut file, &serde_json::to_vec(self)?)
    }
}

/// Takes away what says that this process serves. For whoever holds the lock.
pub(super) fn clear(data_dir: &Path) {
    for name in [FILE, SOCKET] {
        // What is not there need not be taken away; what cannot be is nobody's address any more.
        let _ = std::fs::remove_file(data_dir.join(name));
    }
}

/// The socket, on Unix.
const SOCKET: &str = "socket";

#[cfg(unix)]
pub(super) use unix::{Listener, Stream, connect, listen};
#[cfg(windows)]
pub(super) use windows::{Listener, Stream, connect, listen};

#[cfg(unix)]
mod unix {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use rustix::process::geteuid;
    use tokio::net::{UnixListener, UnixStream};

    use super::{Path, PathBuf, SOCKET, WireSecret, io};

    pub(in super::super) type Stream = UnixStream;

    /// A longer path does not fit into an address (`sun_path`: 108 bytes on Linux, 104 elsewhere, with the end).
    const LONGEST: usize = 103;

    #[derive(Debug)]
    pub(in super::super) struct Listener {
        listener: UnixListener,
        pub place: String,
        pub word: Option<WireSecret>,
    }

    impl Listener {
        /// The next client that is one of this user's processes.
        pub async fn accept(&mut self) -> io::Result<Stream> {
            loop {
                let (stream, _) = self.listener.accept().await?;
                if is_own(&stream) {
                    return Ok(stream);
                }
                tracing::warn!("somebody else's process was sent away");
            }
        }
    }

    fn is_own(stream: &UnixStream) -> bool {
        stream.peer_cred().is_ok_and(|peer| peer.uid() == geteuid().as_raw())
    }

    /// Listens in a data folder that this process has locked: what is there is a dead process's.
    pub(in super::super) fn listen(data_dir: &Path) -> io::Result<Listener> {
        let socket = data_dir.join(SOCKET);
        match std::fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&Way::to(data_dir)?.socket)?;
        std::fs::set_permissions(&socket, Permissions::from_mode(0o600))?;
        Ok(Listener { listener, place: socket.display().to_string(), word: None })
    }

    pub(in super::super) async fn connect(data_dir: &Path) -> io::Result<(Stream, Option<WireSecret>)> {
        let way = Way::to(data_dir)?;
        let stream = UnixStream::connect(&way.socket).await?;
        if is_own(&stream) { Ok((stream, None)) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }

    /// The socket's address. Where its path is too long for one, it leads through a link in a folder that only this user can
    /// look into, and that is gone with this value.
    struct Way {
        socket: PathBuf,
        _folder: Option<tempfile::TempDir>,
    }

    impl Way {
        fn to(data_dir: &Path) -> io::Result<Self> {
            let socket = data_dir.join(SOCKET);
            if socket.as_os_str().len() <= LONGEST {
                return Ok(Self { socket, _folder: None });
            }
            let made = tempfile::Builder::new().prefix("ferry-").tempdir_in("/tmp");
            let folder = made.or_else(|_| tempfile::Builder::new().prefix("ferry-").tempdir())?;
            let link = folder.path().join("d");
            symlink(data_dir, &link)?;
            Ok(Self { socket: link.join(SOCKET), _folder: Some(folder) })
        }
    }
}

#[cfg(windows)]
mod windows {
    use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions};

    use super::{Path, Said, WireSecret, io};

    #[derive(Debug)]
    pub(in super::super) struct Listener {
        next: NamedPipeServer,
        pub place: String,
        pub word: Option<WireSecret>,
    }

    /// Either end of a pipe.
    pub(in super::super) type Stream = Pipe;

    #[derive(Debug)]
    pub(in super::super) enum Pipe {
        Server(NamedPipeServer),
        Client(NamedPipeClient),
    }

    fn random() -> String {
        format!("{:032x}", rand::random::<u128>())
    }

    pub(in super::super) fn listen(_data_dir: &Path) -> io::Result<Listener> {
        let place = format!(r"\\.\pipe\ferry-{}", random());
        let next =
            ServerOptions::new().first_pipe_instance(true).reject_remote_clients(true).create(&place)?;
        Ok(Listener { next, place, word: Some(WireSecret(random())) })
    }

    impl Listener {
        /// The next client; whether it is the user's own is told by its word.
        pub async fn accept(&mut self) -> io::Result<Stream> {
            self.next.connect().await?;
            let next = ServerOptions::new().reject_remote_clients(true).create(&self.place)?;
            Ok(Pipe::Server(std::mem::replace(&mut self.next, next)))
        }
    }

    pub(in super::super) async fn connect(data_dir: &Path) -> io::Result<(Stream, Option<WireSecret>)> {
        let said = Said::read(data_dir).ok_or(io::ErrorKind::NotFound)?;
        if !said.place.starts_with(r"\\.\pipe\ferry-") {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok((Pipe::Client(ClientOptions::new().open(&said.place)?), said.word))
    }

    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    macro_rules! either {
        ($pipe:expr, $end:ident => $act:expr) => {
            match $pipe.get_mut() {
                Pipe::Server($end) => $act,
                Pipe::Client($end) => $act,
            }
        };
    }

    impl AsyncRead for Pipe {
        fn poll_read(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            to: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            either!(self, end => Pin::new(end).poll_read(cx, to))
        }
    }

    impl AsyncWrite for Pipe {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            either!(self, end => Pin::new(end).poll_write(cx, bytes))
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            either!(self, end => Pin::new(end).poll_flush(cx))
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            either!(self, end => Pin::new(end).poll_shutdown(cx))
        }
    }
}
