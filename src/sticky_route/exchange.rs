use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header, request};

use super::body::{InFlight, InFlightUpgrade};
use super::cookie::{Pin, Reading};
use super::observer::{Change, End, Failure, Report};
use super::phase::Phase;
use super::pool::{self, Client, Entry, Now, Picked, Snapshot, Whose};
use super::reach::Reach;
use super::shared::Shared;
use super::tried::TriedRoutes;
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
    may_repeat: bool,
    client: Client,
    caller: Caller,
    taken: Option<Picked<M>>,
    tried: Vec<Arc<Entry<M>>>,
    /// For whoever sends the request again from outside.
    told: Option<TriedRoutes>,
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
                shared.reporter.refused(refused.decision.outcome);
                if let Some(since) = since {
                    Report::new(shared, since, refused.decision.clone()).close(End::Refused);
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
        if let Some(budget) = &shared.retry_budget {
            budget.deposit(now.get());
        }
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
            may_repeat: shared.failover.may_repeat(parts),
            client: Client::of(proxied.and_then(Proxied::client)),
            caller: Caller::of(parts),
            taken: None,
            tried: Vec::new(),
            told: parts.extensions.remove(),
            attempts: 1,
            report: None,
        };
        if let Reading::Pinned(entry, pin) = reading {
            exchange.pinned = Some((entry, pin));
        }
        exchange.pass_over_told(&snapshot);
        let mut picked = exchange.take_pinned(&snapshot, now);
        if picked.is_none()
            && let Some((entry, _)) = &exchange.pinned
            && let Some(until) = shared.wait_for(entry, now.get())
        {
            return Err(Refused::until(until, now.get(), Outcome::Unusable));
        }
        picked = picked.or_else(|| exchange.pick(&snapshot, now));
        if picked.is_none() && !exchange.tried.is_empty() {
            exchange.start_anew();
            picked = exchange.choose(&snapshot, now);
        }
        match picked.and_then(|picked| exchange.take(picked)) {
            Some(service) => Ok((exchange, service)),
            None => Err(Refused::until(snapshot.earliest_retry(), now.get(), exchange.outcome_of_refusal())),
        }
    }

    /// The members that an outer retry sent the request to.
    fn pass_over_told(&mut self, snapshot: &Snapshot<M>) {
        if let Some(told) = &self.told
            && !self.must_stay()
        {
            let routes = told.routes();
            self.tried.extend(routes.iter().filter_map(|route| snapshot.named(route.as_str())).cloned());
        }
    }

    /// Whoever sends a request again from outside may send it to the same members.
    fn start_anew(&mut self) {
        self.tried.clear();
        if let Some(told) = &self.told {
            told.clear();
        }
    }

    /// The pinned member, or its successor, or another one: none that had the request.
    fn choose(&self, snapshot: &Snapshot<M>, now: &Now<'_>) -> Option<Picked<M>> {
        self.take_pinned(snapshot, now).or_else(|| self.pick(snapshot, now))
    }

    fn take_pinned(&self, snapshot: &Snapshot<M>, now: &Now<'_>) -> Option<Picked<M>> {
        let (pinned, _) = self.pinned.as_ref()?;
        self.shared.picker.take_pinned(snapshot, pinned, &self.tried, now)
    }

    fn pick(&self, snapshot: &Snapshot<M>, now: &Now<'_>) -> Option<Picked<M>> {
        let pinned = self.pinned.as_ref().map(|(entry, _)| entry);
        self.shared.picker.pick(snapshot, pinned, &self.tried, self.client, now)
    }

    fn take(&mut self, picked: Picked<M>) -> Option<R::Service> {
        let service = self.reach.service(picked.0.service.as_ref()?);
        if let Some(told) = &self.told {
            told.record(&picked.0.route);
        }
        self.taken = Some(picked);
        Some(service)
    }

    /// Whether a second member could get the request if this one fails.
    pub(super) fn may_go_again(&self) -> bool {
        self.attempts < self.shared.failover.max_attempts
            && !self.must_stay()
            && (self.may_repeat || self.shared.classify.is_some())
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

    /// The error of the last member is handed on, with what was decided.
    pub(super) fn gave_up(mut self) -> Decision {
        self.close(End::Failed);
        self.last_decision()
    }

    /// No member became ready in time.
    pub(super) fn busy(mut self) -> (Refused, Caller) {
        self.close(End::Refused);
        let mut refused = Refused::until(None, 0, self.outcome_of_refusal());
        refused.decision.attempts = self.attempts;
        (refused, self.caller)
    }

    /// The last member did not answer in time.
    pub(super) fn timed_out(mut self) -> (Refused, Caller) {
        self.close(End::TimedOut);
        let decision = self.last_decision();
        (Refused { kind: RefusalKind::MemberTimedOut, retry_after: None, decision }, self.caller)
    }

    fn last_decision(&self) -> Decision {
        let (outcome, attempts) = (self.outcome_of_refusal(), self.attempts);
        self.decision().unwrap_or(Decision { route: None, outcome, attempts })
    }

    fn close(&mut self, end: End) {
        if let Some(report) = self.report.take() {
            report.close(end);
        }
    }

    fn outcome_of_refusal(&self) -> Outcome {
        if self.pinned.is_some() { Outcome::Unusable } else { self.unpinned }
    }

    pub(super) fn failed(&mut self, failure: Failure) {
        let Some((entry, attempt)) = &mut self.taken else { return };
        self.shared.reporter.member_failed(&entry.route, self.attempts, failure);
        let counted = match failure {
            Failure::Error(Phase::Connect) => pool::Failure::Connect,
            Failure::Error(Phase::Sent) | Failure::NoAnswerInTime => pool::Failure::Sent,
            // A member that goes in good order says so.
            Failure::Error(Phase::NotSent) => return,
            // It may be busy alone.
            Failure::NotReadyInTime | Failure::Status(_) => return,
        };
        if !entry.settings.is_never_ejected
            && attempt.failed(counted, self.shared.now(), &self.shared.failover.ejection)
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
            attempt
                .failed(pool::Failure::Response, shared.now(), &shared.failover.ejection)
                .then_some(Change::Ejected)
        } else {
            let ejection = &shared.failover.ejection;
            let now = if attempt.is_timeless(ejection) { 0 } else { shared.now() };
            (!is_refusal(response) && attempt.succeeded(now, ejection)).then_some(Change::Recovered)
        };
        if let Some(change) = change {
            shared.changed(&entry.route, change);
        }
    }

    /// Whether another member may have it too, if its body is there.
    pub(super) fn may_move(&self, phase: Phase) -> bool {
        phase != Phase::Sent || self.may_repeat
    }

    pub(super) fn is_retried(&self, status: StatusCode) -> bool {
        self.may_repeat && self.shared.failover.retries(status)
    }

    /// The next member, if there is one. Otherwise nothing changes.
    pub(super) fn next(&mut self, phase: Phase) -> Option<R::Service> {
        if self.attempts >= self.shared.failover.max_attempts || self.must_stay() {
            return None;
        }
        let shared = self.shared.clone();
        let clock = || shared.now();
        let now = &Now::of(&clock);
        let budget = shared.retry_budget.as_ref().filter(|_| phase == Phase::Sent);
        if budget.is_some_and(|budget| !budget.withdraw(now.get())) {
            return None;
        }
        self.tried.extend(self.taken.as_ref().map(|(entry, _)| entry.clone()));
        let picked = self.choose(&shared.snapshot.load(), now);
        let Some(service) = picked.and_then(|picked| self.take(picked)) else {
            if let Some(budget) = budget {
                budget.refund(now.get());
            }
            return None;
        };
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
            Some((pinned, _)) if shared.failover.keeps_pin && !pinned.state.is_given_up(shared.now()) => {
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

/// What no member answers.
pub(super) struct Refused {
    kind: RefusalKind,
    retry_after: Option<u64>,
    decision: Decision,
}

impl Refused {
    /// No member gets it. Where nobody knows when, a few seconds.
    fn until(until: Option<u64>, now: u64, outcome: Outcome) -> Self {
        let wait =
            until.map_or(Duration::from_secs(5), |until| Duration::from_millis(until.saturating_sub(now)));
        let wait = wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX).max(1);
        let decision = Decision { route: None, outcome, attempts: 0 };
        Self { kind: RefusalKind::NoMember, retry_after: Some(wait), decision }
    }

    pub(super) fn into_response<R>(self, caller: Caller) -> Response<InFlight<R>> {
        let mut refusal = Refusal::from(self.kind);
        if let Some(seconds) = self.retry_after {
            refusal = refusal.with_header(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        let mut response = refusal.into_response::<R>(caller).map(|_| InFlight::empty());
        if caller == Caller::Http {
            response.headers_mut().remove(header::CONTENT_TYPE);
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        response.extensions_mut().insert(self.decision);
        response
    }
}
