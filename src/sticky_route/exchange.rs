use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header, request};

use super::body::InFlight;
use super::cookie::{Pin, Reading};
use super::failover::Phase;
use super::pool::{Client, Entry, Now, Picked, Snapshot, Whose};
use super::service::Shared;
use super::{Decision, Outcome, Stickiness};
use crate::forwarded_for::Proxied;
use crate::refusal::{Caller, Refusal, RefusalKind};

/// One request on its way to members.
pub(super) struct Exchange<S> {
    pub(super) shared: Arc<Shared<S>>,
    pinned: Option<(Arc<Entry<S>>, Pin)>,
    /// Of a request without a pin.
    unpinned: Outcome,
    may_write: bool,
    may_insert: bool,
    is_secure: bool,
    pub(super) is_idempotent: bool,
    client: Client,
    taken: Option<Picked<S>>,
    tried: Vec<Arc<Entry<S>>>,
    attempts: usize,
}

impl<S> Exchange<S> {
    /// Reads the pin, takes it out of the request, and picks the first member.
    pub(super) fn begin(shared: &Arc<Shared<S>>, parts: &mut request::Parts) -> Result<(Self, S), Refused>
    where
        S: Clone,
    {
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

    fn pick(&self, snapshot: &Snapshot<S>, now: &Now<'_>) -> Option<Picked<S>> {
        let pinned = self.pinned.as_ref().map(|(entry, _)| entry);
        self.shared.picker.pick(snapshot, pinned, &self.tried, self.client, now)
    }

    fn take(&mut self, picked: Picked<S>) -> Option<S>
    where
        S: Clone,
    {
        let service = picked.0.service.clone()?;
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

    pub(super) fn failed(&mut self, phase: Phase) {
        if let Some((entry, attempt)) = &mut self.taken
            && phase == Phase::Connect
            && !entry.settings.is_never_ejected
            && attempt.failed(self.shared.now(), self.shared.failover.backoff)
        {
            self.shared.tell();
        }
    }

    pub(super) fn answered<R>(&mut self, response: &Response<R>) {
        let Some((entry, attempt)) = &mut self.taken else { return };
        let shared = &self.shared;
        let is_changed = if shared.failover.ejects(response.status()) && !entry.settings.is_never_ejected {
            attempt.failed(shared.now(), shared.failover.backoff)
        } else {
            !is_refusal(response) && attempt.succeeded(shared.now())
        };
        if is_changed {
            shared.tell();
        }
    }

    pub(super) fn is_retried(&self, status: StatusCode) -> bool {
        self.is_idempotent && self.shared.failover.retries(status)
    }

    /// The next member, if there is one. Otherwise nothing changes.
    pub(super) fn next(&mut self) -> Option<S>
    where
        S: Clone,
    {
        if self.attempts >= self.shared.failover.max_attempts || self.must_stay() {
            return None;
        }
        self.tried.extend(self.taken.as_ref().map(|(entry, _)| entry.clone()));
        let clock = || self.shared.now();
        let picked = self.pick(&self.shared.snapshot.load(), &Now::of(&clock))?;
        let service = self.take(picked)?;
        self.attempts = self.attempts.saturating_add(1);
        Some(service)
    }

    /// The member answered: names it to the client where need be.
    pub(super) fn finish<R>(self, mut response: Response<R>) -> Response<InFlight<R>> {
        let Self { shared, pinned, unpinned, may_write, may_insert, is_secure, taken, attempts, .. } = self;
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
                if pin.is_current { Outcome::Hit } else { Outcome::HitReissue }
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
        let route = Some(entry.route.clone());
        response.extensions_mut().insert(Decision { route, outcome, attempts });
        response.map(|body| InFlight::new(body, Some(attempt)))
    }
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

    pub(super) fn into_response<R>(self, caller: Caller) -> Response<InFlight<R>> {
        let mut response = Refusal::from(RefusalKind::NoMember)
            .with_header(header::RETRY_AFTER, HeaderValue::from(self.retry_after))
            .into_response::<R>(caller)
            .map(|_| InFlight::empty());
        if caller == Caller::Http {
            response.headers_mut().remove(header::CONTENT_TYPE);
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        response.extensions_mut().insert(Decision { route: None, outcome: self.outcome, attempts: 0 });
        response
    }
}
