use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::state::Attempt;
use super::{Entry, Role, Snapshot};

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
    // A member can be ejected between being chosen and being entered: it is then no candidate any more.
    for _ in snapshot.entries.iter() {
        let chosen = match balance {
            Balance::PowerOfTwo => less_busy_of_two(snapshot, tried, now),
            Balance::SmoothWeighted | Balance::ByRequests => {
                let _turn = lock(turns);
                next_in_turn(&candidates(snapshot, tried, now), |_, _| false)
            }
            Balance::LeastBusy => {
                let _turn = lock(turns);
                let candidates = candidates(snapshot, tried, now);
                let least = candidates.iter().copied().reduce(|a, b| if is_busier(a, b) { b } else { a })?;
                next_in_turn(&candidates, |entry, _| is_busier(entry, least))
            }
        };
        let Some(chosen) = chosen else { break };
        if let Some(attempt) = chosen.state.enter(now) {
            return Some((chosen.clone(), attempt));
        }
    }
    last_resort(snapshot, tried)
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
    is_passed_over: impl Fn(&'a Arc<Entry<S>>, i64) -> bool,
) -> Option<&'a Arc<Entry<S>>> {
    let mut chosen: Option<(&Arc<Entry<S>>, i64)> = None;
    for entry in candidates.iter().copied() {
        let lag = entry.state.lag.load(Ordering::Relaxed).saturating_add(entry.weight.into());
        if !is_passed_over(entry, lag) && chosen.is_none_or(|(_, most)| lag > most) {
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
