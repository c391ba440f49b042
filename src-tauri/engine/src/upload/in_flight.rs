//! What the system has taken off Ferry's hands and the other side has not acknowledged yet.
//!
//! A system takes megabytes for a connection at once, and hands them out as slowly as the line is. Nothing moves then, as
//! far as a program can see; what the other side's TCP has acknowledged does. Linux tells it of each socket.

use std::collections::HashMap;

/// By socket (its inode), bytes that were written and are not acknowledged. `None` where the system does not tell.
type Sockets = HashMap<u64, u64>;

/// Tells whether something was acknowledged between two looks.
#[derive(Default)]
pub(super) struct InFlight {
    before: Option<Sockets>,
    /// Whether nothing more is written to the connection that is waited for.
    is_last: bool,
}

impl InFlight {
    /// Whether the other side has acknowledged something since the look before; `None` where the system does not tell. Which
    /// socket a request goes through is not known. When all of it was handed over (`is_last`), it is one to which nothing is
    /// added any more; before that, any may be it.
    pub async fn look(&mut self, is_last: bool) -> Option<bool> {
        let now = tokio::task::spawn_blocking(unacknowledged).await.ok().flatten()?;
        Some(self.compare(now, is_last))
    }

    fn compare(&mut self, mut now: Sockets, is_last: bool) -> bool {
        let begins = std::mem::replace(&mut self.is_last, is_last) != is_last;
        let Some(before) = self.before.take().filter(|_| !begins) else {
            self.before = Some(now);
            return false;
        };
        if is_last {
            now.retain(|socket, bytes| before.get(socket).is_some_and(|before| *bytes <= *before));
        }
        let moves = before.iter().any(|(socket, before)| {
            *before > 0
                && now.get(socket).is_some_and(|now| if is_last { now < before } else { now != before })
        });
        self.before = Some(now);
        moves
    }
}

#[cfg(not(target_os = "linux"))]
fn unacknowledged() -> Option<Sockets> {
    None
}

#[cfg(target_os = "linux")]
fn unacknowledged() -> Option<Sockets> {
    let own: std::collections::HashSet<u64> = std::fs::read_dir("/proc/self/fd")
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let target = std::fs::read_link(entry.path()).ok()?;
            target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        })
        .collect();
    let mut found = Sockets::new();
    let mut is_told = false;
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let Ok(text) = std::fs::read_to_string(table) else { continue };
        is_told = true;
        found.extend(text.lines().filter_map(socket).filter(|(socket, _)| own.contains(socket)));
    }
    is_told.then_some(found)
}

/// One line of the system's table (proc_pid_net(5)): `sl local remote st tx_queue:rx_queue tr:tm retrnsmt uid timeout inode …`.
#[cfg(any(target_os = "linux", test))]
fn socket(line: &str) -> Option<(u64, u64)> {
    const ESTABLISHED: &str = "01";
    const CLOSE_WAIT: &str = "08";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if !matches!(*fields.get(3)?, ESTABLISHED | CLOSE_WAIT) {
        return None;
    }
    let (waiting, _) = fields.get(4)?.split_once(':')?;
    Some((fields.get(9)?.parse().ok()?, u64::from_str_radix(waiting, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_systems_table_is_read() {
        let line = "  12: 0100007F:B0ED 0100007F:1F90 01 0003A980:00000000 01:00000014 00000000  1000        0 6346494 2 00000000001f882e 20 4 30 10 -1";
        assert_eq!(socket(line), Some((6_346_494, 0x3a980)));
        assert_eq!(socket(&line.replace(" 01 0003", " 0A 0003")), None, "it only listens");
        assert_eq!(socket("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when"), None);
        assert_eq!(socket(""), None);
    }

    #[test]
    fn what_is_acknowledged_moves_and_of_the_last_bytes_nothing_is_added() {
        let sockets = |all: &[(u64, u64)]| all.iter().copied().collect::<Sockets>();
        let mut flight = InFlight::default();
        assert!(!flight.compare(sockets(&[(1, 500), (2, 0)]), false), "there is nothing to compare with");
        assert!(!flight.compare(sockets(&[(1, 500), (2, 0)]), false));
        assert!(flight.compare(sockets(&[(1, 400), (2, 0)]), false));
        assert!(!flight.compare(sockets(&[(1, 400), (2, 900)]), false), "that one begins");
        assert!(flight.compare(sockets(&[(1, 400), (2, 950)]), false), "there was room for more");

        assert!(!flight.compare(sockets(&[(1, 400), (2, 900)]), true), "another question");
        assert!(!flight.compare(sockets(&[(1, 400), (2, 950)]), true), "that is somebody else's");
        assert!(!flight.compare(sockets(&[(1, 400), (2, 10)]), true), "it still is");
        assert!(flight.compare(sockets(&[(1, 10), (2, 10)]), true));
        assert!(flight.compare(sockets(&[(1, 0), (2, 10)]), true));
        assert!(!flight.compare(sockets(&[(1, 0), (2, 0)]), true), "all has arrived");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_peer_that_does_not_read_has_not_acknowledged_what_was_written() {
        use std::io::{Read as _, Write as _};
        use std::os::fd::AsRawFd as _;

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let link = std::fs::read_link(format!("/proc/self/fd/{}", near.as_raw_fd())).unwrap();
        let inode: u64 = link.to_str().unwrap()["socket:[".len()..].trim_end_matches(']').parse().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(bytes) = near.write(&[0; 16_000]) {
            written += bytes;
        }
        let waits = unacknowledged().unwrap()[&inode];
        assert!(waits > 0, "of {written} bytes");
        let mut buffer = vec![0; written];
        far.read_exact(&mut buffer).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while unacknowledged().unwrap()[&inode] > 0 {
            assert!(std::time::Instant::now() < deadline);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
