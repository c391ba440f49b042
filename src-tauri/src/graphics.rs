//! How the window is drawn where there is no graphics card: in many virtual machines and containers, on a server. A virtual
//! card counts as one.
//!
//! WebKitGTK hands what it has drawn to OpenGL, which there is a program on the same processor (llvmpipe). Each frame is
//! then drawn twice, and every layer is held twice: measured, a frame while scrolling takes 33 ms with it and 16 ms
//! without, and the page's process 130 MiB more.

/// Lets WebKit draw by itself where nothing would do it faster. Comes before any thread and any window: a web process that
/// is told so later ends with a fault as soon as its window has another size than the first, as one has that was resized
/// and opens again.
pub(crate) fn prepare() {
    /// WebKit's own switch.
    const NO_LAYERS: &str = "WEBKIT_DISABLE_COMPOSITING_MODE";
    if has_graphics_card() || std::env::var_os(NO_LAYERS).is_some() {
        return;
    }
    #[allow(unsafe_code, reason = "nothing else runs yet that could read the environment meanwhile")]
    // SAFETY: `run` calls this before it starts any thread.
    unsafe {
        std::env::set_var(NO_LAYERS, "1");
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
