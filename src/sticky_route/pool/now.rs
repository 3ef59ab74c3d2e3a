use std::cell::Cell;

/// The time, in milliseconds since the pool was built. The clock is asked once at most, and only where the time matters:
/// most picks do without.
pub(in super::super) struct Now<'a> {
    clock: &'a dyn Fn() -> u64,
    read: Cell<Option<u64>>,
}

impl<'a> Now<'a> {
    pub(in super::super) fn of(clock: &'a dyn Fn() -> u64) -> Self {
        Self { clock, read: Cell::new(None) }
    }

    pub(in super::super) fn get(&self) -> u64 {
        let now = self.read.get().unwrap_or_else(|| (self.clock)());
        self.read.set(Some(now));
        now
    }
}
