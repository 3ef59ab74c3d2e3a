//! Which responses are pages that may be changed, and what their heads must say then.

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_RANGE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, response};

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
    let is_readable = || charset(content_type).is_none_or(|label| is_ascii_superset(&label));
    (has_content && may_transform(headers) && is_shown() && is_readable()).then_some(page)
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
}

pub(super) fn remove_digests(headers: &mut HeaderMap) {
    for name in ["content-md5", "digest", "content-digest", "repr-digest", "unencoded-digest"] {
        headers.remove(name);
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

/// The first parameter `charset` that is not empty, without quotes (MIME Sniffing Standard, section 4.4).
fn charset(content_type: &[u8]) -> Option<Vec<u8>> {
    let mut parameters = cut(content_type, b';').1;
    while let Some(rest) = parameters {
        let name = rest.split(|byte| matches!(byte, b'=' | b';')).next()?;
        let value = rest.get(name.len()..).and_then(|rest| rest.strip_prefix(b"=")).map(list::trim);
        let (value, behind) = match value {
            Some([b'"', quoted @ ..]) => {
                let (value, behind) = quoted.split_at_checked(quoted_len(quoted))?;
                (value, cut(behind, b';').1)
            }
            Some(value) => cut(value, b';'),
            None => (&[][..], cut(rest, b';').1),
        };
        let label = list::trim(value);
        if list::trim(name).eq_ignore_ascii_case(b"charset") && !label.is_empty() {
            return Some(label.to_ascii_lowercase());
        }
        parameters = behind;
    }
    None
}

/// Up to the quote that ends it.
fn quoted_len(text: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = text.iter().position(|byte| {
        let was_escaped = is_escaped;
        is_escaped = *byte == b'\\' && !was_escaped;
        *byte == b'"' && !was_escaped
    });
    end.unwrap_or(text.len())
}

/// The labels of the encodings in which the bytes of ASCII stand for nothing else where markup begins or ends
/// (Encoding Standard, section 4.2): all but UTF-16, ISO-2022-JP and those that are replaced.
fn is_ascii_superset(label: &[u8]) -> bool {
    const LABELS: &[&str] = &[
        "unicode-1-1-utf-8",
        "unicode11utf8",
        "unicode20utf8",
        "utf-8",
        "utf8",
        "x-unicode20utf8",
        "866",
        "cp866",
        "csibm866",
        "ibm866",
        "arabic",
        "asmo-708",
        "ecma-114",
        "ecma-118",
        "elot_928",
        "greek",
        "greek8",
        "sun_eu_greek",
        "cyrillic",
        "hebrew",
        "visual",
        "logical",
        "l1",
        "l2",
        "l3",
        "l4",
        "l5",
        "l6",
        "l9",
        "latin1",
        "latin2",
        "latin3",
        "latin4",
        "latin5",
        "latin6",
        "ascii",
        "us-ascii",
        "ansi_x3.4-1968",
        "cp819",
        "ibm819",
        "csisolatin1",
        "csisolatin2",
        "csisolatin3",
        "csisolatin4",
        "csisolatin5",
        "csisolatin6",
        "csisolatin9",
        "csisolatinarabic",
        "csisolatincyrillic",
        "csisolatingreek",
        "csisolatinhebrew",
        "csiso88596e",
        "csiso88596i",
        "csiso88598e",
        "csiso88598i",
        "iso-ir-100",
        "iso-ir-101",
        "iso-ir-109",
        "iso-ir-110",
        "iso-ir-126",
        "iso-ir-127",
        "iso-ir-138",
        "iso-ir-144",
        "iso-ir-148",
        "iso-ir-157",
        "iso-ir-58",
        "iso-ir-149",
        "cskoi8r",
        "koi",
        "koi8",
        "koi8-r",
        "koi8_r",
        "koi8-ru",
        "koi8-u",
        "csmacintosh",
        "mac",
        "macintosh",
        "x-mac-roman",
        "x-mac-cyrillic",
        "x-mac-ukrainian",
        "dos-874",
        "tis-620",
        "windows-874",
        "chinese",
        "csgb2312",
        "csiso58gb231280",
        "gb2312",
        "gb_2312",
        "gb_2312-80",
        "gbk",
        "x-gbk",
        "gb18030",
        "big5",
        "big5-hkscs",
        "cn-big5",
        "csbig5",
        "x-x-big5",
        "cseucpkdfmtjapanese",
        "euc-jp",
        "x-euc-jp",
        "csshiftjis",
        "ms932",
        "ms_kanji",
        "shift-jis",
        "shift_jis",
        "sjis",
        "windows-31j",
        "x-sjis",
        "cseuckr",
        "csksc56011987",
        "euc-kr",
        "korean",
        "ks_c_5601-1987",
        "ks_c_5601-1989",
        "ksc5601",
        "ksc_5601",
        "windows-949",
        "x-user-defined",
    ];
    LABELS.iter().any(|known| known.as_bytes() == label) || is_numbered(label)
}

/// `iso-8859-n` with its variants, `windows-125n` and `cp125n`.
fn is_numbered(label: &[u8]) -> bool {
    let after = |start: &str| label.strip_prefix(start.as_bytes());
    if let Some(rest) = ["windows-125", "cp125", "x-cp125"].into_iter().find_map(after) {
        return matches!(rest, [b'0'..=b'8']);
    }
    let Some(rest) = ["iso-8859-", "iso8859-", "iso_8859-", "iso8859"].into_iter().find_map(after) else {
        return false;
    };
    let year = [":1987", ":1988", ":1989"].into_iter().find_map(|year| rest.strip_suffix(year.as_bytes()));
    let part = year.unwrap_or(rest);
    matches!(
        part,
        [b'1'..=b'9'] | [b'1', b'0' | b'1' | b'3' | b'4' | b'5' | b'6'] | b"6-e" | b"6-i" | b"8-e" | b"8-i"
    )
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
