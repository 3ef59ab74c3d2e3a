use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::snapshot::{Seat, hash, mix};
use super::state::MemberState;
use super::{Attempt, BuildError, Entry, Now, Problem, Role, Snapshot, Whose};

/// Who gets a new session.
///
/// A client whose member takes nothing gets its substitute by [`Rendezvous`](Self::Rendezvous), whatever is chosen here,
/// where the client's address is known: its requests that run through several front ends at the same time meet at one
/// substitute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Balance {
    /// Of two members, drawn by weight, the one that will be less busy for its weight: (requests in flight + 1) / weight.
    /// Where both are idle, the first. No lock.
    #[default]
    PowerOfTwo,
    /// By turns, by weight and without bursts, in the order of Apache's byrequests; only new sessions count. No lock: the
    /// turns are worked out when members or weights change.
    ///
    /// A member that takes nothing is passed over: the others keep their order, and their shares among themselves. Where
    /// spares are to stand in, or 64 turns in a row found nobody, the turn is worked out among those that take new sessions,
    /// at the cost of [`ByRequests`](Self::ByRequests).
    ///
    /// The order is Apache's where all weights are equal, or their sum divided by their greatest common divisor is at most
    /// 4096: each has exactly its share in so many turns, and no more than two turns more or less than that up to any
    /// moment. Otherwise turns go by steps of the golden ratio, which keeps the shares without a period: five turns more or
    /// less in the first 20,000, and hardly more later.
    SmoothWeighted,
    /// By the same turns, and requests of pinned clients count too, which is what Apache does: after a busy client its
    /// member gets no new sessions for as many turns. A short lock and one look at each member for each request.
    ByRequests,
    /// The member with the fewest requests in flight for its weight; among equals as
    /// [`SmoothWeighted`](Self::SmoothWeighted).
    LeastBusy,
    /// By a hash of the client's address and of the member's name, by weight (rendezvous hashing). Front ends that share
    /// nothing but the names of the members agree, and when a member comes or goes no client moves but to it or from it.
    ///
    /// The address is [`Proxied::client`](crate::Proxied::client); without it chance decides. Clients behind one address
    /// get one member. No lock; one look at each member for each new session.
    Rendezvous,
}

impl Balance {
    const ALL: [Self; 5] =
        [Self::PowerOfTwo, Self::SmoothWeighted, Self::ByRequests, Self::LeastBusy, Self::Rendezvous];

    fn as_str(self) -> &'static str {
        match self {
            Self::PowerOfTwo => "power-of-two",
            Self::SmoothWeighted => "smooth-weighted",
            Self::ByRequests => "by-requests",
            Self::LeastBusy => "least-busy",
            Self::Rendezvous => "rendezvous",
        }
    }
}

/// `power-of-two`, `smooth-weighted`, `by-requests`, `least-busy` or `rendezvous`; case does not matter.
impl FromStr for Balance {
    type Err = BuildError;

    fn from_str(text: &str) -> Result<Self, BuildError> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| Problem::Balance.of(text))
    }
}

/// What is read back.
impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A member, and the request counted in.
pub(in super::super) type Picked<S> = (Arc<Entry<S>>, Attempt);

/// Who asks, as far as it is known: a hash of the address.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Client(Option<u64>);

impl Client {
    pub(in super::super) fn of(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => hash(&address.octets()),
            IpAddr::V6(address) => hash(&address.octets()),
        }))
    }
}

/// Picks members, as the pool's configuration says.
#[derive(Debug)]
pub(in super::super) struct Picker {
    pub(in super::super) balance: Balance,
    /// How long members warm up, in milliseconds.
    pub(super) warm_up: u64,
    /// How many of the turns that were worked out beforehand are taken.
    pub(super) taken_turns: AtomicU64,
    /// Held by whoever takes a turn that must be worked out.
    turns: Mutex<()>,
}

impl Picker {
    pub(in super::super) fn new(balance: Balance, warm_up: Duration) -> Self {
        let warm_up = u64::try_from(warm_up.as_millis()).unwrap_or(u64::MAX);
        Self { balance, warm_up, taken_turns: AtomicU64::new(0), turns: Mutex::new(()) }
    }

    /// Works out what picks need of a snapshot, so that no request waits for it.
    pub(in super::super) fn prepare<S>(&self, snapshot: &Snapshot<S>) {
        if self.balance == Balance::SmoothWeighted {
            snapshot.turns();
        }
    }

    /// The member that a cookie names, if it takes the request; else its successor, or that one's. None of `tried`.
    pub(in super::super) fn take_pinned<S>(
        &self,
        snapshot: &Snapshot<S>,
        pinned: &Arc<Entry<S>>,
        tried: &[Arc<Entry<S>>],
        now: &Now<'_>,
    ) -> Option<Picked<S>> {
        let own = is_untried(&pinned.state, tried).then(|| pinned.enter(Whose::Pinned, now)).flatten();
        let (entry, attempt) = match own {
            Some(attempt) => (pinned.clone(), attempt),
            None => successor_of(snapshot, pinned, tried, now)?,
        };
        if self.balance == Balance::ByRequests {
            let _turn = self.turn();
            charge(&self.candidates(snapshot, &[], now), &entry.state);
        }
        Some((entry, attempt))
    }

    /// A member that is none of `tried`. Where all are ejected one is tried anyway: of a client with a pin its own.
    /// `None` where no member may have the request.
    pub(in super::super) fn pick<S>(
        &self,
        snapshot: &Snapshot<S>,
        pinned: Option<&Arc<Entry<S>>>,
        tried: &[Arc<Entry<S>>],
        client: Client,
        now: &Now<'_>,
    ) -> Option<Picked<S>> {
        let key = match (self.balance, client.0) {
            (Balance::Rendezvous, key) => Some(key.unwrap_or_else(random)),
            (_, key) => key.filter(|_| pinned.is_some()),
        };
        let own = || {
            let own = pinned.filter(|own| is_untried(&own.state, tried) && own.state.is_only_ejected())?;
            Some((own.clone(), own.enter_anyway()?))
        };
        self.pick_open(snapshot, tried, key, now).or_else(own).or_else(|| last_resort(snapshot, tried))
    }

    fn pick_open<S>(
        &self,
        snapshot: &Snapshot<S>,
        tried: &[Arc<Entry<S>>],
        key: Option<u64>,
        now: &Now<'_>,
    ) -> Option<Picked<S>> {
        // A member can be closed or filled between being chosen and being entered: it is then no candidate any more.
        for _ in snapshot.entries() {
            let chosen = match (key, self.balance) {
                (Some(key), _) => agreed(&self.candidates(snapshot, tried, now), key),
                (None, Balance::PowerOfTwo | Balance::Rendezvous) => {
                    self.less_busy_of_two(snapshot, tried, now)
                }
                (None, Balance::SmoothWeighted) => {
                    self.in_turn(snapshot, tried, now).or_else(|| self.turn_by_turn(snapshot, tried, now))
                }
                (None, Balance::ByRequests) => self.turn_by_turn(snapshot, tried, now),
                (None, Balance::LeastBusy) => {
                    let _turn = self.turn();
                    let candidates = self.candidates(snapshot, tried, now);
                    let least =
                        candidates.iter().copied().reduce(|a, b| if is_busier(a, b, 0) { b } else { a });
                    next_in_turn(&candidates, |one| least.is_some_and(|least| !is_busier(one, least, 0)))
                }
            };
            let chosen = chosen?;
            if let Some(attempt) = chosen.seat.enter(now) {
                return Some((snapshot.entries().get(chosen.at)?.clone(), attempt));
            }
        }
        None
    }

    fn less_busy_of_two<'a, S>(
        &self,
        snapshot: &'a Snapshot<S>,
        tried: &[Arc<Entry<S>>],
        now: &Now<'_>,
    ) -> Option<Candidate<'a>> {
        // Where many take nothing, it is cheaper to look at all of them.
        const DRAWS: usize = 8;
        if !snapshot.has_spares {
            let mut drawn = (0..DRAWS)
                .filter_map(|_| snapshot.lots.draw(random_below))
                .filter_map(|at| self.drawn(snapshot, at, tried, now));
            if let Some(first) = drawn.next()
                && let Some(second) = drawn.next()
            {
                return Some(less_busy(first, second));
            }
        }
        let candidates = self.candidates(snapshot, tried, now);
        Some(less_busy(draw_of(&candidates)?, draw_of(&candidates)?))
    }

    /// The next in turn, of turns that were worked out beforehand; whoever takes nothing is passed over.
    fn in_turn<'a, S>(
        &self,
        snapshot: &'a Snapshot<S>,
        tried: &[Arc<Entry<S>>],
        now: &Now<'_>,
    ) -> Option<Candidate<'a>> {
        // Where many take nothing, it is cheaper to look at all of them.
        const TURNS: usize = 64;
        if snapshot.has_spares {
            return None;
        }
        (0..TURNS).find_map(|_| {
            let at = snapshot.turns().get(self.taken_turns.fetch_add(1, Ordering::Relaxed))?;
            self.drawn(snapshot, at, tried, now)
        })
    }

    /// The next in turn, of those that take new sessions just now.
    fn turn_by_turn<'a, S>(
        &self,
        snapshot: &'a Snapshot<S>,
        tried: &[Arc<Entry<S>>],
        now: &Now<'_>,
    ) -> Option<Candidate<'a>> {
        let _turn = self.turn();
        next_in_turn(&self.candidates(snapshot, tried, now), |_| true)
    }

    /// Of the lowest tier that has some: the active members that take new sessions, with a spare for each that does not;
    /// else the standby members.
    fn candidates<'a, S>(
        &self,
        snapshot: &'a Snapshot<S>,
        tried: &[Arc<Entry<S>>],
        now: &Now<'_>,
    ) -> Vec<Candidate<'a>> {
        for tier in &snapshot.tiers {
            let of_role = |role: Role| {
                let is_meant = move |(_, seat): &(usize, &Seat)| seat.role == role && seat.tier == *tier;
                snapshot.seats().iter().enumerate().filter(is_meant)
            };
            let open =
                |role: Role| of_role(role).filter_map(|(at, seat)| self.candidate(at, seat, tried, now));
            let mut candidates = Vec::with_capacity(snapshot.len());
            candidates.extend(open(Role::Active));
            if snapshot.has_spares {
                let closed = of_role(Role::Active).count().saturating_sub(candidates.len());
                candidates.extend(open(Role::Spare).take(closed));
            }
            if candidates.is_empty() {
                candidates.extend(open(Role::Standby));
            }
            if !candidates.is_empty() {
                return candidates;
            }
        }
        Vec::new()
    }

    /// The one at this place, if it takes the request. Who warms up turns away its share of those that it gets by its full
    /// weight.
    fn drawn<'a, S>(
        &self,
        snapshot: &'a Snapshot<S>,
        at: usize,
        tried: &[Arc<Entry<S>>],
        now: &Now<'_>,
    ) -> Option<Candidate<'a>> {
        let seat = snapshot.seats().get(at)?;
        let candidate = self.candidate(at, seat, tried, now)?;
        let full = u64::from(seat.weight);
        (candidate.weight == full || random_below(full) < candidate.weight).then_some(candidate)
    }

    fn candidate<'a, S>(
        &self,
        at: usize,
        seat: &'a Seat,
        tried: &[Arc<Entry<S>>],
        now: &Now<'_>,
    ) -> Option<Candidate<'a>> {
        let weight = match self.warm_up {
            0 => seat.weight,
            warm_up => seat.state.warm_weight(seat.weight, now.get(), warm_up),
        };
        let is_open = weight > 0 && is_untried(&seat.state, tried) && seat.takes_new(now);
        is_open.then_some(Candidate { at, seat, weight: weight.into() })
    }

    pub(in crate::sticky_route) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A member that may get a new session, with the weight that it has just now.
#[derive(Clone, Copy, Debug)]
struct Candidate<'a> {
    at: usize,
    seat: &'a Seat,
    weight: u64,
}

fn successor_of<S>(
    snapshot: &Snapshot<S>,
    pinned: &Arc<Entry<S>>,
    tried: &[Arc<Entry<S>>],
    now: &Now<'_>,
) -> Option<Picked<S>> {
    let mut last = pinned;
    // No chain is longer than there are routes, and a ring has no end.
    for _ in snapshot.entries().iter().chain(snapshot.gone()) {
        last = snapshot.named(last.settings.successor.as_ref()?)?;
        if is_untried(&last.state, tried)
            && let Some(attempt) = last.enter(Whose::New, now)
        {
            return Some((last.clone(), attempt));
        }
    }
    None
}

/// Where every member looks dead it is better to try one than to refuse.
fn last_resort<S>(snapshot: &Snapshot<S>, tried: &[Arc<Entry<S>>]) -> Option<Picked<S>> {
    let is_dead = |seat: &Seat| {
        is_untried(&seat.state, tried)
            && seat.state.is_only_ejected()
            && !seat.state.is_full(seat.max_in_flight)
    };
    let dead: Vec<_> = snapshot
        .seats()
        .iter()
        .enumerate()
        .filter(|(_, seat)| seat.weight > 0 && is_dead(seat))
        .map(|(at, seat)| Candidate { at, seat, weight: seat.weight.into() })
        .collect();
    let entry = snapshot.entries().get(draw_of(&dead)?.at)?;
    Some((entry.clone(), entry.enter_anyway()?))
}

/// Weighted rendezvous hashing: each candidate draws an exponential time at its rate, always the same for this key; the
/// first one has it.
fn agreed<'a>(candidates: &[Candidate<'a>], key: u64) -> Option<Candidate<'a>> {
    const STEPS: f64 = (1_u64 << 53) as f64;
    let time = |candidate: &Candidate<'_>| {
        let drawn = (mix(key ^ candidate.seat.hash) >> 11) as f64;
        -((drawn + 0.5) / STEPS).ln() / candidate.weight as f64
    };
    let times = candidates.iter().map(|candidate| (time(candidate), *candidate));
    let first = times.min_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.seat.hash.cmp(&b.1.seat.hash)));
    first.map(|(_, candidate)| candidate)
}

/// The smooth weighted turns of Apache's `mod_lbmethod_byrequests` and of nginx: each candidate gains its weight, the
/// one that has gained most (the first of equals) is chosen and pays for all.
fn next_in_turn<'a>(
    candidates: &[Candidate<'a>],
    may_be_chosen: impl Fn(Candidate<'a>) -> bool,
) -> Option<Candidate<'a>> {
    let mut chosen: Option<(Candidate<'a>, i64)> = None;
    for candidate in candidates.iter().copied() {
        let lag = lag(&candidate.seat.state).saturating_add_unsigned(candidate.weight);
        if may_be_chosen(candidate) && chosen.is_none_or(|(_, most)| lag > most) {
            chosen = Some((candidate, lag));
        }
    }
    let (chosen, _) = chosen?;
    charge(candidates, &chosen.seat.state);
    Some(chosen)
}

fn charge(candidates: &[Candidate<'_>], chosen: &MemberState) {
    let mut total = 0_u64;
    for candidate in candidates {
        let state = &candidate.seat.state;
        state.lag.store(lag(state).saturating_add_unsigned(candidate.weight), Ordering::Relaxed);
        total = total.saturating_add(candidate.weight);
    }
    chosen.lag.store(lag(chosen).saturating_sub_unsigned(total), Ordering::Relaxed);
}

fn lag(state: &MemberState) -> i64 {
    state.lag.load(Ordering::Relaxed)
}

/// The first, where both are idle: so new sessions go by weight where there is no load to look at.
fn less_busy<'a>(first: Candidate<'a>, second: Candidate<'a>) -> Candidate<'a> {
    let are_idle = first.seat.state.in_flight() == 0 && second.seat.state.in_flight() == 0;
    if !are_idle && is_busier(first, second, 1) { second } else { first }
}

/// Whether `one` has more requests in flight for its weight, with so `many` to come.
fn is_busier(one: Candidate<'_>, other: Candidate<'_>, many: u128) -> bool {
    let load = |one: Candidate<'_>, other: Candidate<'_>| {
        let in_flight = u128::try_from(one.seat.state.in_flight()).unwrap_or(u128::MAX);
        in_flight.saturating_add(many).saturating_mul(other.weight.into())
    };
    load(one, other) > load(other, one)
}

fn is_untried<S>(state: &Arc<MemberState>, tried: &[Arc<Entry<S>>]) -> bool {
    !tried.iter().any(|tried| Arc::ptr_eq(&tried.state, state))
}

fn draw_of<'a>(candidates: &[Candidate<'a>]) -> Option<Candidate<'a>> {
    let sum = candidates.iter().fold(0_u64, |sum, candidate| sum.saturating_add(candidate.weight));
    let mut ticket = random_below(sum);
    candidates.iter().copied().find(|candidate| match ticket.checked_sub(candidate.weight) {
        Some(rest) => {
            ticket = rest;
            false
        }
        None => true,
    })
}

/// Below `bound`, or 0.
fn random_below(bound: u64) -> u64 {
    let scaled = u128::from(random()).wrapping_mul(bound.into()) >> 64;
    u64::try_from(scaled).unwrap_or(0)
}

thread_local! {
    static SEED: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish());
}

/// Makes the draws of this thread the same in each run.
#[cfg(test)]
pub(super) fn seed(seed: u64) {
    SEED.set(seed);
}

/// Splitmix64: nothing that must be kept secret hangs on it.
pub(super) fn random() -> u64 {
    let seed = SEED.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    SEED.set(seed);
    mix(seed)
}
