//! Stand-in until the sandbox's own author commits the real one.
#![allow(missing_docs, clippy::all, clippy::pedantic)]
use std::path::PathBuf;
pub const API_KEY: &str = "sandbox-key";
pub struct Options { pub root: PathBuf, pub port: u16, pub api_key: Option<String> }
pub struct Sandbox;
impl Sandbox {
    pub async fn start(_: Options) -> std::io::Result<Sandbox> { Err(std::io::Error::other("not yet")) }
    pub fn url(&self) -> String { String::new() }
    pub fn mavi_url(&self) -> String { String::new() }
    pub fn visual_search_url(&self) -> String { String::new() }
    pub fn offline_tube_url(&self) -> String { String::new() }
    pub async fn stop(self) {}
}
