//! The engine: bytes in, bytes out, no HTTP.

mod css;
mod elements;
mod find;
mod formatting;
mod html_content;
mod keys;
mod name;
mod namespaces;
mod open_elements;
mod reference;
mod refresh;
mod rewriter;
mod scheme;
mod skim;
mod srcset;
mod targets;
mod tokenizer;
mod upgrade;
mod url;

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use self::reference::Unit;
use self::rewriter::Rewriter;
use self::scheme::{from_scheme, may_end_in_scheme};
use self::skim::Skim;
use self::srcset::Srcset;
pub(in crate::force_https_body) use self::targets::FETCHED_RELATIONS;
use self::tokenizer::{Syntax, Tokenizer};
use self::upgrade::Upgrade;
pub(in crate::force_https_body) use self::url::UrlPort;
use self::url::{Head, UrlScan};
use super::policy::UpgradePolicy;
use crate::wire::host::HostPort;

/// Upgrades the URLs of one page that arrives in pieces.
///
/// Bytes wait only from the `h` of a URL to the end of its authority (1 KiB at most), and from the URL of a `link`
/// to its `rel` ([`max_hold`](UpgradePolicy::max_hold)); beyond that they go out as they came. What comes out does
/// not depend on how the page is cut. There are no errors: what is no HTML is text.
///
/// # Cost
///
/// A piece in which nothing changes comes back as the same `Bytes`, without a copy; any other is copied once. Of a
/// piece of at most 16 KiB without any `http:`, a clone of its `Bytes` is kept until the next piece comes or the page
/// ends: what such a page ends with is not even read. A clone keeps all of the buffer that the piece is a slice of, which
/// is neither freed nor used again meanwhile.
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use tower_proxied::force_https_body::{UpgradePolicy, Upgrader};
///
/// let mut upgrader = Upgrader::new(UpgradePolicy::new());
/// assert_eq!(upgrader.push(Bytes::from("<p>a <img src=\"htt")), "<p>a <img src=\"");
/// assert_eq!(upgrader.push(Bytes::from("p://cdn.example/x\">")), "https://cdn.example/x\">");
/// assert_eq!(upgrader.finish(), "");
/// ```
#[derive(Debug)]
pub struct Upgrader {
    policy: Arc<UpgradePolicy>,
    engine: Engine,
}

impl Upgrader {
    /// For HTML. A policy for many pages is shared as an `Arc`.
    pub fn new(policy: impl Into<Arc<UpgradePolicy>>) -> Self {
        Self { policy: policy.into(), engine: Engine::new(Syntax::Html, None) }
    }

    /// For XHTML, where CDATA is real, `/>` closes, and no element holds raw text.
    pub fn xhtml(policy: impl Into<Arc<UpgradePolicy>>) -> Self {
        Self { policy: policy.into(), engine: Engine::new(Syntax::Xml, None) }
    }

    /// The host that the request asked for: what `base` and [`Hosts::same`](super::Hosts::same) look at.
    #[must_use]
    pub fn own_host(mut self, host: HostPort<'_>) -> Self {
        self.engine.rewriter.set_own_host(host.into_owned());
        self
    }

    /// Takes the next piece, and gives what is decided by now: it may be empty.
    pub fn push(&mut self, piece: Bytes) -> Bytes {
        self.engine.push(piece, &self.policy)
    }

    /// The page ends: gives what waited. What is pushed after it comes back as it is.
    pub fn finish(&mut self) -> Bytes {
        self.engine.finish(&self.policy)
    }

    /// Upgrades a page that is there as a whole: `None` where nothing changes.
    pub(super) fn whole(upgrader: impl FnOnce() -> Self, page: &[u8]) -> Option<Bytes> {
        let scheme = Some(from_scheme(page)).filter(|scheme| *scheme > 0)?;
        let Self { policy, engine } = upgrader();
        engine.whole(page, scheme, &policy)
    }

    /// Whether nothing waits.
    pub fn is_drained(&self) -> bool {
        self.engine.held.is_empty()
    }
}

/// Upgrades a fragment of HTML, such as a template writes it: the `{% forcehttps %}` of Django sites.
///
/// It knows nothing of the request. That the page goes out over https is for the caller to check
/// ([`Proxied::is_secure`](crate::Proxied::is_secure)): on a plain page it upgrades all the same. Nor is the page's own
/// host known, so that [`Hosts::same`](super::Hosts::same) never matches, and no `base` is upgraded; for these take an
/// [`Upgrader`] with [`own_host`](Upgrader::own_host). It is for HTML: in plain text, such as that of a mail, no URL is
/// found, and what looks like markup is read as such.
///
/// # Example
///
/// ```
/// use std::borrow::Cow;
/// use tower_proxied::force_https_body::{UpgradePolicy, upgrade_fragment};
///
/// let policy = UpgradePolicy::new();
/// assert_eq!(
///     upgrade_fragment(r#"<a href="http://h/"><img src="http://h:80/a"></a>"#, &policy),
///     r#"<a href="http://h/"><img src="https://h/a"></a>"#,
/// );
/// assert!(matches!(upgrade_fragment("<p>http://h/</p>", &policy), Cow::Borrowed(_)));
/// ```
pub fn upgrade_fragment<'a>(fragment: &'a str, policy: &UpgradePolicy) -> Cow<'a, str> {
    let scheme = Some(from_scheme(fragment.as_bytes())).filter(|scheme| *scheme > 0);
    scheme
        .and_then(|scheme| Engine::new(Syntax::Html, None).whole(fragment.as_bytes(), scheme, policy))
        // Only ASCII is put in, and taken out.
        .and_then(|upgraded| String::from_utf8(upgraded.into()).ok())
        .map_or(Cow::Borrowed(fragment), Cow::Owned)
}

/// Upgrades one URL that stands alone: `None` where it does not change.
pub(super) fn upgrade_url(
    url: &[u8],
    policy: &UpgradePolicy,
    own: Option<&HostPort<'static>>,
) -> Option<Vec<u8>> {
    let mut scan = UrlScan::default();
    scan.begin();
    let head = url.iter().zip(0..).find_map(|(byte, at)| scan.feed(Unit::literal(*byte, at)));
    let head = head.or_else(|| scan.end(offset(url.len()), None))?;
    upgrade_value(url, admitted(head, &scan, policy, own).into_iter().collect())
}

/// Upgrades the URLs of one `srcset` that stands alone: `None` where nothing changes.
pub(super) fn upgrade_srcset(
    srcset: &[u8],
    policy: &UpgradePolicy,
    own: Option<&HostPort<'static>>,
) -> Option<Vec<u8>> {
    let (mut list, mut scan, mut upgrades) = (Srcset::default(), UrlScan::default(), Vec::new());
    for (byte, at) in srcset.iter().zip(0..) {
        let head = list.feed(Unit::literal(*byte, at), &mut scan);
        upgrades.extend(head.and_then(|head| admitted(head, &scan, policy, own)));
    }
    let head = list.end(offset(srcset.len()), &mut scan);
    upgrades.extend(head.and_then(|head| admitted(head, &scan, policy, own)));
    upgrade_value(srcset, upgrades)
}

fn admitted(
    head: Head,
    scan: &UrlScan,
    policy: &UpgradePolicy,
    own: Option<&HostPort<'static>>,
) -> Option<Upgrade> {
    policy.admits(&scan.host()?, head.port, own).then(|| Upgrade::new(head, policy))?
}

fn upgrade_value(value: &[u8], upgrades: Vec<Upgrade>) -> Option<Vec<u8>> {
    if upgrades.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(value.len().saturating_add(upgrades.len()));
    Source { held: &[], piece: value, start: 0 }.splice(upgrades.into_iter(), offset(value.len()), &mut out);
    Some(out)
}

/// How long a piece may be of which the bytes are kept after they went out.
const MAX_UNREAD: usize = 16 * 1024;

#[derive(Debug)]
struct Engine {
    syntax: Syntax,
    tokenizer: Tokenizer,
    rewriter: Rewriter,
    /// What is read and not yet written.
    held: Vec<u8>,
    /// The last piece, if no scheme is in it: it is written as it came, and read once another piece follows.
    unread: Bytes,
    /// The place of the first held byte.
    written: u64,
    byte_order_mark: ByteOrderMark,
    /// The page has ended: what follows is none of it.
    is_over: bool,
}

/// Of UTF-16, which outweighs all else that is said of the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ByteOrderMark {
    Start,
    First(u8),
    Absent,
    Utf16,
}

impl Engine {
    fn new(syntax: Syntax, own_host: Option<HostPort<'static>>) -> Self {
        Self {
            syntax,
            tokenizer: Tokenizer::new(syntax),
            rewriter: Rewriter::new(syntax, own_host),
            held: Vec::new(),
            unread: Bytes::new(),
            written: 0,
            byte_order_mark: ByteOrderMark::Start,
            is_over: false,
        }
    }

    fn push(&mut self, piece: Bytes, policy: &UpgradePolicy) -> Bytes {
        if self.is_over {
            return piece;
        }
        let scheme = from_scheme(&piece);
        let may_skip =
            scheme == 0 && piece.len() <= MAX_UNREAD && !may_end_in_scheme(&piece) && self.is_settled(policy);
        let unread = std::mem::take(&mut self.unread);
        self.read(&unread, 0, policy);
        if may_skip {
            self.unread = piece.clone();
            self.written = self.written.saturating_add(offset(piece.len()));
            return piece;
        }
        self.read(&piece, scheme, policy);
        let read = self.tokenizer.position();
        let undecided = self.rewriter.undecided_from(read, policy).filter(|_| !policy.is_report_only);
        // A URL that began in a piece that was not read then has no scheme, and is let go.
        let end = undecided.unwrap_or(read).max(self.written);
        if self.rewriter.upgrades().is_empty() && self.held.is_empty() {
            let ready = distance(self.written, end).min(piece.len());
            self.held.extend_from_slice(piece.get(ready..).unwrap_or_default());
            self.written = end;
            return piece.slice(..ready);
        }
        self.write(&piece, end)
    }

    /// Nothing before the next piece changes, whatever comes.
    fn is_settled(&mut self, policy: &UpgradePolicy) -> bool {
        let at = self.tokenizer.position();
        self.held.is_empty()
            && self.rewriter.upgrades().is_empty()
            && (!self.unread.is_empty() || self.rewriter.undecided_from(at, policy).is_none())
    }

    fn finish(&mut self, policy: &UpgradePolicy) -> Bytes {
        let is_over = std::mem::replace(&mut self.is_over, true);
        if is_over || !std::mem::take(&mut self.unread).is_empty() {
            return Bytes::new();
        }
        let end = self.end(policy);
        self.write(&[], end)
    }

    /// Of `page`, the last `scheme` bytes begin with the first scheme.
    fn whole(mut self, page: &[u8], scheme: usize, policy: &UpgradePolicy) -> Option<Bytes> {
        self.read(page, scheme, policy);
        let end = self.end(policy);
        (!self.rewriter.upgrades().is_empty()).then(|| self.write(page, end))
    }

    /// Of `bytes`, the last `scheme` begin with the first scheme.
    fn read(&mut self, bytes: &[u8], scheme: usize, policy: &UpgradePolicy) {
        for byte in bytes {
            self.byte_order_mark = match (self.byte_order_mark, *byte) {
                (ByteOrderMark::Start, first @ (0xfe | 0xff)) => ByteOrderMark::First(first),
                (ByteOrderMark::First(0xfe), 0xff) | (ByteOrderMark::First(0xff), 0xfe) => {
                    ByteOrderMark::Utf16
                }
                (ByteOrderMark::Start | ByteOrderMark::First(_), _) => ByteOrderMark::Absent,
                (ByteOrderMark::Absent | ByteOrderMark::Utf16, _) => break,
            };
        }
        if self.byte_order_mark == ByteOrderMark::Utf16 {
            self.tokenizer.pass(bytes.len());
        } else {
            self.read_markup(bytes, scheme, policy);
        }
    }

    fn read_markup(&mut self, bytes: &[u8], scheme: usize, policy: &UpgradePolicy) {
        let end = self.tokenizer.position().saturating_add(offset(bytes.len()));
        let (mut rest, mut skim) = (bytes, Skim::new(self.syntax, policy.targets, scheme, end));
        while !rest.is_empty() {
            if self.tokenizer.is_between_tags() && self.rewriter.is_in_plain_html() {
                let passed = skim.pass(rest, &mut self.rewriter.known_host(policy));
                self.tokenizer.pass(passed);
                rest = rest.get(passed..).unwrap_or_default();
            }
            let read = self.tokenizer.read(rest, &mut self.rewriter.with(policy));
            rest = rest.get(read..).unwrap_or_default();
        }
    }

    fn end(&mut self, policy: &UpgradePolicy) -> u64 {
        let at = self.tokenizer.position();
        self.rewriter.with(policy).finish(self.tokenizer.is_in_tag(), at);
        at
    }

    /// Writes what is held, and then `piece`, up to `end`, with all upgrades before it. The rest is held.
    fn write(&mut self, piece: &[u8], end: u64) -> Bytes {
        let start = self.written;
        // Their list is kept, so that it is allocated once.
        let mut upgrades = std::mem::take(self.rewriter.upgrades());
        upgrades.sort_unstable_by_key(|upgrade| upgrade.scheme_at);
        let ready = upgrades.partition_point(|upgrade| upgrade.scheme_at < end);
        let len = distance(start, end);
        let (put, cut) = upgrades.iter().take(ready).fold((0_usize, 0_usize), |(put, cut), upgrade| {
            let (more, less) = upgrade.lens();
            (put.saturating_add(more), cut.saturating_add(less))
        });
        // `Bytes` take a `Vec` over as it is where it is full.
        let mut out = Vec::with_capacity(len.saturating_add(put).saturating_sub(cut));
        let source = Source { held: &self.held, piece, start };
        source.splice(upgrades.drain(..ready), end, &mut out);
        *self.rewriter.upgrades() = upgrades;
        if len < self.held.len() {
            self.held.drain(..len);
            self.held.extend_from_slice(piece);
        } else {
            let rest = len.saturating_sub(self.held.len());
            self.held.clear();
            self.held.extend_from_slice(piece.get(rest..).unwrap_or_default());
        }
        self.written = end;
        out.into()
    }
}

/// The bytes of the stream from `start` on, in two parts.
struct Source<'a> {
    held: &'a [u8],
    piece: &'a [u8],
    start: u64,
}

impl Source<'_> {
    /// Copies all up to `end`, with these upgrades, which are in order.
    fn splice(&self, upgrades: impl Iterator<Item = Upgrade>, end: u64, out: &mut Vec<u8>) {
        let mut at = self.start;
        for upgrade in upgrades {
            self.copy(at, upgrade.scheme_at, out);
            out.extend_from_slice(b"https");
            at = upgrade.scheme_at.saturating_add(4);
            if let Some((written, port)) = upgrade.port() {
                self.copy(at, written.start, out);
                if let Some(port) = port {
                    // To a `Vec` nothing fails.
                    let _ = write!(out, ":{port}");
                }
                at = written.end;
            }
        }
        self.copy(at, end, out);
    }

    fn copy(&self, from: u64, to: u64, out: &mut Vec<u8>) {
        let (from, to) = (distance(self.start, from), distance(self.start, to));
        let held = self.held.len();
        out.extend_from_slice(self.held.get(from.min(held)..to.min(held)).unwrap_or_default());
        let (from, to) = (from.saturating_sub(held), to.saturating_sub(held));
        out.extend_from_slice(self.piece.get(from..to).unwrap_or_default());
    }
}

fn offset(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn distance(from: u64, to: u64) -> usize {
    usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod seams;
#[cfg(test)]
mod tests;
