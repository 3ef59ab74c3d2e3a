//! Paths: prefixes, segments and percent triplets (RFC 3986, sections 2.1, 3.3 and 6.2.2).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

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
/// assert!(PathPrefix::parse("//evil.example").is_err());
/// # Ok::<(), tower_proxied::PathPrefixError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPrefix(Arc<str>);

impl PathPrefix {
    /// Longer ones are refused.
    pub const MAX_LEN: usize = 512;

    /// No prefix: the application stands at the root.
    pub fn root() -> Self {
        Self(Arc::default())
    }

    /// Reads a prefix; slashes at the end do not count.
    ///
    /// # Errors
    ///
    /// What is no safe prefix; the error holds the text.
    pub fn parse(text: &str) -> Result<Self, PathPrefixError> {
        canonical(text).map(|path| Self(path.into())).ok_or_else(|| PathPrefixError { text: text.into() })
    }

    /// For literals.
    ///
    /// # Panics
    ///
    /// Where [`parse`](Self::parse) gives an error.
    #[expect(clippy::panic, reason = "for literals, as http's from_static")]
    pub fn from_static(text: &'static str) -> Self {
        match Self::parse(text) {
            Ok(prefix) => prefix,
            Err(error) => panic!("{error}"),
        }
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
            Self([self.as_str(), below.as_str()].concat().into())
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
            "path prefix {:?} is refused: it must be empty or start with one slash, of plain segments, at most {} bytes",
            self.text,
            PathPrefix::MAX_LEN
        )
    }
}

impl std::error::Error for PathPrefixError {}

fn canonical(text: &str) -> Option<String> {
    let path = text.trim_end_matches('/');
    if path.is_empty() {
        return matches!(text, "" | "/").then(String::new);
    }
    if path.len() > PathPrefix::MAX_LEN {
        return None;
    }
    let mut canonical = String::with_capacity(path.len());
    for segment in path.strip_prefix('/')?.split('/') {
        canonical.push('/');
        let start = canonical.len();
        push_segment(&mut canonical, segment.as_bytes())?;
        if matches!(canonical.get(start..), None | Some("" | "." | "..")) {
            return None;
        }
    }
    Some(canonical)
}

fn push_segment(canonical: &mut String, mut segment: &[u8]) -> Option<()> {
    while let Some((byte, rest)) = segment.split_first() {
        segment = rest;
        if *byte != b'%' {
            canonical.push(is_plain(*byte).then_some(char::from(*byte))?);
            continue;
        }
        let (hex, rest) = segment.split_at_checked(2)?;
        segment = rest;
        match triplet(hex)? {
            byte if is_unreserved(byte) => canonical.push(char::from(byte)),
            b'/' | b'\\' | 0..=0x1f | 0x7f => return None,
            _ => {
                canonical.push('%');
                canonical.extend(hex.iter().map(|digit| char::from(digit.to_ascii_uppercase())));
            }
        }
    }
    Some(())
}

/// The byte that two hex digits stand for.
pub fn triplet(hex: &[u8]) -> Option<u8> {
    let [high, low] = hex else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(*high)? << 4) | digit(*low)?)
}

/// RFC 3986, section 2.3.
pub fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar` without what means something to a list, to a cookie or inside of quotes: `,`, `;`, `'`.
fn is_plain(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'!' | b'$' | b'&' | b'(' | b')' | b'*' | b'+' | b'=' | b':' | b'@')
}
