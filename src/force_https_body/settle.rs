//! What becomes of the response.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, response};
use http_body::Body;

use super::body::{UpgradedBody, Whole};
use super::engine::Upgrader;
use super::gate::{self, Held, Page};
use super::link_header;
use super::policy::UpgradePolicy;
use crate::future::{self, Owed};
use crate::wire::host::HostPort;

/// What is owed to the response.
#[derive(Debug)]
pub struct Upgrades(pub(super) Option<Box<Job>>);

#[derive(Debug)]
pub(super) enum Job {
    /// The request was plain, and a page would have been another on a secure one.
    Vary(HeaderName, Options),
    Upgrade(Secure),
}

#[derive(Debug)]
pub(super) struct Secure {
    pub(super) policy: Arc<UpgradePolicy>,
    pub(super) options: Options,
    pub(super) own_host: Option<HostPort<'static>>,
    pub(super) varies_by: Option<HeaderName>,
    pub(super) is_head: bool,
    pub(super) if_none_match: Vec<HeaderValue>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    pub(super) asks_browser: bool,
    pub(super) asks_identity: bool,
    pub(super) rewrite_when: Option<fn(&response::Parts) -> bool>,
}

impl Options {
    /// Whether a secure request and a plain one get responses that differ.
    fn differs(self, parts: &response::Parts) -> bool {
        self.changes(parts, gate::is_plain(&parts.headers)).is_some() || self.asks_browser_of(parts)
    }

    /// A page, or a part of one, that a secure request would get with other bytes.
    fn changes(self, parts: &response::Parts, is_plain: bool) -> Option<Page> {
        gate::page(parts)
            .filter(|_| self.asks_identity || is_plain)
            .filter(|_| self.rewrite_when.is_none_or(|is_wanted| is_wanted(parts)))
    }

    fn asks_browser_of(self, parts: &response::Parts) -> bool {
        self.asks_browser && parts.status != StatusCode::NOT_MODIFIED && gate::kind(&parts.headers).is_some()
    }
}

impl future::sealed::Sealed for Upgrades {}

#[diagnostic::do_not_recommend]
impl<R> Owed<R> for Upgrades
where
    R: Body<Data = Bytes>,
{
    type Body = UpgradedBody<R, R::Error>;

    fn settle(self, response: Response<R>) -> Response<Self::Body> {
        let (mut parts, body) = response.into_parts();
        let body = match self.0.map(|job| *job) {
            None => UpgradedBody::untouched(body),
            Some(Job::Vary(field, options)) => {
                if options.differs(&parts) {
                    gate::vary(&mut parts.headers, &field);
                }
                UpgradedBody::untouched(body)
            }
            Some(Job::Upgrade(secure)) => secure.settle(&mut parts, body),
        };
        Response::from_parts(parts, body)
    }
}

/// The longest page that is looked at before its head leaves.
const MAX_LOOK: u64 = 64 * 1024;

impl Secure {
    fn settle<R>(self, parts: &mut response::Parts, body: R) -> UpgradedBody<R, R::Error>
    where
        R: Body<Data = Bytes>,
    {
        if parts.status == StatusCode::NOT_MODIFIED {
            if !self.policy.is_report_only {
                self.settle_not_modified(parts);
            }
            return UpgradedBody::untouched(body);
        }
        let is_plain = gate::is_plain(&parts.headers);
        let changes = self.options.changes(parts, is_plain);
        let whole = changes.filter(|_| is_plain && gate::is_whole(parts));
        if self.policy.is_report_only {
            return match whole {
                Some(page) => UpgradedBody::reporting(body, self.upgrader(page)),
                None => UpgradedBody::untouched(body),
            };
        }
        if self.options.asks_browser_of(parts) {
            gate::ask_browser(&mut parts.headers);
            self.vary(parts);
        }
        let Some(page) = whole else {
            if changes.is_some() && parts.status == StatusCode::PARTIAL_CONTENT {
                gate::forbid_storing(&mut parts.headers);
                self.vary(parts);
            }
            return UpgradedBody::untouched(body);
        };
        self.upgrade_links(parts);
        let len = body.size_hint().exact();
        if !self.is_head && (body.is_end_stream() || len == Some(0)) {
            return UpgradedBody::untouched(body);
        }
        let upgrader = || self.upgrader(page);
        let (body, whole) = match len.filter(|len| *len <= MAX_LOOK && !self.is_head) {
            Some(len) => UpgradedBody::look(body, len, upgrader),
            None => (UpgradedBody::streaming(body, upgrader()), Whole::Unknown),
        };
        match whole {
            Whole::Clean => return body,
            Whole::Upgraded(len) => gate::forget_bytes(&mut parts.headers, Some(len)),
            Whole::Unknown => gate::forget_bytes(&mut parts.headers, None),
        }
        gate::weaken(&mut parts.headers);
        self.vary(parts);
        body
    }

    /// What it says must be true of the page that the client holds (RFC 9111, section 4.3.4).
    fn settle_not_modified(&self, parts: &mut response::Parts) {
        match gate::held(&self.if_none_match, &parts.headers) {
            Held::Strong => {}
            Held::Unknown => gate::forget_bytes(&mut parts.headers, None),
            Held::Weak => {
                gate::forget_bytes(&mut parts.headers, None);
                gate::weaken(&mut parts.headers);
                self.vary(parts);
            }
        }
        if self.options.differs(parts) {
            self.vary(parts);
        }
        if gate::may_transform(&parts.headers) {
            self.upgrade_links(parts);
        }
    }

    fn upgrade_links(&self, parts: &mut response::Parts) {
        if link_header::upgrade(&mut parts.headers, &self.policy, self.own_host.as_ref()) {
            self.vary(parts);
        }
    }

    fn upgrader(&self, page: Page) -> Upgrader {
        let policy = Arc::clone(&self.policy);
        let upgrader = match page {
            Page::Html => Upgrader::new(policy),
            Page::Xhtml => Upgrader::xhtml(policy),
        };
        match &self.own_host {
            Some(host) => upgrader.own_host(host.clone()),
            None => upgrader,
        }
    }

    fn vary(&self, parts: &mut response::Parts) {
        if let Some(field) = &self.varies_by {
            gate::vary(&mut parts.headers, field);
        }
    }
}
