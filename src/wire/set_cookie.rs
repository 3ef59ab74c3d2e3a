//! Set-Cookie (RFC 6265, section 5.2): where things stand in it, so that a change leaves all other bytes alone.

use std::ops::Range;

use super::cut;
use super::list::trim;

/// The name of the cookie; empty where there is no `=`.
///
/// ```
/// use tower_proxied::wire::set_cookie::name;
///
/// assert_eq!(name(b" sid =1; Path=/"), b"sid");
/// ```
pub fn name(value: &[u8]) -> &[u8] {
    let (pair, _) = cut(value, b';');
    match cut(pair, b'=') {
        (name, Some(_)) => trim(name),
        _ => &[],
    }
}

/// Where the values of all `Path` attributes stand, without the blanks around them. An attribute without a value
/// has an empty range. Browsers take the last one.
///
/// ```
/// use tower_proxied::wire::set_cookie::paths;
///
/// let value = b"sid=path=/x; PATH = /a ; Secure; path";
/// let paths: Vec<_> = paths(value).map(|range| &value[range]).collect();
/// assert_eq!(paths, [&b"/a"[..], b""]);
/// ```
pub fn paths(value: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut end = 0_usize;
    let attributes = value.split(|byte| *byte == b';').map(move |attribute| {
        let start = end;
        end = start.saturating_add(attribute.len()).saturating_add(1);
        (start, attribute)
    });
    attributes.skip(1).filter_map(|(start, attribute)| {
        let equals = attribute.iter().position(|byte| *byte == b'=').unwrap_or(attribute.len());
        let (name, value) = attribute.split_at_checked(equals)?;
        if !trim(name).eq_ignore_ascii_case(b"path") {
            return None;
        }
        let value = value.strip_prefix(b"=").unwrap_or_default();
        let blanks = value.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let value_start =
            start.saturating_add(attribute.len()).saturating_sub(value.len()).saturating_add(blanks);
        Some(value_start..value_start.saturating_add(trim(value).len()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places() {
        let found = |value: &'static str| -> Vec<&'static str> {
            paths(value.as_bytes()).map(|range| &value[range]).collect()
        };
        assert_eq!(found("sid=1; Path=/a"), ["/a"]);
        assert_eq!(found("Path=/a; HttpOnly"), [""; 0]);
        assert_eq!(found("sid=1;path=/a;Path=/b;"), ["/a", "/b"]);
        assert_eq!(found("sid=1;  Path =  /x ; Secure"), ["/x"]);
        assert_eq!(found("sid=1; Path; Secure"), [""]);
        assert_eq!(found("sid=1; Path=   "), [""]);
        assert_eq!(found("sid=1; Path=/a=b"), ["/a=b"]);
        assert_eq!(found("sid=1; Pathology=/a; XPath=/b"), [""; 0]);
        assert_eq!(found(""), [""; 0]);
    }

    #[test]
    fn names() {
        assert_eq!(name(b"__Host-sid=a=b; Path=/"), b"__Host-sid");
        assert_eq!(name(b"sid; a=b"), b"");
        assert_eq!(name(b""), b"");
    }

    proptest! {
        #[test]
        fn places_are_in_the_value(value in "[a=; ]{0,4}(; ?[pP]ath ?=? ?[/a ]{0,3}){0,3}") {
            for range in paths(value.as_bytes()) {
                let path = value.get(range);
                prop_assert!(path.is_some_and(|path| path.trim_matches(' ') == path && !path.contains(';')));
            }
        }

        #[test]
        fn no_bytes_panic(value in prop::collection::vec(any::<u8>(), 0..24)) {
            prop_assert!(paths(&value).all(|range| value.get(range).is_some()));
            name(&value);
        }
    }
}
