use std::time::Duration;

use super::sync::{AtomicU64, Ordering, random};
use super::window::Tally;
use super::word::Word;

/// When a member is ejected, and for how long.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Ejection {
    /// How many failures to connect in a row it takes. 0 means 1.
    pub(in super::super) after: u8,
    pub(in super::super) floor: Option<Floor>,
    /// Milliseconds in half of the window of the floor.
    pub(in super::super) half_window: u64,
    pub(in super::super) backoff: Backoff,
}

/// The least share of results that are no failures.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Floor {
    pub(in super::super) percent: u8,
    pub(in super::super) at_least: u32,
}

impl Floor {
    pub(super) fn is_above(self, tally: Tally) -> bool {
        let successes = u64::from(tally.results.saturating_sub(tally.failures));
        tally.results >= self.at_least
            && successes.saturating_mul(100) < u64::from(self.percent).saturating_mul(tally.results.into())
    }
}

/// How long a member that failed is left alone: doubled with each ejection in a row.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Backoff {
    pub(in super::super) first: Duration,
    pub(in super::super) at_most: Duration,
}

impl Backoff {
    /// In milliseconds.
    pub(super) fn after(self, ejections: u8) -> u64 {
        let factor = 2_u32.saturating_pow(u32::from(ejections.saturating_sub(1)));
        let delay = self.first.saturating_mul(factor).min(self.at_most);
        u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).clamp(1, Word::LATEST >> 1)
    }
}

/// Up to a tenth longer, so that front ends that saw one failure do not all try the member in one moment.
pub(super) fn jittered(delay: u64) -> u64 {
    let most = u128::from(delay / 10).saturating_add(1);
    let longer = u128::from(random()).saturating_mul(most) >> 64;
    delay.saturating_add(u64::try_from(longer).unwrap_or(0))
}

/// Counts the ejected members of a pool. Failures eject no more than half of them, rounded down.
#[derive(Debug, Default)]
pub(super) struct Quota {
    ejected: AtomicU64,
    members: AtomicU64,
}

impl Quota {
    pub(super) fn has_members(&self, number: usize) {
        self.members.store(u64::try_from(number).unwrap_or(u64::MAX), Ordering::Release);
    }

    pub(super) fn take(&self) -> bool {
        let half = self.members.load(Ordering::Acquire) >> 1;
        let one_more = |ejected: u64| (ejected < half).then(|| ejected.wrapping_add(1));
        self.ejected.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
    }

    /// The operator ejects as many as there are.
    pub(super) fn take_anyway(&self) -> bool {
        self.ejected.fetch_add(1, Ordering::AcqRel);
        true
    }

    pub(super) fn give_back(&self) {
        self.ejected.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::super::pick::seed;
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_the_most() {
        let backoff = Backoff { first: Duration::from_secs(1), at_most: Duration::from_secs(5) };
        assert_eq!(
            [1, 2, 3, 4, 31].map(|ejections| backoff.after(ejections)),
            [1000, 2000, 4000, 5000, 5000]
        );
        assert_eq!(Backoff { first: Duration::ZERO, at_most: Duration::ZERO }.after(1), 1);
    }

    #[test]
    fn jitter_adds_up_to_a_tenth() {
        seed(1);
        let drawn: Vec<_> = (0..1000).map(|_| jittered(1000)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&1000), Some(&1100)));
        seed(1);
        assert!(drawn.iter().all(|delay| jittered(1000) == *delay), "the same in each run");
        assert_eq!(jittered(9), 9);
        assert!(jittered(Word::LATEST >> 1) <= Word::LATEST);
    }

    #[test]
    fn a_floor_is_a_share_of_enough_results() {
        let floor = Floor { percent: 50, at_least: 20 };
        for (results, failures, is_above) in [
            (19, 19, false),
            (20, 10, false),
            (20, 11, true),
            (21, 11, true),
            (1000, 500, false),
            (1000, 501, true),
        ] {
            assert_eq!(floor.is_above(Tally { results, failures }), is_above, "{failures} of {results}");
        }
        let all = Floor { percent: 100, at_least: 0 };
        assert!(all.is_above(Tally { results: 200, failures: 1 }));
        assert!(!all.is_above(Tally { results: 200, failures: 0 }));
        assert!(!Floor { percent: 0, at_least: 0 }.is_above(Tally { results: 9, failures: 9 }));
    }
}
