//! Each model is a few threads and what must hold in all of their orders.

use std::sync::Arc;
use std::time::Duration;

use loom::sync::atomic::Ordering;
use loom::thread;

use super::attempt::{Attempt, Failure};
use super::ejection::{Backoff, Ejection, Floor, Quota};
use super::state::{MemberState, State, Whose};
use super::window::Window;

const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), at_most: Duration::from_secs(1) };
const AT_ONCE: Ejection = Ejection { after: 1, floor: None, half_window: 500, backoff: BACKOFF };
const NO_BOUND: u32 = u32::MAX;

pub(crate) fn run() {
    type Model = fn();
    let models: [(&str, Model); 14] = [
        ("a late success does not undo a stop", stop_outlives_a_late_success),
        ("requests are counted to zero, and never too many", in_flight),
        ("one request tries an ejected member", one_probe),
        ("a dropped probe leaves the next one", dropped_probe),
        ("who finds a removed member idle gets no request any more", remove_versus_pick),
        ("who waits for the last request is told", waiting_for_the_last),
        ("failures at the same time eject once", failures_at_once),
        ("who sees a member down sees since when", down_since),
        ("failures in a row are all counted", failures_in_a_row),
        ("results at the same time are all counted", results_at_once),
        ("results around the end of a half window are counted once or not", results_around_an_end),
        ("a floor is found by one of the failures below it", floor),
        ("failures of two members never eject more than half", no_more_than_half),
        ("an ejection that ends makes room for one, and for one only", room_for_one),
    ];
    for (name, model) in models {
        loom::model(model);
        println!("{name}: ok");
    }
}

fn member() -> Arc<MemberState> {
    members(2)[0].clone()
}

/// Two members of a pool that has so many.
fn members(number: usize) -> [Arc<MemberState>; 2] {
    let quota = Arc::<Quota>::default();
    quota.has_members(number);
    [0, 1].map(|_| Arc::new(MemberState::new(quota.clone())))
}

fn fail(state: &Arc<MemberState>, now: u64, ejection: &Ejection) -> bool {
    enter(state, now).is_some_and(|mut attempt| attempt.failed(Failure::Connect, now, ejection))
}

fn ejected(states: &[Arc<MemberState>; 2]) -> usize {
    states.iter().filter(|state| state.state() == State::Ejected).count()
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
    probe.succeeded(2000, &AT_ONCE);
    drop(probe);
    operator.join().unwrap();
    assert_eq!(state.state(), State::Stopped);
    assert!(enter(&state, 9000).is_none());
}

fn down_since() {
    let state = member();
    let threads = [State::Ejected, State::Disabled].map(|end| {
        let state = state.clone();
        thread::spawn(move || {
            let seen = state.down_since();
            assert!(seen.is_none_or(|since| since == 2000));
            state.set(end, 2000, BACKOFF);
        })
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(state.down_since(), Some(2000));
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
    let other = thread::spawn(move || late.succeeded(2000, &AT_ONCE));
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
    let [state, other] = members(4);
    let attempts = [0, 1].map(|_| enter(&state, 0).unwrap());
    let threads =
        attempts.map(|mut attempt| thread::spawn(move || attempt.failed(Failure::Connect, 10, &AT_ONCE)));
    let changes = threads.map(|thread| thread.join().unwrap());
    assert_eq!(changes.iter().filter(|is_changed| **is_changed).count(), 1);
    assert_eq!(state.retry_at(), Some(1110));
    assert!(enter(&state, 1111).is_some());
    assert!(fail(&other, 10, &AT_ONCE), "they took one place of the two");
}

fn failures_in_a_row() {
    let state = member();
    let limits = Ejection { after: 2, ..AT_ONCE };
    let threads = [0, 1].map(|_| {
        let state = state.clone();
        thread::spawn(move || fail(&state, 10, &limits))
    });
    let changes = threads.map(|thread| thread.join().unwrap());
    assert_eq!(changes.iter().filter(|is_changed| **is_changed).count(), 1);
    assert_eq!(state.state(), State::Ejected);
}

fn results_at_once() {
    let window = Arc::new(Window::new());
    let threads = [true, false].map(|is_failure| {
        let window = window.clone();
        thread::spawn(move || window.count(0, 500, is_failure))
    });
    let tallies = threads.map(|thread| thread.join().unwrap());
    assert!(tallies.iter().any(|tally| (tally.results, tally.failures) == (2, 1)), "{tallies:?}");
    let tally = window.count(0, 500, true);
    assert_eq!((tally.results, tally.failures), (3, 2));
}

fn results_around_an_end() {
    let window = Arc::new(Window::new());
    window.count(499, 500, true);
    // The last of the first half, the first of the second, and one whose half takes the place of the first.
    let threads = [499, 1000].map(|now| {
        let window = window.clone();
        thread::spawn(move || window.count(now, 500, true))
    });
    let middle = window.count(500, 500, true);
    let [first, last] = threads.map(|thread| thread.join().unwrap().results);
    assert!((1..=3).contains(&middle.results) && first <= 2 && (1..=2).contains(&last));
    assert_eq!(window.count(1000, 500, true).results, 3, "the halves that count, and nothing older");
}

fn floor() {
    let state = member();
    let limits = Ejection { after: u8::MAX, floor: Some(Floor { percent: 50, at_least: 2 }), ..AT_ONCE };
    let attempts = [0, 1].map(|_| enter(&state, 0).unwrap());
    let threads =
        attempts.map(|mut attempt| thread::spawn(move || attempt.failed(Failure::Sent, 0, &limits)));
    let changes = threads.map(|thread| thread.join().unwrap());
    assert_eq!(changes.iter().filter(|is_changed| **is_changed).count(), 1);
    assert_eq!((state.state(), state.in_flight()), (State::Ejected, 0));
}

fn no_more_than_half() {
    let states = members(3);
    let threads = [0, 1].map(|at| {
        let state = states[at].clone();
        let failure = [Failure::Connect, Failure::Response][at];
        thread::spawn(move || enter(&state, 0).is_some_and(|mut one| one.failed(failure, 0, &AT_ONCE)))
    });
    assert!(ejected(&states) <= 1);
    let changes = threads.map(|thread| thread.join().unwrap());
    assert_eq!(changes.iter().filter(|is_changed| **is_changed).count(), 1);
    assert_eq!(ejected(&states), 1);
}

fn room_for_one() {
    let states = members(2);
    assert!(fail(&states[0], 0, &AT_ONCE));
    let mut probe = enter(&states[0], 2000).unwrap();
    let recovery = thread::spawn(move || probe.succeeded(2000, &AT_ONCE));
    let operator = thread::spawn({
        let state = states[0].clone();
        move || state.set(State::Ok, 2000, BACKOFF)
    });
    let _ = fail(&states[1], 2000, &AT_ONCE);
    recovery.join().unwrap();
    operator.join().unwrap();
    // However it ended, and by whom: it has given back one place, not two.
    let is_taken = ejected(&states) == 1;
    assert_eq!(fail(&states[0], 3000, &AT_ONCE), !is_taken);
    assert_eq!(ejected(&states), 1);
    assert!(!fail(&states[(states[0].state() == State::Ejected) as usize], 3000, &AT_ONCE));
}
