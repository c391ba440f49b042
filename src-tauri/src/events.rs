//! The one stream of changes to the window.

use ferry_engine::Engine;
use tauri::{AppHandle, Emitter as _};
use tokio::sync::broadcast::error::RecvError;

/// The event that carries [`ferry_engine::Changes`].
const TRANSFERS_CHANGED: &str = "transfers-changed";

/// Hands every change to the window until the engine ends. The engine gathers them, so that at most five a second
/// come by, and none while nothing changes.
pub(crate) fn forward(app: AppHandle, engine: &Engine) {
    let mut changes = engine.subscribe();
    tauri::async_runtime::spawn(async move {
        loop {
            match changes.recv().await {
                Ok(changes) => {
                    if let Err(error) = app.emit(TRANSFERS_CHANGED, &*changes) {
                        tracing::warn!(%error, "a change did not reach the window");
                    }
                }
                // What follows starts behind a gap in the revisions: the page sees it and asks for a snapshot.
                Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "changes overtook the window"),
                Err(RecvError::Closed) => return,
            }
        }
    });
}
