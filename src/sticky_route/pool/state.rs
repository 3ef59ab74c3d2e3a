use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

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
    in_flight: AtomicUsize,
    /// The `lbstatus` of Apache's byrequests; only used under the lock of the balance.
    pub(super) lag: AtomicI64,
}

impl MemberState {
    pub(super) fn new() -> Self {
        Self {
            word: AtomicU64::new(Word::default().pack()),
            down_since: AtomicU64::new(0),
            drain_until: AtomicU64::new(u64::MAX),
            in_flight: AtomicUsize::new(0),
            lag: AtomicI64::new(0),
        }
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
            State::Ejected => return self.eject(now, backoff),
        };
        self.drain_until.store(u64::MAX, Ordering::Release);
        let old = self.update(|word| {
            Some(match state {
                State::Ok => Word::default(),
                _ => Word { intent, ..word },
            })
        });
        if intent == Intent::Disabled && old.is_some_and(|old| !old.is_down()) {
            self.down_since.store(now, Ordering::Release);
        }
    }

    pub(super) fn drain_until(&self, until: u64, now: u64, backoff: Backoff) {
        self.set(State::Drain, now, backoff);
        self.drain_until.store(until, Ordering::Release);
    }

    pub(in super::super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    pub(in super::super) fn takes_new(&self, now: u64) -> bool {
        let word = self.word();
        word.intent == Intent::Ok && word.may_be_tried(now)
    }

    pub(in super::super) fn takes_pinned(&self, now: u64) -> bool {
        let word = self.word();
        let is_willing = match word.intent {
            Intent::Ok => true,
            Intent::Drain => now < self.drain_until.load(Ordering::Acquire),
            Intent::Disabled | Intent::Stopped => false,
        };
        is_willing && word.may_be_tried(now)
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

    /// Counts a request in. `None` where the member was ejected meanwhile, or another request tries it just now.
    pub(in super::super) fn enter(self: &Arc<Self>, now: u64) -> Option<Attempt> {
        let word = self.word();
        let kind = if word.retry_at == 0 {
            Kind::Usual
        } else {
            self.update(|word| {
                (word.retry_at != 0 && word.may_be_tried(now)).then_some(Word { is_probed: true, ..word })
            })?;
            Kind::Probe
        };
        Some(self.count_in(kind))
    }

    /// Counts a request in although the member is ejected: there is no other.
    pub(in super::super) fn enter_anyway(self: &Arc<Self>) -> Attempt {
        self.count_in(Kind::LastResort)
    }

    fn count_in(self: &Arc<Self>, kind: Kind) -> Attempt {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        Attempt { state: self.clone(), kind }
    }

    /// A failure while the member is ejected already says nothing new, and must not double the wait.
    fn eject(&self, now: u64, backoff: Backoff) {
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
    }

    fn recover(&self) {
        self.update(|word| {
            (word.retry_at != 0).then_some(Word { retry_at: 0, failures: 0, is_probed: false, ..word })
        });
    }

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

/// One request that a member has. It counts until it is dropped.
#[derive(Debug)]
pub(in super::super) struct Attempt {
    state: Arc<MemberState>,
    kind: Kind,
}

impl Attempt {
    /// The member answered.
    pub(in super::super) fn succeeded(&mut self) {
        if self.kind != Kind::Usual {
            self.state.recover();
            self.kind = Kind::Usual;
        }
    }

    /// The member is not to be used for a while.
    pub(in super::super) fn failed(&mut self, now: u64, backoff: Backoff) {
        self.state.eject(now, backoff);
        self.kind = Kind::Usual;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.kind == Kind::Probe {
            // Neither success nor failure: the next request may try the member.
            self.state.update(|word| word.is_probed.then_some(Word { is_probed: false, ..word }));
        }
        self.state.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Usual,
    Probe,
    LastResort,
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
        state.enter(0).unwrap().failed(0, BACKOFF);
        assert_eq!(state.state(), State::Ejected);
        assert!(state.enter(1000).is_none());
        let probe = state.enter(1001).unwrap();
        assert!(!state.takes_pinned(1001) && state.enter(1001).is_none());
        drop(probe);
        state.enter(1001).unwrap().failed(1001, BACKOFF);
        assert!(state.enter(3001).is_none());
        state.enter(3002).unwrap().succeeded();
        assert_eq!((state.state(), state.in_flight()), (State::Ok, 0));
    }

    #[test]
    fn failures_at_once_count_once() {
        let state = Arc::new(MemberState::new());
        let attempts: Vec<_> = (0..9).map(|_| state.enter(0).unwrap()).collect();
        for mut attempt in attempts {
            attempt.failed(10, BACKOFF);
        }
        assert!(state.takes_new(1011));
    }

    #[test]
    fn a_late_success_does_not_undo_an_ejection_nor_a_stop() {
        let state = Arc::new(MemberState::new());
        let mut late = state.enter(0).unwrap();
        state.set(State::Ejected, 0, BACKOFF);
        late.succeeded();
        assert_eq!(state.state(), State::Ejected);
        let mut probe = state.enter(2000).unwrap();
        state.set(State::Stopped, 2000, BACKOFF);
        probe.succeeded();
        assert_eq!(state.state(), State::Stopped);
        assert!(!state.takes_pinned(2000));
    }

    #[test]
    fn draining_ends() {
        let state = Arc::new(MemberState::new());
        state.drain_until(50, 0, BACKOFF);
        assert!(!state.takes_new(0) && state.takes_pinned(49) && !state.takes_pinned(50));
        state.set(State::Drain, 0, BACKOFF);
        assert!(state.takes_pinned(u64::MAX - 1));
    }
}
