//! What the engines hold of memory, apart from what the servers of this test do: each piece remembers on whose thread it
//! was asked for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Before each piece, to remember whose it is; pieces with a larger alignment are nobody's.
const MARK: usize = 16;

/// Bytes that the engines hold, and the most that they ever did.
static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// The most that a process of the real program has taken.
static PEAK_OF_PROGRAMS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this thread works for the servers and for the test itself, rather than for an engine.
    static IS_OF_THE_TEST: Cell<bool> = const { Cell::new(false) };
}

/// From here on this thread works for the test (`true`), or for an engine.
pub fn work_for_the_test(yes: bool) {
    IS_OF_THE_TEST.with(|mark| mark.set(yes));
}

/// The most bytes that all engines have held together so far.
pub fn peak() -> usize {
    PEAK.load(Ordering::Relaxed)
}

/// The most bytes that a process of the real program has taken so far, with its code.
pub fn peak_of_programs() -> usize {
    PEAK_OF_PROGRAMS.load(Ordering::Relaxed)
}

/// A process of the real program has taken so much.
pub fn note_program(bytes: usize) {
    PEAK_OF_PROGRAMS.fetch_max(bytes, Ordering::Relaxed);
}

/// The system's allocator, counting what engines ask of it.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

/// The layout with room for the mark; `None` where there is none.
fn marked(layout: Layout) -> Option<Layout> {
    let size = layout.size().checked_add(MARK).filter(|_| layout.align() <= MARK)?;
    Layout::from_size_align(size, MARK).ok()
}

fn grow(bytes: usize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(held, Ordering::Relaxed);
}

#[allow(unsafe_code, reason = "an allocator can be written in no other way")]
#[allow(clippy::cast_ptr_alignment, reason = "a marked piece is aligned to its mark")]
// SAFETY: every piece comes from the system's allocator with the layout that it goes back with: `marked` gives the same
// for the same layout, and what is handed out lies behind the mark and is aligned as asked for, MARK being a multiple.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(with_mark) = marked(layout) else {
            // SAFETY: as the caller promised.
            return unsafe { System.alloc(layout) };
        };
        // SAFETY: its size is not zero.
        let piece = unsafe { System.alloc(with_mark) };
        if piece.is_null() {
            return piece;
        }
        let is_of_engine = !IS_OF_THE_TEST.with(Cell::get);
        if is_of_engine {
            grow(layout.size());
        }
        // SAFETY: the piece begins with room for the mark.
        unsafe {
            piece.cast::<usize>().write(usize::from(is_of_engine));
            piece.add(MARK)
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let Some(with_mark) = marked(layout) else {
            // SAFETY: as the caller promised.
            return unsafe { System.dealloc(pointer, layout) };
        };
        // SAFETY: it was handed out by `alloc`, behind its mark.
        unsafe {
            let piece = pointer.sub(MARK);
            if piece.cast::<usize>().read() == 1 {
                HELD.fetch_sub(layout.size(), Ordering::Relaxed);
            }
            System.dealloc(piece, with_mark);
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (Some(with_mark), Some(larger)) = (marked(layout), size.checked_add(MARK)) else {
            // SAFETY: as the caller promised; nothing with such an alignment has a mark.
            return unsafe { System.realloc(pointer, layout, size) };
        };
        // SAFETY: it was handed out by `alloc`, behind its mark, which the system keeps with the rest.
        unsafe {
            let piece = pointer.sub(MARK);
            let is_of_engine = piece.cast::<usize>().read() == 1;
            let piece = System.realloc(piece, with_mark, larger);
            if piece.is_null() {
                return ptr::null_mut();
            }
            if is_of_engine {
                HELD.fetch_sub(layout.size(), Ordering::Relaxed);
                grow(size);
            }
            piece.add(MARK)
        }
    }
}
