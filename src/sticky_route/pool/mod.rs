//! The members, what is known of them, and which of them gets a request.

mod alias;
mod attempt;
mod drained;
mod ejection;
mod membership;
mod now;
mod pick;
mod snapshot;
mod state;
mod status;
mod sync;
#[cfg(test)]
mod tests;
#[cfg(feature = "tower")]
mod tower;
mod turns;
mod window;
mod word;

use std::fmt;
use std::sync::Arc;

use super::{BuildError, Problem};
use crate::wire::cookie::is_value;

pub(super) use self::attempt::{Attempt, Failure};
pub use self::drained::{Drained, StillBusy};
pub(super) use self::ejection::{Backoff, Ejection, Floor};
pub use self::membership::{Membership, UnknownRoute, Watch};
#[cfg(feature = "admin")]
pub(super) use self::membership::{Order, OrderRefused};
pub(super) use self::now::Now;
pub use self::pick::Balance;
pub(super) use self::pick::{Client, Picked, Picker};
pub(super) use self::snapshot::{Entry, Snapshot};
pub use self::state::State;
pub(super) use self::state::Whose;
pub use self::status::MemberStatus;
#[cfg(feature = "tower")]
pub use self::tower::DriveError;

/// The name of a member, as cookies carry it.
///
/// # Example
///
/// ```
/// use tower_proxied::sticky_route::Route;
///
/// assert_eq!(Route::parse("http-1")?.as_str(), "http-1");
/// assert!(Route::parse("a b").is_err());
/// # Ok::<(), tower_proxied::sticky_route::BuildError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Route(Arc<str>);

impl Route {
    /// # Errors
    ///
    /// A name that is empty, longer than 95 bytes (Apache's limit), or no cookie value (RFC 6265, section 4.1.1).
    pub fn parse(name: &str) -> Result<Self, BuildError> {
        if name.is_empty() || name.len() > 95 || !is_value(name.as_bytes()) {
            return Err(Problem::Route.of(name));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Found by name in maps.
impl std::borrow::Borrow<str> for Route {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A member of a pool: a route, and the service that stands for the application server.
///
/// # Example
///
/// ```
/// use http::{Request, Response};
/// use tower::{ServiceExt, service_fn};
/// use tower_proxied::sticky_route::{Decision, Member, RequestBody, Role, RouteCookie, State, StickyRoute};
///
/// async fn serve(_: Request<RequestBody<String>>) -> Result<Response<String>, std::io::Error> {
///     Ok(Response::new("hello".to_owned()))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sticky = StickyRoute::builder("shop")
///     .member(Member::new("old", service_fn(serve)).successor("new"))
///     .member(Member::new("new", service_fn(serve)).weight(2).max_in_flight(200))
///     .member(Member::new("other", service_fn(serve)))
///     .member(Member::new("far", service_fn(serve)).tier(1))
///     .member(Member::new("sorry", service_fn(serve)).tier(1).role(Role::Standby))
///     .cookie(RouteCookie::plain())
///     .build()?;
/// sticky.membership().set_state("old", State::Stopped)?;
/// let request = Request::builder().header("cookie", "shop-route=old").body(String::new())?;
/// let response = sticky.oneshot(request).await?;
/// let decision = response.extensions().get::<Decision>().expect("each response has one");
/// assert_eq!(decision.to_string(), "route=new outcome=repinned attempts=1");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Member<S> {
    route: Box<str>,
    service: S,
    settings: Settings,
}

impl<S> Member<S> {
    /// A member of weight 1 that takes part all the time. The route is checked where the pool is built.
    pub fn new(route: &str, service: S) -> Self {
        Self { route: route.into(), service, settings: Settings::default() }
    }

    /// How many new sessions it gets, against the other members. 0: none, but those it has stay.
    pub fn weight(self, weight: u32) -> Self {
        self.weight_in_hundredths(weight.saturating_mul(WHOLE))
    }

    /// The weight as Apache's `loadfactor` has it: 225 for 2.25.
    pub fn weight_in_hundredths(mut self, weight: u32) -> Self {
        self.settings.weight = weight;
        self
    }

    /// When it takes part. [`Role::Active`] unless said.
    pub fn role(mut self, role: Role) -> Self {
        self.settings.role = role;
        self
    }

    /// Members of a tier get new sessions where all lower tiers have nobody left, their standby members included: Apache's
    /// `lbset`. 0 unless said.
    pub fn tier(mut self, tier: u8) -> Self {
        self.settings.tier = tier;
        self
    }

    /// Who gets the clients of this member when it takes nothing, as `redirect=` of Apache: instead of one that is picked
    /// for them, and before [`Stickiness`](super::Stickiness) is asked. It must take new sessions; if it does not, its own
    /// successor is looked at, and so on.
    ///
    /// It outlives the member: see [`Membership::remove`]. One that is no member is passed over. The route is checked where
    /// the pool is built.
    pub fn successor(mut self, route: &str) -> Self {
        self.settings.successor = Some(route.into());
        self
    }

    /// It takes no further request while it has so many; a request counts until the response body ended or was dropped.
    /// Clients that are pinned to a full member get what [`Stickiness`](super::Stickiness) says. No bound unless said.
    pub fn max_in_flight(mut self, at_most: u32) -> Self {
        self.settings.max_in_flight = at_most;
        self
    }

    /// Its failures are never held against it.
    pub fn never_ejected(mut self) -> Self {
        self.settings.is_never_ejected = true;
        self
    }
}

/// What the operator says of a member, but for its state.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    weight: u32,
    role: Role,
    tier: u8,
    successor: Option<Arc<str>>,
    /// `u32::MAX`: no bound.
    max_in_flight: u32,
    pub(super) is_never_ejected: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            weight: WHOLE,
            role: Role::Active,
            tier: 0,
            successor: None,
            max_in_flight: u32::MAX,
            is_never_ejected: false,
        }
    }
}

/// When a member takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// All the time.
    Active,
    /// One of them in place of each active member of its tier that takes no new sessions.
    Spare,
    /// When no active member and no spare of its tier takes new sessions.
    Standby,
}

/// Weights are counted in hundredths.
pub(super) const WHOLE: u32 = 100;
