//! `Link` fields (RFC 8288, section 3): what they make a browser fetch is a part of the page too.

use std::ops::Range;

use http::header::LINK;
use http::{HeaderMap, HeaderValue};

use super::engine::{self, FETCHED_RELATIONS};
use super::policy::{Targets, UpgradePolicy};
use crate::wire::host::HostPort;
use crate::wire::{cut, list};

/// Upgrades the targets of links by their relation, as those of `link` elements. True if one changed.
pub(super) fn upgrade(
    headers: &mut HeaderMap,
    policy: &UpgradePolicy,
    own: Option<&HostPort<'static>>,
) -> bool {
    let lines: Vec<Option<Vec<u8>>> =
        list::lines(headers, &LINK).map(|line| upgraded(line, policy, own)).collect();
    if lines.iter().all(Option::is_none) {
        return false;
    }
    if let http::header::Entry::Occupied(mut entry) = headers.entry(LINK) {
        for (value, line) in entry.iter_mut().zip(lines) {
            if let Some(line) = line.and_then(|line| HeaderValue::from_bytes(&line).ok()) {
                *value = line;
            }
        }
    }
    true
}

fn upgraded(line: &[u8], policy: &UpgradePolicy, own: Option<&HostPort<'static>>) -> Option<Vec<u8>> {
    let mut upgraded = Vec::new();
    let (mut rest, mut is_changed) = (line, false);
    while let Some(link) = Link::read(rest) {
        upgraded.extend_from_slice(link.before);
        let is_fetched = policy.targets.contains(Targets::LINK_ANY_REL) || link.is_fetched();
        let target = engine::upgrade_url(link.target, policy, own).filter(|_| is_fetched);
        is_changed |= target.is_some();
        upgraded.extend_from_slice(target.as_deref().unwrap_or(link.target));
        let (before, srcset, after) = link.imagesrcset().unwrap_or((link.parameters, &[], &[]));
        let new = engine::upgrade_srcset(srcset, policy, own).filter(|_| is_fetched);
        is_changed |= new.is_some();
        upgraded.extend_from_slice(before);
        upgraded.extend_from_slice(new.as_deref().unwrap_or(srcset));
        upgraded.extend_from_slice(after);
        rest = link.rest;
    }
    upgraded.extend_from_slice(rest);
    is_changed.then_some(upgraded)
}

/// One `<target>; parameters` of a line.
#[derive(Debug, PartialEq, Eq)]
struct Link<'a> {
    /// Up to the `<`, with it.
    before: &'a [u8],
    target: &'a [u8],
    /// From the `>` to the comma.
    parameters: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Link<'a> {
    fn read(line: &'a [u8]) -> Option<Self> {
        let start = line.iter().position(|byte| *byte == b'<')?.checked_add(1)?;
        let (before, rest) = line.split_at_checked(start)?;
        let (target, rest) = rest.split_at_checked(rest.iter().position(|byte| *byte == b'>')?)?;
        let (parameters, rest) = rest.split_at_checked(unquoted(rest, b',').unwrap_or(rest.len()))?;
        Some(Self { before, target, parameters, rest })
    }

    /// By the first `rel`, which alone counts.
    fn is_fetched(&self) -> bool {
        self.parameter(b"rel").and_then(|value| self.parameters.get(value)).is_some_and(|value| {
            value.split(u8::is_ascii_whitespace).any(|relation| {
                FETCHED_RELATIONS.iter().any(|fetched| relation.eq_ignore_ascii_case(fetched))
            })
        })
    }

    /// The parameters before the first list of images, the list, and those behind it. One with escapes is left alone.
    fn imagesrcset(&self) -> Option<(&'a [u8], &'a [u8], &'a [u8])> {
        let value = self.parameter(b"imagesrcset")?;
        let (before, rest) = self.parameters.split_at_checked(value.start)?;
        let (list, after) = rest.split_at_checked(value.len())?;
        (!list.contains(&b'\\')).then_some((before, list, after))
    }

    /// Where the value of the first parameter of this name stands, without blanks and quotes around it.
    fn parameter(&self, wanted: &[u8]) -> Option<Range<usize>> {
        let mut start = 0_usize;
        loop {
            start = start.checked_add(unquoted(self.parameters.get(start..)?, b';')?)?.checked_add(1)?;
            let rest = self.parameters.get(start..)?;
            let parameter = rest.get(..unquoted(rest, b';').unwrap_or(rest.len()))?;
            let (name, Some(value)) = cut(parameter, b'=') else { continue };
            if list::trim(name).eq_ignore_ascii_case(wanted) {
                let is_inside = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'"');
                let value_at = start.checked_add(parameter.len())?.checked_sub(value.len())?;
                let first = value.iter().position(is_inside)?;
                let last = value.iter().rposition(is_inside)?;
                return Some(value_at.checked_add(first)?..value_at.checked_add(last)?.checked_add(1)?);
            }
        }
    }
}

/// Where `byte` stands first outside of quotes.
fn unquoted(bytes: &[u8], byte: u8) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    bytes.iter().position(|seen| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match seen {
            b'\\' if is_quoted && !was_escaped => is_escaped = true,
            b'"' if !was_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        !is_quoted && *seen == byte
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Option<String> {
        let upgraded = upgraded(text.as_bytes(), &UpgradePolicy::new(), None)?;
        Some(String::from_utf8(upgraded).unwrap())
    }

    #[test]
    fn targets_by_relation() {
        for (text, expected) in [
            ("<http://h/a>; rel=preload; as=style", "<https://h/a>; rel=preload; as=style"),
            (
                "<http://h:80/a>;as=\"x, <y>;rel=next\" ; REL=\"x Preconnect\"",
                "<https://h/a>;as=\"x, <y>;rel=next\" ; REL=\"x Preconnect\"",
            ),
            (
                "<http://h/a>; rel=canonical, <http://h/b>; rel=icon, </c>; rel=icon",
                "<http://h/a>; rel=canonical, <https://h/b>; rel=icon, </c>; rel=icon",
            ),
            (
                "<http://h/a,b>; title=\"\\\",\"; rel=prefetch",
                "<https://h/a,b>; title=\"\\\",\"; rel=prefetch",
            ),
            (
                "</a>; rel=preload; as=image; ImageSrcset = \"http://h:80/a 1x, http://h/b,c 2x\" ;x, <http://h/>",
                "</a>; rel=preload; as=image; ImageSrcset = \"https://h/a 1x, https://h/b,c 2x\" ;x, <http://h/>",
            ),
            (
                "<http://h/>;imagesrcset=http://h;rel=preload",
                "<https://h/>;imagesrcset=https://h;rel=preload",
            ),
        ] {
            assert_eq!(line(text).as_deref(), Some(expected));
        }
    }

    #[test]
    fn the_rest_is_left_alone() {
        for text in [
            "<http://h/a>; rel=next; rel=preload",
            "<http://h/a>; title=rel=preload",
            "<http://h/a>",
            "<http://localhost/a>; rel=preload",
            "</a>; rel=next; imagesrcset=\"http://h/a\"",
            "</a>; rel=preload; imagesrcset=\"http://h/\\a\"",
            "</a>; rel=preload; imagesrcset=\"\"; imagesrcset=\"http://localhost/\"",
            "</a>; rel=preload; imagesrcset",
            "<http://h/a; rel=preload",
            "http://h/a; rel=preload",
            "",
        ] {
            assert_eq!(line(text), None, "{text}");
        }
    }

    #[test]
    fn each_line_for_itself() {
        let mut headers = HeaderMap::new();
        for value in ["<http://h/a>; rel=next", "<http://h/b>; rel=preload", "<\u{e9}>"] {
            headers.append(LINK, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        assert!(upgrade(&mut headers, &UpgradePolicy::new(), None));
        let lines: Vec<_> = headers.get_all(LINK).iter().map(|value| value.as_bytes().to_vec()).collect();
        assert_eq!(
            lines,
            [&b"<http://h/a>; rel=next"[..], b"<https://h/b>; rel=preload", "<\u{e9}>".as_bytes()]
        );
    }
}
