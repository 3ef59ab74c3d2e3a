use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::BuildError;
use super::super::observer::Change;
use super::super::shared::Shared;
use super::drained::Drained;
use super::ejection::Quota;
use super::state::{MemberState, State};
use super::{Balance, Entry, Member, MemberStatus, Route, Snapshot, WHOLE};

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
    pub(super) shared: Arc<Shared<S>>,
}

impl<S> Membership<S> {
    pub(in super::super) fn new(shared: Arc<Shared<S>>) -> Self {
        Self { shared }
    }

    /// Adds a member. One of the same route is replaced, and what is known of it stays: its state, and the requests that
    /// it has. A new one warms up, if the [`Builder`](crate::sticky_route::Builder::slow_start) says so.
    ///
    /// # Errors
    ///
    /// A route that the cookie cannot carry: its own, or its successor's.
    pub fn insert(&self, member: Member<S>) -> Result<(), BuildError> {
        let route = self.change(|members| members.put(member, &self.shared))?;
        self.shared.reporter.member_changed(&route, Change::Inserted);
        Ok(())
    }

    /// Takes a member out. Requests that it has run on. Clients that are pinned to it get its successor, if it has one;
    /// else another one, as clients of an unknown member. A route that only leads to a successor is forgotten.
    ///
    /// # Errors
    ///
    /// No member has this route.
    pub fn remove(&self, route: &str) -> Result<(), UnknownRoute> {
        if self.remove_member(route) {
            return Ok(());
        }
        self.change(|members| {
            let at = position(&members.gone, route).ok_or_else(|| UnknownRoute(route.into()))?;
            members.gone.remove(at);
            Ok(())
        })
    }

    /// Whether there was one. What leads to its successor stays.
    pub(super) fn remove_member(&self, route: &str) -> bool {
        let removed = self.change(|members| {
            let at = position(&members.entries, route).ok_or(())?;
            let removed = members.entries.remove(at);
            // Whoever still reads the old snapshot does not get in.
            removed.state.set(State::Stopped, self.shared.now(), self.shared.failover.ejection.backoff);
            if let Some(successor) = &removed.settings.successor
                && let Ok(gone) = Entry::gone(route, successor, &self.shared.cookie)
            {
                members.gone.push(Arc::new(gone));
            }
            Ok::<_, ()>(removed.route.clone())
        });
        if let Ok(route) = &removed {
            self.shared.reporter.member_changed(route, Change::Removed);
        }
        removed.is_ok()
    }

    /// What the member takes from now on. [`State::Ok`] ends an ejection, [`State::Ejected`] begins one.
    ///
    /// # Errors
    ///
    /// No member has this route.
    pub fn set_state(&self, route: &str, state: State) -> Result<(), UnknownRoute> {
        self.change_state(route, state, |of_member| {
            of_member.set(state, self.shared.now(), self.shared.failover.ejection.backoff);
        })?;
        Ok(())
    }

    /// [`State::Drain`] that ends: when the time is over, clients that are pinned to the member get another one.
    ///
    /// It begins at once. What is returned can be awaited, or dropped: that changes nothing of the drain.
    ///
    /// # Errors
    ///
    /// No member has this route.
    ///
    /// # Example
    ///
    /// A member is drained, and taken out when it has no request, or after half an hour whatever it has:
    ///
    /// ```
    /// # use http::{Request, Response};
    /// # use tower::service_fn;
    /// # use tower_proxied::sticky_route::{Member, RequestBody, RouteCookie, StickyRoute};
    /// # async fn hello(_: Request<RequestBody<String>>) -> Result<Response<String>, std::io::Error> {
    /// #     Ok(Response::new("hello".to_owned()))
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sticky = StickyRoute::builder("shop")
    /// #     .member(Member::new("http-1", service_fn(hello)))
    /// #     .cookie(RouteCookie::plain())
    /// #     .build()?;
    /// use std::time::Duration;
    ///
    /// let members = sticky.membership();
    /// if let Err(busy) = members.drain("http-1", Duration::from_secs(1800))?.await {
    ///     eprintln!("{busy}");
    /// }
    /// members.remove("http-1")?;
    /// assert!(members.status().is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn drain(&self, route: &str, at_most: Duration) -> Result<Drained, UnknownRoute> {
        let entry = self.change_state(route, State::Drain, |state| self.drain_state(state, at_most))?;
        Ok(Drained::new(route, entry.state.clone(), at_most))
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
        self.change(|members| {
            let entry = members.get_mut(route).ok_or_else(|| UnknownRoute(route.into()))?;
            Arc::make_mut(entry).settings.weight = weight.saturating_mul(WHOLE);
            Ok(())
        })
    }

    /// Who gets the clients of `route` when it takes nothing, or is no member any more: see
    /// [`Member::successor`](super::Member::successor). [`remove`](Self::remove) forgets it where `route` is no member.
    ///
    /// # Errors
    ///
    /// A route that the cookie cannot carry.
    pub fn set_successor(&self, route: &str, successor: &str) -> Result<(), BuildError>
    where
        S: Clone,
    {
        Route::parse(successor)?;
        self.change(|members| {
            match members.get_mut(route) {
                Some(entry) => Arc::make_mut(entry).settings.successor = Some(successor.into()),
                None => {
                    let gone = Arc::new(Entry::gone(route, successor, &self.shared.cookie)?);
                    members.gone.retain(|known| known.route != gone.route);
                    members.gone.push(gone);
                }
            }
            Ok(())
        })
    }

    /// All members, in their order.
    pub fn status(&self) -> Vec<MemberStatus> {
        let now = self.shared.now();
        let snapshot = self.shared.snapshot.load();
        let status = |entry: &Arc<Entry<S>>| MemberStatus {
            route: entry.route.clone(),
            settings: entry.settings.clone(),
            state: entry.state.state(),
            effective_weight: entry.state.warm_weight(entry.settings.weight, now, self.shared.picker.warm_up),
            owed: entry.state.lag.load(Ordering::Relaxed),
            in_flight: entry.state.in_flight(),
            retry_in: entry.state.retry_at().map(|at| Duration::from_millis(at.saturating_sub(now))),
        };
        let mut members: Vec<MemberStatus> = snapshot.entries().iter().map(status).collect();
        if self.shared.picker.balance == Balance::SmoothWeighted {
            let turn = self.shared.picker.taken_turns.load(Ordering::Relaxed);
            let is_passed_over = |at: usize| members.get(at).is_none_or(|member| member.state != State::Ok);
            for (at, owed) in snapshot.turns().owed(turn, is_passed_over) {
                if let Some(member) = members.get_mut(at) {
                    member.owed = member.owed.saturating_add(owed);
                }
            }
        }
        members
    }

    /// Tells of changes from now on.
    ///
    /// # Example
    ///
    /// ```
    /// # use http::{Request, Response};
    /// # use tower::service_fn;
    /// # use tower_proxied::sticky_route::{Member, RequestBody, RouteCookie, StickyRoute};
    /// # async fn hello(_: Request<RequestBody<String>>) -> Result<Response<String>, std::io::Error> {
    /// #     Ok(Response::new("hello".to_owned()))
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sticky = StickyRoute::builder("shop").cookie(RouteCookie::plain()).build()?;
    /// let members = sticky.membership();
    /// let mut watch = members.watch();
    /// members.insert(Member::new("http-1", service_fn(hello)))?;
    /// assert_eq!(watch.changed().await[0].route().as_str(), "http-1");
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch(&self) -> Watch<S> {
        Watch { receiver: self.shared.revision.subscribe(), membership: self.clone() }
    }

    #[cfg(feature = "tower")]
    pub(super) fn in_flight(&self) -> usize {
        let snapshot = self.shared.snapshot.load();
        snapshot.entries().iter().fold(0, |sum, entry| sum.saturating_add(entry.state.in_flight()))
    }

    #[cfg(feature = "tower")]
    pub(super) fn replace_service(&self, route: &str, service: S) -> Result<(), BuildError> {
        let route = self.change(|members| {
            let known = position(&members.entries, route).and_then(|at| members.entries.get(at));
            let settings = known.map(|known| known.settings.clone()).unwrap_or_default();
            members.put(Member { route: route.into(), service, settings }, &self.shared)
        })?;
        self.shared.reporter.member_changed(&route, Change::Inserted);
        Ok(())
    }

    /// How often the operator changed the pool: what requests find out does not count.
    #[cfg(feature = "admin")]
    pub(in super::super) fn operator_revision(&self) -> u64 {
        *self.changes()
    }

    #[cfg(feature = "admin")]
    pub(in super::super) fn has(&self, route: &str) -> bool {
        let snapshot = self.shared.snapshot.load();
        snapshot.position(route).is_some_and(|at| at < snapshot.entries().len())
    }

    /// Does what the operator orders, unless the pool was changed since `revision`.
    #[cfg(feature = "admin")]
    pub(in super::super) fn order(&self, revision: u64, route: &str, order: Order) -> Result<(), OrderRefused>
    where
        S: Clone,
    {
        let changes = self.changes();
        let is_stale = *changes != revision;
        let (route, set) = self.change_under(changes, |members| {
            let entry = members.get_mut(route).ok_or(OrderRefused::UnknownRoute)?;
            if is_stale {
                return Err(OrderRefused::Stale);
            }
            let set = match order {
                Order::State(state) => {
                    entry.state.set(state, self.shared.now(), self.shared.failover.ejection.backoff);
                    Some(state)
                }
                Order::Drain(at_most) => {
                    self.drain_state(&entry.state, at_most);
                    Some(State::Drain)
                }
                Order::Weight { hundredths } => {
                    Arc::make_mut(entry).settings.weight = hundredths;
                    None
                }
            };
            Ok((entry.route.clone(), set))
        })?;
        if let Some(state) = set {
            self.shared.reporter.member_changed(&route, Change::Set(state));
        }
        Ok(())
    }

    fn drain_state(&self, state: &MemberState, at_most: Duration) {
        let now = self.shared.now();
        let until = now.saturating_add(u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX));
        state.drain_until(until, now, self.shared.failover.ejection.backoff);
    }

    fn change_state(
        &self,
        route: &str,
        to: State,
        change: impl FnOnce(&MemberState),
    ) -> Result<Arc<Entry<S>>, UnknownRoute> {
        let entry = {
            let mut changes = self.changes();
            let snapshot = self.shared.snapshot.load();
            let at = snapshot.position(route);
            let entry =
                at.and_then(|at| snapshot.entries().get(at)).ok_or_else(|| UnknownRoute(route.into()))?;
            change(&entry.state);
            *changes = changes.wrapping_add(1);
            entry.clone()
        };
        self.shared.changed(&entry.route, Change::Set(to));
        Ok(entry)
    }

    /// One change at a time; requests go on with the old snapshot meanwhile.
    fn change<T, E>(&self, change: impl FnOnce(&mut Members<S>) -> Result<T, E>) -> Result<T, E> {
        self.change_under(self.changes(), change)
    }

    fn change_under<T, E>(
        &self,
        mut changes: MutexGuard<'_, u64>,
        change: impl FnOnce(&mut Members<S>) -> Result<T, E>,
    ) -> Result<T, E> {
        let snapshot = self.shared.snapshot.load_full();
        let mut members = Members {
            entries: snapshot.entries().into(),
            gone: snapshot.gone().into(),
            quota: snapshot.quota.clone(),
        };
        let changed = change(&mut members)?;
        let Members { entries, gone, quota } = members;
        let next = Snapshot::new(entries, gone, quota);
        self.shared.picker.prepare(&next);
        self.shared.snapshot.store(Arc::new(next));
        *changes = changes.wrapping_add(1);
        drop(changes);
        self.shared.tell();
        Ok(changed)
    }

    fn changes(&self) -> MutexGuard<'_, u64> {
        self.shared.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the admin service orders.
#[cfg(feature = "admin")]
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Order {
    State(State),
    Drain(Duration),
    Weight { hundredths: u32 },
}

#[cfg(feature = "admin")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum OrderRefused {
    UnknownRoute,
    Stale,
}

/// What the next snapshot is made of.
struct Members<S> {
    entries: Vec<Arc<Entry<S>>>,
    gone: Vec<Arc<Entry<S>>>,
    quota: Arc<Quota>,
}

impl<S> Members<S> {
    fn get_mut(&mut self, route: &str) -> Option<&mut Arc<Entry<S>>> {
        let at = position(&self.entries, route)?;
        self.entries.get_mut(at)
    }

    fn put(&mut self, member: Member<S>, shared: &Shared<S>) -> Result<Route, BuildError> {
        let known = position(&self.entries, &member.route).and_then(|at| self.entries.get_mut(at));
        let state = match &known {
            Some(known) => known.state.clone(),
            None => Arc::new(MemberState::joining(shared.now(), self.quota.clone())),
        };
        let entry = Arc::new(Entry::new(member, &shared.cookie, state)?);
        let route = entry.route.clone();
        self.gone.retain(|gone| gone.route != route);
        match known {
            Some(known) => *known = entry,
            None => self.entries.push(entry),
        }
        Ok(route)
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

/// Tells of changes of a pool: of its members, their weights and successors, and their states, be it by the operator, an
/// ejection or a recovery. Not of requests, nor of time that passes.
pub struct Watch<S> {
    receiver: tokio::sync::watch::Receiver<u64>,
    membership: Membership<S>,
}

impl<S> Watch<S> {
    /// All members, once something has changed since the last call. Several changes may be told as one; the last is always
    /// told. A call that is dropped loses nothing.
    pub async fn changed(&mut self) -> Vec<MemberStatus> {
        // The sender is part of the pool that this holds: there is no error.
        let _ = self.receiver.changed().await;
        self.membership.status()
    }
}

impl<S> fmt::Debug for Watch<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.membership).finish()
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

fn position<S>(entries: &[Arc<Entry<S>>], route: &str) -> Option<usize> {
    entries.iter().position(|entry| entry.route.as_str() == route)
}
