//! Who gets traffic when, after which results: by the clock of a paused runtime.

use std::time::Duration;

use super::super::pick::seed;
use super::super::{Failure, Member, Membership, Picked, State};
use super::{NAMES, builder, route};
use crate::sticky_route::Failover;

/// Members `a`, `b` and so on, under the clock of the runtime.
fn pool(number: usize, failover: Failover) -> Membership<()> {
    seed(11);
    NAMES[..number]
        .iter()
        .fold(builder(), |builder, route| builder.member(Member::new(route, ())))
        .slow_start(Duration::from_secs(10))
        .failover(failover)
        .clock(|| tokio::time::Instant::now().into_std())
        .build()
        .unwrap()
        .membership()
}

impl Membership<()> {
    /// A request of a client that is pinned to `route`, if that member gets it. Whether its end changes the pool.
    fn result(&self, route: &str, failure: Option<Failure>) -> bool {
        let (_, mut attempt) = self.take(route).unwrap_or_else(|| panic!("{route} takes nothing"));
        let (now, ejection) = (self.shared.now(), &self.shared.failover.ejection);
        match failure {
            Some(failure) => attempt.failed(failure, now, ejection),
            None => attempt.succeeded(now, ejection),
        }
    }

    /// Who gets new sessions, in 300 picks that are dropped.
    fn takers(&self) -> String {
        self.counts(300).into_keys().collect()
    }

    fn states(&self) -> Vec<State> {
        self.status().iter().map(|member| member.state()).collect()
    }
}

async fn pass(milliseconds: u64) {
    tokio::time::advance(Duration::from_millis(milliseconds)).await;
}

fn is_taken(picked: Option<Picked<()>>) -> bool {
    picked.is_some()
}

#[tokio::test(start_paused = true)]
async fn an_ejection_by_the_clock() {
    let members = pool(3, Failover::default());
    let connect = Some(Failure::Connect);
    // What happens to `a` after so many milliseconds, whether that changes the pool, and who gets new sessions then. The
    // wait is 1 s, 2 s and 4 s, each up to a tenth longer.
    for (passed, result, is_change, takers) in [
        (100, connect, false, "abc"),
        (0, connect, false, "abc"),
        (0, None, false, "abc"),
        (0, connect, false, "abc"),
        (0, connect, false, "abc"),
        (0, connect, true, "bc"),
        (1101, connect, true, "bc"),
        (2201, connect, true, "bc"),
        (4401, None, true, "abc"),
        (9000, connect, false, "abc"),
        (0, connect, false, "abc"),
        (0, connect, true, "bc"),
        (1101, None, true, "abc"),
    ] {
        pass(passed).await;
        assert_eq!(members.result("a", result), is_change, "{passed} {result:?}");
        assert_eq!(members.takers(), takers, "{passed} {result:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_in_before_the_time_and_one_alone_after_it() {
    let members = pool(2, Failover::default().eject_after(1));
    for wait in [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
        assert!(members.result("a", Some(Failure::Connect)));
        pass(wait).await;
        assert!(!is_taken(members.take("a")), "{wait}: not yet");
        assert_eq!(members.takers(), "b");
        pass(wait / 10 + 1).await;
        let probe = members.take("a").expect("its time is over");
        for _ in 0..20 {
            assert!(!is_taken(members.take("a")), "{wait}: it is tried");
        }
        assert_eq!(members.takers(), "b");
        // A client that goes away leaves the trial to the next one, which need not be pinned.
        drop(probe);
        assert_eq!(members.takers(), "ab");
        assert_eq!(members.states(), [State::Ejected, State::Ok], "a dropped request tells nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn a_share_of_successes_by_the_clock() {
    let failover = Failover::default().eject_below(50, 20).eject_window(Duration::from_secs(10));
    let members = pool(2, failover);
    let run = |successes: usize, failures: usize| {
        (0..successes).for_each(|_| assert!(!members.result("a", None)));
        (0..failures).filter(|_| members.result("a", Some(Failure::Sent))).count()
    };
    assert_eq!(run(10, 10), 0, "half of 20");
    assert_eq!(run(0, 1), 1);
    pass(1101).await;
    assert!(members.result("a", None), "back, and what was is forgotten");
    assert_eq!(run(0, 19), 0, "too few");
    pass(10_000).await;
    assert_eq!(run(0, 19), 0, "the others were long ago");
    pass(5000).await;
    assert_eq!(run(0, 1), 1, "these were not");
}

/// Each row: which members fail for good, and who is ejected by it.
#[tokio::test(start_paused = true)]
async fn no_more_than_half_are_ejected_by_failures() {
    for (number, dead, ejected) in
        [(1, 1, 0), (2, 1, 1), (2, 2, 1), (3, 3, 1), (4, 2, 2), (4, 4, 2), (5, 2, 2), (5, 5, 2)]
    {
        let members = pool(number, Failover::default());
        for _ in 0..5 {
            for route in &NAMES[..dead] {
                if let Some((_, mut attempt)) = members.take(route) {
                    attempt.failed(Failure::Connect, members.shared.now(), &members.shared.failover.ejection);
                }
            }
        }
        let count = members.states().iter().filter(|state| **state == State::Ejected).count();
        assert_eq!(count, ejected, "{dead} of {number}");
        assert_eq!(members.takers(), NAMES[ejected..number].concat());
    }
}

#[tokio::test(start_paused = true)]
async fn half_is_of_the_members_that_there_are() {
    let members = pool(2, Failover::default().eject_after(1));
    let fails = |route| members.result(route, Some(Failure::Connect));
    assert!(fails("a") && !fails("b"));
    members.insert(Member::new("c", ())).unwrap();
    assert!(!fails("b"), "half of 3 is 1");
    members.insert(Member::new("d", ())).unwrap();
    assert!(fails("b") && !fails("c"));
    members.remove("a").unwrap();
    assert!(!fails("c"), "1 of 3 is ejected");
    members.set_state("b", State::Ok).unwrap();
    assert!(fails("c"));
    members.set_state("c", State::Stopped).unwrap();
    assert!(fails("d"), "a stopped one is not ejected");
    // A weight or a service that changes makes no second member.
    members.set_weight("d", 7).unwrap();
    members.insert(Member::new("d", ())).unwrap();
    assert_eq!(members.states(), [State::Ok, State::Stopped, State::Ejected]);
    assert!(!fails("b"));
    pass(1101).await;
    assert!(members.result("d", None) && fails("b"));
}

#[tokio::test(start_paused = true)]
async fn where_all_are_out_requests_go_on_and_the_first_answer_opens_a_member() {
    let members = pool(2, Failover::default());
    for route in ["a", "b"] {
        members.set_state(route, State::Ejected).unwrap();
    }
    assert_eq!(members.takers(), "ab");
    assert!(!is_taken(members.take("a")), "its time is not over: another one is picked");
    let (entry, mut attempt) = members.pick().unwrap();
    assert!(attempt.succeeded(members.shared.now(), &members.shared.failover.ejection));
    assert_eq!(members.takers(), entry.route.as_str());
    assert!(is_taken(members.take(entry.route.as_str())));

    let lone = pool(1, Failover::default().eject_after(1));
    for _ in 0..9 {
        assert!(!lone.result("a", Some(Failure::Connect)));
    }
    assert_eq!((route(&lone.pick()), lone.states()), (Some("a"), vec![State::Ok]));
}

#[tokio::test(start_paused = true)]
async fn who_was_ejected_warms_up_in_a_straight_line() {
    let members = pool(2, Failover::default().eject_after(1));
    assert!(members.result("a", Some(Failure::Connect)));
    pass(1101).await;
    assert!(members.result("a", None));
    for (passed, weight) in [(0, 10), (500, 10), (500, 10), (1000, 20), (3000, 50), (4900, 99), (100, 100)] {
        pass(passed).await;
        assert_eq!(members.status()[0].effective_weight_in_hundredths(), weight);
        // Of the picks it gets its share of the sum of weights: at most 1200, and 35 its standard deviation.
        let share = 2400.0 * f64::from(weight) / f64::from(100 + weight);
        let seen = members.counts(2400)["a"] as f64;
        assert!((seen - share).abs() < 140.0, "{weight}: {seen}, expected {share}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_drains_is_ejected_and_tried_like_any_other() {
    let members = pool(2, Failover::default().eject_after(1));
    let drained = members.drain("a", Duration::from_secs(5)).unwrap();
    assert!(members.result("a", Some(Failure::Connect)));
    assert_eq!(members.states(), [State::Drain, State::Ok]);
    assert!(!is_taken(members.take("a")), "not even its own clients");
    pass(1101).await;
    let mut probe = members.take("a").unwrap();
    assert!(!is_taken(members.take("a")));
    assert!(probe.1.succeeded(members.shared.now(), &members.shared.failover.ejection));
    assert!(is_taken(members.take("a")), "its own clients");
    assert_eq!(members.takers(), "b");
    let left = drained.await.unwrap_err();
    assert_eq!(left.in_flight(), 1);
    assert!(!is_taken(members.take("a")), "the time is over");
    let drained = members.drain("a", Duration::from_secs(5)).unwrap();
    drop(probe);
    assert_eq!(drained.await, Ok(()));
}
