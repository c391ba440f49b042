//! `ferry key`: a key goes from stdin into the keychain, and nowhere else.

use ferry_engine::api::{Check, RemoveKey, Services, SetKey, WireSecret};
use ferry_engine::{Cause, Error, KeyState};

use super::{Session, read_secret};
use crate::Outcome;
use crate::arguments::{Key, KeyedService, Pace};

/// Sets or removes a key.
pub async fn run(key: Key, session: &mut Session) -> Result<Outcome, Error> {
    match key {
        Key::Set { service } => set(service, session).await,
        Key::Remove { service } => {
            let queue = session.open(Pace::default()).await?;
            queue.call(RemoveKey { service: service.0.clone() }).await?;
            session.report.note(&format!("The key of {} is forgotten.", service.0));
            session.report.object(&serde_json::json!({"event": "key_removed", "service": service.0}));
            Ok(Outcome::Completed)
        }
    }
}

async fn set(service: KeyedService, session: &mut Session) -> Result<Outcome, Error> {
    let key = read_secret("Key (not shown): ").await?;
    let queue = session.open(Pace::default()).await?;
    let key = WireSecret(key.expose().to_owned());
    let state = queue.call(SetKey { service: service.0.clone(), key }).await?;
    if state != KeyState::Keychain {
        // Memory ends with this process: to claim success would be a lie.
        return Err(Error::new(Cause::Unsupported, "The key was not kept")
            .because("there is no keychain here that takes it")
            .advise(format!("set the variable {} instead, or unlock the keychain", service.variable())));
    }
    let status = queue.call(Services {}).await?.into_iter().find(|status| status.id == service.0);
    let address = status.map(|status| status.address).unwrap_or_default();
    session.report.note(&format!("The key of {} is in the keychain, for {address} only.", service.0));
    session.report.object(&serde_json::json!({"event": "key_set", "service": service.0}));
    let check = queue.call(Check { service: service.0.clone() }).await?;
    match check.problem {
        Some(problem) => session.report.complaint(&problem),
        None => session.report.note(&format!("{} accepts it.", service.0)),
    }
    if check.now_default {
        session.report.note(&format!(
            "Uploads and ids go to {} from now on, unless --service names another.",
            service.0
        ));
    }
    Ok(Outcome::Completed)
}
