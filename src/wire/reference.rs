//! URI references (RFC 3986): taking them apart (appendix B), resolving them (section 5.2), putting them together
//! (section 5.3).

use std::borrow::Cow;

use super::cut;
use super::dot_segments::{self, Dots, PathBuffer};
use super::path::{hex_digits, is_unreserved, triplet};

/// The five parts of a URI reference, as written. Every text has them.
///
/// # Example
///
/// ```
/// use tower_proxied::wire::reference::Reference;
///
/// let reference = Reference::parse(b"//example.org/a?b#c");
/// assert_eq!(reference.scheme, None);
/// assert_eq!(reference.authority, Some(&b"example.org"[..]));
/// assert_eq!(reference.path, b"/a");
/// assert_eq!(reference.query, Some(&b"b"[..]));
/// assert_eq!(reference.fragment, Some(&b"c"[..]));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reference<'a> {
    /// What stands before the first `:`, where that is a scheme by section 3.1.
    pub scheme: Option<&'a [u8]>,
    /// What stands between `//` and the path; it may be empty, and nothing is said of its grammar.
    pub authority: Option<&'a [u8]>,
    /// The path; it may be empty.
    pub path: &'a [u8],
    /// What stands behind `?`.
    pub query: Option<&'a [u8]>,
    /// What stands behind `#`.
    pub fragment: Option<&'a [u8]>,
}

impl<'a> Reference<'a> {
    /// Takes a reference apart (appendix B). A text before `:` that is no scheme belongs to the path.
    pub fn parse(bytes: &'a [u8]) -> Self {
        let (rest, fragment) = cut(bytes, b'#');
        let (rest, query) = cut(rest, b'?');
        let (scheme, rest) = match cut(rest, b':') {
            (scheme, Some(rest)) if is_scheme(scheme) => (Some(scheme), rest),
            _ => (None, rest),
        };
        let (authority, path) = match rest.strip_prefix(b"//") {
            Some(rest) => {
                let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
                rest.split_at_checked(end).map_or((None, rest), |(authority, path)| (Some(authority), path))
            }
            None => (None, rest),
        };
        Self { scheme, authority, path, query, fragment }
    }

    /// This reference as seen from `base`, which has a scheme (section 5.2.2, strict): what it leaves out comes
    /// from the base.
    pub fn resolve(&self, base: &Reference<'a>) -> Resolved<'a> {
        let clean = |path| Cow::Owned(dot_segments::remove(path, Dots::AsRfc3986));
        let (scheme, authority, path, query) = if self.scheme.is_some() {
            (self.scheme, self.authority, clean(self.path), self.query)
        } else if self.authority.is_some() {
            (base.scheme, self.authority, clean(self.path), self.query)
        } else if self.path.is_empty() {
            (base.scheme, base.authority, Cow::Borrowed(base.path), self.query.or(base.query))
        } else if self.path.starts_with(b"/") {
            (base.scheme, base.authority, clean(self.path), self.query)
        } else {
            let from = if base.authority.is_some() && base.path.is_empty() { b"/" } else { base.path };
            let path = Cow::Owned(dot_segments::resolve(from, self.path, Dots::AsRfc3986));
            (base.scheme, base.authority, path, self.query)
        };
        Resolved { scheme, authority, path, query, fragment: self.fragment }
    }
}

/// A reference that was [resolved](Reference::resolve).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved<'a> {
    scheme: Option<&'a [u8]>,
    authority: Option<&'a [u8]>,
    path: Cow<'a, [u8]>,
    query: Option<&'a [u8]>,
    fragment: Option<&'a [u8]>,
}

impl Resolved<'_> {
    /// The parts, to resolve other references against.
    pub fn as_reference(&self) -> Reference<'_> {
        Reference {
            scheme: self.scheme,
            authority: self.authority,
            path: &self.path,
            query: self.query,
            fragment: self.fragment,
        }
    }

    /// Puts the parts together (section 5.3) in ASCII; what no URI may hold is percent-encoded.
    ///
    /// Without an authority, a path that starts with `//` is written behind `/.`, since it would be read as an
    /// authority otherwise.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        if let Some(scheme) = self.scheme {
            push_encoded(&mut text, scheme, Part::Path);
            text.push(':');
        }
        match self.authority {
            Some(authority) => {
                text.push_str("//");
                push_encoded(&mut text, authority, Part::Authority);
            }
            None if self.path.starts_with(b"//") => text.push_str("/."),
            None => {}
        }
        push_encoded(&mut text, &self.path, Part::Path);
        push_tail(&mut text, self.query, self.fragment);
        text
    }
}

/// The part of a URI that bytes are written into; each allows others (RFC 3986, section 3 and appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Authority,
    Path,
    /// Of the query and the fragment.
    Tail,
}

impl Part {
    /// A percent sign is not among them: it is allowed before two hex digits only.
    pub(crate) fn allows(self, byte: u8) -> bool {
        let allowed_in = ALLOWED_IN.get(usize::from(byte)).copied().unwrap_or_default();
        allowed_in & self.bit() != 0
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Authority => 1,
            Self::Path => 2,
            Self::Tail => 4,
        }
    }
}

/// For each byte the parts that allow it.
static ALLOWED_IN: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    let mut rest: &mut [u8] = &mut table;
    while let [allowed_in, behind @ ..] = rest {
        *allowed_in = parts_that_allow(byte);
        byte = byte.wrapping_add(1);
        rest = behind;
    }
    table
};

const fn parts_that_allow(byte: u8) -> u8 {
    let (authority, path, tail) = (Part::Authority.bit(), Part::Path.bit(), Part::Tail.bit());
    match byte {
        _ if is_unreserved(byte) => authority | path | tail,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' => {
            authority | path | tail
        }
        b'[' | b']' => authority,
        b'/' => path | tail,
        b'?' => tail,
        _ => 0,
    }
}

/// Writes bytes into a part of a URI. Triplets stay as they are, whatever else the part does not allow becomes one;
/// so does a percent sign that starts none.
pub(crate) fn push_encoded(text: &mut String, bytes: &[u8], part: Part) {
    let mut rest = bytes;
    loop {
        let plain = rest.iter().position(|byte| !part.allows(*byte)).unwrap_or(rest.len());
        let (plain, behind) = rest.split_at_checked(plain).unwrap_or((rest, b""));
        // What is allowed is ASCII.
        text.push_str(std::str::from_utf8(plain).unwrap_or_default());
        let Some((byte, after)) = behind.split_first() else { return };
        rest = after;
        text.push('%');
        let starts_triplet = *byte == b'%' && after.get(..2).is_some_and(|hex| triplet(hex).is_some());
        if !starts_triplet {
            text.extend(hex_digits(*byte));
        }
    }
}

/// Paths are written into texts percent-encoded.
impl PathBuffer for String {
    fn push_segment(&mut self, segment: &[u8]) {
        self.push('/');
        push_encoded(self, segment, Part::Path);
    }

    fn truncate(&mut self, length: usize) {
        self.truncate(length);
    }
}

/// How long these bytes are at most once they are [written](push_encoded).
pub(crate) fn encoded_length(bytes: &[u8], part: Part) -> usize {
    bytes.iter().map(|byte| if part.allows(*byte) { 1_usize } else { 3 }).sum()
}

/// Writes a query and a fragment.
pub(crate) fn push_tail(text: &mut String, query: Option<&[u8]>, fragment: Option<&[u8]>) {
    for (mark, part) in [('?', query), ('#', fragment)] {
        if let Some(part) = part {
            text.push(mark);
            push_encoded(text, part, Part::Tail);
        }
    }
}

fn is_scheme(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphabetic)
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolve(base: &str, reference: &str) -> String {
        Reference::parse(reference.as_bytes()).resolve(&Reference::parse(base.as_bytes())).to_text()
    }

    #[test]
    fn rfc_3986_section_5_4() {
        for (reference, expected) in [
            ("g:h", "g:h"),
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q#s"),
            ("g#s", "http://a/b/c/g#s"),
            ("g?y#s", "http://a/b/c/g?y#s"),
            (";x", "http://a/b/c/;x"),
            ("g;x", "http://a/b/c/g;x"),
            ("g;x?y#s", "http://a/b/c/g;x?y#s"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            (".g", "http://a/b/c/.g"),
            ("g..", "http://a/b/c/g.."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("g#s/./x", "http://a/b/c/g#s/./x"),
            ("g#s/../x", "http://a/b/c/g#s/../x"),
            ("http:g", "http:g"),
        ] {
            assert_eq!(resolve("http://a/b/c/d;p?q", reference), expected, "{reference}");
        }
    }

    #[test]
    fn a_double_slash_never_becomes_an_authority() {
        assert_eq!(resolve("https://example.com/x", "/.//evil.example"), "https://example.com//evil.example");
        assert_eq!(resolve("x:/y", "/.//evil.example"), "x:/.//evil.example");
    }

    #[test]
    fn only_a_scheme_is_a_scheme() {
        assert_eq!(Reference::parse(b"a+b.c-1:x").scheme, Some(&b"a+b.c-1"[..]));
        for not in ["1a:x", ":x", "a b:x", "/a:x", "?a:x", "#a:x", " a:x"] {
            assert_eq!(Reference::parse(not.as_bytes()).scheme, None, "{not}");
        }
    }

    #[test]
    fn parts() {
        type Parts<'a> = (Option<&'a str>, Option<&'a str>, &'a str, Option<&'a str>, Option<&'a str>);
        let cases: &[(&str, Parts)] = &[
            ("", (None, None, "", None, None)),
            ("/a/b?c/d#e?f", (None, None, "/a/b", Some("c/d"), Some("e?f"))),
            ("#a?b", (None, None, "", None, Some("a?b"))),
            ("?a:b", (None, None, "", Some("a:b"), None)),
            ("a/b:c", (None, None, "a/b:c", None, None)),
            ("//host", (None, Some("host"), "", None, None)),
            ("//host?q", (None, Some("host"), "", Some("q"), None)),
            ("///x", (None, Some(""), "/x", None, None)),
            ("http:/x", (Some("http"), None, "/x", None, None)),
            ("myapp://callback?code=1", (Some("myapp"), Some("callback"), "", Some("code=1"), None)),
            ("http://a\\@b/c", (Some("http"), Some("a\\@b"), "/c", None, None)),
            ("/\\evil.com", (None, None, "/\\evil.com", None, None)),
        ];
        for (text, (scheme, authority, path, query, fragment)) in cases {
            let bytes = |part: &Option<&'static str>| part.map(str::as_bytes);
            let (scheme, authority) = (bytes(scheme), bytes(authority));
            let (path, query, fragment) = (path.as_bytes(), bytes(query), bytes(fragment));
            let parts = Reference { scheme, authority, path, query, fragment };
            assert_eq!(Reference::parse(text.as_bytes()), parts, "{text}");
        }
    }

    #[test]
    fn encoding_is_of_what_the_part_does_not_allow() {
        let encoded = |bytes: &[u8], part| {
            let mut text = String::new();
            push_encoded(&mut text, bytes, part);
            text
        };
        assert_eq!(encoded("/é %zz%2f[?#\\".as_bytes(), Part::Path), "/%C3%A9%20%25zz%2f%5B%3F%23%5C");
        assert_eq!(encoded(b"a?b/c[]#", Part::Tail), "a?b/c%5B%5D%23");
        assert_eq!(encoded(b"%", Part::Tail), "%25");
        assert_eq!(encoded(b"%a", Part::Tail), "%25a");
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                prop::collection::vec(prop::sample::select(&b"a1:/?#\\."[..]), 0..16),
            ],
        ) {
            let reference = Reference::parse(&bytes);
            let mut whole = Vec::new();
            for (before, part, behind) in [
                ("", reference.scheme, ":"),
                ("//", reference.authority, ""),
                ("", Some(reference.path), ""),
                ("?", reference.query, ""),
                ("#", reference.fragment, ""),
            ] {
                if let Some(part) = part {
                    whole.extend([before.as_bytes(), part, behind.as_bytes()].concat());
                }
            }
            prop_assert_eq!(whole, bytes);
        }

        #[test]
        fn what_is_resolved_reads_back(base in "[a:/?#.]{0,12}", reference in "[a:/?#.]{0,12}") {
            let base = format!("x:{base}");
            let reference = Reference::parse(reference.as_bytes());
            let resolved = reference.resolve(&Reference::parse(base.as_bytes()));
            let text = resolved.to_text();
            let read = Reference::parse(text.as_bytes());
            prop_assert_eq!((read.scheme, read.authority), (resolved.scheme, resolved.authority));
            prop_assert_eq!(read.query.is_some(), resolved.query.is_some());
            prop_assert_eq!(read.fragment.is_some(), resolved.fragment.is_some());
            let Reference { scheme, authority, path, query, fragment } = read;
            let again = Resolved { scheme, authority, path: path.into(), query, fragment };
            prop_assert_eq!(again.to_text(), text);
        }

        #[test]
        fn any_bytes_resolve_to_ascii(
            base in prop::collection::vec(any::<u8>(), 0..40),
            reference in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let text = Reference::parse(&reference).resolve(&Reference::parse(&base)).to_text();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{}", text);
        }
    }
}
