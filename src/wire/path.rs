//! Paths: prefixes, segments and percent triplets (RFC 3986, sections 2.1, 3.3 and 6.2.2).

use std::fmt;
use std::str::FromStr;

use super::ShortText;
use crate::literal::literal;

/// The path under which an application is mounted: empty, or `/a/b` without a slash at the end.
///
/// It cannot hold what turns a redirect elsewhere: no empty segment (`//evil.example`), no backslash, no `.` or
/// `..`, no encoded slash, no quote, no control character. Triplets are canonical: hex digits in upper case,
/// unreserved characters decoded.
///
/// # Example
///
/// ```
/// use tower_proxied::PathPrefix;
///
/// assert_eq!(PathPrefix::parse("/webapps/")?.as_str(), "/webapps");
/// assert_eq!(PathPrefix::parse("/")?.as_str(), "");
/// assert_eq!(PathPrefix::parse("/caf%c3%a9")?.as_str(), "/caf%C3%A9");
/// assert!(PathPrefix::parse("//evil.example").is_err() && PathPrefix::parse("/café").is_err());
/// # Ok::<(), tower_proxied::PathPrefixError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPrefix(ShortText);

impl PathPrefix {
    /// Longer ones are refused.
    pub const MAX_LEN: usize = 512;

    /// No prefix: the application stands at the root.
    pub fn root() -> Self {
        Self(ShortText::new(""))
    }

    /// Reads a prefix; slashes at the end do not count. What is not ASCII must be percent-encoded (`/caf%C3%A9`).
    ///
    /// # Errors
    ///
    /// What is no safe prefix; the error holds the text.
    pub fn parse(text: &str) -> Result<Self, PathPrefixError> {
        canonical(text).map(Self).ok_or_else(|| PathPrefixError { text: text.into() })
    }

    /// For literals.
    ///
    /// # Panics
    ///
    /// Where [`parse`](Self::parse) gives an error.
    pub fn from_static(text: &'static str) -> Self {
        literal(Self::parse(text))
    }

    /// Empty, or `/a/b`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the application stands at the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// This prefix, and then the other one below it.
    pub fn join(&self, below: &Self) -> Self {
        if self.is_root() {
            below.clone()
        } else if below.is_root() {
            self.clone()
        } else {
            Self(ShortText::concat(self.as_str(), below.as_str()))
        }
    }
}

impl FromStr for PathPrefix {
    type Err = PathPrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no safe [`PathPrefix`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPrefixError {
    text: Box<str>,
}

impl PathPrefixError {
    /// The offending text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for PathPrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "path prefix {:?} is refused: it must be empty or start with one slash, of plain segments such as /webapps or /caf%C3%A9, at most {} bytes",
            self.text,
            PathPrefix::MAX_LEN
        )
    }
}

impl std::error::Error for PathPrefixError {}

fn canonical(text: &str) -> Option<ShortText> {
    let path = text.trim_end_matches('/');
    if path.is_empty() {
        return matches!(text, "" | "/").then(|| ShortText::new(""));
    }
    let mut canonical = Canonical { bytes: [0; PathPrefix::MAX_LEN], length: 0 };
    for segment in path.strip_prefix('/')?.split('/') {
        canonical.push(b'/')?;
        let start = canonical.length;
        push_segment(&mut canonical, segment.as_bytes())?;
        if matches!(canonical.bytes.get(start..canonical.length), None | Some(b"" | b"." | b"..")) {
            return None;
        }
    }
    let bytes = canonical.bytes.get(..canonical.length)?;
    std::str::from_utf8(bytes).ok().map(ShortText::new)
}

/// A prefix in the making.
struct Canonical {
    bytes: [u8; PathPrefix::MAX_LEN],
    length: usize,
}

impl Canonical {
    fn push(&mut self, byte: u8) -> Option<()> {
        *self.bytes.get_mut(self.length)? = byte;
        self.length = self.length.checked_add(1)?;
        Some(())
    }
}

fn push_segment(canonical: &mut Canonical, mut segment: &[u8]) -> Option<()> {
    while let Some((byte, rest)) = segment.split_first() {
        segment = rest;
        if *byte != b'%' {
            canonical.push(is_plain(*byte).then_some(*byte)?)?;
            continue;
        }
        let (hex, rest) = segment.split_at_checked(2)?;
        segment = rest;
        match triplet(hex)? {
            byte if is_unreserved(byte) => canonical.push(byte)?,
            b'/' | b'\\' | 0..=0x1f | 0x7f => return None,
            _ => {
                canonical.push(b'%')?;
                hex.iter().try_for_each(|digit| canonical.push(digit.to_ascii_uppercase()))?;
            }
        }
    }
    Some(())
}

/// What is left of `path` below `prefix`: empty, or from a slash on, byte for byte.
///
/// Segments are compared, not texts: `/webappsX` is not below `/webapps` (the error behind CVE-2026-48020).
/// Triplets of unreserved characters are the characters themselves and their hex digits have no case (RFC 3986,
/// section 6.2.2); letters of the path do have one, and `%2F` never separates.
///
/// # Example
///
/// ```
/// use tower_proxied::PathPrefix;
/// use tower_proxied::wire::path::strip_prefix;
///
/// let prefix = PathPrefix::from_static("/webapps");
/// assert_eq!(strip_prefix(b"/%77ebapps/a%2Fb", &prefix), Some(&b"/a%2Fb"[..]));
/// assert_eq!(strip_prefix(b"/webapps", &prefix), Some(&b""[..]));
/// assert_eq!(strip_prefix(b"/webapps../x", &prefix), None);
/// assert_eq!(strip_prefix(b"/webapps%2Fx", &prefix), None);
/// ```
pub fn strip_prefix<'a>(path: &'a [u8], prefix: &PathPrefix) -> Option<&'a [u8]> {
    let (mut rest, mut expected) = (path, prefix.as_str().as_bytes());
    while let Some((byte, behind)) = expected.split_first() {
        let triplet_at = |bytes: &[u8]| bytes.strip_prefix(b"%").and_then(|hex| triplet(hex.get(..2)?));
        match triplet_at(rest) {
            Some(written) if is_unreserved(written) => {
                expected = (written == *byte).then_some(behind)?;
                rest = rest.get(3..)?;
            }
            Some(written) => {
                expected = (triplet_at(expected)? == written).then(|| expected.get(3..))??;
                rest = rest.get(3..)?;
            }
            None => {
                expected = behind;
                rest = rest.strip_prefix(&[*byte])?;
            }
        }
    }
    matches!(rest.first(), None | Some(b'/')).then_some(rest)
}

/// The path with one slash where several stand at its start: `//host` would name a host (RFC 3986, section 4.2).
///
/// ```
/// use tower_proxied::wire::path::one_leading_slash;
///
/// assert_eq!(one_leading_slash(b"//evil.example//x"), b"/evil.example//x");
/// ```
pub fn one_leading_slash(path: &[u8]) -> &[u8] {
    let slashes = path.iter().take_while(|byte| **byte == b'/').count();
    path.get(slashes.saturating_sub(1)..).unwrap_or_default()
}

/// The byte that two hex digits stand for.
pub fn triplet(hex: &[u8]) -> Option<u8> {
    let [high, low] = hex else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(*high)? << 4) | digit(*low)?)
}

/// The reverse of [`triplet`], in upper case.
pub(crate) fn hex_digits(byte: u8) -> [char; 2] {
    [byte >> 4, byte & 0x0f]
        .map(|digit| char::from_digit(digit.into(), 16).unwrap_or_default().to_ascii_uppercase())
}

/// RFC 3986, section 2.3.
pub const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar` without what means something to a list, to a cookie or inside of quotes: `,`, `;`, `'`.
fn is_plain(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'!' | b'$' | b'&' | b'(' | b')' | b'*' | b'+' | b'=' | b':' | b'@')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn canonical_prefixes() {
        for (text, canonical) in [
            ("", ""),
            ("/", ""),
            ("/foo/bar///", "/foo/bar"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/%61pp", "/app"),
            ("/.well-known", "/.well-known"),
            ("/script:name", "/script:name"),
        ] {
            assert_eq!(PathPrefix::parse(text).unwrap().as_str(), canonical, "{text}");
        }
    }

    #[test]
    fn unsafe_prefixes() {
        for text in [
            "app",
            "//",
            "//evil.com",
            "//evil.com/",
            "/a//b",
            "/\\evil.com",
            "/a/../b",
            "/a/%2e%2E",
            "/.",
            "/a b",
            "/a%2fb",
            "/a%5Cb",
            "/a%zz",
            "/a%2",
            "/a%00",
            "/a\"b",
            "/a'b",
            "/a;b",
            "/a,b",
            "/a?b",
            "/a#b",
            "/caf\u{e9}",
            "/a\r\nb",
            "https://evil.com/",
            "javascript:alert(1)",
            "///evil.com",
            "/\\/evil.com",
            "\\\\evil.com",
            "\\app",
            "/%2f%2fevil.com",
            "/%5cevil.com",
            "/app/%2e%2e",
            "/app/./x",
            "/..",
            "/%2e",
            "/a%",
            "/a%0d%0ab",
            "/a%7F",
            "/a<b>",
            "/a\u{0}b",
            "/a\tb",
            "/a\u{7f}",
            "/a\u{2215}b",
            " /a",
            "/a ",
            "/a[b]",
            "/a|b",
            "/a^b",
            "/a`b",
            "/a{b}",
            ".",
            "..",
            "*",
            "?",
            "#",
        ] {
            let error = PathPrefix::parse(text).unwrap_err();
            assert_eq!(error.text(), text);
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
        assert!(PathPrefix::parse(&format!("/{}", "a".repeat(PathPrefix::MAX_LEN - 1))).is_ok());
        assert!(PathPrefix::parse(&format!("/{}", "a".repeat(PathPrefix::MAX_LEN))).is_err());
    }

    #[test]
    fn segments_are_matched() {
        let strip = |path: &'static str, prefix| {
            strip_prefix(path.as_bytes(), &PathPrefix::from_static(prefix))
                .map(|rest| std::str::from_utf8(rest).unwrap())
        };
        for (path, prefix, rest) in [
            ("/app", "/app", Some("")),
            ("/app/", "/app", Some("/")),
            ("/app//x", "/app", Some("//x")),
            ("/app/app/x", "/app", Some("/app/x")),
            ("/x", "", Some("/x")),
            ("/ap%70/a%2Fb", "/app", Some("/a%2Fb")),
            ("/caf%c3%A9/x", "/caf%C3%A9", Some("/x")),
            ("/App", "/app", None),
            ("/appx", "/app", None),
            ("/app%2Fx", "/app", None),
            ("/app\\x", "/app", None),
            ("/app;v=1/x", "/app", None),
            ("//app/x", "/app", None),
            ("/a%2Fb/c", "/a/b", None),
            ("/%61", "/aaaaaa", None),
            ("/a%", "/app", None),
            ("/a%7", "/app", None),
            ("/caf%C3", "/caf%C3%A9", None),
            ("/caf%C3%A8", "/caf%C3%A9", None),
            ("", "/app", None),
        ] {
            assert_eq!(strip(path, prefix), rest, "{path} below {prefix}");
        }
    }

    /// Decodes what may be decoded, cuts at slashes, compares lists.
    fn naive_strip(path: &str, prefix: &PathPrefix) -> Option<String> {
        let canonical = |segment: &str| {
            let mut text = String::new();
            push_lenient(&mut text, segment);
            text
        };
        let wanted: Vec<String> = prefix.as_str().split('/').skip(1).map(str::to_owned).collect();
        if wanted.is_empty() {
            return Some(path.to_owned());
        }
        let mut segments = path.strip_prefix('/')?.split('/');
        for segment in wanted {
            if canonical(segments.next()?) != segment {
                return None;
            }
        }
        Some(segments.fold(String::new(), |rest, segment| rest + "/" + segment))
    }

    fn push_lenient(text: &mut String, segment: &str) {
        let mut bytes = segment.as_bytes();
        while let Some((byte, rest)) = bytes.split_first() {
            match rest.get(..2).filter(|_| *byte == b'%').and_then(triplet) {
                Some(decoded) if is_unreserved(decoded) => text.push(char::from(decoded)),
                Some(_) => text.push_str(&segment[segment.len() - bytes.len()..][..3].to_ascii_uppercase()),
                None => {
                    text.push(char::from(*byte));
                    bytes = rest;
                    continue;
                }
            }
            bytes = &rest[2..];
        }
    }

    #[test]
    fn every_byte_has_two_digits() {
        for byte in 0..=u8::MAX {
            let digits = String::from_iter(hex_digits(byte));
            assert_eq!(digits, format!("{byte:02X}"));
            assert_eq!(triplet(digits.as_bytes()), Some(byte));
        }
    }

    proptest! {
        #[test]
        fn strip_is_the_naive_one(path in "/(a|%61|%2f|%2F|%|/|b){0,8}", prefix in "(/(a|b|%2[bB]|ab)){0,3}") {
            let prefix = PathPrefix::parse(&prefix).unwrap();
            let stripped = strip_prefix(path.as_bytes(), &prefix).map(|rest| String::from_utf8(rest.to_vec()).unwrap());
            prop_assert_eq!(stripped, naive_strip(&path, &prefix));
        }

        #[test]
        fn a_prefix_put_before_is_taken_away(prefix in "(/[a-z.%:@]{1,4}){0,3}", path in "(/\\PC{0,8})?") {
            let Ok(prefix) = PathPrefix::parse(&prefix) else { return Ok(()) };
            let whole = format!("{prefix}{path}");
            prop_assert_eq!(strip_prefix(whole.as_bytes(), &prefix), Some(path.as_bytes()));
        }

        #[test]
        fn no_bytes_panic(path in prop::collection::vec(any::<u8>(), 0..24)) {
            let _ = (strip_prefix(&path, &PathPrefix::from_static("/a")), one_leading_slash(&path));
        }
    }
}
