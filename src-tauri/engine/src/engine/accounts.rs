//! Services as they stand: keys, checks, the default one.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::{CheckReport, Engine};
use crate::error::{Cause, Error, Failure, Result};
use crate::secret::Secret;
use crate::secrets::KeyState;
use crate::service::ServiceId;
use crate::services::{self, ServiceStatus};
use crate::terms::Terms;
use crate::words::{Peer, Phrase};

impl Engine {
    /// Every service.
    pub fn services(&self) -> Vec<ServiceStatus> {
        self.queue().services.statuses()
    }

    /// Asks the keychain for the keys, so that [`Engine::services`] knows where they are.
    pub async fn look_up_keys(&self) {
        self.queue().services.look_up_keys().await;
    }

    /// Asks a service something harmless: is it there, does it accept the key? The first key of a service that takes
    /// uploads makes it the default one once it is accepted, if that is still the sandbox.
    pub async fn check(&self, service: impl Into<ServiceId>) -> Result<CheckReport> {
        self.check_by(&service.into(), None).await
    }

    pub(crate) async fn check_by(
        &self,
        service: &ServiceId,
        terms: Option<&Arc<Terms>>,
    ) -> Result<CheckReport> {
        service.about().ok_or_else(|| services::unknown(service))?;
        let services = self.services_for(terms);
        let began = Instant::now();
        let key_changes = services.key_changes();
        let result = match services.get(service).await {
            Ok(asked) => asked.check().await,
            Err(error) => Err(error),
        };
        let reached = match &result {
            Ok(()) => true,
            Err(error) => error.http_status.is_some(),
        };
        let status = services.statuses().into_iter().find(|status| status.id == *service);
        let needs_key = status.as_ref().is_some_and(|status| status.key != KeyState::Unneeded);
        let problem = result.as_ref().err().map(Failure::from);
        match &result {
            Ok(()) if terms.is_some_and(|terms| terms.services.is_some()) => {}
            Ok(()) => self.queue().clear_problem(service),
            Err(error) if error.cause == Cause::Unauthorized && reached => {
                if services.key_refused(service, &Failure::from(error), key_changes) == Some(true) {
                    self.queue().services_changed();
                }
            }
            Err(_) => {}
        }
        let now_default = result.is_ok() && needs_key && self.becomes_default(service).await;
        Ok(CheckReport {
            now_default,
            service: service.clone(),
            reached_in: reached.then(|| began.elapsed().as_millis() as u64),
            tls: status.is_some_and(|status| status.address.starts_with("https:")),
            key_accepted: match &result {
                _ if !needs_key => None,
                Ok(()) => Some(true),
                // No key at all is no refusal.
                Err(error) if error.cause == Cause::Unauthorized && reached => Some(false),
                Err(_) => None,
            },
            problem,
        })
    }

    /// Makes a service the default one, now that its new key was accepted, if until now that is the sandbox. Whether it
    /// is the default from now on and was not before.
    pub(super) async fn becomes_default(&self, service: &ServiceId) -> bool {
        let may_be = service.about().is_some_and(|about| about.uploads && about.may_be_default());
        if !self.new_keys().remove(service) || !may_be {
            return false;
        }
        let is_kept = self.inner.keys.state(service) == KeyState::Keychain;
        let _changing = self.inner.changing_settings.lock().await;
        let mut settings = self.settings();
        let was = std::mem::replace(&mut settings.default_service, service.clone());
        // What was so for this run only stays.
        let was_for_this_run = is_kept && self.default_for_this_run().take_if(|it| it == service).is_some();
        if !was.is_at_first() && !was_for_this_run {
            return false;
        }
        if is_kept {
            if let Err(error) = self.put_settings(settings).await {
                tracing::warn!(%error, "the default service stays as it was");
                return false;
            }
        } else {
            // A key in memory ends with this run.
            *self.default_for_this_run() = Some(service.clone());
            self.queue().set_settings(settings);
        }
        was != *service
    }

    pub(super) fn new_keys(&self) -> std::sync::MutexGuard<'_, HashSet<ServiceId>> {
        self.inner.new_keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a key for a service at its present address, in the keychain or (said by the answer) in memory for this run.
    /// Whether it is any good is found out by [`Engine::check`].
    pub async fn set_key(&self, service: impl Into<ServiceId>, key: Secret) -> Result<KeyState> {
        self.set_key_by(&service.into(), key, None).await
    }

    pub(crate) async fn set_key_by(
        &self,
        service: &ServiceId,
        key: Secret,
        terms: Option<&Arc<Terms>>,
    ) -> Result<KeyState> {
        let about = service.about().ok_or_else(|| services::unknown(service))?;
        if !about.needs_key() {
            return Err(Error::invalid(Phrase::KeyUnneeded { service: Peer::service(about.id) }));
        }
        let origin = self.services_for(terms).origin(service)?;
        let state = self.inner.keys.set(service, key, origin).await?;
        self.new_keys().insert(service.clone());
        self.queue().clear_problem(service);
        self.queue().services_changed();
        Ok(state)
    }

    /// Forgets a service's key. What was wrong with it is forgotten too: what waits says that there is none.
    pub async fn remove_key(&self, service: impl Into<ServiceId>) -> Result<()> {
        let service = &service.into();
        service.about().ok_or_else(|| services::unknown(service))?;
        self.new_keys().remove(service);
        let removed = self.inner.keys.remove(service).await;
        if removed.is_ok() {
            self.queue().clear_problem(service);
        }
        self.queue().services_changed();
        removed
    }
}
