//! Everything that Ferry does: the queue, transfers, names, proofs. Knows neither a window nor a terminal.
//!
//! A face opens an [`Engine`] on a data folder, adds transfers, and listens to [`Engine::subscribe`]:
//!
//! ```no_run
//! # async fn example() -> ferry_engine::Result<()> {
//! use ferry_engine::{DownloadRequest, Engine, Options, default_data_dir};
//!
//! let engine = Engine::open(Options::new(default_data_dir()?)).await?;
//! let request = DownloadRequest { what: "https://example.org/film.mp4".into(), ..DownloadRequest::default() };
//! let id = engine.download(request).await?;
//! let mut changes = engine.subscribe();
//! while let Ok(change) = changes.recv().await {
//!     if change.changed.iter().any(|row| row.id == id && row.state.has_ended()) {
//!         break;
//!     }
//! }
//! engine.shutdown().await;
//! # Ok(())
//! # }
//! ```

pub mod api;
mod asset;
mod curve;
mod deep_link;
mod download;
mod engine;
mod error;
mod filename;
mod files;
mod foreign;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod http;
mod lane;
mod language;
mod library_copy;
mod library_file;
mod list;
mod memory;
mod progress;
mod queue;
mod redaction;
mod requests;
mod resume;
mod rows;
mod run;
#[doc(hidden)]
pub mod seams;
mod search;
mod secret;
mod secrets;
mod service;
mod services;
mod settings;
mod shell_command;
mod speed_limit;
mod store;
mod task;
mod terms;
mod transfer;
mod turns;
mod units;
mod unseen;
mod upload;
mod upload_method;
mod words;

pub use asset::{Asset, AssetInfo, AssetStatus, ImportedAssets, LibraryChanges};
pub use curve::SpeedSample;
pub use deep_link::LinkOffer;
pub use engine::{
    AddedDownload, Changes, CheckReport, DownloadRequest, Engine, Entrusted, FirstContact, Options,
    Overrides, PathSummary, Pictures, Snapshot, UploadRequest, default_data_dir,
};
pub use error::{Cause, Code, Error, Failure, Remedy, Result};
pub use files::own_folder::make_private_folder;
pub use files::whole::write_whole;
pub use foreign::{Foreign, as_plain_json, without_controls};
pub use http::checksum::Checksum;
pub use http::reach::is_inward;
pub use language::Language;
pub use library_file::csv as library_as_csv;
pub use list::{
    Can, Counts, Endings, Filter, Hidden, Hour, ListChanges, ListWindow, Listing, Look, Opening, Order,
    TakenBack, Today, Totals, Where,
};
pub use redaction::redact;
pub use requests::IfSent;
pub use secret::{Header, Secret};
pub use secrets::{KeyState, hand_on_keys, take_keys_from_environment};
pub use service::{
    About, DefaultRole, Input, Links, Place, ServiceId, Setting, all as services, is_private_setting,
};
pub use services::{LinksTaken, Recognised, ServicePlace, ServiceSetting, ServiceStatus, SettingInput};
pub use settings::{Density, ServiceSettings, Settings, SettingsPatch, Theme};
pub use shell_command::{ShellCommand, as_field};
pub use transfer::{
    AddedBy, Extent, Kind, Stage, State, TimelineEntry, Transfer, TransferId, Verified, Wait, WaitReason,
};
pub use units::Units;
pub use upload::chosen::LinksLeftOut;
pub use upload::sent_before::{AddedUploads, SentBefore, SentFile};
pub use upload_method::UploadMethod;
pub use words::{Count, Peer, Phrase, Seconds, Size, Way, Words};

/// The list of the services, handed down to those floors that know no service (`service.rs`).
pub(crate) fn known_services() -> &'static [&'static services::Kind] {
    services::REGISTRY
}
