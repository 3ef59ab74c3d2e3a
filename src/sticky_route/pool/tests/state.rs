//! One member alone.

use std::sync::Arc;
use std::time::Duration;

use super::super::ejection::Quota;
use super::super::pick::seed;
use super::super::state::{MemberState, State};
use super::super::{Attempt, Backoff, Ejection, Failure, Floor, Whose};

const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), at_most: Duration::from_secs(5) };
const AT_ONCE: Ejection = Ejection { after: 1, floor: None, half_window: 5000, backoff: BACKOFF };

/// One of as many members as it takes.
fn member() -> Arc<MemberState> {
    let quota = Arc::<Quota>::default();
    quota.has_members(9);
    Arc::new(MemberState::new(quota))
}

/// Ejects, and tells when it will be tried.
fn fail(attempt: &mut Attempt, now: u64) -> Option<u64> {
    attempt.failed(Failure::Connect, now, &AT_ONCE).then(|| attempt.state.retry_at().unwrap())
}

fn enter(state: &Arc<MemberState>, now: u64) -> Option<Attempt> {
    state.enter(Whose::New, now, u32::MAX)
}

fn takes_new(state: &MemberState, now: u64) -> bool {
    state.takes(Whose::New, now)
}

fn takes_pinned(state: &MemberState, now: u64) -> bool {
    state.takes(Whose::Pinned, now)
}

#[test]
fn states_read_in_a_log() {
    let texts = [State::Ok, State::Drain, State::Disabled, State::Stopped, State::Ejected];
    assert_eq!(texts.map(|state| state.to_string()), ["ok", "drain", "disabled", "stopped", "ejected"]);
}

#[test]
fn one_request_tries_an_ejected_member() {
    let state = member();
    let retry_at = fail(&mut enter(&state, 0).unwrap(), 0).unwrap();
    assert_eq!(state.state(), State::Ejected);
    assert!((1000..=1100).contains(&retry_at) && enter(&state, retry_at).is_none());
    let now = retry_at + 1;
    let probe = enter(&state, now).unwrap();
    assert!(!takes_pinned(&state, now) && enter(&state, now).is_none());
    drop(probe);
    let again = fail(&mut enter(&state, now).unwrap(), now).unwrap();
    assert!((now + 2000..=now + 2200).contains(&again) && enter(&state, again).is_none());
    assert!(enter(&state, again + 1).unwrap().succeeded(again + 1, &AT_ONCE));
    assert_eq!((state.state(), state.in_flight()), (State::Ok, 0));
}

#[test]
fn failures_at_once_count_once() {
    let state = member();
    let mut attempts: Vec<_> = (0..9).map(|_| enter(&state, 0).unwrap()).collect();
    let ejections = attempts.iter_mut().filter_map(|attempt| fail(attempt, 10)).count();
    assert_eq!(ejections, 1);
    assert!(takes_new(&state, 1111));
}

#[test]
fn so_many_failures_in_a_row() {
    let limits = Ejection { after: 3, ..AT_ONCE };
    let state = member();
    let fails = || enter(&state, 0).unwrap().failed(Failure::Connect, 0, &limits);
    assert_eq!([fails(), fails()], [false; 2]);
    enter(&state, 0).unwrap().succeeded(0, &limits);
    drop(enter(&state, 0));
    for _ in 0..30 {
        assert!(!enter(&state, 0).unwrap().failed(Failure::Sent, 0, &limits), "it was reached");
    }
    assert_eq!([fails(), fails(), fails()], [false, false, true]);
    // The one that tries it is enough to eject it again.
    let now = state.retry_at().unwrap() + 1;
    assert!(enter(&state, now).unwrap().failed(Failure::Connect, now, &limits));
    let now = state.retry_at().unwrap() + 1;
    assert!(enter(&state, now).unwrap().succeeded(now, &limits));
    let fails = || enter(&state, now).unwrap().failed(Failure::Connect, now, &limits);
    assert_eq!([fails(), fails(), fails()], [false, false, true], "it starts anew");
    assert!(state.retry_at().unwrap() <= now + 1100, "and so does the wait");
    state.set(State::Ok, now, BACKOFF);
    assert!(enter(&state, now).unwrap().failed(Failure::Response, now, &limits), "a status ejects at once");
}

#[test]
fn a_small_share_of_successes() {
    let limits = Ejection { after: 9, floor: Some(Floor { percent: 50, at_least: 4 }), ..AT_ONCE };
    let state = member();
    let end = |failure: Option<Failure>, now| match failure {
        Some(failure) => enter(&state, now).unwrap().failed(failure, now, &limits),
        None => enter(&state, now).unwrap().succeeded(now, &limits),
    };
    let (sent, connect) = (Some(Failure::Sent), Some(Failure::Connect));
    assert_eq!([end(sent, 0), end(sent, 0), end(sent, 4999)], [false; 3], "too few");
    assert!(!end(connect, 10_000), "they are forgotten");
    assert_eq!([None, None, sent, connect].map(|result| end(result, 10_000)), [false, false, false, true]);
    // A request that it breaks off does not open it, and neither does a dropped one.
    let now = state.retry_at().unwrap() + 1;
    assert!(end(sent, now));
    let now = state.retry_at().unwrap() + 1;
    assert!(end(None, now));
    assert_eq!([sent; 4].map(|result| end(result, now)), [false, false, false, true], "it starts anew");
    state.set(State::Ok, now, BACKOFF);
    assert_eq!(
        [sent; 4].map(|result| end(result, now)),
        [false, false, false, true],
        "the operator means it"
    );
}

#[test]
fn the_wait_is_drawn() {
    let waits = |first| {
        seed(first);
        let wait = |_| fail(&mut enter(&member(), 0).unwrap(), 0).unwrap();
        (0..200).map(wait).collect::<Vec<_>>()
    };
    assert_eq!(waits(5), waits(5));
    assert_ne!(waits(5), waits(6));
    assert!(waits(5).iter().all(|wait| (1000..=1100).contains(wait)));
    assert!(waits(5).iter().any(|wait| *wait < 1020) && waits(5).iter().any(|wait| *wait > 1080));
    let state = member();
    state.set(State::Ejected, 0, BACKOFF);
    assert_eq!(state.retry_at(), Some(1000), "the operator means what he says");
}

#[test]
fn a_quota_is_given_back_however_an_ejection_ends() {
    let quota = Arc::<Quota>::default();
    quota.has_members(3);
    let [one, other] = [0, 1].map(|_| Arc::new(MemberState::new(quota.clone())));
    let ends: [fn(&Arc<MemberState>); 4] = [
        |state| state.set(State::Ok, 9000, BACKOFF),
        |state| state.set(State::Stopped, 9000, BACKOFF),
        |state| assert!(enter(state, 9000).unwrap().succeeded(9000, &AT_ONCE)),
        |state| assert!(state.enter_anyway(u32::MAX).unwrap().succeeded(0, &AT_ONCE)),
    ];
    for end in ends {
        for state in [&one, &other] {
            state.set(State::Ok, 0, BACKOFF);
        }
        let mut late = enter(&one, 0).unwrap();
        assert!(fail(&mut enter(&one, 0).unwrap(), 0).is_some());
        assert!(fail(&mut enter(&other, 0).unwrap(), 0).is_none(), "half of 3 is 1");
        assert_eq!(other.state(), State::Ok);
        end(&one);
        assert!(fail(&mut enter(&other, 9000).unwrap(), 9000).is_some());
        assert!(fail(&mut late, 9000).is_none());
    }
    one.set(State::Ejected, 9000, BACKOFF);
    assert_eq!([one.state(), other.state()], [State::Ejected; 2], "the operator is not bounded");
}

#[test]
fn a_late_success_does_not_undo_an_ejection_nor_a_stop() {
    let state = member();
    let mut late = enter(&state, 0).unwrap();
    state.set(State::Ejected, 0, BACKOFF);
    late.succeeded(2000, &AT_ONCE);
    assert_eq!(state.state(), State::Ejected);
    let mut probe = enter(&state, 2000).unwrap();
    state.set(State::Stopped, 2000, BACKOFF);
    probe.succeeded(2000, &AT_ONCE);
    assert_eq!(state.state(), State::Stopped);
    assert!(!takes_pinned(&state, 2000));
}

#[test]
fn a_late_probe_says_nothing_of_a_later_ejection() {
    let state = member();
    state.set(State::Ejected, 0, BACKOFF);
    let (mut first, second) = (enter(&state, 2000).unwrap(), state.enter_anyway(u32::MAX).unwrap());
    state.set(State::Ok, 2000, BACKOFF);
    state.set(State::Ejected, 3000, BACKOFF);
    let _probe = enter(&state, 4001).unwrap();
    assert!(!first.succeeded(4001, &AT_ONCE));
    drop((first, second));
    assert_eq!(state.state(), State::Ejected);
    assert!(enter(&state, 4001).is_none(), "it is tried still");
}

#[test]
fn a_late_failure_says_nothing_of_a_stopped_member() {
    let state = member();
    let mut late = [enter(&state, 0).unwrap(), enter(&state, 0).unwrap()];
    state.set(State::Stopped, 0, BACKOFF);
    assert!(fail(&mut late[0], 0).is_none());
    assert_eq!((state.state(), state.retry_at()), (State::Stopped, None));
    state.set(State::Disabled, 0, BACKOFF);
    assert!(fail(&mut late[1], 0).is_some(), "a disabled one may come back");
    assert_eq!((state.state(), state.retry_at().is_some()), (State::Disabled, true));
}

#[test]
fn draining_ends() {
    let state = member();
    state.drain_until(50, 0, BACKOFF);
    assert!(!takes_new(&state, 0) && takes_pinned(&state, 49) && !takes_pinned(&state, 50));
    state.set(State::Drain, 0, BACKOFF);
    assert!(takes_pinned(&state, u64::MAX - 1));
}

#[test]
fn closed_members_let_nobody_in() {
    let state = member();
    state.drain_until(50, 0, BACKOFF);
    assert!(enter(&state, 0).is_none());
    let pinned = |now| state.enter(Whose::Pinned, now, u32::MAX);
    assert!(pinned(49).is_some() && pinned(50).is_none());
    for intent in [State::Disabled, State::Stopped] {
        state.set(intent, 0, BACKOFF);
        assert!(pinned(0).is_none() && state.enter_anyway(u32::MAX).is_none());
    }
    assert_eq!(state.in_flight(), 0);
}

#[test]
fn no_more_than_so_many() {
    let state = member();
    let enter = || state.enter(Whose::New, 0, 2);
    let (first, _second) = (enter().unwrap(), enter().unwrap());
    assert!(enter().is_none() && state.enter_anyway(2).is_none());
    drop(first);
    assert!(enter().is_some());
    assert!(state.enter(Whose::New, 0, 0).is_none());
}

#[test]
fn weights_warm_up_in_a_straight_line_from_a_tenth() {
    let state = MemberState::joining(1000, Arc::default());
    let weight = |seconds: u64| state.warm_weight(10_000, 1000 + seconds * 1000, 60_000);
    assert_eq!([0, 1, 6, 30, 59, 60, 600].map(weight), [1000, 1000, 1000, 5000, 9833, 10_000, 10_000]);
    assert_eq!(state.warm_weight(10_000, 1000, 0), 10_000, "nobody asked for it");
    assert_eq!((state.warm_weight(1, 1000, 60_000), state.warm_weight(0, 1000, 60_000)), (1, 0));
    assert_eq!(member().warm_weight(10_000, 0, 60_000), 10_000, "there from the start");
}

#[test]
fn who_comes_back_warms_up_and_who_drained_is_warm() {
    let share = |state: &MemberState| state.warm_weight(100, 10_000, 60_000);
    for down in [State::Disabled, State::Stopped, State::Ejected] {
        let state = member();
        state.set(down, 0, BACKOFF);
        state.set(State::Ok, 10_000, BACKOFF);
        assert_eq!(share(&state), 10, "{down}");
    }
    let state = member();
    state.set(State::Drain, 0, BACKOFF);
    state.set(State::Ok, 10_000, BACKOFF);
    assert_eq!(share(&state), 100);
    state.set(State::Ejected, 0, BACKOFF);
    assert!(enter(&state, 10_000).unwrap().succeeded(10_000, &AT_ONCE));
    assert_eq!(share(&state), 10);
}

#[tokio::test]
async fn waiting_for_no_request_ends_with_the_last() {
    let state = member();
    state.idle().await;
    let attempts = [enter(&state, 0), enter(&state, 0)];
    let waiting = tokio::spawn({
        let state = state.clone();
        async move { state.idle().await }
    });
    for attempt in attempts {
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(attempt);
    }
    tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
}
