//! How the window is drawn where there is no graphics card: in many virtual machines and containers, on a server. A virtual
//! card counts as one.
//!
//! WebKitGTK hands what it has drawn to OpenGL, which there is a program on the same processor (llvmpipe). Each frame is
//! then drawn twice, and every layer is held twice: measured, a frame while scrolling takes 33 ms with it and 16 ms
//! without, and the page's process 130 MiB more.

use tauri::WebviewWindow;
use webkit2gtk::{HardwareAccelerationPolicy, SettingsExt as _, WebViewExt as _};

/// Lets WebKit draw by itself where nothing would do it faster.
pub(crate) fn prepare(window: &WebviewWindow) {
    if has_graphics_card() {
        return;
    }
    let prepared = window.with_webview(|webview| {
        if let Some(settings) = webview.inner().settings() {
            settings.set_hardware_acceleration_policy(HardwareAccelerationPolicy::Never);
        }
    });
    if let Err(error) = prepared {
        tracing::warn!(%error, "the window is drawn through OpenGL without a graphics card");
    }
}

/// Whether any driver offers to draw: the kernel's own, a maker's, or that of Windows below a Linux inside it.
fn has_graphics_card() -> bool {
    let render_nodes = std::fs::read_dir("/dev/dri").into_iter().flatten().flatten();
    let named = |name: std::ffi::OsString| name.to_string_lossy().starts_with("renderD");
    render_nodes.map(|entry| entry.file_name()).any(named)
        || ["/dev/nvidiactl", "/dev/dxg", "/dev/mali0", "/dev/kgsl-3d0"]
            .iter()
            .any(|device| std::path::Path::new(device).exists())
}
