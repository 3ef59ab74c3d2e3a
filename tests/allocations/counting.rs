//! An allocator that counts, for each thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

#[global_allocator]
static COUNTING: Counting = Counting;

/// What one thread took from the heap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) allocations: usize,
    pub(crate) bytes: usize,
}

thread_local! {
    static TAKEN: Cell<Taken> = const { Cell::new(Taken { allocations: 0, bytes: 0 }) };
    /// What is in use, and the most that was.
    static LIVE: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

pub(crate) fn taken<T>(work: impl FnOnce() -> T) -> (Taken, T) {
    let before = TAKEN.get();
    let done = work();
    let after = TAKEN.get();
    let taken =
        Taken { allocations: after.allocations - before.allocations, bytes: after.bytes - before.bytes };
    (taken, done)
}

/// How much more than before was in use at once.
pub(crate) fn peak(work: impl FnOnce()) -> usize {
    let (before, _) = LIVE.get();
    LIVE.set((before, before));
    work();
    usize::try_from(LIVE.get().1 - before).unwrap()
}

/// The system's allocator, counting for each thread.
struct Counting;

impl Counting {
    fn count(size: usize, freed: usize) {
        let taken = TAKEN.get();
        TAKEN.set(Taken { allocations: taken.allocations + 1, bytes: taken.bytes + size });
        Self::hold(size, freed);
    }

    fn hold(size: usize, freed: usize) {
        let (live, most) = LIVE.get();
        let live = live + size.cast_signed() - freed.cast_signed();
        LIVE.set((live, most.max(live)));
    }
}

// SAFETY: all is handed on to the system's allocator, and counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size(), 0);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size(), 0);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count(size, layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        Self::hold(0, layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(taken(|| black_box(Box::new([0_u8; 24]))).0, Taken { allocations: 1, bytes: 24 });
    let grown = taken(|| {
        let mut text = Vec::with_capacity(1);
        text.extend_from_slice(black_box(&[0_u8; 100]));
        text
    });
    assert_eq!(grown.0.allocations, 2);
    assert_eq!(
        peak(|| {
            drop(black_box(vec![0_u8; 100]));
            let kept = black_box(vec![0_u8; 30]);
            drop(black_box(vec![0_u8; 60]));
            drop(kept);
        }),
        100
    );
    let elsewhere = || std::thread::spawn(|| black_box(vec![0_u8; 1 << 20])).join().unwrap();
    assert!(taken(elsewhere).0.bytes < 1 << 20, "another thread's are not counted");
}
