use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::state::Attempt;
use super::{BuildError, Entry, Problem, Role, Snapshot};

/// Who gets a new session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Balance {
    /// Of two members, drawn by weight, the one that is less busy for its weight. No lock.
    #[default]
    PowerOfTwo,
    /// By turns, by weight and without bursts, as Apache's byrequests does; only new sessions count. A short lock for
    /// each of them.
    SmoothWeighted,
    /// The same, and requests of pinned clients count too, which is what Apache does: after a busy client its member
    /// gets no new sessions for as many turns. A short lock for each request.
    ByRequests,
    /// The member with the fewest requests in flight for its weight; among equals as
    /// [`SmoothWeighted`](Self::SmoothWeighted).
    LeastBusy,
}

impl Balance {
    const ALL: [Self; 4] = [Self::PowerOfTwo, Self::SmoothWeighted, Self::ByRequests, Self::LeastBusy];

    fn as_str(self) -> &'static str {
        match self {
            Self::PowerOfTwo => "power-of-two",
            Self::SmoothWeighted => "smooth-weighted",
            Self::ByRequests => "by-requests",
            Self::LeastBusy => "least-busy",
        }
    }
}

/// `power-of-two`, `smooth-weighted`, `by-requests` or `least-busy`; case does not matter.
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

/// A member that is none of `tried`. `None` where no member may have the request.
pub(in super::super) fn pick<S>(
    balance: Balance,
    turns: &Mutex<()>,
    snapshot: &Snapshot<S>,
    tried: &[Arc<Entry<S>>],
    now: u64,
) -> Option<Picked<S>> {
    pick_open(balance, turns, snapshot, tried, now).or_else(|| last_resort(snapshot, tried))
}

/// The same, for a client whose member does not take it. Where every member looks dead the client's own is tried.
pub(in super::super) fn pick_in_place_of<S>(
    pinned: &Arc<Entry<S>>,
    balance: Balance,
    turns: &Mutex<()>,
    snapshot: &Snapshot<S>,
    now: u64,
) -> Option<Picked<S>> {
    pick_open(balance, turns, snapshot, &[], now)
        .or_else(|| pinned.state.is_only_ejected().then(|| (pinned.clone(), pinned.state.enter_anyway())))
        .or_else(|| last_resort(snapshot, &[]))
}

fn pick_open<S>(
    balance: Balance,
    turns: &Mutex<()>,
    snapshot: &Snapshot<S>,
    tried: &[Arc<Entry<S>>],
    now: u64,
) -> Option<Picked<S>> {
    // A member can be ejected between being chosen and being entered: it is then no candidate any more.
    for _ in snapshot.entries.iter() {
        let chosen = match balance {
            Balance::PowerOfTwo => less_busy_of_two(snapshot, tried, now),
            Balance::SmoothWeighted | Balance::ByRequests => {
                let _turn = lock(turns);
                next_in_turn(&candidates(snapshot, tried, now), |_| true)
            }
            Balance::LeastBusy => {
                let _turn = lock(turns);
                let candidates = candidates(snapshot, tried, now);
                let least = candidates.iter().copied().reduce(|a, b| if is_busier(a, b) { b } else { a });
                next_in_turn(&candidates, |entry| least.is_some_and(|least| !is_busier(entry, least)))
            }
        };
        let Some(chosen) = chosen else { break };
        if let Some(attempt) = chosen.state.enter(now) {
            return Some((chosen.clone(), attempt));
        }
    }
    None
}

/// The member that a cookie names, if it takes the request.
pub(in super::super) fn take_pinned<S>(
    balance: Balance,
    turns: &Mutex<()>,
    snapshot: &Snapshot<S>,
    pinned: &Arc<Entry<S>>,
    now: u64,
) -> Option<Picked<S>> {
    if !pinned.state.takes_pinned(now) {
        return None;
    }
    let attempt = pinned.state.enter(now)?;
    if balance == Balance::ByRequests {
        let _turn = lock(turns);
        charge(&candidates(snapshot, &[], now), pinned);
    }
    Some((pinned.clone(), attempt))
}

fn less_busy_of_two<'a, S>(
    snapshot: &'a Snapshot<S>,
    tried: &[Arc<Entry<S>>],
    now: u64,
) -> Option<&'a Arc<Entry<S>>> {
    let is_open = |entry: &&Arc<Entry<S>>| is_untried(entry, tried) && entry.state.takes_new(now);
    if !snapshot.has_spares
        && let Some(first) = draw(snapshot).filter(is_open)
        && let Some(second) = draw(snapshot).filter(is_open)
    {
        return Some(if is_busier(first, second) { second } else { first });
    }
    let candidates = candidates(snapshot, tried, now);
    let (first, second) = (draw_of(&candidates)?, draw_of(&candidates)?);
    Some(if is_busier(first, second) { second } else { first })
}

/// The active members that take new sessions, with a spare for each that does not; else the standby members.
fn candidates<'a, S>(snapshot: &'a Snapshot<S>, tried: &[Arc<Entry<S>>], now: u64) -> Vec<&'a Arc<Entry<S>>> {
    let is_open =
        |entry: &&Arc<Entry<S>>| entry.weight > 0 && is_untried(entry, tried) && entry.state.takes_new(now);
    let of_role = |role: Role| snapshot.entries.iter().filter(move |entry| entry.role == role);
    let mut candidates: Vec<_> = of_role(Role::Active).filter(is_open).collect();
    let closed = of_role(Role::Active).count().saturating_sub(candidates.len());
    candidates.extend(of_role(Role::Spare).filter(is_open).take(closed));
    if candidates.is_empty() {
        candidates.extend(of_role(Role::Standby).filter(is_open));
    }
    candidates
}

/// Where every member looks dead it is better to try one than to refuse.
fn last_resort<S>(snapshot: &Snapshot<S>, tried: &[Arc<Entry<S>>]) -> Option<Picked<S>> {
    let dead: Vec<_> = snapshot
        .entries
        .iter()
        .filter(|entry| entry.weight > 0 && is_untried(entry, tried) && entry.state.is_only_ejected())
        .collect();
    let entry = draw_of(&dead)?;
    Some((entry.clone(), entry.state.enter_anyway()))
}

/// The smooth weighted turns of Apache's `mod_lbmethod_byrequests` and of nginx: each candidate gains its weight, the
/// one that has gained most (the first of equals) is chosen and pays for all.
fn next_in_turn<'a, S>(
    candidates: &[&'a Arc<Entry<S>>],
    may_be_chosen: impl Fn(&Entry<S>) -> bool,
) -> Option<&'a Arc<Entry<S>>> {
    let mut chosen: Option<(&Arc<Entry<S>>, i64)> = None;
    for entry in candidates.iter().copied() {
        let lag = entry.state.lag.load(Ordering::Relaxed).saturating_add(entry.weight.into());
        if may_be_chosen(entry) && chosen.is_none_or(|(_, most)| lag > most) {
            chosen = Some((entry, lag));
        }
    }
    let (chosen, _) = chosen?;
    charge(candidates, chosen);
    Some(chosen)
}

fn charge<S>(candidates: &[&Arc<Entry<S>>], chosen: &Arc<Entry<S>>) {
    let mut total = 0_i64;
    for entry in candidates {
        let lag = entry.state.lag.load(Ordering::Relaxed);
        entry.state.lag.store(lag.saturating_add(entry.weight.into()), Ordering::Relaxed);
        total = total.saturating_add(entry.weight.into());
    }
    let lag = chosen.state.lag.load(Ordering::Relaxed);
    chosen.state.lag.store(lag.saturating_sub(total), Ordering::Relaxed);
}

/// Whether `entry` has more requests in flight for its weight.
fn is_busier<S>(entry: &Entry<S>, other: &Entry<S>) -> bool {
    let load = |entry: &Entry<S>, other: &Entry<S>| {
        u128::try_from(entry.state.in_flight()).unwrap_or(u128::MAX).saturating_mul(other.weight.into())
    };
    load(entry, other) > load(other, entry)
}

fn is_untried<S>(entry: &Arc<Entry<S>>, tried: &[Arc<Entry<S>>]) -> bool {
    !tried.iter().any(|tried| Arc::ptr_eq(&tried.state, &entry.state))
}

/// An active member, by weight.
fn draw<S>(snapshot: &Snapshot<S>) -> Option<&Arc<Entry<S>>> {
    let (sum, _) = snapshot.weights.last()?;
    let ticket = random_below(*sum);
    let at = snapshot.weights.partition_point(|(up_to, _)| *up_to <= ticket);
    let (_, at) = snapshot.weights.get(at)?;
    snapshot.entries.get(*at)
}

fn draw_of<'a, S>(candidates: &[&'a Arc<Entry<S>>]) -> Option<&'a Arc<Entry<S>>> {
    let sum = candidates.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.weight.into()));
    let mut ticket = random_below(sum);
    candidates.iter().copied().find(|entry| match ticket.checked_sub(entry.weight.into()) {
        Some(rest) => {
            ticket = rest;
            false
        }
        None => true,
    })
}

/// Below `bound`, or 0. Splitmix64: nothing that must be kept secret hangs on it.
fn random_below(bound: u64) -> u64 {
    thread_local! {
        static SEED: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish());
    }
    let seed = SEED.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    SEED.set(seed);
    let mut mixed = seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let scaled = u128::from(mixed).wrapping_mul(bound.into()) >> 64;
    u64::try_from(scaled).unwrap_or(0)
}

fn lock(turns: &Mutex<()>) -> MutexGuard<'_, ()> {
    turns.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::{Backoff, Member, State};
    use super::*;
    use crate::sticky_route::RouteCookie;

    const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), at_most: Duration::from_secs(1) };

    #[test]
    fn what_is_written_is_read() {
        for balance in Balance::ALL {
            assert_eq!(balance.to_string().parse(), Ok(balance));
            assert_eq!(balance.to_string().to_uppercase().parse(), Ok(balance));
        }
        assert_eq!("by-requests".parse(), Ok(Balance::ByRequests));
        let error = "random".parse::<Balance>().unwrap_err();
        assert!(error.to_string().starts_with("balance \"random\" is refused: "), "{error}");
    }

    fn pool(members: impl IntoIterator<Item = (&'static str, u32, Role)>) -> Snapshot<()> {
        let cookie = RouteCookie::plain().build("pool").unwrap();
        let members =
            members.into_iter().map(|(route, weight, role)| Member::new(route, ()).weight(weight).role(role));
        Snapshot::build(members.collect(), &cookie).unwrap()
    }

    fn active(weights: &[(&'static str, u32)]) -> Snapshot<()> {
        pool(weights.iter().map(|(route, weight)| (*route, *weight, Role::Active)))
    }

    fn answer(balance: Balance, snapshot: &Snapshot<()>) -> Option<(String, Attempt)> {
        let (entry, attempt) = pick(balance, &Mutex::new(()), snapshot, &[], 0)?;
        Some((entry.route.to_string(), attempt))
    }

    fn answers(balance: Balance, snapshot: &Snapshot<()>, number: usize) -> BTreeMap<String, usize> {
        (0..number).fold(BTreeMap::new(), |mut counts, _| {
            *counts.entry(answer(balance, snapshot).unwrap().0).or_default() += 1;
            counts
        })
    }

    /// The case byrequests-four-equal-b-disabled, with Apache's table of `lbstatus`.
    #[test]
    fn turns_are_those_of_apache() {
        let snapshot = active(&[("a", 25), ("b", 25), ("c", 25), ("d", 25)]);
        snapshot.entries[1].state.set(State::Disabled, 0, BACKOFF);
        for (chosen, table) in
            [("a", [-50, 0, 25, 25]), ("c", [-25, 0, -25, 50]), ("d", [0, 0, 0, 0]), ("a", [-50, 0, 25, 25])]
        {
            assert_eq!(answer(Balance::SmoothWeighted, &snapshot).unwrap().0, chosen);
            let lags = snapshot.entries.iter().map(|entry| entry.state.lag.load(Ordering::Relaxed) / 100);
            assert_eq!(lags.collect::<Vec<_>>(), table);
        }
    }

    #[test]
    fn idle_members_are_drawn_by_weight() {
        let counts = answers(Balance::PowerOfTwo, &active(&[("a", 1), ("b", 3), ("none", 0)]), 4000);
        assert_eq!(counts.values().sum::<usize>(), 4000);
        // 3000 is expected, and 27 its standard deviation.
        assert!((2800..3200).contains(&counts["b"]), "{counts:?}");
        assert!(!counts.contains_key("none"));
    }

    #[test]
    fn of_two_the_less_busy() {
        let snapshot = active(&[("a", 1), ("b", 1)]);
        let _busy: Vec<_> = (0..3).map(|_| snapshot.entries[0].state.enter(0)).collect();
        let counts = answers(Balance::PowerOfTwo, &snapshot, 1000);
        // Only where both draws are `a`: a quarter.
        assert!((600..900).contains(&counts["b"]), "{counts:?}");
        assert_eq!(answers(Balance::LeastBusy, &snapshot, 10)["b"], 10);
    }

    #[test]
    fn standby_members_wait_until_no_other_is_left() {
        for balance in [Balance::PowerOfTwo, Balance::SmoothWeighted, Balance::ByRequests, Balance::LeastBusy]
        {
            let snapshot = pool([("a", 1, Role::Active), ("r", 1, Role::Spare), ("h", 1, Role::Standby)]);
            assert_eq!(answers(balance, &snapshot, 9)["a"], 9);
            snapshot.entries[0].state.set(State::Drain, 0, BACKOFF);
            assert_eq!(answers(balance, &snapshot, 9)["r"], 9);
            snapshot.entries[1].state.set(State::Ejected, 0, BACKOFF);
            assert_eq!(answers(balance, &snapshot, 9)["h"], 9);
            snapshot.entries[2].state.set(State::Stopped, 0, BACKOFF);
            assert_eq!(answers(balance, &snapshot, 9)["r"], 9, "the last resort");
            snapshot.entries[1].state.set(State::Stopped, 0, BACKOFF);
            assert!(answer(balance, &snapshot).is_none());
        }
    }

    #[test]
    fn those_tried_are_no_candidates() {
        let snapshot = active(&[("a", 1), ("b", 1)]);
        let turns = Mutex::new(());
        let (first, _) = pick(Balance::PowerOfTwo, &turns, &snapshot, &[], 0).unwrap();
        let (second, _) =
            pick(Balance::PowerOfTwo, &turns, &snapshot, std::slice::from_ref(&first), 0).unwrap();
        assert_ne!(first.route, second.route);
        assert!(pick(Balance::PowerOfTwo, &turns, &snapshot, &[first, second], 0).is_none());
    }

    proptest! {
        #[test]
        fn turns_are_those_of_the_naive_twin(weights in prop::collection::vec(1..9_u32, 1..5), seats in 1..40_usize) {
            const NAMES: [&str; 4] = ["a", "b", "c", "d"];
            let snapshot = active(&NAMES.into_iter().zip(weights.iter().copied()).collect::<Vec<_>>());
            let mut gains = vec![0_i64; weights.len()];
            for _ in 0..seats {
                let mut best = 0;
                for at in 0..weights.len() {
                    gains[at] += i64::from(weights[at]);
                    if gains[at] > gains[best] {
                        best = at;
                    }
                }
                gains[best] -= weights.iter().map(|weight| i64::from(*weight)).sum::<i64>();
                prop_assert_eq!(answer(Balance::SmoothWeighted, &snapshot).unwrap().0, NAMES[best]);
            }
        }
    }
}
