//! `ferry services` and `ferry check`.

use ferry_engine::api::{Check, LookUpKeys, Services};
use ferry_engine::{Error, KeyState};

use super::Session;
use crate::Outcome;
use crate::arguments::{Pace, Service};

/// Shows which services are set up.
pub async fn list(session: &mut Session) -> Result<Outcome, Error> {
    let queue = session.open(Pace::default()).await?;
    queue.call(LookUpKeys {}).await?;
    for service in queue.call(Services {}).await? {
        let ready = if service.ready { "ready" } else { "not set up" };
        let key = match (service.key, &service.key_belongs_to) {
            (_, Some(origin)) => format!("key for {origin}"),
            (KeyState::Unneeded, None) => "no key needed".to_owned(),
            (KeyState::Missing, None) => "no key yet".to_owned(),
            (KeyState::Keychain, None) => "key in the keychain".to_owned(),
            (KeyState::Memory, None) => "key in memory".to_owned(),
            (KeyState::Variable, None) => "key from a variable".to_owned(),
        };
        let address = if service.address.is_empty() { "-" } else { &service.address };
        session.report.line(&format!("{:<13}  {ready:<10}  {key:<19}  {address}", service.id));
        session.report.object(&service);
    }
    Ok(Outcome::Completed)
}

/// Makes one harmless call and says what came of it.
pub async fn check(service: Service, session: &mut Session) -> Result<Outcome, Error> {
    let queue = session.open(Pace::default()).await?;
    let report = queue.call(Check { service: service.0 }).await?;
    session.report.object(&report);
    let mut words = Vec::new();
    if let Some(milliseconds) = report.reached_in {
        words.push(format!("answered in {milliseconds} ms"));
        words.push(if report.tls { "encrypted".to_owned() } else { "not encrypted".to_owned() });
    }
    match report.key_accepted {
        Some(true) => words.push("key accepted".to_owned()),
        Some(false) => words.push("key refused".to_owned()),
        None => {}
    }
    if !words.is_empty() {
        session.report.line(&format!("{}: {}", report.service, words.join(", ")));
    }
    let Some(problem) = report.problem else { return Ok(Outcome::Completed) };
    session.report.complaint(&problem);
    Ok(Outcome::Failed)
}
