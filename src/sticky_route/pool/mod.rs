//! The members, what is known of them, and which of them gets a request.

mod membership;
mod pick;
mod state;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use http::HeaderValue;

use super::cookie::{Cookie, Pins};
use super::{BuildError, Problem};
use crate::wire::cookie::is_value;

pub use self::membership::{MemberStatus, Membership, UnknownRoute};
pub use self::pick::Balance;
pub(super) use self::pick::{Picked, pick, pick_in_place_of, take_pinned};
pub use self::state::State;
pub(super) use self::state::{Attempt, Backoff, MemberState};

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
#[derive(Clone, Debug)]
#[must_use]
pub struct Member<S> {
    route: Box<str>,
    service: S,
    weight: u32,
    role: Role,
    is_never_ejected: bool,
}

impl<S> Member<S> {
    /// A member of weight 1 that takes part all the time. The route is checked where the pool is built.
    pub fn new(route: &str, service: S) -> Self {
        Self { route: route.into(), service, weight: WHOLE, role: Role::Active, is_never_ejected: false }
    }

    /// How many new sessions it gets, against the other members. 0: none, but those it has stay.
    pub fn weight(self, weight: u32) -> Self {
        self.weight_in_hundredths(weight.saturating_mul(WHOLE))
    }

    /// The weight as Apache's `loadfactor` has it: 225 for 2.25.
    pub fn weight_in_hundredths(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// When it takes part. [`Role::Active`] unless said.
    pub fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Its failures are never held against it.
    pub fn never_ejected(mut self) -> Self {
        self.is_never_ejected = true;
        self
    }
}

/// When a member takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// All the time.
    Active,
    /// One of them in place of each active member that takes no new sessions.
    Spare,
    /// When no active member and no spare takes new sessions.
    Standby,
}

/// Weights are counted in hundredths.
const WHOLE: u32 = 100;

/// A member in a pool.
#[derive(Debug)]
pub(super) struct Entry<S> {
    pub(super) route: Route,
    pub(super) service: S,
    pub(super) is_never_ejected: bool,
    pub(super) state: Arc<MemberState>,
    /// The `Set-Cookie` lines that name it, for http and for https.
    pub(super) issued: Option<[HeaderValue; 2]>,
    weight: u32,
    role: Role,
    /// What cookies may carry for it, and whether that is what is issued today.
    pins: Arc<[(Box<[u8]>, bool)]>,
}

impl<S> Entry<S> {
    fn new(member: Member<S>, cookie: &Cookie, state: Arc<MemberState>) -> Result<Self, BuildError> {
        let route = Route::parse(&member.route)?;
        let Pins { values, issued } = cookie.pins(&route)?;
        Ok(Self {
            route,
            service: member.service,
            is_never_ejected: member.is_never_ejected,
            state,
            issued,
            weight: member.weight,
            role: member.role,
            pins: values.into(),
        })
    }

    fn with_weight(&self, weight: u32) -> Self
    where
        S: Clone,
    {
        Self {
            route: self.route.clone(),
            service: self.service.clone(),
            is_never_ejected: self.is_never_ejected,
            state: self.state.clone(),
            issued: self.issued.clone(),
            weight,
            role: self.role,
            pins: self.pins.clone(),
        }
    }
}

/// All members at one moment. Requests read it, changes replace it.
#[derive(Debug)]
pub(super) struct Snapshot<S> {
    entries: Vec<Arc<Entry<S>>>,
    /// Keyed with a secret of the process, so that its timing tells nothing about tokens.
    pins: HashMap<Box<[u8]>, (usize, bool)>,
    /// For each active member of any weight, the weights up to its own.
    weights: Vec<(u64, usize)>,
    has_spares: bool,
}

impl<S> Snapshot<S> {
    pub(super) fn build(members: Vec<Member<S>>, cookie: &Cookie) -> Result<Self, BuildError> {
        let mut entries: Vec<Arc<Entry<S>>> = Vec::with_capacity(members.len());
        let mut routes = HashSet::new();
        for member in members {
            let entry = Entry::new(member, cookie, Arc::new(MemberState::new()))?;
            if !routes.insert(entry.route.clone()) {
                return Err(Problem::DuplicateRoute.of(entry.route.as_str()));
            }
            entries.push(Arc::new(entry));
        }
        Ok(Self::new(entries))
    }

    /// The member that a cookie names, and whether the cookie is the one issued today.
    pub(super) fn pinned(&self, pin: &[u8]) -> Option<(&Arc<Entry<S>>, bool)> {
        let (at, is_current) = self.pins.get(pin)?;
        Some((self.entries.get(*at)?, *is_current))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// When the first of the ejected members will be tried.
    pub(super) fn earliest_retry(&self) -> Option<u64> {
        self.entries.iter().filter_map(|entry| entry.state.retry_at()).min()
    }

    fn new(entries: Vec<Arc<Entry<S>>>) -> Self {
        let mut pins = HashMap::new();
        let mut weights = Vec::new();
        let mut sum = 0_u64;
        for (at, entry) in entries.iter().enumerate() {
            for (pin, is_current) in entry.pins.iter() {
                // A route could be spelled like another one's token: what is issued today goes first.
                let known = pins.entry(pin.clone()).or_insert((at, *is_current));
                if *is_current {
                    *known = (at, true);
                }
            }
            if entry.role == Role::Active && entry.weight > 0 {
                sum = sum.saturating_add(entry.weight.into());
                weights.push((sum, at));
            }
        }
        let has_spares = entries.iter().any(|entry| entry.role == Role::Spare);
        Self { entries, pins, weights, has_spares }
    }

    fn position(&self, route: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.route.as_str() == route)
    }
}
