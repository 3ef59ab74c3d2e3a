//! What changes in a page.

use std::num::NonZeroU16;
use std::ops::Range;

use super::url::{Head, UrlPort};
use crate::force_https_body::policy::UpgradePolicy;

/// A URL whose scheme becomes `https`; both places change, or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upgrade {
    pub(super) scheme_at: u64,
    /// Counted from the scheme, as pages hold many of these, and a head is short.
    port: Option<PortEdit>,
}

/// A port as it is written, with its colon, and what takes its place.
#[derive(Clone, Copy, Debug)]
struct PortEdit {
    start: u16,
    end: NonZeroU16,
    /// None: the port of https.
    port: Option<u16>,
}

impl Upgrade {
    pub(super) fn new(head: Head, policy: &UpgradePolicy) -> Option<Self> {
        let behind = |at: u64| u16::try_from(at.checked_sub(head.scheme_at)?).ok();
        let port = match head.port {
            UrlPort::Written { port, start, end } => match policy.secure_port(port) {
                secure if secure == Some(port) => None,
                secure => Some(PortEdit {
                    start: behind(start)?,
                    end: NonZeroU16::new(behind(end)?)?,
                    port: secure,
                }),
            },
            UrlPort::Absent => None,
        };
        Some(Self { scheme_at: head.scheme_at, port })
    }

    /// Where the port is written that changes, and what takes its place.
    pub(super) fn port(&self) -> Option<(Range<u64>, Option<u16>)> {
        let at = |behind: u16| self.scheme_at.saturating_add(behind.into());
        self.port.map(|edit| (at(edit.start)..at(edit.end.get()), edit.port))
    }

    /// How many bytes it puts in, and takes out.
    pub(super) fn lens(&self) -> (usize, usize) {
        let Some(edit) = self.port else { return (1, 0) };
        let digits = edit.port.and_then(u16::checked_ilog10);
        let put = digits.map_or(1, |digits| usize::try_from(digits).unwrap_or(0).saturating_add(3));
        (put, edit.end.get().saturating_sub(edit.start).into())
    }
}

/// The host that was admitted last, whose URLs are upgraded without a further look.
pub(super) struct KnownHost<'a> {
    pub(super) authority: &'a [u8],
    pub(super) upgrades: &'a mut Vec<Upgrade>,
}

impl KnownHost<'_> {
    /// Upgrades the URL at `at`, and gives its path. `None` if it is of another host, or not written as most are.
    pub(super) fn upgrade<'b>(&mut self, url: &'b [u8], at: u64) -> Option<&'b [u8]> {
        let path = url.strip_prefix(b"http://")?.strip_prefix(self.authority)?;
        if self.authority.is_empty() || !path.starts_with(b"/") {
            return None;
        }
        self.upgrades.push(Upgrade { scheme_at: at, port: None });
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A piece may hold a thousand of them.
    #[test]
    fn an_upgrade_is_small() {
        assert_eq!(size_of::<Upgrade>(), 16);
    }
}
