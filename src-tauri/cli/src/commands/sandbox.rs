//! `ferry sandbox`: the built-in service, for scripts and for trying things out.

use ferry_engine::{Cause, Error};
use ferry_sandbox::{Options, Sandbox};

use super::Session;
use crate::Outcome;
use crate::interrupt::Interrupt;

/// Runs the sandbox until Ctrl-C. Its folder is not the one of the sandbox inside `ferry upload`: a folder serves one
/// sandbox at a time, and both should work side by side.
pub async fn run(port: u16, interrupt: &mut Interrupt, session: &mut Session) -> Result<Outcome, Error> {
    let root = session.data_dir()?.join("sandbox-server");
    let sandbox = Sandbox::start(Options { root, port, api_key: None }).await.map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "make it your own, or name another folder with --data-dir",
            _ => "choose another port or leave --port out, and end any other `ferry sandbox` of this data folder",
        };
        Error::new(Cause::Unreachable, "The sandbox did not start").because(error.to_string()).advise(advice)
    })?;
    session.report.line(&format!("listening on {}", sandbox.origin()));
    session.report.line(&format!("FERRY_MAVI_URL={}", sandbox.mavi_url()));
    session.report.line(&format!("FERRY_VISUAL_SEARCH_URL={}", sandbox.visual_search_url()));
    session.report.line(&format!("FERRY_OFFLINE_TUBE_URL={}", sandbox.offline_tube_url()));
    // Both services want a key to be set up.
    session.report.line(&format!("FERRY_MAVI_KEY={}", sandbox.key()));
    session.report.line(&format!("FERRY_VISUAL_SEARCH_KEY={}", sandbox.key()));
    session.report.object(&serde_json::json!({
        "event": "listening", "url": sandbox.origin(), "mavi_url": sandbox.mavi_url(),
        "visual_search_url": sandbox.visual_search_url(), "offline_tube_url": sandbox.offline_tube_url(),
        "links_url": sandbox.url(), "key": sandbox.key(),
    }));
    session.report.note("Ctrl-C ends it.");
    interrupt.next().await;
    sandbox.stop().await;
    Ok(Outcome::Completed)
}
