//! Logs for finding faults: on stderr, only when `FERRY_LOG` asks for them (`FERRY_LOG=debug`).

use std::io::{self, Write};

use ferry_engine::{redact, without_controls};
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging if the variable is set.
pub fn start() {
    let Ok(wanted) = std::env::var("FERRY_LOG") else { return };
    // Other people's crates log requests with their headers, keys included: only Ferry's own words.
    let own = FilterFn::new(|metadata| metadata.target().starts_with("ferry"));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(|| Redacting)
        .with_filter(EnvFilter::new(wanted))
        .with_filter(own);
    // Only a test harness could have set a subscriber before.
    let _ = tracing_subscriber::registry().with(lines).try_init();
}

/// Writes whole log lines to stderr without what must not be shown.
struct Redacting;

impl Write for Redacting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        io::stderr().write_all(without_controls(&redact(&text)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
