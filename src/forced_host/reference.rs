//! The references that [`PublicUrl`] makes absolute.

use std::fmt;

use super::PublicUrl;
use crate::wire::cut;
use crate::wire::dot_segments::{self, Dots, PathBuffer};
use crate::wire::host::{Host, HostPort, Scheme};
use crate::wire::path::strip_prefix;
use crate::wire::reference::{Part, Reference, encoded_length, push_tail};

/// Why a reference is not made absolute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReferenceError {
    /// It holds a control character.
    Control,
    /// It holds a backslash, which browsers take for a slash.
    Backslash,
    /// It has a scheme that is neither `http` nor `https`, or one without `//`.
    Scheme,
    /// Its authority is no host with or without a port.
    Authority,
    /// It leads to another origin.
    CrossOrigin,
    /// It leads to the own origin, but out of the prefix.
    OutsidePrefix,
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "the reference holds a control character",
            Self::Backslash => "the reference holds a backslash",
            Self::Scheme => "the reference has a scheme that cannot be followed here",
            Self::Authority => "the reference has an authority that is no host",
            Self::CrossOrigin => "the reference leads to another origin",
            Self::OutsidePrefix => "the reference leads out of the prefix of this application",
        })
    }
}

impl std::error::Error for ReferenceError {}

pub(super) fn absolute(
    public: &PublicUrl,
    current_path: &str,
    reference: &str,
) -> Result<String, ReferenceError> {
    let reference = read(reference)?;
    let (current_path, current_query) = cut(current_path.as_bytes(), b'?');
    // `*` and the empty path of `CONNECT` are no place to start from.
    let current_path = if current_path.starts_with(b"/") { current_path } else { b"/" };
    let mut query = reference.query;
    let (folder, path) = match reference.authority {
        Some(authority) => {
            check_origin(public, reference.scheme, authority)?;
            (None, reference.path)
        }
        None if reference.scheme.is_some() => return Err(ReferenceError::Scheme),
        None if reference.path.is_empty() => {
            query = query.or(current_query);
            (None, current_path)
        }
        None if reference.path.starts_with(b"/") => (None, reference.path),
        None => (folder_of(current_path), reference.path),
    };

    let is_public_already = reference.authority.is_some();
    let prefix = public.prefix().as_str();
    let mut text = with_room_for(public, &[folder.unwrap_or_default(), path], query, reference.fragment);
    // A `String` never fails.
    let _ = public.origin().write_to(&mut text);
    if !is_public_already {
        text.push_str(prefix);
    }
    let floor = text.len();
    let paths = || [folder, Some(path)].into_iter().flatten().filter(|path| !path.is_empty());
    if paths().any(may_hold_dots) {
        let segments = paths().flat_map(|path| behind_slash(path).split(|byte| *byte == b'/'));
        dot_segments::push_without_dots(&mut text, segments, floor, Dots::AsBrowsers);
    } else {
        paths().for_each(|path| text.push_segment(behind_slash(path)));
    }

    let mut below = floor;
    if is_public_already {
        let behind = text.as_bytes().get(floor..).and_then(|path| strip_prefix(path, public.prefix()));
        let behind = behind.ok_or(ReferenceError::OutsidePrefix)?.len();
        // Triplets may have spelled it otherwise.
        text.replace_range(floor..text.len().saturating_sub(behind), prefix);
        below = floor.saturating_add(prefix.len());
    }
    let slashes = text.bytes().skip(below).take_while(|byte| *byte == b'/').count();
    if slashes > 1 {
        text.replace_range(below..below.saturating_add(slashes).saturating_sub(1), "");
    }
    // The bare prefix is a resource of its own; a host without a path is not (RFC 9110, section 4.2.3).
    if text.len() == below && prefix.is_empty() {
        text.push('/');
    }
    push_tail(&mut text, query, reference.fragment);
    Ok(text)
}

/// Without its slash; the root has none.
fn folder_of(path: &[u8]) -> Option<&[u8]> {
    let last_slash = path.iter().rposition(|byte| *byte == b'/')?;
    path.get(..last_slash).filter(|folder| !folder.is_empty())
}

/// A relative path starts behind the slash of its folder.
fn behind_slash(path: &[u8]) -> &[u8] {
    path.strip_prefix(b"/").unwrap_or(path)
}

/// Whether a segment starts as those do that [`Dots::AsBrowsers`] takes for `.` or `..`.
fn may_hold_dots(path: &[u8]) -> bool {
    let may_start = |byte: &u8| matches!(byte, b'.' | b'%' | b'\t');
    let starts = path.iter().zip(path.iter().skip(1)).any(|(slash, byte)| *slash == b'/' && may_start(byte));
    starts || path.first().is_some_and(may_start)
}

/// One allocation for all that will be written.
fn with_room_for(
    public: &PublicUrl,
    paths: &[&[u8]],
    query: Option<&[u8]>,
    fragment: Option<&[u8]>,
) -> String {
    let host = match public.host() {
        Host::Name(name) => name.len(),
        Host::V4(_) | Host::V6(_) => "[0000:0000:0000:0000:0000:ffff:255.255.255.255]".len(),
    };
    let marks = "https://:65535//?#".len();
    let paths = paths.iter().map(|path| encoded_length(path, Part::Path));
    let tails = query.into_iter().chain(fragment).map(|tail| encoded_length(tail, Part::Tail));
    let length = paths.chain(tails).chain([host, public.prefix().as_str().len(), marks]).sum();
    String::with_capacity(length)
}

pub(super) fn resolve_any(public: &PublicUrl, base: &str, reference: &str) -> Result<String, ReferenceError> {
    let own = public.to_string();
    let mut base = read(base)?;
    let seen_from_here = base.resolve(&Reference::parse(own.as_bytes()));
    // One with a scheme is used as it is written (section 5.2.1).
    if base.scheme.is_none() {
        base = seen_from_here.as_reference();
    }
    let resolved = read(reference)?.resolve(&base);
    let authority = resolved.as_reference().authority.unwrap_or_default();
    if !authority.iter().all(|byte| *byte == b'%' || Part::Authority.allows(*byte)) {
        return Err(ReferenceError::Authority);
    }
    Ok(resolved.to_text())
}

fn read(reference: &str) -> Result<Reference<'_>, ReferenceError> {
    // Without a way out of the loop it takes many bytes at once.
    let (mut has_control, mut has_backslash) = (false, false);
    for byte in reference.bytes() {
        has_control |= byte.is_ascii_control();
        has_backslash |= byte == b'\\';
    }
    match (has_control, has_backslash) {
        (true, _) => Err(ReferenceError::Control),
        (false, true) => Err(ReferenceError::Backslash),
        (false, false) => Ok(Reference::parse(reference.as_bytes())),
    }
}

fn check_origin(public: &PublicUrl, scheme: Option<&[u8]>, authority: &[u8]) -> Result<(), ReferenceError> {
    let scheme = match scheme {
        None => public.scheme(),
        Some(name) => Scheme::of_uri(name).ok_or(ReferenceError::Scheme)?,
    };
    let authority = HostPort::parse(authority).ok_or(ReferenceError::Authority)?;
    if public.origin().is(scheme, &authority) { Ok(()) } else { Err(ReferenceError::CrossOrigin) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::reference::push_encoded;

    fn app() -> PublicUrl {
        PublicUrl::from_static("https://example.com/app")
    }

    #[test]
    fn below_the_prefix() {
        for (current_path, reference, expected) in [
            ("/", "", "https://example.com/app/"),
            ("/", "/", "https://example.com/app/"),
            ("/", "x", "https://example.com/app/x"),
            ("/a/b?c", "", "https://example.com/app/a/b?c"),
            ("/a/b?c", "#d", "https://example.com/app/a/b?c#d"),
            ("/a/b?c", "?d", "https://example.com/app/a/b?d"),
            ("/a/b?c", "d", "https://example.com/app/a/d"),
            ("/a/b?c/d", "e", "https://example.com/app/a/e"),
            ("/a/b", "..", "https://example.com/app/"),
            ("/a/b", "../../..", "https://example.com/app/"),
            ("/a/b", "%2e%2E/%2e./.%2e/x", "https://example.com/app/x"),
            ("/", "/a/..//evil.example", "https://example.com/app/evil.example"),
            ("/", "..//evil.example", "https://example.com/app/evil.example"),
            ("//evil.example/x", "", "https://example.com/app/evil.example/x"),
            ("//evil.example/x", "y", "https://example.com/app/evil.example/y"),
            ("*", "x", "https://example.com/app/x"),
            ("", "", "https://example.com/app/"),
            ("/a\\b", "", "https://example.com/app/a%5Cb"),
            ("/a/\t../b", "", "https://example.com/app/b"),
            ("/", " //evil.example", "https://example.com/app/%20//evil.example"),
            ("/", " javascript:x", "https://example.com/app/%20javascript:x"),
            ("/", "1:x", "https://example.com/app/1:x"),
            ("/", "?q=[é]&r=%zz#ü", "https://example.com/app/?q=%5B%C3%A9%5D&r=%25zz#%C3%BC"),
            ("/", "/app/x", "https://example.com/app/app/x"),
            ("/", "//example.com/app", "https://example.com/app"),
            ("/", "//EXAMPLE.com.:443/app?x#y", "https://example.com/app?x#y"),
            ("/x", "https://example.com/app/a/../b", "https://example.com/app/b"),
            ("/x", "https://example.com/app//evil.example", "https://example.com/app/evil.example"),
            ("/x", "https://example.com/%61pp/%61", "https://example.com/app/%61"),
        ] {
            let uri = app().absolute_from(current_path, reference);
            assert_eq!(uri.as_deref(), Ok(expected), "{current_path} {reference}");
        }
        let root = PublicUrl::from_static("https://example.com");
        assert_eq!(root.absolute("https://example.com").as_deref(), Ok("https://example.com/"));
        assert_eq!(root.absolute("https://example.com//x").as_deref(), Ok("https://example.com/x"));
        assert_eq!(root.absolute("//example.com?x").as_deref(), Ok("https://example.com/?x"));
    }

    #[test]
    fn errors_say_which() {
        use ReferenceError::*;
        for (reference, error) in [
            ("/\t/evil.example", Control),
            ("/x\u{7f}", Control),
            ("\u{0}", Control),
            ("\\\\evil.example", Backslash),
            ("/x?\\", Backslash),
            ("javascript:alert(1)", Scheme),
            ("https:evil.example", Scheme),
            ("https:/evil.example", Scheme),
            ("javascript://example.com/%0aalert(1)", Scheme),
            ("ftp://example.com/x", Scheme),
            ("///evil.example", Authority),
            ("//", Authority),
            ("https:///x", Authority),
            ("//example.com@evil.example/", Authority),
            ("//example.com:/", Authority),
            ("//%65xample.com/", Authority),
            ("//evil.example", CrossOrigin),
            ("//example.com:80/app/", CrossOrigin),
            ("http://example.com/app/", CrossOrigin),
            ("https://example.com.evil.example/app/", CrossOrigin),
            ("https://example.com", OutsidePrefix),
            ("https://example.com/", OutsidePrefix),
            ("https://example.com/apps", OutsidePrefix),
            ("https://example.com/app/../x", OutsidePrefix),
            ("https://example.com/app/%2e%2e/x", OutsidePrefix),
            ("https://example.com//app/x", OutsidePrefix),
        ] {
            assert_eq!(app().absolute(reference), Err(error), "{reference:?}");
        }
    }

    #[test]
    fn any_leads_anywhere() {
        let any = |base, reference| app().resolve_any(base, reference);
        assert_eq!(any("", "").as_deref(), Ok("https://example.com/app"));
        assert_eq!(any("", "x").as_deref(), Ok("https://example.com/x"));
        assert_eq!(any("/a/b", "c?d e").as_deref(), Ok("https://example.com/a/c?d%20e"));
        assert_eq!(any("", "mailto:a@b").as_deref(), Ok("mailto:a@b"));
        assert_eq!(any("//b.example/c", "d").as_deref(), Ok("https://b.example/d"));
        assert_eq!(any("", "//[::1]:8080/x").as_deref(), Ok("https://[::1]:8080/x"));
        assert_eq!(any("http:////..", ".").as_deref(), Ok("http:////"));
        assert_eq!(any("", "/\\x"), Err(ReferenceError::Backslash));
        assert_eq!(any("\n", "x"), Err(ReferenceError::Control));
        assert_eq!(any("", "//a b/x"), Err(ReferenceError::Authority));
        assert_eq!(any("", "//bücher.example/"), Err(ReferenceError::Authority));
    }

    proptest! {
        #[test]
        fn nothing_leaves_the_prefix(current_path in any_text(), reference in any_text()) {
            stays(&app(), &current_path, &reference)?;
            stays(&PublicUrl::from_static("http://[::1]:8080"), &current_path, &reference)?;
        }

        #[test]
        fn nothing_near_a_way_out_leaves_the_prefix(
            current_path in "/{0,2}(a|app|\\.|%2e|%2E|/|\\\\|\\?){0,8}",
            reference in "(https?:|javascript:)?/{0,3}(example\\.com|evil\\.example|@|:443)?(app|a|\\.|%2e|%2E|/|\\?|#|:){0,10}",
        ) {
            stays(&app(), &current_path, &reference)?;
            stays(&PublicUrl::from_static("https://example.com"), &current_path, &reference)?;
        }

        #[test]
        fn no_text_panics_the_resolver(base in any_text(), reference in any_text()) {
            if let Ok(uri) = app().resolve_any(&base, &reference) {
                prop_assert!(uri.bytes().all(|byte| byte.is_ascii_graphic()), "{}", uri);
            }
        }
    }

    /// Each step on a text of its own.
    fn naive(public: &PublicUrl, current_path: &str, reference: &str) -> Result<String, ReferenceError> {
        let encoded = |bytes: &[u8]| {
            let mut text = String::new();
            push_encoded(&mut text, bytes, Part::Path);
            text
        };
        let clean = |path: &str| encoded(&dot_segments::remove(path.as_bytes(), Dots::AsBrowsers));
        let reference = read(reference)?;
        let path = std::str::from_utf8(reference.path).unwrap();
        let (current_path, current_query) = cut(current_path.as_bytes(), b'?');
        let current = encoded(if current_path.starts_with(b"/") { current_path } else { b"/" });
        let mut query = reference.query;
        let below = if let Some(authority) = reference.authority {
            check_origin(public, reference.scheme, authority)?;
            let path = clean(path);
            let below =
                strip_prefix(path.as_bytes(), public.prefix()).ok_or(ReferenceError::OutsidePrefix)?;
            String::from_utf8(below.to_vec()).unwrap()
        } else if reference.scheme.is_some() {
            return Err(ReferenceError::Scheme);
        } else if path.is_empty() {
            query = query.or(current_query);
            clean(&current)
        } else if path.starts_with('/') {
            clean(path)
        } else {
            clean(&format!("{}/{path}", current.rsplit_once('/').unwrap().0))
        };
        let below = match below.trim_start_matches('/') {
            "" if below.is_empty() && !public.prefix().is_root() => String::new(),
            rest => format!("/{rest}"),
        };
        let mut text = format!("{public}{below}");
        push_tail(&mut text, query, reference.fragment);
        Ok(text)
    }

    proptest! {
        #[test]
        fn one_text_is_written_as_many_are(
            public in prop::sample::select(vec!["https://example.com/app", "http://[::1]:8080", "https://example.com/a/%C3%A9"]),
            current_path in "(/(a|é|\\.|%2e|/|\\\\| |app){0,8})?(\\?[a?é]{0,3})?|\\*",
            reference in "(https?:)?(//(example\\.com(:443)?|\\[::1\\]:8080))?(/|app|a|é|%C3%A9|\\.|%2e|%2E|%|\\?|#|:){0,10}",
        ) {
            let public = PublicUrl::from_static(public);
            let text = public.absolute_from(&current_path, &reference);
            prop_assert_eq!(text, naive(&public, &current_path, &reference));
        }
    }

    fn any_text() -> impl Strategy<Value = String> {
        prop::collection::vec(any::<char>(), 0..20).prop_map(String::from_iter)
    }

    /// As a browser reads it: the own origin, and at or below the prefix after all climbing.
    fn stays(public: &PublicUrl, current_path: &str, reference: &str) -> Result<(), TestCaseError> {
        let Ok(uri) = public.absolute_from(current_path, reference) else { return Ok(()) };
        prop_assert!(uri.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'), "{}", uri);
        let rest = uri.strip_prefix(&public.to_string());
        prop_assert!(
            rest.is_some_and(|rest| matches!(rest.chars().next(), None | Some('/' | '?' | '#'))),
            "{}",
            uri
        );
        let path = rest.unwrap().split(['?', '#']).next().unwrap();
        prop_assert!(!path.starts_with("//"), "{}", uri);
        let climbs =
            |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
        prop_assert!(!path.split('/').any(climbs), "{}", uri);
        prop_assert_eq!(public.absolute(&uri), Ok(uri));
        Ok(())
    }
}
