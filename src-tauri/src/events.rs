//! The one stream of changes to the window.

use ferry_engine::{Engine, ListChanges, ListWindow};
use tauri::{AppHandle, Emitter as _, Manager as _};
use tokio::sync::broadcast::error::RecvError;

/// The event that carries [`ListChanges`].
const TRANSFERS_CHANGED: &str = "transfers-changed";

/// Hands every change to the window until the engine ends. The engine gathers them, so that at most five a second
/// come by, and none while nothing changes.
pub(crate) fn forward(app: AppHandle, engine: &Engine) {
    app.manage(ListWindow::new(engine.clone()));
    let mut changes = engine.subscribe();
    tauri::async_runtime::spawn(async move {
        let list = app.state::<ListWindow>();
        loop {
            match changes.recv().await {
                Ok(changes) => tell(&app, list.apply(&changes)),
                Err(RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "changes overtook the window");
                    tell(&app, list.catch_up());
                }
                Err(RecvError::Closed) => return,
            }
        }
    });
}

/// Tells the window, if there is one.
pub(crate) fn tell(app: &AppHandle, changes: Option<ListChanges>) {
    if let Some(changes) = changes
        && let Err(error) = app.emit(TRANSFERS_CHANGED, changes)
    {
        tracing::warn!(%error, "a change did not reach the window");
    }
}
