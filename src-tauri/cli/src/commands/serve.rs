//! `ferry serve`: the queue without a window.

use std::time::{Duration, Instant};

use ferry_engine::Error;
use ferry_engine::api::{HolderKind, OneQueue, Role};

use super::Session;
use crate::Outcome;
use crate::arguments::Pace;
use crate::interrupt::Interrupt;

/// How often it is looked whether there is something to do.
const LOOK: Duration = Duration::from_millis(250);

/// Holds the queue until it is interrupted, or has had nothing to do for long enough.
pub async fn run(
    idle: Option<u64>,
    interrupt: &mut Interrupt,
    session: &mut Session,
) -> Result<Outcome, Error> {
    let queue = tokio::select! {
        queue = session.open_as(HolderKind::Serve, Pace::default(), None) => queue?,
        _ = interrupt.next() => return Ok(Outcome::Completed),
    };
    let mut role = queue.role();
    say(&role, session)?;
    let idle_for = nothing_to_do(&queue, idle.map(Duration::from_secs));
    let mut idle_for = std::pin::pin!(idle_for);
    loop {
        tokio::select! {
            _ = interrupt.next() => return Ok(Outcome::Completed),
            () = &mut idle_for => {
                session.report.note("nothing to do: ended");
                return Ok(Outcome::Completed);
            }
            next = queue.role_other_than(&role) => {
                if next == Role::Ended {
                    return Err(queue.failure().unwrap_or_else(Error::canceled));
                }
                role = next;
                say(&role, session)?;
            }
        }
    }
}

fn say(role: &Role, session: &mut Session) -> Result<(), Error> {
    let data_dir = session.data_dir()?.display().to_string();
    match role {
        Role::Holder { place } => {
            let place = place.as_deref();
            let told = place.unwrap_or("no socket; see FERRY_LOG=warn");
            session.report.note(&format!("serving {data_dir} on {told}; Ctrl-C ends it"));
            session
                .report
                .object(&serde_json::json!({"event": "serving", "data_dir": data_dir, "place": place}));
        }
        Role::Client { kind, pid } => {
            session.report.note(&format!(
                "{kind} holds {data_dir}, process {pid}; it is served from here again when that ends"
            ));
            session.report.object(
                &serde_json::json!({"event": "waiting", "data_dir": data_dir, "holder": kind, "pid": pid}),
            );
        }
        Role::Looking | Role::Ended => {}
    }
    Ok(())
}

/// Waits until there was nothing to do for this long; for ever, if that is no matter.
async fn nothing_to_do(queue: &OneQueue, long_enough: Option<Duration>) {
    let Some(long_enough) = long_enough else { return std::future::pending().await };
    let mut since = Instant::now();
    loop {
        tokio::time::sleep(LOOK.min(long_enough.max(Duration::from_millis(10)))).await;
        if !queue.is_idle() {
            since = Instant::now();
        } else if since.elapsed() >= long_enough {
            return;
        }
    }
}
