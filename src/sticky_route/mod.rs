//! Balances requests over application servers, and keeps each client with the one that has its session.

mod body;
mod builder;
mod cookie;
mod failover;
mod pool;
mod route_suffix;
mod service;

pub use self::body::{InFlight, RequestBody};
use self::builder::Problem;
pub use self::builder::{BuildError, Builder, Stickiness};
pub use self::cookie::{RouteCookie, SameSite, Secure};
pub use self::failover::{Failover, Phase};
pub use self::pool::{Balance, Member, MemberStatus, Membership, Role, Route, State, UnknownRoute};
pub use self::route_suffix::{RouteSuffix, RouteSuffixLayer};
pub use self::service::{ResponseFuture, StickyRoute};

/// What became of a request, in the extensions of the response: for logs, and for outer layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    route: Option<Route>,
    outcome: Outcome,
    attempts: usize,
}

impl Decision {
    /// The member that answered. `None` where the pool refused the request.
    pub fn route(&self) -> Option<&Route> {
        self.route.as_ref()
    }

    /// What became of the pin.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// How many members got the request, or were to get it.
    pub fn attempts(&self) -> usize {
        self.attempts
    }
}

/// What became of the pin of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// No cookie: a new client.
    New,
    /// The member that the cookie names answered.
    Hit,
    /// The same; and the cookie was one from before, so that the client got a new one.
    HitReissue,
    /// The cookie names no member.
    Unknown,
    /// The member that the cookie names takes nothing, and no other answered in its place.
    Unusable,
    /// Another member answered, and the client is pinned to it now.
    Repinned,
    /// Another member answered; the client stays pinned to its own.
    Detour,
    /// No cookie of the application.
    Absent,
    /// The cookie of the application names no member.
    NoRoute,
    /// A path for which the cookie is not meant.
    OutOfScope,
}
