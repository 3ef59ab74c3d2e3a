//! A pool beside a naive program of it, whatever happens to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::pick::seed;
use super::super::{Balance, Failure, Member, Membership, Picked, Role, State};
use super::{NAMES, builder, route};
use crate::sticky_route::Failover;

/// One thing that happens to a pool.
#[derive(Clone, Debug)]
enum Step {
    Insert { at: usize, weight: u32, role: Role, tier: u8, successor: Option<usize>, at_most: Option<u32> },
    Remove(usize),
    SetState(usize, State),
    SetWeight(usize, u32),
    SetSuccessor(usize, usize),
    Pass(u64),
    Pick(u32),
    Take(usize),
    Succeed(usize),
    Fail(usize, Failure),
    Drop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let at = || 0..NAMES.len();
    let role = prop_oneof![Just(Role::Active), Just(Role::Active), Just(Role::Spare), Just(Role::Standby)];
    let state = prop_oneof![
        Just(State::Ok),
        Just(State::Drain),
        Just(State::Disabled),
        Just(State::Stopped),
        Just(State::Ejected),
    ];
    let insert = (at(), 0..3_u32, role, 0..3_u8, prop::option::of(at()), prop::option::of(1..3_u32))
        .prop_map(|(at, weight, role, tier, successor, at_most)| Step::Insert {
            at,
            weight,
            role,
            tier,
            successor,
            at_most,
        });
    let failure = prop_oneof![
        3 => Just(Failure::Connect),
        2 => Just(Failure::Sent),
        1 => Just(Failure::Response),
    ];
    prop_oneof![
        3 => insert,
        1 => at().prop_map(Step::Remove),
        2 => (at(), state).prop_map(|(at, state)| Step::SetState(at, state)),
        1 => (at(), 0..3_u32).prop_map(|(at, weight)| Step::SetWeight(at, weight)),
        1 => (at(), at()).prop_map(|(at, to)| Step::SetSuccessor(at, to)),
        2 => (0..1200_u64).prop_map(Step::Pass),
        5 => any::<u32>().prop_map(Step::Pick),
        5 => at().prop_map(Step::Take),
        3 => any::<prop::sample::Index>().prop_map(|index| Step::Succeed(index.index(99))),
        6 => (0..99_usize, failure).prop_map(|(at, failure)| Step::Fail(at, failure)),
        2 => any::<prop::sample::Index>().prop_map(|index| Step::Drop(index.index(99))),
    ]
}

/// A member as a naive program has it.
#[derive(Clone, Debug)]
struct Naive {
    identity: u64,
    route: usize,
    weight: u32,
    role: Role,
    tier: u8,
    successor: Option<usize>,
    at_most: Option<u32>,
    intent: State,
    known: Known,
}

/// What requests found out.
#[derive(Clone, Debug, Default)]
struct Known {
    retry_at: Option<u64>,
    is_probed: bool,
    ejections: u32,
    /// To connect, in a row.
    failures: usize,
    /// The half window of each, and whether it was a failure.
    results: Vec<(u64, bool)>,
}

const AFTER: usize = 2;
const PERCENT: usize = 50;
const AT_LEAST: usize = 4;
const HALF_WINDOW: u64 = 500;
const FIRST: u64 = 1000;
const AT_MOST: u64 = 3000;

impl Known {
    fn result(&mut self, now: u64, is_failure: bool) {
        self.results.push((now / HALF_WINDOW, is_failure));
    }

    fn is_below(&self, now: u64) -> bool {
        let lately: Vec<_> = self.results.iter().filter(|(half, _)| half + 1 >= now / HALF_WINDOW).collect();
        let successes = lately.iter().filter(|(_, is_failure)| !is_failure).count();
        lately.len() >= AT_LEAST && successes * 100 < PERCENT * lately.len()
    }
}

/// A request as a naive program has it: whose it is, and which ejection it could end.
#[derive(Clone, Copy, Debug)]
struct Request {
    identity: u64,
    ends: Option<u64>,
    is_probe: bool,
    is_last_resort: bool,
}

#[derive(Debug, Default)]
struct Model {
    members: Vec<Naive>,
    gone: BTreeMap<usize, usize>,
    /// Of all that ever were.
    all: BTreeMap<u64, Naive>,
    requests: Vec<Request>,
    now: u64,
}

impl Model {
    fn named(&mut self, route: usize) -> Option<&mut Naive> {
        self.members.iter_mut().find(|member| member.route == route)
    }

    fn in_flight(&self, identity: u64) -> usize {
        self.requests.iter().filter(|request| request.identity == identity).count()
    }

    fn is_full(&self, member: &Naive) -> bool {
        member.at_most.is_some_and(|at_most| self.in_flight(member.identity) >= at_most as usize)
    }

    fn may_be_tried(&self, member: &Naive) -> bool {
        !self.is_full(member)
            && member.known.retry_at.is_none_or(|at| self.now > at && !member.known.is_probed)
    }

    fn takes_new(&self, member: &Naive) -> bool {
        member.intent == State::Ok && self.may_be_tried(member)
    }

    /// All that may get a new session.
    fn open(&self) -> Vec<usize> {
        for tier in 0..3 {
            let of = |role: Role| {
                self.members.iter().filter(move |member| member.tier == tier && member.role == role)
            };
            let open = |role: Role| {
                of(role)
                    .filter(|member| member.weight > 0 && self.takes_new(member))
                    .map(|member| member.route)
            };
            let mut routes: Vec<usize> = open(Role::Active).collect();
            let closed = of(Role::Active).count() - routes.len();
            routes.extend(open(Role::Spare).take(closed));
            if routes.is_empty() {
                routes.extend(open(Role::Standby));
            }
            if !routes.is_empty() {
                return routes;
            }
        }
        Vec::new()
    }

    fn dead(&self) -> Vec<usize> {
        let is_dead = |member: &&Naive| {
            member.weight > 0
                && member.intent == State::Ok
                && member.known.retry_at.is_some()
                && !self.is_full(member)
        };
        self.members.iter().filter(is_dead).map(|member| member.route).collect()
    }

    /// Who gets the client of a pin, before anybody else is picked for it.
    fn pinned(&self, route: usize) -> Option<usize> {
        let mut seen = BTreeSet::new();
        let mut at = route;
        while seen.insert(at) {
            let member = self.members.iter().find(|member| member.route == at);
            match member {
                Some(member) if self.takes_new(member) => return Some(at),
                Some(member) if at == route && member.intent == State::Drain && self.may_be_tried(member) => {
                    return Some(at);
                }
                _ => {}
            }
            at = match member {
                Some(member) => member.successor?,
                None => *self.gone.get(&at)?,
            };
        }
        None
    }

    fn enter(&mut self, route: usize, anyway: bool) {
        let member = self.named(route).unwrap();
        let is_probe = !anyway && member.known.retry_at.is_some();
        member.known.is_probed |= is_probe;
        let request = Request {
            identity: member.identity,
            ends: member.known.retry_at,
            is_probe,
            is_last_resort: anyway,
        };
        self.requests.push(request);
    }

    /// The member of a request, if it is in the pool still.
    fn of(&mut self, request: Request) -> Option<&mut Naive> {
        self.members.iter_mut().find(|member| member.identity == request.identity)
    }

    /// Ejects, if that may be; the wait is read from the pool, if it is one that may be drawn.
    fn eject(&mut self, identity: u64, by_operator: bool, drawn: &Membership<()>) {
        let is_ejected = |member: &&Naive| member.known.retry_at.is_some();
        let has_room = self.members.iter().filter(is_ejected).count() < self.members.len() / 2;
        let now = self.now;
        let at = self.members.iter().position(|member| member.identity == identity).unwrap();
        let member = &mut self.members[at];
        let may_be = match member.known.retry_at {
            _ if member.intent == State::Stopped => false,
            Some(retry_at) => now > retry_at,
            None => has_room || by_operator,
        };
        if !may_be {
            return;
        }
        let known = &mut member.known;
        known.ejections += 1;
        (known.is_probed, known.failures) = (false, 0);
        let wait = (FIRST << (known.ejections - 1).min(9)).min(AT_MOST);
        let longest = if by_operator { wait } else { wait + wait / 10 };
        let retry_at = drawn.retries()[at].unwrap_or(0);
        assert!((now + wait..=now + longest).contains(&retry_at), "{wait} {retry_at} {member:?}");
        member.known.retry_at = Some(retry_at);
    }

    fn fail(&mut self, request: Request, failure: Failure, drawn: &Membership<()>) {
        let now = self.now;
        let Some(member) = self.of(request) else { return };
        let known = &mut member.known;
        known.result(now, true);
        let is_enough = match failure {
            Failure::Connect if known.retry_at.is_none() => {
                known.failures += 1;
                known.failures >= AFTER
            }
            Failure::Connect | Failure::Response => true,
            Failure::Sent => request.is_probe || request.is_last_resort,
        };
        if is_enough || known.is_below(now) {
            self.eject(request.identity, false, drawn);
        }
        self.end_probe(request);
    }

    fn succeed(&mut self, request: Request) {
        let now = self.now;
        let Some(member) = self.of(request) else { return };
        if !request.is_probe && !request.is_last_resort {
            member.known.failures = 0;
            member.known.result(now, false);
        } else if member.known.retry_at == request.ends {
            member.known = Known::default();
        }
    }

    fn end_probe(&mut self, request: Request) {
        let Some(member) = self.of(request) else { return };
        if request.is_probe && member.known.retry_at == request.ends {
            member.known.is_probed = false;
        }
    }
}

impl Membership<()> {
    fn retries(&self) -> Vec<Option<u64>> {
        self.shared.snapshot.load().entries().iter().map(|entry| entry.state.retry_at()).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_pool_is_its_naive_twin(steps in prop::collection::vec(step(), 1..80), by_turns in any::<bool>()) {
        let balance = if by_turns { Balance::SmoothWeighted } else { Balance::PowerOfTwo };
        let clock = Arc::new(AtomicU64::new(0));
        let start = Instant::now();
        let now = clock.clone();
        let members = builder()
            .balance(balance)
            .failover(
                Failover::default()
                    .eject_after(AFTER as u8)
                    .eject_below(PERCENT as u8, AT_LEAST as u32)
                    .eject_window(Duration::from_millis(2 * HALF_WINDOW))
                    .eject_for(Duration::from_millis(FIRST), Duration::from_millis(AT_MOST)),
            )
            .clock(move || start + Duration::from_millis(now.load(Ordering::Relaxed)))
            .build()
            .unwrap()
            .membership();
        let mut model = Model::default();
        let mut requests: Vec<Picked<()>> = Vec::new();
        for step in steps {
            match step.clone() {
                Step::Insert { at, weight, role, tier, successor, at_most } => {
                    let mut member = Member::new(NAMES[at], ()).weight(weight).role(role).tier(tier);
                    if let Some(successor) = successor {
                        member = member.successor(NAMES[successor]);
                    }
                    if let Some(at_most) = at_most {
                        member = member.max_in_flight(at_most);
                    }
                    members.insert(member).unwrap();
                    let identity = model.all.len() as u64;
                    let new = Naive {
                        identity, route: at, weight, role, tier, successor, at_most,
                        intent: State::Ok, known: Known::default(),
                    };
                    match model.named(at) {
                        Some(old) => {
                            *old = Naive {
                                identity: old.identity, intent: old.intent, known: old.known.clone(), ..new
                            };
                        }
                        None => {
                            model.all.insert(identity, new.clone());
                            model.members.push(new);
                        }
                    }
                    model.gone.remove(&at);
                }
                Step::Remove(at) => {
                    let known = model.members.iter().position(|member| member.route == at);
                    let is_known = match known {
                        Some(known) => {
                            if let Some(successor) = model.members.remove(known).successor {
                                model.gone.insert(at, successor);
                            }
                            true
                        }
                        None => model.gone.remove(&at).is_some(),
                    };
                    prop_assert_eq!(members.remove(NAMES[at]).is_ok(), is_known);
                }
                Step::SetState(at, state) => {
                    let known = model.named(at);
                    prop_assert_eq!(members.set_state(NAMES[at], state).is_ok(), known.is_some());
                    match (known, state) {
                        (None, _) => {}
                        (Some(member), State::Ejected) => {
                            let identity = member.identity;
                            model.eject(identity, true, &members);
                        }
                        (Some(member), State::Ok) => {
                            (member.intent, member.known) = (State::Ok, Known::default());
                        }
                        (Some(member), State::Stopped) => {
                            let results = std::mem::take(&mut member.known.results);
                            (member.intent, member.known) =
                                (State::Stopped, Known { results, ..Known::default() });
                        }
                        (Some(member), state) => member.intent = state,
                    }
                }
                Step::SetWeight(at, weight) => {
                    let known = model.named(at);
                    prop_assert_eq!(members.set_weight(NAMES[at], weight).is_ok(), known.is_some());
                    if let Some(member) = known {
                        member.weight = weight;
                    }
                }
                Step::SetSuccessor(at, to) => {
                    members.set_successor(NAMES[at], NAMES[to]).unwrap();
                    match model.named(at) {
                        Some(member) => member.successor = Some(to),
                        None => drop(model.gone.insert(at, to)),
                    }
                }
                Step::Pass(milliseconds) => {
                    model.now += milliseconds;
                    clock.store(model.now, Ordering::Relaxed);
                }
                Step::Pick(seeded) => {
                    seed(seeded.into());
                    let picked = members.pick();
                    let (open, dead) = (model.open(), model.dead());
                    match route(&picked).map(|route| NAMES.iter().position(|name| *name == route).unwrap()) {
                        Some(at) if open.is_empty() => {
                            prop_assert!(dead.contains(&at), "{at} of the dead {dead:?}");
                            model.enter(at, true);
                        }
                        Some(at) => {
                            prop_assert!(open.contains(&at), "{at} of the open {open:?}");
                            model.enter(at, false);
                        }
                        None => {
                            prop_assert!(open.is_empty() && dead.is_empty(), "nobody of {open:?} and {dead:?}");
                        }
                    }
                    requests.extend(picked);
                }
                Step::Take(at) => {
                    let picked = members.take(NAMES[at]);
                    let expected = model.pinned(at);
                    prop_assert_eq!(route(&picked), expected.map(|at| NAMES[at]));
                    if let Some(at) = expected {
                        model.enter(at, false);
                    }
                    requests.extend(picked);
                }
                Step::Succeed(at) | Step::Fail(at, _) | Step::Drop(at) if !requests.is_empty() => {
                    let at = at % requests.len();
                    let (_, mut attempt) = requests.remove(at);
                    let request = model.requests.remove(at);
                    let ejection = &members.shared.failover.ejection;
                    match step {
                        Step::Succeed(_) => {
                            attempt.succeeded(model.now, ejection);
                            model.succeed(request);
                        }
                        Step::Fail(_, failure) => {
                            attempt.failed(failure, model.now, ejection);
                            model.fail(request, failure, &members);
                        }
                        _ => model.end_probe(request),
                    }
                }
                Step::Succeed(_) | Step::Fail(..) | Step::Drop(_) => {}
            }
            let retries: Vec<_> = model.members.iter().map(|member| member.known.retry_at).collect();
            prop_assert_eq!(members.retries(), retries);
            let seen: Vec<_> = members.status().iter().map(|member| {
                (member.route().to_string(), member.state(), member.in_flight(), member.weight_in_hundredths() / 100)
            }).collect();
            let expected: Vec<_> = model.members.iter().map(|member| {
                let state = match (member.intent, member.known.retry_at) {
                    (State::Ok, Some(_)) => State::Ejected,
                    (intent, _) => intent,
                };
                (NAMES[member.route].to_owned(), state, model.in_flight(member.identity), member.weight)
            }).collect();
            prop_assert_eq!(seen, expected);
        }
        drop(requests);
        prop_assert!(members.status().iter().all(|member| member.in_flight() == 0));
    }
}
