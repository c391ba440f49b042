//! HTTP as the world speaks it: the client, and what an answer says.
//!
//! Owns the connections. May use the model, errors and words; knows no queue, no transfer, no disk. Holds no lock over a
//! wait. A cancelled call leaves nothing behind but a closed connection.

pub(crate) mod address;
pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod checksum;
mod client;
pub(crate) mod head;
pub(crate) mod identity;
pub(crate) mod markup;
pub(crate) mod origin;
pub(crate) mod pace;
pub(crate) mod packed;
pub(crate) mod range;
pub(crate) mod reach;
pub(crate) mod refusals;
pub(crate) mod verdict;

pub(crate) use client::*;
