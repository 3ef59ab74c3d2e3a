//! Cookies as browsers send and servers set them (RFC 6265, sections 4.1.1, 4.2.1 and 5.2), by the byte.
//!
//! A `Cookie` field is cut at each `;`, a pair at its first `=`; blanks around either are no part of them, and
//! quotation marks protect nothing. There is no percent decoding and no list: commas are bytes as others.
//! A field may stand in several lines (RFC 9113, section 8.2.3). What is edited leaves every other byte as it was,
//! also those that no grammar admits.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{self, Entry};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::cut;
use super::list::{lines, trim};

/// The values of all cookies of this name, in all lines, in their order. Names compare byte for byte.
///
/// # Example
///
/// ```
/// use http::{HeaderMap, header::COOKIE};
/// use tower_proxied::wire::cookie::values;
///
/// let mut headers = HeaderMap::new();
/// headers.append(COOKIE, "a=1; id = x ; ID=y".parse()?);
/// headers.append(COOKIE, "id=z".parse()?);
/// assert_eq!(values(&headers, b"id").collect::<Vec<_>>(), [b"x", b"z"]);
/// # Ok::<_, http::header::InvalidHeaderValue>(())
/// ```
pub fn values<'a>(headers: &'a HeaderMap, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    lines(headers, &header::COOKIE)
        .flat_map(segments)
        .filter_map(Pair::parse)
        .filter(move |pair| pair.name == name)
        .map(|pair| pair.value)
}

/// Without the quotation marks around it, if it has both (RFC 6265, section 4.1.1).
pub fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// What becomes of a cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It stays as it is.
    Keep,
    /// It goes, with the semicolon that parted it from its neighbour.
    Remove,
    /// It gets this value.
    Value(Vec<u8>),
}

/// Changes all cookies of this name in one `Cookie` line. `None` where nothing changes; an empty line is one of
/// which nothing is left.
///
/// # Example
///
/// ```
/// use tower_proxied::wire::cookie::{Change, changed};
///
/// let line = changed(b"a=caf\xe9; id=x;b=2", b"id", |_| Change::Remove);
/// assert_eq!(line.as_deref(), Some(&b"a=caf\xe9;b=2"[..]));
/// ```
pub fn changed(line: &[u8], name: &[u8], mut change: impl FnMut(&[u8]) -> Change) -> Option<Vec<u8>> {
    segments(line).filter_map(Pair::parse).find(|pair| pair.name == name)?;
    let mut is_changed = false;
    let mut out = Vec::new();
    let mut is_first = true;
    let mut first_is_gone = false;
    for segment in segments(line) {
        let change = match Pair::parse(segment) {
            Some(pair) if pair.name == name => change(pair.value),
            _ => Change::Keep,
        };
        is_changed |= change != Change::Keep;
        if change == Change::Remove {
            first_is_gone |= is_first;
            continue;
        }
        if is_first {
            out.reserve_exact(line.len());
        } else {
            out.push(b';');
        }
        let segment = if is_first && first_is_gone { trim_start(segment) } else { segment };
        match change {
            Change::Value(value) => out.extend(Pair::with_value(segment, &value)),
            _ => out.extend_from_slice(segment),
        }
        is_first = false;
    }
    is_changed.then(|| if trim(&out).is_empty() { Vec::new() } else { out })
}

/// [`changed`], for all `Cookie` lines. A line of which nothing is left goes.
pub fn change_all(headers: &mut HeaderMap, name: &[u8], mut change: impl FnMut(&[u8]) -> Change) {
    change_lines(headers, &header::COOKIE, |line| changed(line, name, &mut change));
}

/// One `Set-Cookie` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetCookie<'a> {
    /// The name of the cookie.
    pub name: &'a [u8],
    /// Its value, quotation marks and all.
    pub value: &'a [u8],
    pair: &'a [u8],
    /// From the first semicolon on.
    attributes: &'a [u8],
}

impl<'a> SetCookie<'a> {
    /// `None` for a line without `=`, which sets no cookie with a name.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let end = line.iter().position(|byte| *byte == b';').unwrap_or(line.len());
        let (pair, attributes) = line.split_at_checked(end)?;
        let Pair { name, value } = Pair::parse(pair)?;
        Some(Self { name, value, pair, attributes })
    }

    /// The line with another value; all else stays as it was.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_proxied::wire::cookie::SetCookie;
    ///
    /// let cookie = SetCookie::parse(b"id=abc; HttpOnly;path=/").unwrap();
    /// assert_eq!(cookie.with_value(b"abc.http-1"), b"id=abc.http-1; HttpOnly;path=/");
    /// ```
    pub fn with_value(&self, value: &[u8]) -> Vec<u8> {
        let mut line = Pair::with_value(self.pair, value);
        line.extend_from_slice(self.attributes);
        line
    }

    /// Whether the line takes the cookie away: no value, a `Max-Age` of zero or less, or else `Expires` in the past
    /// (RFC 6265, sections 5.2.2 and 5.3: of several attributes the last counts, and `Max-Age` before `Expires`).
    pub fn is_deletion(&self, now: SystemTime) -> bool {
        if unquoted(self.value).is_empty() {
            return true;
        }
        match self.attribute(b"max-age", is_over) {
            Some(is_over) => is_over,
            None => self.attribute(b"expires", |date| is_past(date, now)).unwrap_or(false),
        }
    }

    /// The last attribute of this name that `read` can read.
    fn attribute<T>(&self, name: &[u8], read: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        segments(self.attributes)
            .filter_map(Pair::parse)
            .filter(|attribute| attribute.name.eq_ignore_ascii_case(name))
            .filter_map(|attribute| read(attribute.value))
            .last()
    }
}

/// Changes the `Set-Cookie` lines: `None` leaves one as it is, an empty line takes it out.
pub fn change_set_cookies(
    headers: &mut HeaderMap,
    mut change: impl FnMut(SetCookie<'_>) -> Option<Vec<u8>>,
) -> bool {
    change_lines(headers, &header::SET_COOKIE, |line| SetCookie::parse(line).and_then(&mut change))
}

/// Whether a cookie of this `Path` is sent for this path (RFC 6265, section 5.1.4).
pub fn path_matches(cookie_path: &[u8], path: &[u8]) -> bool {
    path.strip_prefix(cookie_path)
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')) || cookie_path.ends_with(b"/"))
}

/// A name (RFC 6265, section 4.1.1: a token of RFC 9110).
pub fn is_name(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// A value that needs no quotation marks (RFC 6265, section 4.1.1: `cookie-octet`).
pub fn is_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(byte))
}

struct Pair<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> Pair<'a> {
    fn parse(segment: &'a [u8]) -> Option<Self> {
        let (name, value) = cut(segment, b'=');
        Some(Self { name: trim(name), value: trim(value?) })
    }

    fn with_value(segment: &[u8], value: &[u8]) -> Vec<u8> {
        let (name, Some(old)) = cut(segment, b'=') else { return segment.to_vec() };
        let kept = trim_start(old);
        let blanks = old.len().saturating_sub(kept.len());
        [
            name,
            b"=",
            old.get(..blanks).unwrap_or_default(),
            value,
            kept.get(trim(old).len()..).unwrap_or_default(),
        ]
        .concat()
    }
}

fn segments(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';')
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(bytes.len());
    bytes.get(start..).unwrap_or_default()
}

/// Changes lines of a field in place of what they were; nothing is written where none changes.
fn change_lines(
    headers: &mut HeaderMap,
    name: &HeaderName,
    mut change: impl FnMut(&[u8]) -> Option<Vec<u8>>,
) -> bool {
    let changes: Vec<(usize, Vec<u8>)> =
        lines(headers, name).enumerate().filter_map(|(at, line)| Some((at, change(line)?))).collect();
    if changes.is_empty() {
        return false;
    }
    if changes.len() == lines(headers, name).count() && changes.iter().all(|(_, line)| line.is_empty()) {
        headers.remove(name);
        return true;
    }
    let is_one_gone = changes.iter().any(|(_, line)| line.is_empty());
    let mut changes = changes.into_iter().peekable();
    if !is_one_gone && let Entry::Occupied(mut lines) = headers.entry(name) {
        for (at, value) in lines.iter_mut().enumerate() {
            if let Some((_, line)) = changes.next_if(|(changed, _)| *changed == at) {
                *value = like(value, line).unwrap_or_else(|| HeaderValue::from_static(""));
            }
        }
        return true;
    }
    let old: Vec<HeaderValue> = headers.get_all(name).into_iter().cloned().collect();
    headers.remove(name);
    for (at, old) in old.into_iter().enumerate() {
        let value = match changes.next_if(|(changed, _)| *changed == at) {
            None => Some(old),
            Some((_, line)) if line.is_empty() => None,
            Some((_, line)) => like(&old, line),
        };
        if let Some(value) = value {
            headers.append(name, value);
        }
    }
    true
}

/// Made of bytes of header values, it is one.
fn like(old: &HeaderValue, line: Vec<u8>) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_maybe_shared(Bytes::from(line)).ok()?;
    value.set_sensitive(old.is_sensitive());
    Some(value)
}

/// `Max-Age` (RFC 6265, section 5.2.2); what is no number does not count.
fn is_over(seconds: &[u8]) -> Option<bool> {
    let (is_negative, digits) = match seconds.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, seconds),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(is_negative || digits.iter().all(|digit| *digit == b'0'))
}

fn is_past(date: &[u8], now: SystemTime) -> Option<bool> {
    let date = std::str::from_utf8(date).ok()?;
    let expires = ::cookie::Cookie::parse(format!("_=_; Expires={date}")).ok()?.expires_datetime()?;
    let now = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(expires.unix_timestamp() <= i64::try_from(now).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn removed(line: &str) -> Option<String> {
        changed(line.as_bytes(), b"R", |_| Change::Remove).map(|line| String::from_utf8(line).unwrap())
    }

    #[test]
    fn removal_leaves_the_neighbours() {
        for (line, left) in [
            ("R=1", ""),
            ("R=1;", ""),
            ("R=1; b=2", "b=2"),
            ("a=1; R=1", "a=1"),
            ("a=1; R=1; b=2", "a=1; b=2"),
            ("a=1;R=1;b=2", "a=1;b=2"),
            ("a=1; R=1; R=2; b=2", "a=1; b=2"),
            ("R=1; R=2; b=2", "b=2"),
            ("a=b; R = x ; c=d", "a=b; c=d"),
            ("a=\"x; R=1; y\"", "a=\"x; y\""),
        ] {
            assert_eq!(removed(line).as_deref(), Some(left), "{line}");
        }
        for line in ["", "a=1", "r=1", "RR=1", "R", "a=1, R=1", "a=R=1"] {
            assert_eq!(removed(line), None, "{line}");
        }
    }

    #[test]
    fn a_value_is_replaced_in_place() {
        let line = changed(b"a=1; R = old ;b=2", b"R", |value| Change::Value([value, b".x"].concat()));
        assert_eq!(line.unwrap(), b"a=1; R = old.x ;b=2");
    }

    #[test]
    fn deletions() {
        let now = UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        let is_deletion = |line: &str| SetCookie::parse(line.as_bytes()).unwrap().is_deletion(now);
        for line in [
            "s=; Path=/",
            "s=\"\"; Path=/",
            "s=x; Max-Age=0",
            "s=x; max-age = -5",
            "s=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "s=x; Max-Age=9; Max-Age=0",
        ] {
            assert!(is_deletion(line), "{line}");
        }
        for line in [
            "s=x",
            "s=x; Max-Age=10; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "s=x; Max-Age=never",
            "s=x; Expires=Wed, 01 Jan 2070 00:00:00 GMT",
            "s=x; Expires=soon",
        ] {
            assert!(!is_deletion(line), "{line}");
        }
    }

    /// What an outer layer marked is not shown by Debug further in either.
    #[test]
    fn a_sensitive_line_stays_sensitive() {
        let mut headers = HeaderMap::new();
        let line = |text: &str, is_sensitive| {
            let mut value: HeaderValue = text.parse().unwrap();
            value.set_sensitive(is_sensitive);
            value
        };
        headers.append(header::COOKIE, line("R=secret", true));
        headers.append(header::COOKIE, line("R=known", false));
        change_all(&mut headers, b"R", |value| Change::Value([value, b".x"].concat()));
        let seen: Vec<_> = headers.get_all(header::COOKIE).iter().map(|value| format!("{value:?}")).collect();
        assert_eq!(seen, ["Sensitive", "\"R=known.x\""]);
    }

    #[test]
    fn lines_that_change_keep_their_place() {
        let mut headers = HeaderMap::new();
        for line in ["a=1", "R=2", "b=3; R=4"] {
            headers.append(header::COOKIE, line.parse().unwrap());
        }
        change_all(&mut headers, b"R", |_| Change::Remove);
        assert_eq!(headers.get_all(header::COOKIE).iter().collect::<Vec<_>>(), ["a=1", "b=3"]);
    }

    #[test]
    fn path_match_of_rfc_6265() {
        for (cookie, path, matches) in [
            ("/foo", "/foo", true),
            ("/foo", "/foo/bar", true),
            ("/foo", "/foobar", false),
            ("/foo/", "/foo", false),
            ("/", "/x", true),
        ] {
            assert_eq!(path_matches(cookie.as_bytes(), path.as_bytes()), matches, "{cookie} {path}");
        }
    }

    proptest! {
        #[test]
        fn what_is_put_in_can_be_taken_out(
            before in prop::collection::vec("[a-c=\" ,é]{1,8}", 0..4),
            after in prop::collection::vec("[a-c=\" ,é]{1,8}", 0..4),
        ) {
            let line = |segments: &[String]| segments.join(";").trim_matches(' ').to_owned();
            let without = line(&[before.clone(), after.clone()].concat());
            prop_assume!(!without.is_empty() && without.bytes().any(|byte| !b"; ".contains(&byte)));
            let with = line(&[before, vec!["R=x".to_owned()], after].concat());
            // A header value has no blanks at its ends.
            let left = removed(&with).unwrap();
            prop_assert_eq!(left.trim_matches(' '), without);
        }

        #[test]
        fn an_equal_value_changes_nothing(line in "[R=; \"x]{0,16}") {
            let same = changed(line.as_bytes(), b"R", |value| Change::Value(value.to_vec()));
            if let Some(same) = same.filter(|same| !same.is_empty()) {
                prop_assert_eq!(same, line.as_bytes());
            }
        }
    }
}
