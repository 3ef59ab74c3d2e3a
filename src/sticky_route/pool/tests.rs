use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::pick::seed;
use super::*;
use crate::sticky_route::{Builder, Failover, RouteCookie, StickyRoute};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn builder() -> Builder<()> {
    StickyRoute::builder("pool")
        .cookie(RouteCookie::plain())
        .failover(Failover::default().eject_for(Duration::from_secs(1), Duration::from_secs(1)))
}

fn pool(balance: Balance, members: impl IntoIterator<Item = Member<()>>) -> Membership<()> {
    members.into_iter().fold(builder().balance(balance), Builder::member).build().unwrap().membership()
}

fn weighted(balance: Balance, weights: &[u32]) -> Membership<()> {
    pool(balance, NAMES.iter().zip(weights).map(|(route, weight)| Member::new(route, ()).weight(*weight)))
}

impl Membership<()> {
    fn pick_for(&self, client: Client) -> Option<Picked<()>> {
        self.shared.picker.pick(&self.shared.snapshot.load(), None, &[], client, self.shared.now())
    }

    fn pick(&self) -> Option<Picked<()>> {
        self.pick_for(Client::of(None))
    }

    fn take(&self, pin: &str) -> Option<Picked<()>> {
        let snapshot = self.shared.snapshot.load();
        let (pinned, _) = snapshot.pinned(pin.as_bytes())?;
        self.shared.picker.take_pinned(&snapshot, pinned, self.shared.now())
    }

    fn counts(&self, number: usize) -> BTreeMap<String, usize> {
        (0..number).fold(BTreeMap::new(), |mut counts, _| {
            *counts.entry(self.pick().unwrap().0.route.to_string()).or_default() += 1;
            counts
        })
    }
}

fn client(number: u32) -> Client {
    Client::of(Some(IpAddr::V4(Ipv4Addr::from(number))))
}

fn route(picked: &Option<Picked<()>>) -> Option<&str> {
    picked.as_ref().map(|(entry, _)| entry.route.as_str())
}

#[test]
fn what_is_written_is_read() {
    for balance in ["power-of-two", "smooth-weighted", "by-requests", "least-busy", "rendezvous"] {
        let parsed: Balance = balance.to_uppercase().parse().unwrap();
        assert_eq!(parsed.to_string(), balance);
    }
    let error = "random".parse::<Balance>().unwrap_err();
    assert!(error.to_string().starts_with("balance \"random\" is refused: "), "{error}");
}

#[test]
fn idle_members_are_drawn_by_weight() {
    seed(1);
    let counts = weighted(Balance::PowerOfTwo, &[1, 3, 0]).counts(4000);
    assert_eq!(counts.values().sum::<usize>(), 4000);
    // 3000 is expected, and 27 its standard deviation.
    assert!((2850..3150).contains(&counts["b"]), "{counts:?}");
    assert!(!counts.contains_key("c"));
}

#[test]
fn of_two_the_one_that_will_be_less_busy() {
    seed(2);
    let members = weighted(Balance::PowerOfTwo, &[1, 1]);
    let _busy: Vec<_> = (0..3).map(|_| members.take("a").unwrap()).collect();
    let counts = members.counts(1000);
    // Only where both draws are `a`: a quarter.
    assert!((650..850).contains(&counts["b"]), "{counts:?}");

    // 1 / 1 with the request to come, against 2 / 10: the idle one is not the less busy one.
    let members = weighted(Balance::PowerOfTwo, &[1, 10]);
    let _busy = members.take("b").unwrap();
    let counts = members.counts(1000);
    // `a` only where both draws are `a`: 1 of 121.
    assert!(counts.get("a").copied().unwrap_or(0) < 30, "{counts:?}");

    let members = weighted(Balance::LeastBusy, &[1, 1]);
    let _busy = members.take("a").unwrap();
    assert_eq!(members.counts(10)["b"], 10);
}

#[test]
fn standby_members_wait_until_no_other_of_their_tier_is_left() {
    for balance in [
        Balance::PowerOfTwo,
        Balance::SmoothWeighted,
        Balance::ByRequests,
        Balance::LeastBusy,
        Balance::Rendezvous,
    ] {
        let members = pool(
            balance,
            [
                Member::new("a", ()),
                Member::new("r", ()).role(Role::Spare),
                Member::new("h", ()).role(Role::Standby),
                Member::new("next", ()).tier(1),
                Member::new("last", ()).tier(200).role(Role::Standby),
            ],
        );
        for (close, state, then) in [
            ("none", State::Ok, "a"),
            ("a", State::Drain, "r"),
            ("r", State::Ejected, "h"),
            ("h", State::Stopped, "next"),
            ("next", State::Disabled, "last"),
            ("last", State::Stopped, "r"),
        ] {
            let _ = members.set_state(close, state);
            assert_eq!(members.counts(9).get(then), Some(&9), "{balance} {close} {state}");
        }
        members.set_state("r", State::Stopped).unwrap();
        assert!(members.pick().is_none(), "{balance}");
    }
}

#[test]
fn a_spare_for_each_that_takes_nothing() {
    let members = pool(
        Balance::SmoothWeighted,
        [Member::new("a", ()), Member::new("b", ())]
            .into_iter()
            .chain(["r", "s"].map(|route| Member::new(route, ()).role(Role::Spare))),
    );
    members.set_state("a", State::Ejected).unwrap();
    assert_eq!(members.counts(4), BTreeMap::from([("b".to_owned(), 2), ("r".to_owned(), 2)]));
}

#[test]
fn those_tried_are_no_candidates() {
    for balance in [Balance::PowerOfTwo, Balance::Rendezvous] {
        let members = weighted(balance, &[1, 1]);
        let snapshot = members.shared.snapshot.load();
        let pick = |tried: &[_]| members.shared.picker.pick(&snapshot, None, tried, client(1), 0);
        let (first, _) = pick(&[]).unwrap();
        let (second, _) = pick(std::slice::from_ref(&first)).unwrap();
        assert_ne!(first.route, second.route);
        assert!(pick(&[first, second]).is_none());
    }
}

#[test]
fn full_members_are_passed_over() {
    let members = pool(
        Balance::PowerOfTwo,
        [Member::new("a", ()).max_in_flight(2), Member::new("b", ()).max_in_flight(1)],
    );
    let mut picked: Vec<_> = (0..3).map(|_| members.pick().unwrap()).collect();
    let routes: BTreeSet<_> = picked.iter().map(|(entry, _)| entry.route.to_string()).collect();
    assert_eq!(routes.len(), 2);
    assert!(members.pick().is_none() && members.take("a").is_none() && members.take("b").is_none());
    picked.retain(|(entry, _)| entry.route.as_str() != "b");
    assert_eq!(route(&members.pick()), Some("b"));
}

#[test]
fn successors_chain_and_outlive_their_members() {
    let members = weighted(Balance::PowerOfTwo, &[1, 1, 1]);
    members.set_successor("a", "b").unwrap();
    members.set_successor("b", "c").unwrap();
    members.set_successor("c", "a").unwrap();
    members.set_state("a", State::Disabled).unwrap();
    assert_eq!(route(&members.take("a")), Some("b"));
    members.set_state("b", State::Drain).unwrap();
    assert_eq!(route(&members.take("b")), Some("b"), "its own clients");
    assert_eq!(route(&members.take("a")), Some("c"), "no new ones");
    members.remove("b").unwrap();
    assert_eq!(route(&members.take("b")), Some("c"));
    members.set_state("c", State::Stopped).unwrap();
    assert!(members.take("b").is_none(), "a ring of closed members has an end");
    members.set_successor("b", "b").unwrap();
    assert!(members.take("b").is_none());
    members.set_successor("b", "gone").unwrap();
    assert!(members.take("b").is_none());
    members.remove("b").unwrap();
    assert!(members.shared.snapshot.load().pinned(b"b").is_none());
    members.set_successor("b", "c").unwrap();
    members.insert(Member::new("b", ())).unwrap();
    assert_eq!(route(&members.take("b")), Some("b"), "it is back");
    assert_eq!(members.set_successor("b", "x y").unwrap_err().item(), "x y");
    assert_eq!(members.set_successor("x y", "b").unwrap_err().item(), "x y");
}

#[test]
fn front_ends_that_share_only_names_agree() {
    let one = weighted(Balance::Rendezvous, &[1, 2, 3, 1, 1]);
    let other = pool(
        Balance::PowerOfTwo,
        [("e", 1), ("c", 3), ("b", 2), ("d", 1), ("a", 1)]
            .map(|(route, weight)| Member::new(route, ()).weight(weight)),
    );
    let mut counts = BTreeMap::<String, u32>::new();
    for number in 0..8000 {
        let first = one.pick_for(client(number)).unwrap().0;
        *counts.entry(first.route.to_string()).or_default() += 1;
        // The other front end knows the client by the pin of a member that is gone from both.
        let snapshot = other.shared.snapshot.load();
        let substitute = |pool: &Membership<()>| {
            let snapshot = pool.shared.snapshot.load();
            let pinned = snapshot.pinned(b"b").unwrap().0.clone();
            let tried = [pinned.clone()];
            let picked = pool.shared.picker.pick(&snapshot, Some(&pinned), &tried, client(number), 0);
            picked.unwrap().0.route.clone()
        };
        assert_eq!(substitute(&one), substitute(&other), "{number}");
        if first.route.as_str() != "b" {
            assert_eq!(substitute(&one), first.route, "{number}: nobody moves but those of `b`");
        }
        drop(snapshot);
    }
    // 1 in 8 for each weight: 1000, and 30 its standard deviation.
    for (route, expected) in [("a", 1000), ("b", 2000), ("c", 3000), ("d", 1000), ("e", 1000)] {
        assert!(counts[route].abs_diff(expected) < 180, "{counts:?}");
    }
}

/// What other versions and machines must find, too.
#[test]
fn agreement_lasts() {
    let members = weighted(Balance::Rendezvous, &[1, 1, 1, 1, 1]);
    let routes: String =
        (0..12).map(|number| members.pick_for(client(number)).unwrap().0.route.to_string()).collect();
    assert_eq!(routes, AGREED);
    let mapped = IpAddr::V6(Ipv4Addr::from(7).to_ipv6_mapped());
    assert_eq!(route(&members.pick_for(Client::of(Some(mapped)))), AGREED.get(7..8));
}

const AGREED: &str = "edbbddebaccc";

#[tokio::test(start_paused = true)]
async fn who_comes_back_gets_a_tenth_and_then_more() {
    seed(3);
    let window = Duration::from_secs(100);
    for balance in [Balance::PowerOfTwo, Balance::SmoothWeighted, Balance::Rendezvous] {
        let members = builder()
            .balance(balance)
            .slow_start(window)
            .clock(|| tokio::time::Instant::now().into_std())
            .member(Member::new("old", ()))
            .build()
            .unwrap()
            .membership();
        tokio::time::advance(Duration::from_secs(5)).await;
        members.insert(Member::new("new", ())).unwrap();
        // Of weights 0.1 to 1, 0.5 to 1 and 1 to 1.
        for (seconds, share) in [(0, 1000.0 / 11.0), (50, 1000.0 / 3.0), (50, 500.0)] {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            let seen = members.counts(1000)["new"] as f64;
            assert!((seen - share).abs() < 60.0, "{balance} {seconds}: {seen}, expected {share}");
        }
        members.set_state("old", State::Ejected).unwrap();
        assert_eq!(members.counts(10)["new"], 10);
        tokio::time::advance(Duration::from_millis(1001)).await;
        members.take("old").unwrap().1.succeeded(members.shared.now());
        assert_eq!(members.status()[0].effective_weight_in_hundredths(), 10);
        assert_eq!(members.status()[0].weight_in_hundredths(), 100);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_with_the_last_request_or_with_its_time() {
    let members = weighted(Balance::PowerOfTwo, &[1, 1]);
    let start = tokio::time::Instant::now();
    assert_eq!(members.drain("b", Duration::from_secs(60)).unwrap().await, Ok(()), "it has none");
    let busy = members.take("a").unwrap();
    let drained = members.drain("a", Duration::from_secs(60)).unwrap();
    assert_eq!(members.status()[0].state(), State::Drain, "before anybody awaits it");
    let release = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        drop(busy);
    };
    assert_eq!(tokio::join!(drained, release).0, Ok(()));
    assert_eq!(start.elapsed(), Duration::from_secs(20));

    members.set_state("a", State::Ok).unwrap();
    let busy = [members.take("a"), members.take("a")];
    drop(members.drain("a", Duration::from_secs(1)).unwrap());
    let left = members.drain("a", Duration::from_secs(60)).unwrap().await.unwrap_err();
    assert_eq!((start.elapsed(), left.in_flight()), (Duration::from_secs(80), 2));
    assert_eq!(left.to_string(), "\"a\" still has 2 requests");
    drop(busy);
    assert!(members.drain("x", Duration::ZERO).is_err());
    assert_eq!(members.drain("a", Duration::MAX).unwrap().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn changes_are_told() {
    let members = weighted(Balance::PowerOfTwo, &[1]);
    let mut watch = members.watch();
    let quiet = async |watch: &mut Watch<()>| {
        tokio::time::timeout(Duration::from_secs(1), watch.changed()).await.is_err()
    };
    assert!(quiet(&mut watch).await);
    members.insert(Member::new("b", ())).unwrap();
    assert_eq!(watch.changed().await.len(), 2);
    members.set_weight("b", 7).unwrap();
    members.set_state("b", State::Drain).unwrap();
    let told = watch.changed().await;
    assert_eq!((told[1].weight_in_hundredths(), told[1].state()), (700, State::Drain));
    assert!(quiet(&mut watch).await, "two changes may be told as one");
    assert!(members.remove("x").is_err() && quiet(&mut watch).await);
    members.remove("a").unwrap();
    assert_eq!(watch.changed().await.len(), 1);
}

proptest! {
    #[test]
    fn turns_are_those_of_the_naive_twin(weights in prop::collection::vec(1..9_u32, 1..5), seats in 1..40_usize) {
        let members = weighted(Balance::SmoothWeighted, &weights);
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
            let picked = members.pick();
            prop_assert_eq!(route(&picked), Some(NAMES[best]));
            let owed: Vec<_> = members.status().iter().map(|member| member.owed_in_hundredths() / 100).collect();
            prop_assert_eq!(owed, &gains[..]);
        }
    }
}

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
    Fail(usize),
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
    prop_oneof![
        3 => insert,
        1 => at().prop_map(Step::Remove),
        2 => (at(), state).prop_map(|(at, state)| Step::SetState(at, state)),
        1 => (at(), 0..3_u32).prop_map(|(at, weight)| Step::SetWeight(at, weight)),
        1 => (at(), at()).prop_map(|(at, to)| Step::SetSuccessor(at, to)),
        2 => (0..1200_u64).prop_map(Step::Pass),
        5 => any::<u32>().prop_map(Step::Pick),
        5 => at().prop_map(Step::Take),
        1 => any::<prop::sample::Index>().prop_map(|index| Step::Succeed(index.index(99))),
        2 => any::<prop::sample::Index>().prop_map(|index| Step::Fail(index.index(99))),
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
    retry_at: Option<u64>,
    is_probed: bool,
}

/// A request as a naive program has it: whose it is, and which ejection it could end.
#[derive(Clone, Copy, Debug)]
struct Request {
    identity: u64,
    ends: Option<u64>,
    is_probe: bool,
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
        !self.is_full(member) && member.retry_at.is_none_or(|at| self.now > at && !member.is_probed)
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
                && member.retry_at.is_some()
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
        let is_probe = !anyway && member.retry_at.is_some();
        member.is_probed |= is_probe;
        let request = Request { identity: member.identity, ends: member.retry_at, is_probe };
        self.requests.push(request);
    }

    /// The member of a request, if it is in the pool still.
    fn of(&mut self, request: Request) -> Option<&mut Naive> {
        self.members.iter_mut().find(|member| member.identity == request.identity)
    }

    fn eject(member: &mut Naive, now: u64) {
        if member.retry_at.is_none_or(|at| now > at) {
            member.retry_at = Some(now + 1000);
            member.is_probed = false;
        }
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
                        intent: State::Ok, retry_at: None, is_probed: false,
                    };
                    match model.named(at) {
                        Some(old) => {
                            *old = Naive {
                                identity: old.identity, intent: old.intent, retry_at: old.retry_at,
                                is_probed: old.is_probed, ..new
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
                    let now = model.now;
                    let known = model.named(at);
                    prop_assert_eq!(members.set_state(NAMES[at], state).is_ok(), known.is_some());
                    match (known, state) {
                        (None, _) => {}
                        (Some(member), State::Ejected) => Model::eject(member, now),
                        (Some(member), State::Ok) => {
                            (member.intent, member.retry_at, member.is_probed) = (State::Ok, None, false);
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
                Step::Succeed(at) | Step::Fail(at) | Step::Drop(at) if !requests.is_empty() => {
                    let at = at % requests.len();
                    let (_, mut attempt) = requests.remove(at);
                    let request = model.requests.remove(at);
                    let now = model.now;
                    let member = model.of(request);
                    match step {
                        Step::Succeed(_) => {
                            attempt.succeeded(now);
                            if let Some(member) = member.filter(|member| member.retry_at == request.ends) {
                                (member.retry_at, member.is_probed) = (None, false);
                            }
                        }
                        Step::Fail(_) => {
                            attempt.failed(now, members.shared.failover.backoff);
                            if let Some(member) = member {
                                Model::eject(member, now);
                            }
                        }
                        _ => {
                            let is_its = |member: &&mut Naive| {
                                request.is_probe && member.retry_at == request.ends
                            };
                            if let Some(member) = member.filter(is_its) {
                                member.is_probed = false;
                            }
                        }
                    }
                }
                Step::Succeed(_) | Step::Fail(_) | Step::Drop(_) => {}
            }
            let seen: Vec<_> = members.status().iter().map(|member| {
                (member.route().to_string(), member.state(), member.in_flight(), member.weight_in_hundredths() / 100)
            }).collect();
            let expected: Vec<_> = model.members.iter().map(|member| {
                let state = match (member.intent, member.retry_at) {
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
