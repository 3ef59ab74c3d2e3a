//! What the tokens of a page mean for its URLs.

use std::collections::VecDeque;

use memchr::memchr;

use super::css::Css;
use super::elements::content_of;
use super::name::Name;
use super::namespaces::{Namespace, Namespaces, StartTag};
use super::offset;
use super::reference::{References, Unit};
use super::refresh::Refresh;
use super::srcset::Srcset;
use super::targets::{FETCHED_RELATIONS, Kind, When, bit, may_be_target, target};
use super::tokenizer::{Content, Sink, Syntax};
use super::upgrade::{KnownHost, Upgrade};
use super::url::{Head, UrlPort, UrlScan, is_plain};
use crate::force_https_body::policy::{Rewrite, UpgradePolicy};
use crate::wire::host::HostPort;

/// Follows the tokens of one document.
#[derive(Debug)]
pub(super) struct Rewriter {
    syntax: Syntax,
    namespaces: Namespaces,
    /// The next end tag is that of the element that holds the text.
    is_text_open: bool,
    /// Where the last piece of text ended.
    text_end: u64,
    references: References,
    scan: Scan,
}

/// The scanners of values, and what they found.
#[derive(Debug)]
struct Scan {
    own_host: Option<HostPort<'static>>,
    tag: Tag,
    attribute: Name,
    kind: Option<Kind>,
    when: When,
    url: UrlScan,
    srcset: Srcset,
    css: Css,
    refresh: Refresh,
    word: Name,
    word_matched: bool,
    /// The text of a `style` element is being read.
    is_in_style: bool,
    upgrades: Vec<Upgrade>,
    /// The authority of the last URL that was admitted, if it is a plain name.
    known: Vec<u8>,
    /// Of the tag that is open: an attribute decides on them that did not come yet.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug, Default)]
struct Tag {
    name: Name,
    namespace: Namespace,
    seen: u32,
    /// What `rel` or `http-equiv` said.
    says_so: Option<bool>,
    is_html_annotation: bool,
    is_styled_font: bool,
}

/// Longer authorities are rare.
const MAX_KNOWN: usize = 64;

#[derive(Debug)]
struct Waiting {
    upgrade: Upgrade,
    report: Option<Box<Report>>,
}

#[derive(Debug)]
struct Report {
    attribute: Name,
    host: String,
}

impl Rewriter {
    pub(super) fn new(syntax: Syntax, own_host: Option<HostPort<'static>>) -> Self {
        Self {
            syntax,
            namespaces: Namespaces::new(syntax),
            is_text_open: false,
            text_end: 0,
            references: References::default(),
            scan: Scan {
                own_host,
                tag: Tag::default(),
                attribute: Name::default(),
                kind: None,
                when: When::Always,
                url: UrlScan::default(),
                srcset: Srcset::default(),
                css: Css::default(),
                refresh: Refresh::default(),
                word: Name::default(),
                word_matched: false,
                is_in_style: false,
                upgrades: Vec::new(),
                known: Vec::new(),
                waiting: VecDeque::new(),
            },
        }
    }

    pub(super) fn with<'a>(&'a mut self, policy: &'a UpgradePolicy) -> Reading<'a> {
        Reading { rewriter: self, policy }
    }

    pub(super) fn set_own_host(&mut self, host: HostPort<'static>) {
        self.scan.own_host = Some(host);
        self.scan.known.clear();
    }

    /// What is found and decided, in no order.
    pub(super) fn upgrades(&mut self) -> &mut Vec<Upgrade> {
        &mut self.scan.upgrades
    }

    pub(super) fn known_host(&mut self, policy: &UpgradePolicy) -> KnownHost<'_> {
        let is_quiet = policy.on_rewrite.is_none() && !policy.is_report_only;
        let Scan { known, upgrades, .. } = &mut self.scan;
        KnownHost { authority: if is_quiet { known } else { &[] }, upgrades }
    }

    /// Nothing is open but elements of HTML that hold markup.
    pub(super) fn is_in_plain_html(&self) -> bool {
        self.namespaces.is_plain() && !self.scan.is_in_style
    }

    /// The first byte that must wait. Nothing waits longer than its bound.
    pub(super) fn undecided_from(&mut self, at: u64, policy: &UpgradePolicy) -> Option<u64> {
        self.scan.url.release(at);
        self.scan.release_waiting(at, policy);
        let waiting = self.scan.waiting.front().map(|waiting| waiting.upgrade.scheme_at);
        let url = self.scan.url.undecided_from();
        waiting.into_iter().chain(url).min()
    }
}

/// The sink of the tokenizer, under a policy.
pub(super) struct Reading<'a> {
    rewriter: &'a mut Rewriter,
    policy: &'a UpgradePolicy,
}

impl Reading<'_> {
    /// The document ends. The text of a style sheet counts to its end, a tag that is cut off does not.
    pub(super) fn finish(&mut self, is_in_tag: bool, at: u64) {
        if is_in_tag {
            self.abandon_tag();
        }
        self.end_style(at);
    }

    fn feed(&mut self, piece: &[u8], at: u64, is_decoded: bool) {
        let (policy, Rewriter { references, scan, .. }) = (self.policy, &mut *self.rewriter);
        let (mut rest, mut at) = (piece, at);
        while let Some(byte) = rest.first()
            && !scan.is_settled()
        {
            let literal = match is_decoded {
                false => rest.len(),
                true if references.are_closed() => memchr(b'&', rest).unwrap_or(rest.len()),
                true => 0,
            };
            if literal > 0 {
                scan.read(rest.get(..literal).unwrap_or_default(), at, policy);
            } else {
                references.feed(*byte, at, &mut |unit| scan.feed(unit, policy));
            }
            let taken = literal.max(1);
            rest = rest.get(taken..).unwrap_or_default();
            at = at.saturating_add(offset(taken));
        }
    }

    /// Markup follows that is no part of the text. It may stand inside of a URL, of which then no bytes can change.
    fn end_run_of_text(&mut self, at: u64) {
        let Rewriter { references, scan, .. } = &mut *self.rewriter;
        references.end(at, &mut |unit| scan.feed(unit, self.policy));
        scan.url.abandon();
    }

    fn end_style(&mut self, at: u64) {
        let Rewriter { references, scan, .. } = &mut *self.rewriter;
        if !std::mem::take(&mut scan.is_in_style) {
            return;
        }
        references.end(at, &mut |unit| scan.feed(unit, self.policy));
        if let Some(head) = scan.css.end(at, &mut scan.url) {
            scan.found(head, self.policy);
        }
        (scan.kind, scan.css) = (None, Css::default());
    }
}

impl Sink for Reading<'_> {
    fn start_tag(&mut self, name: &Name) {
        self.abandon_tag();
        let namespace = self.rewriter.namespaces.of_start_tag(name);
        self.rewriter.scan.tag = Tag { name: *name, namespace, ..Tag::default() };
    }

    fn may_want(&self, name: &[u8]) -> bool {
        may_be_target(name)
    }

    fn attribute(&mut self, name: &Name) -> bool {
        let Rewriter { scan, .. } = &mut *self.rewriter;
        let (element, targets) = (scan.tag.name.as_bytes(), self.policy.targets);
        let Some(target) = target(scan.tag.namespace, element, name, targets) else { return false };
        let bit = bit(name.as_bytes());
        if scan.tag.seen & bit != 0 {
            return false;
        }
        scan.tag.seen |= bit;
        scan.begin(target.kind, target.when, *name);
        self.rewriter.references = References::default();
        true
    }

    fn value(&mut self, piece: &[u8], at: u64) {
        if !self.rewriter.scan.is_settled() {
            self.feed(piece, at, true);
        }
    }

    fn value_end(&mut self, at: u64) {
        let Rewriter { references, scan, .. } = &mut *self.rewriter;
        references.end(at, &mut |unit| scan.feed(unit, self.policy));
        scan.end(at, self.policy);
    }

    fn start_tag_end(&mut self, is_self_closing: bool) -> Content {
        let Rewriter { namespaces, scan, is_text_open, syntax, .. } = &mut *self.rewriter;
        scan.waiting.clear();
        let tag = &mut scan.tag;
        if *syntax == Syntax::Html && tag.namespace != Namespace::Html && tag.is_styled_font {
            namespaces.break_out();
            tag.namespace = Namespace::Html;
        }
        let content = match (*syntax, tag.namespace) {
            (Syntax::Html, Namespace::Html) => content_of(&tag.name),
            _ => Content::Markup,
        };
        let start_tag = StartTag {
            name: &tag.name,
            namespace: tag.namespace,
            is_html_annotation: tag.is_html_annotation,
            is_self_closing,
        };
        if let Some(content) = namespaces.open(start_tag, content) {
            *is_text_open = false;
            return content;
        }
        *is_text_open = !matches!(content, Content::Markup | Content::Noscript);
        let is_empty = is_self_closing && content == Content::Markup;
        if tag.name.is(b"style") && tag.namespace != Namespace::MathMl && !is_empty {
            scan.begin(Kind::Css, When::Always, Name::default());
            scan.is_in_style = true;
            self.rewriter.references = References::default();
        }
        content
    }

    fn end_tag(&mut self, name: &Name, at: u64) {
        self.end_style(at);
        let Rewriter { namespaces, is_text_open, .. } = &mut *self.rewriter;
        namespaces.end_tag(name, std::mem::take(is_text_open));
    }

    fn abandon_tag(&mut self) {
        let scan = &mut self.rewriter.scan;
        scan.url.abandon();
        scan.waiting.clear();
        (scan.kind, scan.is_in_style) = (None, false);
    }

    fn text(&mut self, piece: &[u8], at: u64, is_decoded: bool) {
        if !self.rewriter.scan.is_in_style {
            return self.rewriter.namespaces.text(piece);
        }
        let end = at.saturating_add(offset(piece.len()));
        let last_end = std::mem::replace(&mut self.rewriter.text_end, end);
        if at != last_end {
            self.end_run_of_text(last_end);
        }
        self.feed(piece, at, is_decoded);
    }

    fn wants_text(&self) -> bool {
        let Rewriter { scan, namespaces, is_text_open, .. } = &*self.rewriter;
        scan.is_in_style || (!is_text_open && namespaces.wants_text())
    }

    fn allows_cdata(&self) -> bool {
        self.rewriter.namespaces.allows_cdata()
    }
}

impl Scan {
    fn begin(&mut self, kind: Kind, when: When, attribute: Name) {
        (self.kind, self.when, self.attribute) = (Some(kind), when, attribute);
        match kind {
            Kind::Url => self.url.begin(),
            Kind::Srcset => self.srcset = Srcset::default(),
            Kind::Css => self.css = Css::default(),
            Kind::Refresh => self.refresh = Refresh::default(),
            Kind::Rel | Kind::HttpEquiv | Kind::Encoding => {
                self.word.clear();
                self.word_matched = false;
            }
            Kind::FontStyle => self.tag.is_styled_font = true,
        }
    }

    /// Nothing that may follow in this value matters.
    fn is_settled(&self) -> bool {
        match self.kind {
            None | Some(Kind::FontStyle) => true,
            Some(Kind::Url) => self.url.is_decided(),
            _ => false,
        }
    }

    /// Reads bytes that are written as themselves.
    fn read(&mut self, bytes: &[u8], at: u64, policy: &UpgradePolicy) {
        let mut next = 0_usize;
        while !self.is_settled() {
            let rest = bytes.get(next..).unwrap_or_default();
            let place = at.saturating_add(offset(next));
            let skipped = match self.kind {
                Some(Kind::Url) => self.url.skip(rest, place),
                Some(Kind::Css) => self.css.skip(rest, place, &mut self.url),
                Some(Kind::Srcset) => self.srcset.skip(rest, place, &mut self.url),
                _ => 0,
            };
            let Some(byte) = rest.get(skipped) else { return };
            next = next.saturating_add(skipped);
            self.feed(Unit::literal(*byte, at.saturating_add(offset(next))), policy);
            next = next.saturating_add(1);
        }
    }

    fn feed(&mut self, unit: Unit, policy: &UpgradePolicy) {
        let head = match self.kind {
            Some(Kind::Url) => self.url.feed(unit),
            Some(Kind::Srcset) => self.srcset.feed(unit, &mut self.url),
            Some(Kind::Css) => self.css.feed(unit, &mut self.url),
            Some(Kind::Refresh) => self.refresh.feed(unit, &mut self.url),
            Some(Kind::Rel) if unit.byte.is_ascii_whitespace() => {
                self.relation();
                None
            }
            Some(Kind::Rel | Kind::HttpEquiv | Kind::Encoding) => {
                self.word.push(unit.byte);
                None
            }
            Some(Kind::FontStyle) | None => None,
        };
        if let Some(head) = head {
            self.found(head, policy);
        }
    }

    fn end(&mut self, at: u64, policy: &UpgradePolicy) {
        let head = match self.kind.take() {
            Some(Kind::Url) => self.url.end(at, None),
            Some(Kind::Srcset) => self.srcset.end(at, &mut self.url),
            Some(Kind::Css) => self.css.end(at, &mut self.url),
            Some(Kind::Refresh) => self.refresh.end(at, &mut self.url),
            Some(Kind::Rel) => {
                self.relation();
                self.tag_says(self.word_matched, at, policy);
                None
            }
            Some(Kind::HttpEquiv) => {
                self.tag_says(self.word.is(b"refresh"), at, policy);
                None
            }
            Some(Kind::Encoding) => {
                self.tag.is_html_annotation =
                    self.word.is(b"text/html") || self.word.is(b"application/xhtml+xml");
                None
            }
            Some(Kind::FontStyle) | None => None,
        };
        if let Some(head) = head {
            self.found(head, policy);
        }
        self.url.abandon();
    }

    fn relation(&mut self) {
        self.word_matched |= FETCHED_RELATIONS.contains(&self.word.as_bytes());
        self.word.clear();
    }

    fn tag_says(&mut self, so: bool, at: u64, policy: &UpgradePolicy) {
        self.tag.says_so = Some(so);
        while let Some(Waiting { upgrade, report }) = self.waiting.pop_front() {
            if so && policy.may_hold(upgrade.scheme_at, at) {
                self.commit(upgrade, report.as_deref(), policy);
            }
        }
    }

    /// They stand in the order of the page.
    fn release_waiting(&mut self, at: u64, policy: &UpgradePolicy) {
        while self.waiting.front().is_some_and(|first| !policy.may_hold(first.upgrade.scheme_at, at)) {
            self.waiting.pop_front();
        }
    }

    fn found(&mut self, head: Head, policy: &UpgradePolicy) {
        if self.is_known(head, policy) {
            if let Some(upgrade) = Upgrade::new(head, policy) {
                self.settle(upgrade, None, policy);
            }
            return;
        }
        let Some(host) = self.url.host() else { return };
        let is_admitted = match self.when {
            When::OwnHost => policy.admits_base(&host, head.port, self.own_host.as_ref()),
            When::Always | When::TagSaysSo => policy.admits(&host, head.port, self.own_host.as_ref()),
        };
        if !is_admitted {
            return;
        }
        let Some(upgrade) = Upgrade::new(head, policy) else { return };
        let attribute = self.attribute;
        let report = policy.on_rewrite.map(|_| Report { attribute, host: host.to_string() });
        let authority = self.url.authority();
        if self.when != When::OwnHost && authority.len() <= MAX_KNOWN && authority.iter().all(is_plain) {
            self.known.clear();
            self.known.extend_from_slice(authority);
        }
        self.settle(upgrade, report, policy);
    }

    /// Most URLs of a page have the host of the one before.
    fn is_known(&self, head: Head, policy: &UpgradePolicy) -> bool {
        head.port == UrlPort::Absent
            && self.when != When::OwnHost
            && policy.on_rewrite.is_none()
            && self.url.authority() == self.known
    }

    fn settle(&mut self, upgrade: Upgrade, report: Option<Report>, policy: &UpgradePolicy) {
        match (self.when, self.tag.says_so) {
            (When::TagSaysSo, None) => {
                // One piece may hold more than may wait.
                self.release_waiting(upgrade.scheme_at, policy);
                self.waiting.push_back(Waiting { upgrade, report: report.map(Box::new) });
            }
            (When::TagSaysSo, Some(false)) => {}
            _ => self.commit(upgrade, report.as_ref(), policy),
        }
    }

    fn commit(&mut self, upgrade: Upgrade, report: Option<&Report>, policy: &UpgradePolicy) {
        if let (Some(on_rewrite), Some(report)) = (policy.on_rewrite, report) {
            on_rewrite(&Rewrite {
                element: self.tag.name.as_str(),
                attribute: report.attribute.as_str(),
                host: &report.host,
                offset: upgrade.scheme_at,
            });
        }
        if !policy.is_report_only {
            self.upgrades.push(upgrade);
        }
    }
}

#[cfg(test)]
impl Rewriter {
    pub(super) fn waiting(&self) -> usize {
        self.scan.waiting.len()
    }
}
