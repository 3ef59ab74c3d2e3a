//! Each model is a few threads and what must hold in all of their orders.

use std::sync::Arc;
use std::time::Duration;

use loom::sync::atomic::Ordering;
use loom::thread;

use super::state::{Attempt, Backoff, MemberState, State, Whose};

const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), at_most: Duration::from_secs(1) };
const NO_BOUND: u32 = u32::MAX;

pub(crate) fn run() {
    type Model = fn();
    let models: [(&str, Model); 7] = [
        ("a late success does not undo a stop", stop_outlives_a_late_success),
        ("requests are counted to zero, and never too many", in_flight),
        ("one request tries an ejected member", one_probe),
        ("a dropped probe leaves the next one", dropped_probe),
        ("who finds a removed member idle gets no request any more", remove_versus_pick),
        ("who waits for the last request is told", waiting_for_the_last),
        ("failures at the same time eject once", failures_at_once),
    ];
    for (name, model) in models {
        loom::model(model);
        println!("{name}: ok");
    }
}

fn member() -> Arc<MemberState> {
    Arc::new(MemberState::new())
}

fn enter(state: &Arc<MemberState>, now: u64) -> Option<Attempt> {
    state.enter(Whose::New, now, NO_BOUND)
}

fn stop_outlives_a_late_success() {
    let state = member();
    state.set(State::Ejected, 0, BACKOFF);
    let mut probe = enter(&state, 2000).unwrap();
    let operator = thread::spawn({
        let state = state.clone();
        move || state.set(State::Stopped, 2000, BACKOFF)
    });
    probe.succeeded(2000);
    drop(probe);
    operator.join().unwrap();
    assert_eq!(state.state(), State::Stopped);
    assert!(enter(&state, 9000).is_none());
}

fn in_flight() {
    let state = member();
    let threads = [0, 1].map(|_| {
        let state = state.clone();
        thread::spawn(move || {
            let attempt = state.enter(Whose::New, 0, 1);
            assert!(state.in_flight() <= 1);
            attempt.is_some()
        })
    });
    let entered = threads.map(|thread| thread.join().unwrap());
    assert!(entered.contains(&true));
    assert_eq!(state.in_flight(), 0);
    assert!(state.enter(Whose::New, 0, 1).is_some());
}

fn one_probe() {
    let state = member();
    state.set(State::Ejected, 0, BACKOFF);
    let threads = [0, 1].map(|_| {
        let state = state.clone();
        thread::spawn(move || enter(&state, 2000))
    });
    let attempts = threads.map(|thread| thread.join().unwrap());
    assert_eq!(attempts.iter().flatten().count(), 1);
    drop(attempts);
    assert_eq!(state.in_flight(), 0);
}

fn dropped_probe() {
    let state = member();
    state.set(State::Ejected, 0, BACKOFF);
    let mut late = state.enter_anyway(NO_BOUND).unwrap();
    let probe = enter(&state, 2000).unwrap();
    let other = thread::spawn(move || late.succeeded(2000));
    drop(probe);
    assert!(other.join().unwrap());
    assert_eq!(state.state(), State::Ok);
    assert!(enter(&state, 2000).is_some());
}

fn remove_versus_pick() {
    let state = member();
    // Set where the remover found no request after it had closed the member.
    let is_gone = Arc::new(loom::sync::atomic::AtomicBool::new(false));
    let request = thread::spawn({
        let (state, is_gone) = (state.clone(), is_gone.clone());
        move || {
            let was_gone = is_gone.load(Ordering::SeqCst);
            let attempt = enter(&state, 0);
            assert!(attempt.is_none() || !was_gone);
            let has_got_in = attempt.is_some();
            // The attempt is held until the remover has looked.
            (attempt, has_got_in)
        }
    });
    state.set(State::Stopped, 0, BACKOFF);
    let found_none = state.in_flight() == 0;
    is_gone.store(found_none, Ordering::SeqCst);
    let (attempt, has_got_in) = request.join().unwrap();
    assert!(!(found_none && has_got_in), "removed as idle, and got a request");
    drop(attempt);
    assert_eq!(state.in_flight(), 0);
}

fn waiting_for_the_last() {
    let state = member();
    let attempt = enter(&state, 0).unwrap();
    let request = thread::spawn(move || drop(attempt));
    loom::future::block_on(state.idle());
    assert_eq!(state.in_flight(), 0);
    request.join().unwrap();
}

fn failures_at_once() {
    let state = member();
    let attempts = [0, 1].map(|_| enter(&state, 0).unwrap());
    let threads = attempts.map(|mut attempt| thread::spawn(move || attempt.failed(10, BACKOFF)));
    let changes = threads.map(|thread| thread.join().unwrap());
    assert_eq!(changes.iter().filter(|is_changed| **is_changed).count(), 1);
    assert_eq!(state.retry_at(), Some(1010));
    assert!(enter(&state, 1011).is_some());
}
