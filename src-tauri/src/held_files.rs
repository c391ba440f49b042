//! Files held over the window. The system says where in pixels that are the screen's on one and the desktop's on another,
//! and with larger text a pixel of the page is several of either: the page is told which share of the window it is.

use std::path::PathBuf;

use serde::Serialize;
use tauri::{DragDropEvent, Emitter as _, PhysicalPosition, PhysicalSize, Window};

/// The event that carries [`Held`].
const FILES_HELD: &str = "files-held";

/// What happens to them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Held {
    /// They came over the window.
    Enter { paths: Vec<String>, x: f64, y: f64 },
    /// They were moved across it.
    Over { x: f64, y: f64 },
    /// They were let go.
    Drop { paths: Vec<String>, x: f64, y: f64 },
    /// They left it.
    Leave,
}

/// Tells the page.
pub(crate) fn tell(window: &Window, event: &DragDropEvent) {
    let outcome = held(window, event).and_then(|held| window.emit(FILES_HELD, held));
    if let Err(error) = outcome {
        tracing::warn!(%error, "the page was not told of files over it");
    }
}

fn held(window: &Window, event: &DragDropEvent) -> tauri::Result<Held> {
    let size = window.inner_size()?;
    // Only Windows tells in the pixels of the screen, whatever the type says.
    let scale = if cfg!(windows) { 1.0 } else { window.scale_factor()? };
    let share = |position: &PhysicalPosition<f64>| share(position, scale, size);
    Ok(match event {
        DragDropEvent::Enter { paths, position } => {
            let (x, y) = share(position);
            Held::Enter { paths: texts(paths), x, y }
        }
        DragDropEvent::Over { position } => {
            let (x, y) = share(position);
            Held::Over { x, y }
        }
        DragDropEvent::Drop { paths, position } => {
            let (x, y) = share(position);
            Held::Drop { paths: texts(paths), x, y }
        }
        _ => Held::Leave,
    })
}

/// From 0 to 1 across and down; `scale` makes pixels of the screen out of those of the position.
fn share(position: &PhysicalPosition<f64>, scale: f64, size: PhysicalSize<u32>) -> (f64, f64) {
    let of = |at: f64, length: u32| at * scale / f64::from(length.max(1));
    (of(position.x, size.width), of(position.y, size.height))
}

/// A name that is not text is refused in words when its file is to be sent.
fn texts(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_share_of_the_window_whatever_its_pixels_are() {
        let size = PhysicalSize::new(1600, 900);
        assert_eq!(share(&PhysicalPosition::new(400.0, 450.0), 1.0, size), (0.25, 0.5));
        assert_eq!(share(&PhysicalPosition::new(200.0, 225.0), 2.0, size), (0.25, 0.5));
    }

    #[test]
    fn the_page_reads_one_flat_object() {
        let held = Held::Drop { paths: vec!["/a".into()], x: 0.25, y: 0.5 };
        let told = serde_json::json!({ "type": "drop", "paths": ["/a"], "x": 0.25, "y": 0.5 });
        assert_eq!(serde_json::to_value(held).unwrap(), told);
        assert_eq!(serde_json::to_value(Held::Leave).unwrap(), serde_json::json!({ "type": "leave" }));
    }
}
