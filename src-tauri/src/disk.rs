//! Questions to disks that may never answer (a network folder without its server): on threads beside those that everything
//! else runs on, with a limit to how long one is waited for, and to how many there are.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::Semaphore;

/// How long a disk is waited for. Somebody looks at the window meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);
/// Each one that is never answered keeps a thread.
static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(8)));

/// What the disk says; nothing if it does not say it in time.
pub(crate) async fn ask<T: Send + 'static>(question: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let answer = async {
        let place = Arc::clone(&PLACES).acquire_owned().await.ok()?;
        let asking = move || {
            let _place = place;
            question()
        };
        tauri::async_runtime::spawn_blocking(asking).await.ok()
    };
    tokio::time::timeout(PATIENCE, answer).await.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_never_answers_is_waited_for_a_moment() {
        let (answer, answered) = std::sync::mpsc::channel::<()>();
        let asked = tauri::async_runtime::block_on(ask(move || answered.recv().is_ok()));
        assert_eq!(asked, None);
        drop(answer);
        assert_eq!(tauri::async_runtime::block_on(ask(|| 7)), Some(7));
    }
}
