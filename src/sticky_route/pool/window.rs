use super::sync::{AtomicU64, Ordering};

/// The results of a member in about the last so many milliseconds, without a lock: two halves of the time, the older one
/// is forgotten as a whole.
#[derive(Debug)]
pub(super) struct Window {
    even: AtomicU64,
    odd: AtomicU64,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { even: AtomicU64::new(0), odd: AtomicU64::new(0) }
    }

    /// Counts a result in, where half of the window lasts so long. What is counted then: of this half and the one before.
    pub(super) fn count(&self, now: u64, half: u64, is_failure: bool) -> Tally {
        let number = u32::try_from(now.checked_div(half).unwrap_or(0)).unwrap_or(u32::MAX);
        let (this, other) = if number & 1 == 0 { (&self.even, &self.odd) } else { (&self.odd, &self.even) };
        let mut seen = this.load(Ordering::Acquire);
        let tally = loop {
            let old = Half::unpack(seen);
            // Another thread's clock was read later.
            if old.number > number {
                return Tally::default();
            }
            let before = if old.number == number { old.tally } else { Tally::default() };
            let new = Half { number, tally: before.with(is_failure) };
            match this.compare_exchange_weak(seen, new.pack(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break new.tally,
                Err(changed) => seen = changed,
            }
        };
        let other = Half::unpack(other.load(Ordering::Acquire));
        if other.number.checked_add(1) == Some(number) { tally.plus(other.tally) } else { tally }
    }

    pub(super) fn clear(&self) {
        self.even.store(0, Ordering::Release);
        self.odd.store(0, Ordering::Release);
    }
}

/// How many results there were, and how many of them were failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) results: u32,
    pub(super) failures: u32,
}

impl Tally {
    /// What a half has room for.
    const MOST: u32 = u16::MAX as u32;

    /// A full half keeps its rate, and forgets the half of its results.
    fn with(self, is_failure: bool) -> Self {
        let Self { results, failures } = if self.results < Self::MOST {
            self
        } else {
            Self { results: self.results >> 1, failures: self.failures >> 1 }
        };
        Self { results: results.saturating_add(1), failures: failures.saturating_add(is_failure.into()) }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            results: self.results.saturating_add(other.results),
            failures: self.failures.saturating_add(other.failures),
        }
    }
}

/// 32 bits of its number since the pool was built, 16 of failures, 16 of results.
struct Half {
    number: u32,
    tally: Tally,
}

impl Half {
    fn pack(&self) -> u64 {
        u64::from(self.number) << 32 | u64::from(self.tally.failures) << 16 | u64::from(self.tally.results)
    }

    fn unpack(half: u64) -> Self {
        let [a, b, c, d, n @ ..] = half.to_le_bytes();
        let tally =
            Tally { results: u16::from_le_bytes([a, b]).into(), failures: u16::from_le_bytes([c, d]).into() };
        Self { number: u32::from_le_bytes(n), tally }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tally(results: u32, failures: u32) -> Tally {
        Tally { results, failures }
    }

    #[test]
    fn a_half_is_forgotten_as_a_whole() {
        let window = Window::new();
        for (now, is_failure, expected) in [
            (0, true, (1, 1)),
            (499, false, (2, 1)),
            (500, true, (3, 2)),
            (999, true, (4, 3)),
            (1000, false, (3, 2)),
            (2000, true, (1, 1)),
            (9_999_999_999, false, (1, 0)),
        ] {
            let (results, failures) = expected;
            assert_eq!(window.count(now, 500, is_failure), tally(results, failures), "{now}");
        }
        window.clear();
        assert_eq!(window.count(9_999_999_999, 500, true), tally(1, 1));
    }

    #[test]
    fn who_reads_the_clock_before_a_later_half_began_counts_nothing() {
        let window = Window::new();
        window.count(2000, 500, true);
        assert_eq!(window.count(999, 500, true).results, 1, "the half before the last");
        assert_eq!(window.count(499, 500, true), Tally::default());
        assert_eq!(window.count(2000, 500, false), tally(2, 1));
    }

    #[test]
    fn a_full_half_keeps_its_rate() {
        let window = Window::new();
        for at in 0..200_000 {
            let Tally { results, failures } = window.count(0, 500, at % 4 == 0);
            assert!(
                results <= Tally::MOST && (failures * 4).abs_diff(results) <= 8,
                "{failures} of {results}"
            );
        }
    }

    proptest! {
        #[test]
        fn it_is_the_list_of_all_results(
            results in prop::collection::vec((0..400_u64, any::<bool>()), 1..60),
            half in 1..600_u64,
        ) {
            let (window, mut now, mut all) = (Window::new(), 0, Vec::new());
            for (passed, is_failure) in results {
                now += passed;
                all.push((now / half, is_failure));
                let kept: Vec<_> = all.iter().filter(|(number, _)| number + 1 >= now / half).collect();
                let failures = kept.iter().filter(|(_, is_failure)| *is_failure).count();
                prop_assert_eq!(
                    window.count(now, half, is_failure),
                    tally(kept.len() as u32, failures as u32)
                );
            }
        }
    }
}
