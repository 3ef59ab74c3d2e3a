use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::super::BuildError;
use super::super::service::Shared;
use super::state::{MemberState, State};
use super::{Entry, Member, Role, Route, Snapshot, WHOLE};

/// Changes the members of a running pool. Requests under way keep the members that they have.
///
/// # Example
///
/// ```
/// use http::{Request, Response};
/// use tower::service_fn;
/// use tower_proxied::sticky_route::{Member, RequestBody, RouteCookie, State, StickyRoute};
///
/// async fn hello(_: Request<RequestBody<String>>) -> Result<Response<String>, std::io::Error> {
///     Ok(Response::new("hello".to_owned()))
/// }
///
/// let sticky = StickyRoute::builder("shop")
///     .member(Member::new("http-1", service_fn(hello)))
///     .cookie(RouteCookie::plain())
///     .build()?;
/// let membership = sticky.membership();
/// membership.insert(Member::new("http-2", service_fn(hello)))?;
/// membership.set_state("http-1", State::Drain)?;
/// assert_eq!(membership.status()[0].state(), State::Drain);
/// assert!(membership.remove("http-3").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Membership<S> {
    shared: Arc<Shared<S>>,
}

impl<S> Membership<S> {
    pub(in super::super) fn new(shared: Arc<Shared<S>>) -> Self {
        Self { shared }
    }

    /// Adds a member. One of the same route is replaced; what is known of it stays.
    ///
    /// # Errors
    ///
    /// The route cannot be carried by the cookie.
    pub fn insert(&self, member: Member<S>) -> Result<(), BuildError> {
        self.change(|entries| {
            let known = entries.iter().position(|entry| entry.route.as_str() == &*member.route);
            let state = known
                .and_then(|at| entries.get(at))
                .map_or_else(|| Arc::new(MemberState::new()), |entry| entry.state.clone());
            let entry = Arc::new(Entry::new(member, &self.shared.cookie, state)?);
            match known.and_then(|at| entries.get_mut(at)) {
                Some(known) => *known = entry,
                None => entries.push(entry),
            }
            Ok(())
        })
    }

    /// Takes a member out. Clients that are pinned to it get another one.
    ///
    /// # Errors
    ///
    /// No member has this route.
    pub fn remove(&self, route: &str) -> Result<(), UnknownRoute> {
        self.change(|entries| {
            let at = position(entries, route)?;
            entries.remove(at);
            Ok(())
        })
    }

    /// What the member takes from now on. [`State::Ok`] ends an ejection, [`State::Ejected`] begins one.
    ///
    /// # Errors
    ///
    /// No member has this route.
    pub fn set_state(&self, route: &str, state: State) -> Result<(), UnknownRoute> {
        self.with(route, |entry| entry.state.set(state, self.shared.now(), self.shared.failover.backoff))
    }

    /// [`State::Drain`] that ends: when the time is over, clients that are pinned to the member get another one.
    ///
    /// # Errors
    ///
    /// No member has this route.
    pub fn drain(&self, route: &str, at_most: Duration) -> Result<(), UnknownRoute> {
        let now = self.shared.now();
        let until = now.saturating_add(u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX));
        self.with(route, |entry| entry.state.drain_until(until, now, self.shared.failover.backoff))
    }

    /// How many new sessions the member gets. What is known of it stays.
    ///
    /// # Errors
    ///
    /// No member has this route.
    pub fn set_weight(&self, route: &str, weight: u32) -> Result<(), UnknownRoute>
    where
        S: Clone,
    {
        self.change(|entries| {
            let at = position(entries, route)?;
            if let Some(entry) = entries.get_mut(at) {
                *entry = Arc::new(entry.with_weight(weight.saturating_mul(WHOLE)));
            }
            Ok(())
        })
    }

    /// All members, in their order.
    pub fn status(&self) -> Vec<MemberStatus> {
        let status = |entry: &Arc<Entry<S>>| MemberStatus {
            route: entry.route.clone(),
            role: entry.role,
            state: entry.state.state(),
            weight_in_hundredths: entry.weight,
            in_flight: entry.state.in_flight(),
        };
        self.shared.snapshot.load().entries.iter().map(status).collect()
    }

    fn with(&self, route: &str, act: impl FnOnce(&Entry<S>)) -> Result<(), UnknownRoute> {
        let snapshot = self.shared.snapshot.load();
        let at = snapshot.position(route);
        act(at.and_then(|at| snapshot.entries.get(at)).ok_or_else(|| UnknownRoute(route.into()))?);
        Ok(())
    }

    /// One change at a time; requests go on with the old snapshot meanwhile.
    fn change<E>(&self, change: impl FnOnce(&mut Vec<Arc<Entry<S>>>) -> Result<(), E>) -> Result<(), E> {
        let _one = self.shared.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = self.shared.snapshot.load().entries.clone();
        change(&mut entries)?;
        self.shared.snapshot.store(Arc::new(Snapshot::new(entries)));
        Ok(())
    }
}

impl<S> Clone for Membership<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<S> fmt::Debug for Membership<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Membership").field(&self.status()).finish()
    }
}

/// A member, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    route: Route,
    role: Role,
    state: State,
    weight_in_hundredths: u32,
    in_flight: usize,
}

impl MemberStatus {
    /// Its name.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// When it takes part.
    pub fn role(&self) -> Role {
        self.role
    }

    /// What it takes.
    pub fn state(&self) -> State {
        self.state
    }

    /// Its weight, in hundredths.
    pub fn weight_in_hundredths(&self) -> u32 {
        self.weight_in_hundredths
    }

    /// The requests that it has now, up to the end of the response body.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }
}

/// No member of the pool has this route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRoute(Box<str>);

impl fmt::Display for UnknownRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no member has the route {:?}", self.0)
    }
}

impl std::error::Error for UnknownRoute {}

fn position<S>(entries: &[Arc<Entry<S>>], route: &str) -> Result<usize, UnknownRoute> {
    entries.iter().position(|entry| entry.route.as_str() == route).ok_or_else(|| UnknownRoute(route.into()))
}
