use std::fmt;
use std::sync::Arc;

use super::attempt::{Attempt, Failure, Kind};
use super::ejection::{Backoff, Ejection, Quota, jittered};
use super::sync::{AtomicI64, AtomicU64, Notify, Ordering, fence};
use super::window::Window;
use super::word::{Intent, Word};

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
    window: Window,
    quota: Arc<Quota>,
    /// How many; [`AWAITED`] where somebody waits for none.
    pub(super) requests: AtomicU64,
    pub(super) idle: Notify,
    /// The `lbstatus` of Apache's byrequests; only written under the lock of the balance.
    pub(super) lag: AtomicI64,
}

impl MemberState {
    /// Of a member that is there from the start.
    pub(super) fn new(quota: Arc<Quota>) -> Self {
        Self {
            word: AtomicU64::new(Word::default().pack()),
            down_since: AtomicU64::new(0),
            drain_until: AtomicU64::new(u64::MAX),
            warm_from: AtomicU64::new(0),
            window: Window::new(),
            quota,
            requests: AtomicU64::new(0),
            idle: Notify::new(),
            lag: AtomicI64::new(0),
        }
    }

    /// Of a member that is gone.
    pub(super) fn stopped() -> Self {
        let stopped = Word { intent: Intent::Stopped, ..Word::default() };
        Self { word: AtomicU64::new(stopped.pack()), ..Self::new(Arc::default()) }
    }

    pub(super) fn joining(now: u64, quota: Arc<Quota>) -> Self {
        let state = Self::new(quota);
        state.warm_up_from(now);
        state
    }

    pub(in super::super) fn state(&self) -> State {
        let word = self.word();
        match word.intent {
            Intent::Ok if !word.is_ejected() => State::Ok,
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
                self.eject(now, Quota::take_anyway, |ejections| backoff.after(ejections));
                return;
            }
        };
        self.drain_until.store(u64::MAX, Ordering::Release);
        if intent == Intent::Disabled {
            self.goes_down(now);
        }
        let old = self.update(|word| {
            Some(match state {
                State::Ok => Word::default(),
                State::Stopped => Word { intent, ..Word::default() },
                _ => Word { intent, ..word },
            })
        });
        // Whoever looks for requests next sees those that did not see the new word.
        fence(Ordering::SeqCst);
        let Some(old) = old else { return };
        if intent == Intent::Ok {
            self.window.clear();
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
        word.intent == Intent::Ok && word.is_ejected()
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
        if word.is_ejected() {
            let old = self.update(|word| {
                (word.is_ejected() && word.may_be_tried(now)).then_some(Word { is_probed: true, ..word })
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

    /// One load, and where a floor of successes is asked for one compare-and-swap more.
    pub(super) fn succeeded(&self, now: u64, ejection: &Ejection) {
        if self.word().failures != 0 {
            self.update(|word| (word.failures != 0).then_some(Word { failures: 0, ..word }));
        }
        if ejection.floor.is_some() {
            self.window.count(now, ejection.half_window, false);
        }
    }

    /// Whether it is ejected by that.
    pub(super) fn failed(&self, failure: Failure, is_trial: bool, now: u64, ejection: &Ejection) -> bool {
        let is_too_often = ejection
            .floor
            .is_some_and(|floor| floor.is_above(self.window.count(now, ejection.half_window, true)));
        let is_enough = match failure {
            Failure::Connect => {
                let old = self.update(|word| {
                    (!word.is_ejected()).then_some(Word { failures: word.failures.saturating_add(1), ..word })
                });
                old.is_none_or(|old| old.failures.saturating_add(1) >= ejection.after)
            }
            Failure::Sent => is_trial && ejection.floor.is_some(),
            Failure::Response => true,
        };
        let wait = |ejections| jittered(ejection.backoff.after(ejections));
        (is_enough || is_too_often) && self.eject(now, Quota::take, wait)
    }

    /// Ejects the member, or ejects it again. Only the way from in to out counts against the quota.
    fn eject(&self, now: u64, take: impl Fn(&Quota) -> bool, wait: impl Fn(u8) -> u64) -> bool {
        let word = self.word();
        let is_counted = !word.is_ejected();
        if !word.may_be_ejected(now) || (is_counted && !take(&self.quota)) {
            return false;
        }
        let ejections = word.ejections.saturating_add(1).min(Word::MOST_EJECTIONS);
        let retry_at = now.saturating_add(wait(ejections)).min(Word::LATEST);
        self.goes_down(now);
        let old = self.update(|word| {
            (word.may_be_ejected(now) && (word.is_ejected() || is_counted)).then_some(Word {
                retry_at,
                ejections,
                failures: 0,
                is_probed: false,
                ..word
            })
        });
        if is_counted && old.is_none_or(Word::is_ejected) {
            self.quota.give_back();
        }
        old.is_some()
    }

    /// Before the word: whoever sees the member down sees since when.
    fn goes_down(&self, now: u64) {
        if !self.word().is_down() {
            self.down_since.store(now, Ordering::Release);
        }
    }

    /// Ends this ejection, and no later one.
    pub(super) fn recover(&self, ejection: u64, now: u64) -> bool {
        let old = self.update(|word| {
            (word.is_ejected() && word.retry_at == ejection)
                .then_some(Word { intent: word.intent, ..Word::default() })
        });
        if old.is_some() {
            self.window.clear();
            self.warm_up_from(now);
        }
        old.is_some()
    }

    pub(super) fn end_probe(&self, ejection: u64) {
        self.update(|word| (word.retry_at == ejection).then_some(Word { is_probed: false, ..word }));
    }

    fn warm_up_from(&self, now: u64) {
        self.warm_from.store(now.max(1), Ordering::Release);
    }

    #[inline]
    fn word(&self) -> Word {
        Word::unpack(self.word.load(Ordering::Acquire))
    }

    /// The word before the change, if there was one. Who comes back leaves the quota.
    fn update(&self, change: impl Fn(Word) -> Option<Word>) -> Option<Word> {
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let old = Word::unpack(seen);
            let new = change(old)?;
            match self.word.compare_exchange_weak(seen, new.pack(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    if old.is_ejected() && !new.is_ejected() {
                        self.quota.give_back();
                    }
                    return Some(old);
                }
                Err(changed) => seen = changed,
            }
        }
    }
}

/// Set in the number of requests.
pub(super) const AWAITED: u64 = 1 << 63;

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Whose {
    /// Of a client that is pinned to the member.
    Pinned,
    /// Of any other.
    New,
}
