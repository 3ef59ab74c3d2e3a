use std::sync::Arc;

use super::ejection::Ejection;
use super::state::{AWAITED, MemberState};
use super::sync::Ordering;

/// One request that a member has. It counts until it is dropped.
#[derive(Debug)]
pub(in super::super) struct Attempt {
    pub(super) state: Arc<MemberState>,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Usual,
    /// It alone tries the member, which was ejected up to then.
    Probe {
        ejection: u64,
    },
    LastResort {
        ejection: u64,
    },
}

/// How a member failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Failure {
    /// It could not be reached.
    Connect,
    /// It may have got the request, and gave no response.
    Sent,
    /// Its response tells so.
    Response,
}

impl Attempt {
    /// The time has no part in what a success changes.
    pub(in super::super) fn is_timeless(&self, ejection: &Ejection) -> bool {
        self.kind == Kind::Usual && ejection.floor.is_none()
    }

    /// The member answered. Whether that changes its state.
    pub(in super::super) fn succeeded(&mut self, now: u64, ejection: &Ejection) -> bool {
        match std::mem::replace(&mut self.kind, Kind::Usual) {
            Kind::Usual => {
                self.state.succeeded(now, ejection);
                false
            }
            Kind::Probe { ejection } | Kind::LastResort { ejection } => self.state.recover(ejection, now),
        }
    }

    /// Whether that changes the state of the member.
    pub(in super::super) fn failed(&mut self, failure: Failure, now: u64, ejection: &Ejection) -> bool {
        self.state.failed(failure, self.kind != Kind::Usual, now, ejection)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Kind::Probe { ejection } = self.kind {
            // Neither success nor failure: the next request may try the member.
            self.state.end_probe(ejection);
        }
        if self.state.requests.fetch_sub(1, Ordering::AcqRel) == AWAITED | 1 {
            self.state.requests.fetch_and(!AWAITED, Ordering::AcqRel);
            self.state.idle.notify_waiters();
        }
    }
}
