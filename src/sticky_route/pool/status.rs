use std::time::Duration;

use super::{Role, Route, Settings, State};

/// A member, as it is now.
#[derive(Clone, Debug)]
pub struct MemberStatus {
    pub(super) route: Route,
    pub(super) settings: Settings,
    pub(super) state: State,
    pub(super) effective_weight: u32,
    pub(super) owed: i64,
    pub(super) in_flight: usize,
    pub(super) retry_in: Option<Duration>,
}

impl MemberStatus {
    /// Its name.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// When it takes part.
    pub fn role(&self) -> Role {
        self.settings.role
    }

    /// Its tier.
    pub fn tier(&self) -> u8 {
        self.settings.tier
    }

    /// Who gets its clients when it takes nothing.
    pub fn successor(&self) -> Option<&str> {
        self.settings.successor.as_deref()
    }

    /// How many requests it takes at the same time. `None`: no bound.
    pub fn max_in_flight(&self) -> Option<u32> {
        Some(self.settings.max_in_flight).filter(|at_most| *at_most != u32::MAX)
    }

    /// What it takes.
    pub fn state(&self) -> State {
        self.state
    }

    /// Its weight, in hundredths.
    pub fn weight_in_hundredths(&self) -> u32 {
        self.settings.weight
    }

    /// What of its weight counts while it warms up, in hundredths.
    pub fn effective_weight_in_hundredths(&self) -> u32 {
        self.effective_weight
    }

    /// What the turns of [`Balance::SmoothWeighted`](super::Balance::SmoothWeighted),
    /// [`ByRequests`](super::Balance::ByRequests) and [`LeastBusy`](super::Balance::LeastBusy) owe it, in hundredths of a
    /// weight: the `lbstatus` of Apache's balancer-manager. Turns that were worked out beforehand owe what they would if the
    /// members that take new sessions had been the same since their period began.
    pub fn owed_in_hundredths(&self) -> i64 {
        self.owed
    }

    /// The requests that it has now, up to the end of the response body.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How long an ejected member is left alone still. `None` where it is not ejected.
    pub fn retry_in(&self) -> Option<Duration> {
        self.retry_in
    }
}
