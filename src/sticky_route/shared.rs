use std::any::Any;
use std::sync::Mutex;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::Stickiness;
use super::cookie::Cookie;
use super::failover::Failover;
use super::observer::{Change, Reporter};
use super::phase::Phase;
use super::pool::{Entry, Picker, Route, Snapshot};
use super::retry_budget::RetryBudget;

/// What all clones of a [`StickyRoute`] share.
pub(super) struct Shared<S> {
    pub(super) snapshot: ArcSwap<Snapshot<S>>,
    /// How often the operator changed the pool; held while that is done.
    pub(super) changes: Mutex<u64>,
    /// Counts the changes that are told to whoever watches.
    pub(super) revision: watch::Sender<u64>,
    pub(super) picker: Picker,
    pub(super) cookie: Cookie,
    pub(super) stickiness: Stickiness,
    pub(super) failover: Failover,
    pub(super) retry_budget: Option<RetryBudget>,
    pub(super) classify: Option<fn(&dyn Any) -> Phase>,
    pub(super) clock: Clock,
    pub(super) reporter: Reporter,
}

impl<S> Shared<S> {
    pub(super) fn now(&self) -> u64 {
        self.clock.milliseconds()
    }

    /// Something has changed that is seen from outside.
    pub(super) fn tell(&self) {
        self.revision.send_modify(|revision| *revision = revision.wrapping_add(1));
    }

    /// Requests, or the operator, changed the state of a member.
    pub(super) fn changed(&self, route: &Route, change: Change) {
        self.tell();
        self.reporter.member_changed(route, change);
    }

    /// How long clients of a member that takes nothing have to wait for it, if they have to.
    pub(super) fn wait_for(&self, pinned: &Entry<S>, now: u64) -> Option<Option<u64>> {
        if pinned.state.is_given_up(now) && self.stickiness != Stickiness::Strict {
            return None;
        }
        match self.stickiness {
            Stickiness::Soft => None,
            Stickiness::Hard | Stickiness::Strict => Some(pinned.state.retry_at()),
            Stickiness::HardFor(patience) => {
                let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
                // It is full otherwise, which passes.
                let Some(since) = pinned.state.down_since() else { return Some(None) };
                let until = since.saturating_add(patience);
                (now < until).then_some(Some(until))
            }
        }
    }
}

/// Milliseconds since the pool was built.
pub(super) struct Clock {
    start: Instant,
    now: Box<dyn Fn() -> Instant + Send + Sync>,
}

impl Clock {
    pub(super) fn new(now: Box<dyn Fn() -> Instant + Send + Sync>) -> Self {
        Self { start: now(), now }
    }

    pub(super) fn instant(&self) -> Instant {
        (self.now)()
    }

    fn milliseconds(&self) -> u64 {
        let passed = self.instant().saturating_duration_since(self.start);
        u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
    }
}
