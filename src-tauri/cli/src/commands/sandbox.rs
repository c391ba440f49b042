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
    let mut told = serde_json::json!({ "event": "listening", "url": sandbox.origin() });
    let addresses = sandbox.addresses();
    let parts: Vec<_> = addresses
        .iter()
        .filter_map(|(id, address)| Some((ferry_engine::services().find(|about| about.id == *id)?, address)))
        .collect();
    for (about, address) in &parts {
        let Some((setting, variable)) = about.address_names() else { continue };
        session.report.line(&format!("{variable}={address}"));
        told[setting] = address.as_str().into();
    }
    // Those that want a key want one to be set up.
    for variable in parts.iter().filter_map(|(about, _)| about.key_variable) {
        session.report.line(&format!("{variable}={}", sandbox.key()));
    }
    told["links_url"] = sandbox.url().into();
    told["key"] = sandbox.key().into();
    session.report.object(&told);
    session.report.note("Ctrl-C ends it.");
    interrupt.next().await;
    sandbox.stop().await;
    Ok(Outcome::Completed)
}
