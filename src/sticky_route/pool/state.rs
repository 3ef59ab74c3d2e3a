use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::sync::{AtomicI64, AtomicU64, Notify, Ordering, fence};

/// What a member takes. Its text is the name in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Everything.
    Ok,
    /// The requests of clients that are pinned to it, and no new ones.
    Drain,
    /// Nothing, until the operator says otherwise: its clients may have to wait, as
    /// [`Stickiness`](crate::sticky_route::Stickiness) says.
    Disabled,
    /// Nothing, for good: nobody waits for it.
    Stopped,
    /// Nothing for a while, since it failed; then one request tries it.
    Ejected,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Drain => "drain",
            Self::Disabled => "disabled",
            Self::Stopped => "stopped",
            Self::Ejected => "ejected",
        })
    }
}

/// How long a member that failed is left alone: doubled with each failure in a row.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Backoff {
    pub(in super::super) first: Duration,
    pub(in super::super) at_most: Duration,
}

impl Backoff {
    fn after(self, failures: u8) -> u64 {
        let factor = 2_u32.saturating_pow(u32::from(failures.saturating_sub(1)));
        let delay = self.first.saturating_mul(factor).min(self.at_most);
        u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).clamp(1, LATEST >> 1)
    }
}

/// What changes of a member while requests run. It outlives snapshots, changes of weight and replaced services.
///
/// Times are milliseconds since the pool was built.
#[derive(Debug)]
pub(in super::super) struct MemberState {
    word: AtomicU64,
    down_since: AtomicU64,
    drain_until: AtomicU64,
    /// When it came back, or joined a pool that ran already; 0 where it never did.
    warm_from: AtomicU64,
    /// How many; [`AWAITED`] where somebody waits for none.
    requests: AtomicU64,
    idle: Notify,
    /// The `lbstatus` of Apache's byrequests; only written under the lock of the balance.
    pub(super) lag: AtomicI64,
}

impl MemberState {
    /// Of a member that is there from the start.
    pub(super) fn new() -> Self {
        Self {
            word: AtomicU64::new(Word::default().pack()),
            down_since: AtomicU64::new(0),
            drain_until: AtomicU64::new(u64::MAX),
            warm_from: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            idle: Notify::new(),
            lag: AtomicI64::new(0),
        }
    }

    /// Of a member that is gone.
    pub(super) fn stopped() -> Self {
        let stopped = Word { intent: Intent::Stopped, ..Word::default() };
        Self { word: AtomicU64::new(stopped.pack()), ..Self::new() }
    }

    pub(super) fn joining(now: u64) -> Self {
        let state = Self::new();
        state.warm_up_from(now);
        state
    }

    pub(in super::super) fn state(&self) -> State {
        let word = self.word();
        match word.intent {
            Intent::Ok if word.retry_at == 0 => State::Ok,
            Intent::Ok => State::Ejected,
            Intent::Drain => State::Drain,
            Intent::Disabled => State::Disabled,
            Intent::Stopped => State::Stopped,
        }
    }

    /// The operator's word. It stands apart from what requests find out, so that a late success does not undo it.
    pub(super) fn set(&self, state: State, now: u64, backoff: Backoff) {
        let intent = match state {
            State::Ok => Intent::Ok,
            State::Drain => Intent::Drain,
            State::Disabled => Intent::Disabled,
            State::Stopped => Intent::Stopped,
            State::Ejected => {
                self.eject(now, backoff);
                return;
            }
        };
        self.drain_until.store(u64::MAX, Ordering::Release);
        let old = self.update(|word| {
            Some(match state {
                State::Ok => Word::default(),
                _ => Word { intent, ..word },
            })
        });
        // Whoever looks for requests next sees those that did not see the new word.
        fence(Ordering::SeqCst);
        let Some(old) = old else { return };
        if intent == Intent::Disabled && !old.is_down() {
            self.down_since.store(now, Ordering::Release);
        }
        if intent == Intent::Ok && (old.is_down() || old.intent == Intent::Stopped) {
            self.warm_up_from(now);
        }
    }

    pub(super) fn drain_until(&self, until: u64, now: u64, backoff: Backoff) {
        self.set(State::Drain, now, backoff);
        self.drain_until.store(until, Ordering::Release);
    }

    #[inline]
    pub(in super::super) fn in_flight(&self) -> usize {
        usize::try_from(self.requests.load(Ordering::Acquire) & !AWAITED).unwrap_or(usize::MAX)
    }

    /// Ends at a moment without a request.
    pub(super) async fn idle(&self) {
        loop {
            let mut notified = std::pin::pin!(self.idle.notified());
            notified.as_mut().enable();
            if self.requests.fetch_or(AWAITED, Ordering::AcqRel) & !AWAITED == 0 {
                return;
            }
            notified.await;
        }
    }

    #[inline]
    pub(super) fn is_full(&self, at_most: u32) -> bool {
        at_most != u32::MAX && u32::try_from(self.in_flight()).is_ok_and(|number| number >= at_most)
    }

    /// The time has no part in what it takes: it neither drains nor is ejected. Should that begin right now, time 0 lets no
    /// request in that would not have come in a moment before.
    #[inline]
    pub(super) fn is_timeless(&self) -> bool {
        let word = self.word();
        word.intent != Intent::Drain && word.retry_at == 0
    }

    #[inline]
    pub(super) fn takes(&self, whose: Whose, now: u64) -> bool {
        let word = self.word();
        self.is_willing(word, whose, now) && word.may_be_tried(now)
    }

    /// Nothing is against the member but that it failed.
    pub(in super::super) fn is_only_ejected(&self) -> bool {
        let word = self.word();
        word.intent == Intent::Ok && word.retry_at != 0
    }

    /// Nobody is to wait for it.
    pub(in super::super) fn is_given_up(&self, now: u64) -> bool {
        match self.word().intent {
            Intent::Ok | Intent::Disabled => false,
            Intent::Drain => now >= self.drain_until.load(Ordering::Acquire),
            Intent::Stopped => true,
        }
    }

    /// Since when it is ejected or disabled.
    pub(in super::super) fn down_since(&self) -> Option<u64> {
        self.word().is_down().then(|| self.down_since.load(Ordering::Acquire))
    }

    /// When an ejected member will be tried again.
    pub(in super::super) fn retry_at(&self) -> Option<u64> {
        Some(self.word().retry_at).filter(|retry_at| *retry_at != 0)
    }

    /// What of a weight counts, where members warm up for so long: from a tenth on, in a straight line.
    #[inline]
    pub(super) fn warm_weight(&self, weight: u32, now: u64, warm_up: u64) -> u32 {
        let from = self.warm_from.load(Ordering::Acquire);
        let passed = now.saturating_sub(from);
        if from == 0 || passed >= warm_up {
            return weight;
        }
        let by_time = u128::from(weight).saturating_mul(passed.into()).checked_div(warm_up.into());
        let by_time = by_time.and_then(|share| u32::try_from(share).ok()).unwrap_or(weight);
        by_time.max(weight.div_ceil(10))
    }

    /// Counts a request in, unless the member has `at_most` of them. `None`, too, where the operator closed it or it was
    /// ejected meanwhile, or another request tries it just now.
    #[inline]
    pub(super) fn enter(self: &Arc<Self>, whose: Whose, now: u64, at_most: u32) -> Option<Attempt> {
        let mut attempt = self.count_in(at_most)?;
        let word = self.word();
        if !self.is_willing(word, whose, now) {
            return None;
        }
        if word.retry_at != 0 {
            let old = self.update(|word| {
                (word.retry_at != 0 && word.may_be_tried(now)).then_some(Word { is_probed: true, ..word })
            })?;
            attempt.kind = Kind::Probe { ejection: old.retry_at };
        }
        Some(attempt)
    }

    /// Counts a request in although the member is ejected: there is no other.
    pub(super) fn enter_anyway(self: &Arc<Self>, at_most: u32) -> Option<Attempt> {
        let mut attempt = self.count_in(at_most)?;
        let word = self.word();
        attempt.kind = Kind::LastResort { ejection: word.retry_at };
        (word.intent == Intent::Ok).then_some(attempt)
    }

    #[inline]
    fn is_willing(&self, word: Word, whose: Whose, now: u64) -> bool {
        match word.intent {
            Intent::Ok => true,
            Intent::Drain => whose == Whose::Pinned && now < self.drain_until.load(Ordering::Acquire),
            Intent::Disabled | Intent::Stopped => false,
        }
    }

    /// First the count, then the word: whoever closes the member and then finds no request has none to come.
    #[inline]
    fn count_in(self: &Arc<Self>, at_most: u32) -> Option<Attempt> {
        if at_most == u32::MAX {
            self.requests.fetch_add(1, Ordering::AcqRel);
        } else {
            let one_more =
                |requests: u64| (requests & !AWAITED < at_most.into()).then(|| requests.wrapping_add(1));
            self.requests.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        }
        fence(Ordering::SeqCst);
        Some(Attempt { state: self.clone(), kind: Kind::Usual })
    }

    /// A failure while the member is ejected already says nothing new, and must not double the wait.
    fn eject(&self, now: u64, backoff: Backoff) -> bool {
        let old = self.update(|word| {
            (word.retry_at == 0 || now > word.retry_at).then(|| {
                let failures = word.failures.saturating_add(1).min(MOST_FAILURES);
                let retry_at = now.saturating_add(backoff.after(failures)).min(LATEST);
                Word { retry_at, failures, is_probed: false, ..word }
            })
        });
        if old.is_some_and(|old| !old.is_down()) {
            self.down_since.store(now, Ordering::Release);
        }
        old.is_some()
    }

    /// Ends this ejection, and no later one.
    fn recover(&self, ejection: u64, now: u64) -> bool {
        let old = self.update(|word| {
            (word.retry_at != 0 && word.retry_at == ejection).then_some(Word {
                retry_at: 0,
                failures: 0,
                is_probed: false,
                ..word
            })
        });
        if old.is_some() {
            self.warm_up_from(now);
        }
        old.is_some()
    }

    fn warm_up_from(&self, now: u64) {
        self.warm_from.store(now.max(1), Ordering::Release);
    }

    #[inline]
    fn word(&self) -> Word {
        Word::unpack(self.word.load(Ordering::Acquire))
    }

    /// The word before the change, if there was one.
    fn update(&self, change: impl Fn(Word) -> Option<Word>) -> Option<Word> {
        self.word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                change(Word::unpack(word)).map(Word::pack)
            })
            .ok()
            .map(Word::unpack)
    }
}

/// Set in the number of requests.
const AWAITED: u64 = 1 << 63;

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Whose {
    /// Of a client that is pinned to the member.
    Pinned,
    /// Of any other.
    New,
}

/// One request that a member has. It counts until it is dropped.
#[derive(Debug)]
pub(in super::super) struct Attempt {
    state: Arc<MemberState>,
    kind: Kind,
}

impl Attempt {
    /// The member answered. Whether that changes its state.
    pub(in super::super) fn succeeded(&mut self, now: u64) -> bool {
        match std::mem::replace(&mut self.kind, Kind::Usual) {
            Kind::Usual => false,
            Kind::Probe { ejection } | Kind::LastResort { ejection } => self.state.recover(ejection, now),
        }
    }

    /// The member is not to be used for a while. Whether that changes its state.
    pub(in super::super) fn failed(&mut self, now: u64, backoff: Backoff) -> bool {
        self.kind = Kind::Usual;
        self.state.eject(now, backoff)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Kind::Probe { ejection } = self.kind {
            // Neither success nor failure: the next request may try the member.
            self.state
                .update(|word| (word.retry_at == ejection).then_some(Word { is_probed: false, ..word }));
        }
        if self.state.requests.fetch_sub(1, Ordering::AcqRel) == AWAITED | 1 {
            self.state.requests.fetch_and(!AWAITED, Ordering::AcqRel);
            self.state.idle.notify_waiters();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Usual,
    /// It alone tries the member, which was ejected up to then.
    Probe {
        ejection: u64,
    },
    LastResort {
        ejection: u64,
    },
}

const MOST_FAILURES: u8 = 31;
const LATEST: u64 = u64::MAX >> 8;

/// Eight bits of flags below 56 bits of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Word {
    intent: Intent,
    is_probed: bool,
    failures: u8,
    /// 0 where the member is not ejected.
    retry_at: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Intent {
    #[default]
    Ok,
    Drain,
    Disabled,
    Stopped,
}

impl Word {
    fn is_down(self) -> bool {
        self.retry_at != 0 || self.intent == Intent::Disabled
    }

    fn may_be_tried(self, now: u64) -> bool {
        self.retry_at == 0 || (now > self.retry_at && !self.is_probed)
    }

    fn pack(self) -> u64 {
        let intent = match self.intent {
            Intent::Ok => 0,
            Intent::Drain => 1,
            Intent::Disabled => 2,
            Intent::Stopped => 3,
        };
        intent
            | u64::from(self.is_probed) << 2
            | u64::from(self.failures.min(MOST_FAILURES)) << 3
            | self.retry_at << 8
    }

    #[inline]
    fn unpack(word: u64) -> Self {
        Self {
            intent: match word & 3 {
                0 => Intent::Ok,
                1 => Intent::Drain,
                2 => Intent::Disabled,
                _ => Intent::Stopped,
            },
            is_probed: word & 4 != 0,
            failures: u8::try_from(word >> 3 & 31).unwrap_or(MOST_FAILURES),
            retry_at: word >> 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), at_most: Duration::from_secs(5) };

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
    fn words_pack() {
        for intent in [Intent::Ok, Intent::Drain, Intent::Disabled, Intent::Stopped] {
            for (is_probed, failures, retry_at) in [(false, 0, 0), (true, 31, LATEST), (true, 5, 1)] {
                let word = Word { intent, is_probed, failures, retry_at };
                assert_eq!(Word::unpack(word.pack()), word);
            }
        }
    }

    #[test]
    fn the_wait_doubles_up_to_the_most() {
        assert_eq!([1, 2, 3, 4, 31].map(|failures| BACKOFF.after(failures)), [1000, 2000, 4000, 5000, 5000]);
        assert_eq!(Backoff { first: Duration::ZERO, at_most: Duration::ZERO }.after(1), 1);
    }

    #[test]
    fn one_request_tries_an_ejected_member() {
        let state = Arc::new(MemberState::new());
        enter(&state, 0).unwrap().failed(0, BACKOFF);
        assert_eq!(state.state(), State::Ejected);
        assert!(enter(&state, 1000).is_none());
        let probe = enter(&state, 1001).unwrap();
        assert!(!takes_pinned(&state, 1001) && enter(&state, 1001).is_none());
        drop(probe);
        enter(&state, 1001).unwrap().failed(1001, BACKOFF);
        assert!(enter(&state, 3001).is_none());
        enter(&state, 3002).unwrap().succeeded(2000);
        assert_eq!((state.state(), state.in_flight()), (State::Ok, 0));
    }

    #[test]
    fn failures_at_once_count_once() {
        let state = Arc::new(MemberState::new());
        let attempts: Vec<_> = (0..9).map(|_| enter(&state, 0).unwrap()).collect();
        for mut attempt in attempts {
            attempt.failed(10, BACKOFF);
        }
        assert!(takes_new(&state, 1011));
    }

    #[test]
    fn a_late_success_does_not_undo_an_ejection_nor_a_stop() {
        let state = Arc::new(MemberState::new());
        let mut late = enter(&state, 0).unwrap();
        state.set(State::Ejected, 0, BACKOFF);
        late.succeeded(2000);
        assert_eq!(state.state(), State::Ejected);
        let mut probe = enter(&state, 2000).unwrap();
        state.set(State::Stopped, 2000, BACKOFF);
        probe.succeeded(2000);
        assert_eq!(state.state(), State::Stopped);
        assert!(!takes_pinned(&state, 2000));
    }

    #[test]
    fn a_late_probe_says_nothing_of_a_later_ejection() {
        let state = Arc::new(MemberState::new());
        state.set(State::Ejected, 0, BACKOFF);
        let (mut first, second) = (enter(&state, 2000).unwrap(), state.enter_anyway(u32::MAX).unwrap());
        state.set(State::Ok, 2000, BACKOFF);
        state.set(State::Ejected, 3000, BACKOFF);
        let _probe = enter(&state, 4001).unwrap();
        assert!(!first.succeeded(4001));
        drop((first, second));
        assert_eq!(state.state(), State::Ejected);
        assert!(enter(&state, 4001).is_none(), "it is tried still");
    }

    #[test]
    fn draining_ends() {
        let state = Arc::new(MemberState::new());
        state.drain_until(50, 0, BACKOFF);
        assert!(!takes_new(&state, 0) && takes_pinned(&state, 49) && !takes_pinned(&state, 50));
        state.set(State::Drain, 0, BACKOFF);
        assert!(takes_pinned(&state, u64::MAX - 1));
    }

    #[test]
    fn closed_members_let_nobody_in() {
        let state = Arc::new(MemberState::new());
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
        let state = Arc::new(MemberState::new());
        let enter = || state.enter(Whose::New, 0, 2);
        let (first, _second) = (enter().unwrap(), enter().unwrap());
        assert!(enter().is_none() && state.enter_anyway(2).is_none());
        drop(first);
        assert!(enter().is_some());
        assert!(state.enter(Whose::New, 0, 0).is_none());
    }

    #[test]
    fn weights_warm_up_in_a_straight_line_from_a_tenth() {
        let state = MemberState::joining(1000);
        let weight = |seconds: u64| state.warm_weight(10_000, 1000 + seconds * 1000, 60_000);
        assert_eq!([0, 1, 6, 30, 59, 60, 600].map(weight), [1000, 1000, 1000, 5000, 9833, 10_000, 10_000]);
        assert_eq!(state.warm_weight(10_000, 1000, 0), 10_000, "nobody asked for it");
        assert_eq!((state.warm_weight(1, 1000, 60_000), state.warm_weight(0, 1000, 60_000)), (1, 0));
        assert_eq!(MemberState::new().warm_weight(10_000, 0, 60_000), 10_000, "there from the start");
    }

    #[test]
    fn who_comes_back_warms_up_and_who_drained_is_warm() {
        let share = |state: &MemberState| state.warm_weight(100, 10_000, 60_000);
        for down in [State::Disabled, State::Stopped, State::Ejected] {
            let state = MemberState::new();
            state.set(down, 0, BACKOFF);
            state.set(State::Ok, 10_000, BACKOFF);
            assert_eq!(share(&state), 10, "{down}");
        }
        let state = Arc::new(MemberState::new());
        state.set(State::Drain, 0, BACKOFF);
        state.set(State::Ok, 10_000, BACKOFF);
        assert_eq!(share(&state), 100);
        state.set(State::Ejected, 0, BACKOFF);
        assert!(enter(&state, 10_000).unwrap().succeeded(10_000));
        assert_eq!(share(&state), 10);
    }

    #[tokio::test]
    async fn waiting_for_no_request_ends_with_the_last() {
        let state = Arc::new(MemberState::new());
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
}
