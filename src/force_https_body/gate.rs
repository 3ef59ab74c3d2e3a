//! Which responses are pages that may be changed, and what their heads must say then.

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_RANGE, TRAILER, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, response};

use super::charset;
use crate::wire::{cut, list};

/// The kind of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Html,
    Xhtml,
}

/// All of the page is there.
pub(super) fn is_whole(parts: &response::Parts) -> bool {
    parts.status != StatusCode::PARTIAL_CONTENT
        && parts.status != StatusCode::NOT_MODIFIED
        && !parts.headers.contains_key(CONTENT_RANGE)
}

/// A page that may be changed, or a part of it, or the news that it is as it was.
pub(super) fn page(parts: &response::Parts) -> Option<Page> {
    let headers = &parts.headers;
    let content_type = list::only_line(headers, &CONTENT_TYPE).ok()??;
    let page = kind_of(content_type)?;
    let has_content = !parts.status.is_informational()
        && !matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
    let is_shown = || {
        !list::lines(headers, &CONTENT_DISPOSITION)
            .any(|line| list::trim(cut(line, b';').0).eq_ignore_ascii_case(b"attachment"))
    };
    (has_content && may_transform(headers) && is_shown() && charset::is_readable(content_type))
        .then_some(page)
}

pub(super) fn is_plain(headers: &HeaderMap) -> bool {
    elements(headers, &CONTENT_ENCODING)
        .all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
}

/// RFC 9111, section 5.2.2.6.
pub(super) fn may_transform(headers: &HeaderMap) -> bool {
    !elements(headers, &CACHE_CONTROL)
        .any(|directive| cut(directive, b'=').0.eq_ignore_ascii_case(b"no-transform"))
}

/// A page by its media type, which must be exactly that.
pub(super) fn kind(headers: &HeaderMap) -> Option<Page> {
    kind_of(list::only_line(headers, &CONTENT_TYPE).ok()??)
}

fn kind_of(content_type: &[u8]) -> Option<Page> {
    let essence = list::trim(cut(content_type, b';').0);
    if essence.eq_ignore_ascii_case(b"text/html") {
        Some(Page::Html)
    } else {
        essence.eq_ignore_ascii_case(b"application/xhtml+xml").then_some(Page::Xhtml)
    }
}

/// What the head says of the bytes as they were: lengths, offsets, checksums (RFC 9110, sections 8.6 and 14.3;
/// RFC 9530).
pub(super) fn forget_bytes(headers: &mut HeaderMap, len: Option<u64>) {
    match len {
        Some(len) if headers.contains_key(CONTENT_LENGTH) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
        }
        _ => {
            headers.remove(CONTENT_LENGTH);
        }
    }
    headers.remove(ACCEPT_RANGES);
    remove_digests(headers);
    announce_no_digests(headers);
}

const DIGESTS: [&str; 5] = ["content-md5", "digest", "content-digest", "repr-digest", "unencoded-digest"];

pub(super) fn remove_digests(headers: &mut HeaderMap) {
    for name in DIGESTS {
        headers.remove(name);
    }
}

/// Trailers will have none (RFC 9110, section 6.6.2).
fn announce_no_digests(headers: &mut HeaderMap) {
    let is_digest = |name: &&[u8]| DIGESTS.iter().any(|digest| name.eq_ignore_ascii_case(digest.as_bytes()));
    if elements(headers, &TRAILER).any(|name| is_digest(&name)) {
        let is_kept = |name: &&[u8]| !name.is_empty() && !is_digest(name);
        let mut names: Vec<&[u8]> = elements(headers, &TRAILER).filter(is_kept).collect();
        names.reverse();
        let rest = HeaderValue::from_bytes(&names.join(&b", "[..])).ok().filter(|rest| !rest.is_empty());
        headers.remove(TRAILER);
        headers.extend(rest.map(|rest| (TRAILER, rest)));
    }
}

/// A strong entity tag becomes weak; what is no tag goes, since it cannot.
pub(super) fn weaken(headers: &mut HeaderMap) {
    let weak = match list::only_line(headers, &ETAG) {
        Ok(None) => return,
        Ok(Some(tag)) if tag.strip_prefix(b"W/").is_some_and(is_opaque_tag) => return,
        Ok(Some(tag)) if is_opaque_tag(tag) => HeaderValue::from_bytes(&[b"W/", tag].concat()).ok(),
        _ => None,
    };
    match weak {
        Some(weak) => {
            headers.insert(ETAG, weak);
        }
        None => {
            headers.remove(ETAG);
        }
    }
}

/// What the client says it holds of what the response's entity tag names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// The strong tag itself: bytes that were not changed.
    Strong,
    /// Its weak form: a page that was changed.
    Weak,
    Unknown,
}

pub(super) fn held(if_none_match: &[HeaderValue], headers: &HeaderMap) -> Held {
    let Ok(Some(tag)) = list::only_line(headers, &ETAG) else { return Held::Unknown };
    if !is_opaque_tag(tag) {
        return Held::Unknown;
    }
    let places = || {
        if_none_match.iter().flat_map(|line| {
            let line = line.as_bytes();
            let starts = line.windows(tag.len()).enumerate().filter(|(_, part)| *part == tag);
            starts.map(|(at, _)| line.get(..at).unwrap_or_default())
        })
    };
    match places().any(|before| before.ends_with(b"W/")) {
        true => Held::Weak,
        false if places().next().is_some() => Held::Strong,
        false => Held::Unknown,
    }
}

/// A tag that is not strong, or a date: a range that hangs on it may be of the page as it was (RFC 9110, section
/// 13.1.5).
pub(super) fn is_weak_if_range(headers: &HeaderMap) -> bool {
    list::lines(headers, &IF_RANGE).any(|line| !is_opaque_tag(line))
}

/// Whether the client takes no plain text (RFC 9110, section 12.5.3).
pub(super) fn refuses_identity(headers: &HeaderMap) -> bool {
    let weight = |coding: &[u8]| {
        elements(headers, &ACCEPT_ENCODING).find_map(|element| {
            let (name, weight) = cut(element, b';');
            list::trim(name).eq_ignore_ascii_case(coding).then_some(weight)
        })
    };
    weight(b"identity").or_else(|| weight(b"*")).flatten().is_some_and(is_zero)
}

fn is_zero(weight: &[u8]) -> bool {
    let (name, value) = cut(weight, b'=');
    let digits = value.map(list::trim).unwrap_or_default().strip_prefix(b"0");
    list::trim(name).eq_ignore_ascii_case(b"q")
        && digits.is_some_and(|rest| rest.iter().all(|byte| matches!(byte, b'.' | b'0')))
}

/// Parts of the page as it was are not put together to a page that others get.
pub(super) fn forbid_storing(headers: &mut HeaderMap) {
    if !elements(headers, &CACHE_CONTROL).any(|directive| directive.eq_ignore_ascii_case(b"no-store")) {
        headers.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// The field decided what is served (RFC 9110, section 12.5.5).
pub(super) fn vary(headers: &mut HeaderMap, field: &HeaderName) {
    let says_so = |member: &[u8]| member == b"*" || member.eq_ignore_ascii_case(field.as_str().as_bytes());
    if !elements(headers, &VARY).any(says_so) {
        headers.append(VARY, HeaderValue::from(field.clone()));
    }
}

pub(super) fn ask_browser(headers: &mut HeaderMap) {
    const DIRECTIVE: &str = "upgrade-insecure-requests";
    let asks = list::lines(headers, &CONTENT_SECURITY_POLICY)
        .flat_map(|line| line.split(|byte| matches!(byte, b';' | b',')))
        .any(|directive| list::trim(directive).eq_ignore_ascii_case(DIRECTIVE.as_bytes()));
    if !asks {
        headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static(DIRECTIVE));
    }
}

fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    list::from_right(list::lines(headers, name)).map(|element| element.bytes)
}

/// RFC 9110, section 8.8.3.
fn is_opaque_tag(tag: &[u8]) -> bool {
    let inner = tag.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inner.is_some_and(|inner| inner.iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changeable(parts: &response::Parts) -> Option<Page> {
        page(parts).filter(|_| is_whole(parts) && is_plain(&parts.headers))
    }

    fn head(status: u16, lines: &[(&'static str, &str)]) -> response::Parts {
        let mut response = http::Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in lines {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        response.into_parts().0
    }

    #[test]
    fn charsets() {
        for (content_type, expected) in [
            ("text/html", Some(Page::Html)),
            ("Text/HTML ; charset=\"UTF-8\"", Some(Page::Html)),
            ("text/html;charset=", Some(Page::Html)),
            ("text/html; a=b; charset= Windows-1252 ; charset=utf-16", Some(Page::Html)),
            ("text/html; charset=iso-8859-8-i", Some(Page::Html)),
            ("text/html; charset=IBM819", Some(Page::Html)),
            ("text/html; charset=cp819", Some(Page::Html)),
            ("text/html; charset=iso_8859-9:1989", Some(Page::Html)),
            ("text/html;;a;charset;charset=\"\"", Some(Page::Html)),
            ("text/html; a=\"b\\\";charset=utf-16;\"; charset=utf-8", Some(Page::Html)),
            ("text/html; charset=\"utf-8", Some(Page::Html)),
            ("application/xhtml+xml; charset=euc-jp", Some(Page::Xhtml)),
            ("text/html; charset=utf-16", None),
            ("text/html; charset=utf-16le", None),
            ("text/html; charset=iso-2022-jp", None),
            ("text/html; charset=hz-gb-2312", None),
            ("text/html; charset=utf-7", None),
            ("text/html; a=\";charset=utf-8;\"; charset=utf-16", None),
            ("text/html; a=b\";charset=utf-16", None),
            ("text/html; charset=\"utf-16\" x; charset=utf-8", None),
            ("text/html; charset=\"utf\\-8\"", None),
            ("text/html; charset=iso-8859-12", None),
            ("text/html, text/html", None),
            ("text/htmlx", None),
        ] {
            assert_eq!(changeable(&head(200, &[("content-type", content_type)])), expected, "{content_type}");
        }
        assert_eq!(changeable(&head(200, &[])), None);
        let twice = [("content-type", "text/html"), ("content-type", "text/html")];
        assert_eq!(changeable(&head(200, &twice)), None);
    }

    #[test]
    fn not_a_whole_page_to_be_changed() {
        let html = ("content-type", "text/html");
        for status in [101, 204, 205, 206, 304] {
            assert_eq!(changeable(&head(status, &[html])), None, "{status}");
        }
        for line in [
            ("content-range", "bytes 0-1/2"),
            ("content-encoding", "identity, br"),
            ("cache-control", "max-age=1, No-Transform"),
            ("content-disposition", "Attachment;filename=a"),
        ] {
            assert_eq!(changeable(&head(200, &[html, line])), None, "{line:?}");
        }
        for line in [
            ("content-encoding", "Identity"),
            ("cache-control", "x-no-transform"),
            ("content-disposition", "inline; filename=attachment"),
        ] {
            assert_eq!(changeable(&head(404, &[html, line])), Some(Page::Html), "{line:?}");
        }
    }

    #[test]
    fn validators() {
        for (tags, expected) in [
            (&["\"a\""][..], &["W/\"a\""][..]),
            (&["W/\"a\""], &["W/\"a\""]),
            (&["\"\""], &["W/\"\""]),
            (&["a"], &[]),
            (&["W/a"], &[]),
            (&["\"a\"b\""], &[]),
            (&["\"a\"", "\"b\""], &[]),
            (&[], &[]),
        ] {
            let lines: Vec<_> = tags.iter().map(|tag| ("etag", *tag)).collect();
            let mut parts = head(200, &lines);
            weaken(&mut parts.headers);
            let seen: Vec<_> = parts.headers.get_all(ETAG).iter().map(HeaderValue::as_bytes).collect();
            assert_eq!(seen, expected.iter().map(|tag| tag.as_bytes()).collect::<Vec<_>>(), "{tags:?}");
        }
    }

    #[test]
    fn digests_are_not_announced() {
        for (lines, expected) in [
            (&["x-rows, Repr-Digest"][..], &["x-rows"][..]),
            (&["content-digest , ,x-rows", "x-cols,digest"], &["x-rows, x-cols"]),
            (&["digest"], &[]),
            (&["x-digest,,x-rows", "x-cols"], &["x-digest,,x-rows", "x-cols"]),
            (&[], &[]),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("trailer", *line)).collect();
            let mut headers = head(200, &lines).headers;
            forget_bytes(&mut headers, None);
            let seen: Vec<_> = headers.get_all(TRAILER).iter().map(|line| line.to_str().unwrap()).collect();
            assert_eq!(seen, expected, "{lines:?}");
        }
    }

    #[test]
    fn what_the_client_holds() {
        for (if_none_match, tag, expected) in [
            ("\"b\", W/\"a\"", "\"a\"", Held::Weak),
            ("\"a\",W/\"a\"", "\"a\"", Held::Weak),
            ("\"b\", \"a\"", "\"a\"", Held::Strong),
            ("W/\"ab\"", "\"a\"", Held::Unknown),
            ("W/\"a\"", "W/\"a\"", Held::Unknown),
            ("a", "a", Held::Unknown),
            ("*", "\"a\"", Held::Unknown),
        ] {
            let seen = held(&[if_none_match.parse().unwrap()], &head(304, &[("etag", tag)]).headers);
            assert_eq!(seen, expected, "{if_none_match} of {tag}");
        }
        assert_eq!(held(&["\"a\"".parse().unwrap()], &HeaderMap::new()), Held::Unknown);
    }

    #[test]
    fn who_refuses_identity() {
        for (accepted, expected) in [
            (&["gzip, identity;q=0"][..], true),
            (&["gzip", "Identity ; Q = 0.000"], true),
            (&["gzip, *;q=0.0"], true),
            (&["*;q=0, identity;q=0.1"], false),
            (&["identity;q=0.001"], false),
            (&["identity, *;q=0"], false),
            (&["gzip;q=0"], false),
            (&["gzip, br"], false),
            (&["identity;q=zero"], false),
            (&[""], false),
            (&[], false),
        ] {
            let lines: Vec<_> = accepted.iter().map(|line| ("accept-encoding", *line)).collect();
            assert_eq!(refuses_identity(&head(200, &lines).headers), expected, "{accepted:?}");
        }
    }

    #[test]
    fn the_browser_is_asked_once() {
        let mut headers = head(200, &[("content-security-policy", "img-src *")]).headers;
        ask_browser(&mut headers);
        ask_browser(&mut headers);
        let lines: Vec<_> = headers.get_all(CONTENT_SECURITY_POLICY).iter().collect();
        assert_eq!(lines, ["img-src *", "upgrade-insecure-requests"]);
    }
}
