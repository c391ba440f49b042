//! The one stream of changes to the window.

use ferry_engine::{Engine, ListWindow};
use tauri::{AppHandle, Emitter as _, Manager as _};
use tokio::sync::broadcast::error::RecvError;

/// The event that carries [`ferry_engine::ListChanges`].
const TRANSFERS_CHANGED: &str = "transfers-changed";

/// Hands every change to the window until the engine ends. The engine gathers them, so that at most five a second
/// come by, and none while nothing changes.
pub(crate) fn forward(app: AppHandle, engine: &Engine) {
    let window = app.clone();
    app.manage(ListWindow::new(engine.clone(), move |changes| {
        if let Err(error) = window.emit(TRANSFERS_CHANGED, changes) {
            tracing::warn!(%error, "a change did not reach the window");
        }
    }));
    let mut changes = engine.subscribe();
    tauri::async_runtime::spawn(async move {
        let list = app.state::<ListWindow>();
        loop {
            match changes.recv().await {
                Ok(changes) => list.apply(&changes),
                Err(RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "changes overtook the window");
                    list.catch_up();
                }
                Err(RecvError::Closed) => return,
            }
        }
    });
}
