use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use http::HeaderValue;

use super::super::cookie::{Cookie, Pins};
use super::super::{BuildError, Problem};
use super::alias::AliasTable;
use super::ejection::Quota;
use super::state::{MemberState, Whose};
use super::turns::Turns;
use super::{Attempt, Member, Now, Role, Route, Settings};

/// A member in a pool, or what is left of one.
#[derive(Clone, Debug)]
pub(in super::super) struct Entry<S> {
    pub(in super::super) route: Route,
    /// `None` of a member that is gone.
    pub(in super::super) service: Option<S>,
    pub(in super::super) state: Arc<MemberState>,
    pub(in super::super) settings: Settings,
    /// The `Set-Cookie` lines that name it, for http and for https.
    pub(in super::super) issued: Option<[HeaderValue; 2]>,
    /// What cookies may carry for it, and whether that is what is issued today.
    pins: Arc<[(Box<[u8]>, bool)]>,
    /// Of its route, the same in all processes.
    pub(super) hash: u64,
}

impl<S> Entry<S> {
    pub(super) fn new(
        member: Member<S>,
        cookie: &Cookie,
        state: Arc<MemberState>,
    ) -> Result<Self, BuildError> {
        Self::of(&member.route, Some(member.service), member.settings, cookie, state)
    }

    /// A route that leads to its successor.
    pub(super) fn gone(route: &str, successor: &str, cookie: &Cookie) -> Result<Self, BuildError> {
        let settings = Settings { successor: Some(successor.into()), ..Settings::default() };
        Self::of(route, None, settings, cookie, Arc::new(MemberState::stopped()))
    }

    fn of(
        route: &str,
        service: Option<S>,
        settings: Settings,
        cookie: &Cookie,
        state: Arc<MemberState>,
    ) -> Result<Self, BuildError> {
        let route = Route::parse(route)?;
        if let Some(successor) = &settings.successor {
            Route::parse(successor)?;
        }
        let Pins { values, issued } = cookie.pins(&route)?;
        let hash = hash(route.as_str().as_bytes());
        Ok(Self { route, service, state, settings, issued, pins: values.into(), hash })
    }

    pub(in super::super) fn takes(&self, whose: Whose, now: &Now<'_>) -> bool {
        !self.state.is_full(self.settings.max_in_flight)
            && self.state.takes(whose, time_for(&self.state, now))
    }

    pub(super) fn enter(&self, whose: Whose, now: &Now<'_>) -> Option<Attempt> {
        self.state.enter(whose, time_for(&self.state, now), self.settings.max_in_flight)
    }

    pub(super) fn enter_anyway(&self) -> Option<Attempt> {
        self.state.enter_anyway(self.settings.max_in_flight)
    }
}

/// All members at one moment. Requests read it, changes replace it.
#[derive(Debug)]
pub(in super::super) struct Snapshot<S> {
    entries: Vec<Arc<Entry<S>>>,
    /// Of the same order.
    seats: Vec<Seat>,
    /// Routes without a member, which lead to a successor.
    gone: Vec<Arc<Entry<S>>>,
    /// Where in `entries`, and then in `gone`.
    routes: HashMap<Route, usize>,
    /// Keyed with a secret of the process, so that its timing tells nothing about tokens.
    pins: HashMap<Box<[u8]>, Pinnable<S>>,
    /// In ascending order.
    pub(super) tiers: Vec<u8>,
    /// Draws active members of the first tier, by weight.
    pub(super) lots: AliasTable,
    /// Of the same members; worked out where they are asked for.
    turns: OnceLock<Turns>,
    pub(super) has_spares: bool,
    /// That of all snapshots of the pool.
    pub(super) quota: Arc<Quota>,
}

impl<S> Snapshot<S> {
    pub(in super::super) fn build(
        members: Vec<Member<S>>,
        successors: &[(Box<str>, Box<str>)],
        cookie: &Cookie,
    ) -> Result<Self, BuildError> {
        let mut entries: Vec<Arc<Entry<S>>> = Vec::with_capacity(members.len());
        let mut routes = HashSet::new();
        let quota = Arc::<Quota>::default();
        for member in members {
            let entry = Entry::new(member, cookie, Arc::new(MemberState::new(quota.clone())))?;
            if !routes.insert(entry.route.clone()) {
                return Err(Problem::DuplicateRoute.of(entry.route.as_str()));
            }
            entries.push(Arc::new(entry));
        }
        let mut gone = Vec::with_capacity(successors.len());
        for (route, successor) in successors {
            let entry = Entry::gone(route, successor, cookie)?;
            if !routes.insert(entry.route.clone()) {
                return Err(Problem::DuplicateRoute.of(entry.route.as_str()));
            }
            gone.push(Arc::new(entry));
        }
        Ok(Self::new(entries, gone, quota))
    }

    pub(super) fn new(entries: Vec<Arc<Entry<S>>>, gone: Vec<Arc<Entry<S>>>, quota: Arc<Quota>) -> Self {
        quota.has_members(entries.len());
        let mut routes = HashMap::with_capacity(entries.len());
        let mut pins = HashMap::with_capacity(entries.len());
        for (at, entry) in entries.iter().chain(&gone).enumerate() {
            routes.insert(entry.route.clone(), at);
            for (pin, is_current) in entry.pins.iter() {
                // A route could be spelled like another one's token: what is issued today goes first.
                let known = pins.entry(pin.clone()).or_insert_with(|| (entry.clone(), *is_current));
                if *is_current && !known.1 {
                    *known = (entry.clone(), true);
                }
            }
        }
        let tiers: BTreeSet<u8> = entries.iter().map(|entry| entry.settings.tier).collect();
        let tiers: Vec<u8> = tiers.into_iter().collect();
        let seats: Vec<Seat> = entries.iter().map(|entry| Seat::of(entry)).collect();
        let lots = AliasTable::new(&weights(&seats, &tiers));
        let has_spares = seats.iter().any(|seat| seat.role == Role::Spare);
        Self { entries, seats, gone, routes, pins, tiers, lots, turns: OnceLock::new(), has_spares, quota }
    }

    /// The turns of the active members of the first tier, by weight.
    pub(super) fn turns(&self) -> &Turns {
        self.turns.get_or_init(|| Turns::new(weights(&self.seats, &self.tiers)))
    }

    /// The member that a cookie names, and whether the cookie is the one issued today.
    pub(in super::super) fn pinned(&self, pin: &[u8]) -> Option<(&Arc<Entry<S>>, bool)> {
        self.pins.get(pin).map(|(entry, is_current)| (entry, *is_current))
    }

    pub(in super::super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// When the first of the ejected members will be tried.
    pub(in super::super) fn earliest_retry(&self) -> Option<u64> {
        self.entries.iter().filter_map(|entry| entry.state.retry_at()).min()
    }

    pub(super) fn entries(&self) -> &[Arc<Entry<S>>] {
        &self.entries
    }

    pub(super) fn seats(&self) -> &[Seat] {
        &self.seats
    }

    pub(super) fn gone(&self) -> &[Arc<Entry<S>>] {
        &self.gone
    }

    /// The member of this route, or what leads to its successor.
    pub(in super::super) fn named(&self, route: &str) -> Option<&Arc<Entry<S>>> {
        self.get(self.position(route)?)
    }

    /// Where it is: in [`entries`](Self::entries), or as far behind them in [`gone`](Self::gone).
    pub(super) fn position(&self, route: &str) -> Option<usize> {
        self.routes.get(route).copied()
    }

    fn get(&self, at: usize) -> Option<&Arc<Entry<S>>> {
        self.entries.get(at).or_else(|| self.gone.get(at.checked_sub(self.entries.len())?))
    }
}

/// The member that a pin names, and whether the pin is the one issued today.
type Pinnable<S> = (Arc<Entry<S>>, bool);

/// What picks read of an active, spare or standby member: side by side, so that a pick touches little memory.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) state: Arc<MemberState>,
    pub(super) hash: u64,
    pub(super) weight: u32,
    pub(super) max_in_flight: u32,
    pub(super) role: Role,
    pub(super) tier: u8,
}

impl Seat {
    fn of<S>(entry: &Entry<S>) -> Self {
        let Settings { weight, max_in_flight, role, tier, .. } = entry.settings;
        Self { state: entry.state.clone(), hash: entry.hash, weight, max_in_flight, role, tier }
    }

    pub(super) fn takes_new(&self, now: &Now<'_>) -> bool {
        !self.state.is_full(self.max_in_flight) && self.state.takes(Whose::New, time_for(&self.state, now))
    }

    pub(super) fn enter(&self, now: &Now<'_>) -> Option<Attempt> {
        self.state.enter(Whose::New, time_for(&self.state, now), self.max_in_flight)
    }
}

/// Of the active members of the first tier.
fn weights(seats: &[Seat], tiers: &[u8]) -> Vec<(usize, u32)> {
    let is_first =
        |seat: &Seat| seat.role == Role::Active && Some(&seat.tier) == tiers.first() && seat.weight > 0;
    let first = seats.iter().enumerate().filter(|(_, seat)| is_first(seat));
    first.map(|(at, seat)| (at, seat.weight)).collect()
}

#[inline]
fn time_for(state: &MemberState, now: &Now<'_>) -> u64 {
    if state.is_timeless() { 0 } else { now.get() }
}

/// FNV-1a, and then mixed: the same in all processes, and nothing that must be kept secret hangs on it.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(fnv)
}

/// The last step of Splitmix64.
pub(super) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
