//! Every command that goes to whoever holds the queue, declared once: its name, what it takes, what it answers, what it
//! does. Whoever holds the queue carries its own out by a call; the others' come as text. A command that was cut off by its
//! holder's end is sent again to the next one, so none does more when it is carried out twice.

use std::collections::HashSet;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::RwLock;

use super::wire::{INVALID_PARAMS, NO_SUCH_METHOD, RpcError, WireError, WireSecret, json};
use crate::asset::{Asset, AssetInfo, ImportedAssets};
use crate::engine::{Adding, CheckReport, DownloadRequest, Engine, UploadRequest};
use crate::error::{Code, Error, Result};
use crate::secret::Secret;
use crate::secrets::KeyState;
use crate::service::ServiceId;
use crate::services::ServiceStatus;
use crate::task::Token;
use crate::terms::Terms;
use crate::transfer::{AddedBy, State, Transfer, TransferId};
use crate::upload::sent_before::AddedUploads;

/// Who asks, and for whom it is done.
pub struct Caller {
    pub(super) engine: Engine,
    pub(super) terms: Arc<Terms>,
    pub(super) followed: Mutex<Followed>,
    /// Held by each of its commands while it is carried out.
    pub(super) at_work: Arc<RwLock<()>>,
    pub(super) origin: Option<AddedBy>,
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("terms", &self.terms).finish_non_exhaustive()
    }
}

/// Of which transfers a client hears.
#[derive(Debug, Default)]
pub(super) struct Followed {
    pub ids: HashSet<TransferId>,
    /// Those of them that it added.
    pub added: HashSet<TransferId>,
    pub all: bool,
}

impl Followed {
    pub fn has(&self, id: TransferId) -> bool {
        self.all || self.ids.contains(&id)
    }
}

impl Caller {
    pub(super) fn followed(&self) -> std::sync::MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn adds(&self, ids: impl Iterator<Item = TransferId> + Clone) {
        let mut followed = self.followed();
        followed.ids.extend(ids.clone());
        followed.added.extend(ids);
    }

    fn adding(&self, token: u64) -> Adding {
        Adding { token: Some(Token(token)), terms: Some(Arc::clone(&self.terms)), origin: self.origin }
    }
}

/// A command, with its arguments.
pub trait Command: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Its name on the socket.
    const METHOD: &'static str;
    /// What is answered.
    type Reply: Serialize + DeserializeOwned + Send + 'static;

    /// Does it.
    fn carry_out(self, caller: &Caller) -> impl Future<Output = Result<Self::Reply>> + Send;
}

macro_rules! commands {
    ($(
        $(#[$about:meta])*
        $name:ident $method:literal { $($(#[$field_about:meta])* $field:ident: $type:ty),* $(,)? } -> $reply:ty,
        |$command:ident, $caller:ident| $work:expr;
    )*) => {
        $(
            $(#[$about])*
            #[derive(Debug, Clone, Serialize, Deserialize)]
            pub struct $name { $($(#[$field_about])* pub $field: $type,)* }

            impl Command for $name {
                const METHOD: &'static str = $method;
                type Reply = $reply;

                async fn carry_out(self, $caller: &Caller) -> Result<$reply> {
                    let $command = self;
                    $work
                }
            }
        )*

        /// Carries out what came as text, and gives the answer as text.
        pub(super) async fn carry_out(
            method: &str,
            params: Option<&RawValue>,
            caller: &Caller,
        ) -> std::result::Result<Box<RawValue>, RpcError> {
            match method {
                $($method => from_text::<$name>(params, caller).await,)*
                _ => Err(RpcError::new(NO_SUCH_METHOD, "there is no such command")),
            }
        }
    };
}

async fn from_text<C: Command>(
    params: Option<&RawValue>,
    caller: &Caller,
) -> std::result::Result<Box<RawValue>, RpcError> {
    let command: C = serde_json::from_str(params.map_or("{}", RawValue::get))
        .map_err(|error| RpcError::new(INVALID_PARAMS, format!("the parameters are others: {error}")))?;
    let reply = command.carry_out(caller).await?;
    RawValue::from_string(json(&reply)?).map_err(|error| Error::internal(error.to_string()).into())
}

/// A path as it travels: text as a rule, else its bytes (Unix).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum WirePath {
    /// What can be written as text.
    Text(String),
    /// What cannot.
    Bytes(Vec<u8>),
}

impl From<PathBuf> for WirePath {
    fn from(path: PathBuf) -> Self {
        path.into_os_string()
            .into_string()
            .map_or_else(|path| Self::Bytes(path.into_encoded_bytes()), Self::Text)
    }
}

impl From<WirePath> for PathBuf {
    fn from(path: WirePath) -> Self {
        match path {
            WirePath::Text(text) => text.into(),
            #[cfg(unix)]
            WirePath::Bytes(bytes) => {
                use std::os::unix::ffi::OsStringExt as _;
                std::ffi::OsString::from_vec(bytes).into()
            }
            #[cfg(not(unix))]
            WirePath::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
        }
    }
}

/// Some of the rows, by how they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    /// Every one.
    All,
    /// What has not ended.
    Unfinished,
    /// What has not ended, and what only the circumstances stopped, an account without balance among them. What failed for
    /// good (an unknown id, a refused key) is not.
    Resumable,
    /// What failed.
    Failed,
    /// What is complete.
    Completed,
}

impl Which {
    fn has(self, transfer: &Transfer) -> bool {
        match (self, &transfer.state) {
            (Self::All, _) | (Self::Failed, State::Failed(_)) | (Self::Completed, State::Completed) => true,
            (Self::Resumable, State::Failed(failure)) => matches!(
                failure.code,
                Code::Network
                    | Code::TimedOut
                    | Code::Incomplete
                    | Code::DiskFull
                    | Code::QuotaExceeded
                    | Code::RateLimited
                    | Code::NotReady
            ),
            (Self::Unfinished | Self::Resumable, state) => !state.has_ended(),
            (Self::Failed | Self::Completed, _) => false,
        }
    }
}

fn all_there(caller: &Caller, ids: &[TransferId]) -> Vec<TransferId> {
    ids.iter().copied().filter(|id| caller.engine.transfer(*id).is_some()).collect()
}

commands! {
    /// Asks whether the holder is there.
    Ping "ping" {} -> (), |_command, _caller| Ok(());

    /// Adds uploads. Their paths are whole ones, as the asking process means them.
    Upload "upload" {
        /// Names the request: the same one again adds nothing.
        token: u64,
        /// What is sent, besides the request's own paths.
        paths: Vec<WirePath>,
        /// How and where to.
        request: UploadRequest,
    } -> AddedUploads, |command, caller| {
        let mut request = command.request;
        request.paths.extend(command.paths.into_iter().map(PathBuf::from));
        let added = caller.engine.add_uploads_by(request, &caller.adding(command.token)).await?;
        caller.adds(added.ids.iter().copied());
        Ok(added)
    };

    /// Adds downloads. Their folders are whole paths, as the asking process means them.
    Download "download" {
        /// Names the request: the same one again adds nothing.
        token: u64,
        /// What is brought.
        requests: Vec<DownloadRequest>,
    } -> Vec<std::result::Result<TransferId, WireError>>, |command, caller| {
        let added = caller.engine.add_downloads(command.requests, &caller.adding(command.token)).await?;
        caller.adds(added.iter().flatten().map(|added| added.id));
        Ok(added.into_iter().map(|one| one.map(|added| added.id).map_err(WireError::from)).collect())
    };

    /// Hears of these transfers from here on, and gets them as they stand.
    Follow "follow" {
        /// Which.
        ids: Vec<TransferId>,
    } -> Vec<Transfer>, |command, caller| {
        caller.followed().ids.extend(&command.ids);
        Ok(caller.engine.rows(&command.ids))
    };

    /// Lets those of these go on that the holder before left in the queue, by the terms of who asks, who hears of all.
    GoOn "go_on" {
        /// Which.
        ids: Vec<TransferId>,
    } -> (), |command, caller| {
        caller.followed().ids.extend(&command.ids);
        caller.engine.go_on(&command.ids, Some(&caller.terms)).await
    };

    /// Hears of every transfer from here on.
    Watch "watch" {} -> (), |_command, caller| {
        caller.followed().all = true;
        Ok(())
    };

    /// The ids of some rows, in the list's order.
    Ids "ids" {
        /// Which.
        which: Which,
    } -> Vec<TransferId>, |command, caller| {
        let mut places = Vec::new();
        caller.engine.look(|row| {
            if command.which.has(row) {
                places.push((row.position, row.id));
            }
        });
        places.sort_unstable();
        Ok(places.into_iter().map(|(_, id)| id).collect())
    };

    /// These rows, without those that are unknown.
    Rows "rows" {
        /// Which.
        ids: Vec<TransferId>,
    } -> Vec<Transfer>, |command, caller| Ok(caller.engine.rows(&command.ids));

    /// Stops transfers where they stand.
    Pause "pause" {
        /// Which.
        ids: Vec<TransferId>,
    } -> (), |command, caller| caller.engine.pause(&all_there(caller, &command.ids)).await;

    /// Stops these, and whatever the same client has added, as soon as that is on the list: its run ends, and does not hear any
    /// more what it was given. Answers how many were not at their end.
    Stop "stop" {
        /// Which.
        ids: Vec<TransferId>,
    } -> usize, |command, caller| {
        let _alone = caller.at_work.write().await;
        let mut ids = caller.followed().added.clone();
        ids.extend(command.ids);
        let is_left = |id: &TransferId| caller.engine.transfer(*id).is_some_and(|row| !row.state.has_ended());
        let left: Vec<TransferId> = ids.into_iter().filter(is_left).collect();
        caller.engine.pause(&left).await?;
        Ok(left.len())
    };

    /// Gives transfers up.
    Cancel "cancel" {
        /// Which.
        ids: Vec<TransferId>,
    } -> (), |command, caller| caller.engine.cancel(&all_there(caller, &command.ids)).await;

    /// Takes transfers off the list.
    Remove "remove" {
        /// Which.
        ids: Vec<TransferId>,
    } -> (), |command, caller| caller.engine.remove(&all_there(caller, &command.ids)).await;

    /// Lets transfers go on, by the terms of who asks.
    Resume "resume" {
        /// Which.
        ids: Vec<TransferId>,
    } -> (), |command, caller| {
        caller.followed().ids.extend(&command.ids);
        caller.engine.resume_by(&all_there(caller, &command.ids), Some(&caller.terms)).await
    };

    /// Tries failed transfers again, by the terms of who asks.
    Retry "retry" {
        /// Which.
        ids: Vec<TransferId>,
    } -> (), |command, caller| {
        caller.followed().ids.extend(&command.ids);
        caller.engine.retry_by(&all_there(caller, &command.ids), Some(&caller.terms)).await
    };

    /// The library.
    Assets "assets" {
        /// What name or id hold; empty for all.
        search: String,
    } -> Vec<Asset>, |command, caller| caller.engine.assets(&command.search).await;

    /// What the library knows of a file's content.
    AssetsWithContent "assets_with_content" {
        /// A whole path.
        file: WirePath,
    } -> Vec<Asset>, |command, caller| {
        caller.engine.assets_with_content(&PathBuf::from(command.file)).await
    };

    /// Writes the library to a file.
    ExportAssets "export_assets" {
        /// A whole path.
        file: PathBuf,
    } -> usize, |command, caller| caller.engine.export_assets(&command.file).await;

    /// Takes in a library that was exported.
    ImportAssets "import_assets" {
        /// A whole path.
        file: PathBuf,
    } -> ImportedAssets, |command, caller| caller.engine.import_assets(&command.file).await;

    /// Asks the service about an asset.
    AssetInfoOf "asset_info" {
        /// Its id.
        asset_id: String,
        /// Absent: the service that the library knows it from.
        service: Option<ServiceId>,
    } -> AssetInfo, |command, caller| {
        let Caller { engine, terms, .. } = caller;
        engine.asset_info_by(&command.asset_id, command.service.as_deref(), Some(terms)).await
    };

    /// Deletes an asset at its service for good.
    AssetDelete "asset_delete" {
        /// Its id.
        asset_id: String,
        /// Absent: the service that the library knows it from.
        service: Option<ServiceId>,
    } -> (), |command, caller| {
        let Caller { engine, terms, .. } = caller;
        engine.asset_delete_by(&command.asset_id, command.service.as_deref(), Some(terms)).await
    };

    /// Asks the keychain for the keys, so that [`Services`] knows where they are.
    LookUpKeys "look_up_keys" {} -> (), |_command, caller| {
        caller.engine.services_for(Some(&caller.terms)).look_up_keys().await;
        Ok(())
    };

    /// Every service.
    Services "services" {} -> Vec<ServiceStatus>, |_command, caller| {
        Ok(caller.engine.services_for(Some(&caller.terms)).statuses())
    };

    /// Asks a service something harmless.
    Check "check" {
        /// Which.
        service: ServiceId,
    } -> CheckReport, |command, caller| {
        caller.engine.check_by(&command.service, Some(&caller.terms)).await
    };

    /// Keeps a key.
    SetKey "set_key" {
        /// Of which service.
        service: ServiceId,
        /// The key.
        key: WireSecret,
    } -> KeyState, |command, caller| {
        let key = Secret::new(command.key.0);
        caller.engine.set_key_by(&command.service, key, Some(&caller.terms)).await
    };

    /// Forgets a key.
    RemoveKey "remove_key" {
        /// Of which service.
        service: ServiceId,
    } -> (), |command, caller| caller.engine.remove_key(&command.service).await;
}
