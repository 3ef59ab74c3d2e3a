mod ejection;
mod state;
mod twin;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

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
        self.shared.picker.pick(
            &self.shared.snapshot.load(),
            None,
            &[],
            client,
            &Now::of(&|| self.shared.now()),
        )
    }

    fn pick(&self) -> Option<Picked<()>> {
        self.pick_for(Client::of(None))
    }

    fn take(&self, pin: &str) -> Option<Picked<()>> {
        let snapshot = self.shared.snapshot.load();
        let (pinned, _) = snapshot.pinned(pin.as_bytes())?;
        self.shared.picker.take_pinned(&snapshot, pinned, &[], &Now::of(&|| self.shared.now()))
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

/// Ejected, full or closed: the others keep their order, and their shares.
#[test]
fn who_takes_nothing_is_passed_over() {
    let order = |members: &Membership<()>, number| -> String {
        (0..number).map(|_| members.pick().unwrap().0.route.to_string()).collect()
    };
    for state in [State::Ejected, State::Drain, State::Disabled, State::Stopped] {
        let members = weighted(Balance::SmoothWeighted, &[5, 1, 1]);
        assert_eq!(order(&members, 7), "aabacaa");
        members.set_state("b", state).unwrap();
        assert_eq!(order(&members, 6), "aaacaa", "{state}");
        members.set_state("b", State::Ok).unwrap();
        assert_eq!(order(&members, 7), "aabacaa", "{state}");
    }
    let members = pool(
        Balance::SmoothWeighted,
        [Member::new("a", ()), Member::new("b", ()).max_in_flight(1), Member::new("c", ())],
    );
    let busy = members.take("b");
    assert_eq!(order(&members, 4), "acac");
    drop(busy);
    assert_eq!(order(&members, 3), "abc");
}

/// A turn that would be long in coming is worked out among those that are there.
#[test]
fn turns_of_few_among_many() {
    let names: Vec<String> = (0..300).map(|at| format!("m{at}")).collect();
    let members = pool(Balance::SmoothWeighted, names.iter().map(|name| Member::new(name, ())));
    for name in &names {
        if !["m7", "m8", "m299"].contains(&&**name) {
            members.set_state(name, State::Ejected).unwrap();
        }
    }
    let counts = members.counts(300);
    assert_eq!(counts.values().sum::<usize>(), 300);
    assert!(counts.values().all(|count| (90..=110).contains(count)), "{counts:?}");
}

#[test]
fn those_tried_are_no_candidates() {
    for balance in [Balance::PowerOfTwo, Balance::SmoothWeighted, Balance::Rendezvous] {
        let members = weighted(balance, &[1, 1]);
        let snapshot = members.shared.snapshot.load();
        let pick =
            |tried: &[_]| members.shared.picker.pick(&snapshot, None, tried, client(1), &Now::of(&|| 0));
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
fn a_removed_member_lets_nobody_in_from_an_old_snapshot() {
    let members = weighted(Balance::PowerOfTwo, &[1]);
    let old = members.shared.snapshot.load_full();
    let running = members.pick().unwrap();
    members.remove("a").unwrap();
    members.insert(Member::new("a", ())).unwrap();
    let (pinned, _) = old.pinned(b"a").unwrap();
    assert!(members.shared.picker.pick(&old, None, &[], client(1), &Now::of(&|| 0)).is_none());
    assert!(members.shared.picker.take_pinned(&old, pinned, &[], &Now::of(&|| 0)).is_none());
    assert_eq!(members.status()[0].in_flight(), 0, "the new member starts anew");
    drop(running);
    assert_eq!(members.counts(3)["a"], 3);
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
            let picked =
                pool.shared.picker.pick(&snapshot, Some(&pinned), &tried, client(number), &Now::of(&|| 0));
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
        members.take("old").unwrap().1.succeeded(members.shared.now(), &members.shared.failover.ejection);
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
    let next = async |watch: &mut Watch<()>| {
        tokio::time::timeout(Duration::from_secs(1), watch.changed()).await.ok()
    };
    assert!(next(&mut watch).await.is_none());
    members.insert(Member::new("b", ())).unwrap();
    assert_eq!(next(&mut watch).await.unwrap().len(), 2);
    members.set_weight("b", 7).unwrap();
    members.set_state("b", State::Drain).unwrap();
    let told = next(&mut watch).await.unwrap();
    assert_eq!((told[1].weight_in_hundredths(), told[1].state()), (700, State::Drain));
    assert!(next(&mut watch).await.is_none(), "two changes may be told as one");
    assert!(members.remove("x").is_err() && next(&mut watch).await.is_none());
    members.remove("a").unwrap();
    assert_eq!(next(&mut watch).await.unwrap().len(), 1);
    members.drain("b", Duration::ZERO).unwrap();
    assert_eq!(next(&mut watch).await.unwrap()[0].state(), State::Drain);
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
