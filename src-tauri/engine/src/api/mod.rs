//! One queue for many processes: who holds a data folder serves it to the others, on a local socket that only its owner reaches.
//!
//! Owns: the commands as they travel ([`command`]), the socket and the file that says where it is, the connections.
//! May use: the [`Engine`](crate::Engine) and what it answers with; nothing of transfers, names or proofs.
//! May be called by: the faces, through [`OneQueue`] (a terminal) or [`Holder`] (a window that has its engine already).
//! Locks: none across a wait but a holder's gate, which a command holds while it is carried out; the engine's come after it.
//! A cancel leaves: a command that was handed over is carried out to its end; only nobody hears the answer.

mod client;
mod command;
mod holder;
mod one_queue;
mod place;
mod wire;

pub use command::{
    AssetDelete, AssetInfoOf, Assets, AssetsWithContent, Cancel, Check, Command, Download, ExportAssets,
    Follow, GoOn, Ids, ImportAssets, LookUpKeys, Pause, Remove, RemoveKey, Resume, Retry, Rows, Services,
    SetKey, Stop, Upload, Watch, Which, WirePath,
};
pub use holder::{Holder, take_over};
pub use one_queue::{OneQueue, Opened, Role};
pub use wire::{HolderKind, PROTOCOL, WireSecret};

pub use crate::terms::Pace;
