//! The parts of a URI reference, cut and not changed (RFC 3986, section 4.1).

/// A reference in three pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UriParts<'a> {
    /// Before the colon.
    pub scheme: Option<&'a [u8]>,
    /// Behind the two slashes.
    pub authority: Option<&'a [u8]>,
    /// The path; it may be empty.
    pub path: &'a [u8],
    /// Query and fragment with the marks before them.
    pub tail: &'a [u8],
}

impl<'a> UriParts<'a> {
    /// Cuts a reference.
    ///
    /// `None` is what browsers and RFC 3986 read differently, or what the RFC does not admit: a backslash at the
    /// start, a colon in the first segment of a relative path.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_proxied::wire::uri_parts::UriParts;
    ///
    /// let parts = UriParts::cut(b"https://example.com/a?b#c").unwrap();
    /// assert_eq!(parts.scheme, Some(&b"https"[..]));
    /// assert_eq!(parts.authority, Some(&b"example.com"[..]));
    /// assert_eq!((parts.path, parts.tail), (&b"/a"[..], &b"?b#c"[..]));
    /// assert_eq!(UriParts::cut(b"1:a"), None);
    /// ```
    pub fn cut(reference: &'a [u8]) -> Option<Self> {
        if reference.first() == Some(&b'\\') {
            return None;
        }
        let (scheme, rest) = match reference.iter().position(|byte| b":/?#".contains(byte)) {
            Some(at) if reference.get(at) == Some(&b':') => {
                let (scheme, rest) = reference.split_at_checked(at)?;
                (Some(is_scheme(scheme).then_some(scheme)?), rest.get(1..)?)
            }
            _ => (None, reference),
        };
        let (hierarchy, tail) = split_before(rest, b"?#");
        let (authority, path) = match hierarchy.strip_prefix(b"//") {
            Some(behind) => {
                let (authority, path) = split_before(behind, b"/");
                (Some(authority), path)
            }
            None => (None, hierarchy),
        };
        Some(Self { scheme, authority, path, tail })
    }
}

fn split_before<'a>(bytes: &'a [u8], marks: &[u8]) -> (&'a [u8], &'a [u8]) {
    let end = bytes.iter().position(|byte| marks.contains(byte)).unwrap_or(bytes.len());
    bytes.split_at_checked(end).unwrap_or((bytes, &[]))
}

/// RFC 3986, section 3.1.
fn is_scheme(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts() {
        type Cut<'a> = (Option<&'a str>, Option<&'a str>, &'a str, &'a str);
        let cases: &[(&str, Cut)] = &[
            ("", (None, None, "", "")),
            ("/a/b?c/d#e?f", (None, None, "/a/b", "?c/d#e?f")),
            ("#a?b", (None, None, "", "#a?b")),
            ("?a:b", (None, None, "", "?a:b")),
            ("a/b:c", (None, None, "a/b:c", "")),
            ("//host", (None, Some("host"), "", "")),
            ("//host?q", (None, Some("host"), "", "?q")),
            ("///x", (None, Some(""), "/x", "")),
            ("http:/x", (Some("http"), None, "/x", "")),
            ("myapp://callback?code=1", (Some("myapp"), Some("callback"), "", "?code=1")),
            ("http://a\\@b/c", (Some("http"), Some("a\\@b"), "/c", "")),
            ("/\\evil.com", (None, None, "/\\evil.com", "")),
        ];
        for (reference, (scheme, authority, path, tail)) in cases {
            let cut = UriParts::cut(reference.as_bytes()).unwrap();
            assert_eq!(cut.scheme, scheme.map(str::as_bytes), "{reference}");
            assert_eq!(cut.authority, authority.map(str::as_bytes), "{reference}");
            assert_eq!((cut.path, cut.tail), (path.as_bytes(), tail.as_bytes()), "{reference}");
        }
        for reference in [":", "1:a", "a\tb:c", "\\\\evil.com", ":80/x"] {
            assert_eq!(UriParts::cut(reference.as_bytes()), None, "{reference}");
        }
    }

    proptest! {
        #[test]
        fn the_pieces_make_the_whole(reference in prop::collection::vec(prop::sample::select(&b"a1:/?#\\."[..]), 0..16)) {
            if let Some(parts) = UriParts::cut(&reference) {
                let mut whole = Vec::new();
                if let Some(scheme) = parts.scheme {
                    whole.extend_from_slice(scheme);
                    whole.push(b':');
                }
                if let Some(authority) = parts.authority {
                    whole.extend_from_slice(b"//");
                    whole.extend_from_slice(authority);
                }
                whole.extend_from_slice(parts.path);
                whole.extend_from_slice(parts.tail);
                prop_assert_eq!(whole, reference);
            }
        }
    }
}
