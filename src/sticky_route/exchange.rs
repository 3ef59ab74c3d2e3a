use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header, request};

use super::body::{InFlight, InFlightUpgrade};
use super::cookie::{Pin, Reading};
use super::failover::Phase;
use super::observer::{Change, End, Failure, Report};
use super::pool::{Client, Entry, Now, Picked, Snapshot, Whose};
use super::reach::Reach;
use super::service::Shared;
use super::{Decision, Outcome, Stickiness};
use crate::forwarded_for::Proxied;
use crate::refusal::{Caller, Refusal, RefusalKind};

/// One request on its way to members.
pub(super) struct Exchange<M, R> {
    pub(super) shared: Arc<Shared<M>>,
    reach: R,
    pinned: Option<(Arc<Entry<M>>, Pin)>,
    /// Of a request without a pin.
    unpinned: Outcome,
    may_write: bool,
    may_insert: bool,
    is_secure: bool,
    pub(super) is_idempotent: bool,
    client: Client,
    taken: Option<Picked<M>>,
    tried: Vec<Arc<Entry<M>>>,
    attempts: usize,
    /// Where somebody wants it.
    report: Option<Box<Report<M>>>,
}

impl<M, R: Reach<M>> Exchange<M, R> {
    /// Reads the pin, takes it out of the request, and picks the first member.
    pub(super) fn begin(
        shared: &Arc<Shared<M>>,
        reach: &R,
        parts: &mut request::Parts,
    ) -> Result<(Self, R::Service), Refused> {
        let since = shared.reporter.is_observed().then(|| shared.clock.instant());
        match Self::pick_first(shared, reach, parts) {
            Ok((mut exchange, service)) => {
                exchange.report =
                    since.and_then(|since| Some(Box::new(Report::new(shared, since, exchange.decision()?))));
                Ok((exchange, service))
            }
            Err(refused) => {
                #[cfg(feature = "tracing")]
                shared.reporter.refused(refused.outcome);
                if let Some(since) = since {
                    Report::new(shared, since, refused.decision()).close(End::Refused);
                }
                Err(refused)
            }
        }
    }

    fn pick_first(
        shared: &Arc<Shared<M>>,
        reach: &R,
        parts: &mut request::Parts,
    ) -> Result<(Self, R::Service), Refused> {
        let clock = || shared.now();
        let now = &Now::of(&clock);
        let cookie = &shared.cookie;
        let snapshot = shared.snapshot.load();
        let is_in_scope = cookie.is_in_scope(parts);
        let reading = if is_in_scope {
            cookie.read(parts, &snapshot, |entry| entry.takes(Whose::Pinned, now))
        } else {
            Reading::Absent
        };
        cookie.strip(&mut parts.headers, &snapshot);
        let unpinned = match reading {
            _ if !is_in_scope => Outcome::OutOfScope,
            Reading::Absent if cookie.is_written() => Outcome::New,
            Reading::Absent => Outcome::Absent,
            Reading::Expired => Outcome::Expired,
            _ if cookie.is_own() => Outcome::Unknown,
            _ => Outcome::NoRoute,
        };
        if matches!(reading, Reading::Unknown) && cookie.is_own() && shared.stickiness == Stickiness::Strict {
            return Err(Refused::until(None, now.get(), unpinned));
        }
        let proxied = parts.extensions.get::<Proxied>();
        let mut exchange = Self {
            shared: shared.clone(),
            reach: reach.clone(),
            pinned: None,
            unpinned,
            may_write: is_in_scope && cookie.is_own(),
            may_insert: cookie.is_inserted_on(&parts.method),
            is_secure: proxied.is_some_and(Proxied::is_secure),
            is_idempotent: parts.method.is_idempotent(),
            client: Client::of(proxied.and_then(Proxied::client)),
            taken: None,
            tried: Vec::new(),
            attempts: 1,
            report: None,
        };
        let mut picked = None;
        if let Reading::Pinned(entry, pin) = reading {
            picked = shared.picker.take_pinned(&snapshot, &entry, now);
            if picked.is_none()
                && let Some(until) = shared.wait_for(&entry, now.get())
            {
                return Err(Refused::until(until, now.get(), Outcome::Unusable));
            }
            exchange.pinned = Some((entry, pin));
        }
        match picked.or_else(|| exchange.pick(&snapshot, now)).and_then(|picked| exchange.take(picked)) {
            Some(service) => Ok((exchange, service)),
            None => {
                let outcome = if exchange.pinned.is_some() { Outcome::Unusable } else { unpinned };
                Err(Refused::until(snapshot.earliest_retry(), now.get(), outcome))
            }
        }
    }

    fn pick(&self, snapshot: &Snapshot<M>, now: &Now<'_>) -> Option<Picked<M>> {
        let pinned = self.pinned.as_ref().map(|(entry, _)| entry);
        self.shared.picker.pick(snapshot, pinned, &self.tried, self.client, now)
    }

    fn take(&mut self, picked: Picked<M>) -> Option<R::Service> {
        let service = self.reach.service(picked.0.service.as_ref()?);
        self.taken = Some(picked);
        Some(service)
    }

    /// Whether a second member could get the request if this one fails.
    pub(super) fn may_go_again(&self) -> bool {
        self.attempts < self.shared.failover.max_attempts
            && !self.must_stay()
            && (self.is_idempotent || self.shared.classify.is_some())
            && self.shared.snapshot.load().len() > self.attempts
    }

    fn must_stay(&self) -> bool {
        self.pinned.is_some() && self.shared.stickiness != Stickiness::Soft
    }

    /// What is decided so far.
    pub(super) fn decision(&self) -> Option<Decision> {
        let (entry, _) = self.taken.as_ref()?;
        let outcome = match &self.pinned {
            None => self.unpinned,
            Some((pinned, pin)) if pinned.route == entry.route => hit(*pin),
            Some(_) => Outcome::Detour,
        };
        Some(Decision { route: Some(entry.route.clone()), outcome, attempts: self.attempts })
    }

    /// The error of the last member is handed on.
    pub(super) fn gave_up(&mut self) {
        if let Some(report) = self.report.take() {
            report.close(End::Failed);
        }
    }

    pub(super) fn failed(&mut self, phase: Phase) {
        let Some((entry, attempt)) = &mut self.taken else { return };
        self.shared.reporter.member_failed(&entry.route, self.attempts, Failure::Error(phase));
        if phase == Phase::Connect
            && !entry.settings.is_never_ejected
            && attempt.failed(self.shared.now(), self.shared.failover.backoff)
        {
            self.shared.changed(&entry.route, Change::Ejected);
        }
    }

    pub(super) fn answered<T>(&mut self, response: &Response<T>) {
        let Some((entry, attempt)) = &mut self.taken else { return };
        let shared = &self.shared;
        let status = response.status();
        if shared.failover.ejects(status) || shared.failover.retries(status) {
            shared.reporter.member_failed(&entry.route, self.attempts, Failure::Status(status));
        }
        let change = if shared.failover.ejects(status) && !entry.settings.is_never_ejected {
            attempt.failed(shared.now(), shared.failover.backoff).then_some(Change::Ejected)
        } else {
            (!is_refusal(response) && attempt.succeeded(shared.now())).then_some(Change::Recovered)
        };
        if let Some(change) = change {
            shared.changed(&entry.route, change);
        }
    }

    pub(super) fn is_retried(&self, status: StatusCode) -> bool {
        self.is_idempotent && self.shared.failover.retries(status)
    }

    /// The next member, if there is one. Otherwise nothing changes.
    pub(super) fn next(&mut self) -> Option<R::Service> {
        if self.attempts >= self.shared.failover.max_attempts || self.must_stay() {
            return None;
        }
        self.tried.extend(self.taken.as_ref().map(|(entry, _)| entry.clone()));
        let clock = || self.shared.now();
        let picked = self.pick(&self.shared.snapshot.load(), &Now::of(&clock))?;
        let service = self.take(picked)?;
        self.attempts = self.attempts.saturating_add(1);
        let decision = self.report.is_some().then(|| self.decision()).flatten();
        if let (Some(report), Some(decision)) = (&mut self.report, decision) {
            report.decision = decision;
        }
        Some(service)
    }

    /// The member answered: names it to the client where need be.
    pub(super) fn finish<T>(self, mut response: Response<T>) -> Response<InFlight<T>> {
        let Self {
            shared, pinned, unpinned, may_write, may_insert, is_secure, taken, attempts, report, ..
        } = self;
        let Some((entry, attempt)) = taken else { return response.map(|body| InFlight::new(body, None)) };
        let status = response.status();
        let is_failure = shared.failover.is_failure(status) || is_refusal(&response);
        let headers = response.headers_mut();
        let is_ended = shared.cookie.is_own() && shared.cookie.drop_set_by_member(headers);
        let may_write = may_write && !is_ended && !is_failure;
        let may_pin = may_write && may_insert;
        let mut first = None;
        let outcome = match pinned {
            None => {
                shared.cookie.append_route(headers, &entry.route);
                unpinned
            }
            Some((pinned, pin)) if pinned.route == entry.route => {
                shared.cookie.append_route(headers, &entry.route);
                first = pin.first;
                hit(pin)
            }
            Some((pinned, _)) if shared.failover.keeps_pin => {
                shared.cookie.append_route(headers, &pinned.route);
                Outcome::Detour
            }
            Some(_) if shared.failover.retries(status) => Outcome::Unusable,
            Some(_) if may_pin || shared.cookie.append_route(headers, &entry.route) => Outcome::Repinned,
            Some(_) => Outcome::Detour,
        };
        let is_named = match outcome {
            Outcome::New | Outcome::Unknown | Outcome::Expired | Outcome::Repinned => may_pin,
            // The client is pinned already, whatever the method.
            Outcome::HitReissue => may_write,
            _ => false,
        };
        if is_named {
            shared.cookie.issue(headers, &entry, is_secure, first);
        }
        let decision = Decision { route: Some(entry.route.clone()), outcome, attempts };
        if let Some(mut report) = report {
            report.decision = decision.clone();
            report.close(End::Answered(status));
        }
        response.extensions_mut().insert(decision);
        if status == StatusCode::SWITCHING_PROTOCOLS {
            response.extensions_mut().insert(InFlightUpgrade::new(attempt));
            return response.map(|body| InFlight::new(body, None));
        }
        response.map(|body| InFlight::new(body, Some(attempt)))
    }
}

fn hit(pin: Pin) -> Outcome {
    if pin.is_current { Outcome::Hit } else { Outcome::HitReissue }
}

/// A layer around the member refused: this tells nothing about the member.
fn is_refusal<R>(response: &Response<R>) -> bool {
    response.extensions().get::<Refusal>().is_some()
}

/// A request that no member gets.
pub(super) struct Refused {
    retry_after: u64,
    outcome: Outcome,
}

impl Refused {
    /// Where nobody knows when, a few seconds.
    fn until(until: Option<u64>, now: u64, outcome: Outcome) -> Self {
        let wait =
            until.map_or(Duration::from_secs(5), |until| Duration::from_millis(until.saturating_sub(now)));
        Self { retry_after: wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX).max(1), outcome }
    }

    fn decision(&self) -> Decision {
        Decision { route: None, outcome: self.outcome, attempts: 0 }
    }

    pub(super) fn into_response<R>(self, caller: Caller) -> Response<InFlight<R>> {
        let mut response = Refusal::from(RefusalKind::NoMember)
            .with_header(header::RETRY_AFTER, HeaderValue::from(self.retry_after))
            .into_response::<R>(caller)
            .map(|_| InFlight::empty());
        if caller == Caller::Http {
            response.headers_mut().remove(header::CONTENT_TYPE);
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        response.extensions_mut().insert(self.decision());
        response
    }
}
