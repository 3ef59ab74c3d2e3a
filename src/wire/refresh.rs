//! Refresh, as the HTML standard reads it ("shared declarative refresh steps").

use std::ops::Range;

/// Where the URL stands: behind the seconds, a `;`, `,` or blank, and an optional `url=`; in quotes or without.
///
/// ```
/// use tower_proxied::wire::refresh::url;
///
/// let value = b"3; URL='/next' ";
/// assert_eq!(url(value).map(|range| &value[range]), Some(&b"/next"[..]));
/// assert_eq!(url(b"3"), None);
/// ```
pub fn url(value: &[u8]) -> Option<Range<usize>> {
    let rest = value.trim_ascii_start();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    let (seconds, rest) = rest.split_at_checked(digits)?;
    let starts_url = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b';' | b',');
    if seconds.is_empty() || !rest.first().is_some_and(starts_url) {
        return None;
    }
    let rest = rest.trim_ascii_start();
    let rest = rest.strip_prefix(b";").or(rest.strip_prefix(b",")).unwrap_or(rest).trim_ascii_start();
    let url = after_url_equals(rest).unwrap_or(rest);
    let start = value.len().saturating_sub(url.len());
    let (start, url) = match url.split_first() {
        Some((quote @ (b'\'' | b'"'), quoted)) => {
            let end = quoted.iter().position(|byte| byte == quote).unwrap_or(quoted.len());
            (start.saturating_add(1), quoted.get(..end)?)
        }
        _ => (start, url),
    };
    (!url.is_empty()).then(|| start..start.saturating_add(url.len()))
}

/// Behind `url`, blanks, `=`, blanks.
fn after_url_equals(bytes: &[u8]) -> Option<&[u8]> {
    let (name, rest) = bytes.split_at_checked(3)?;
    if !name.eq_ignore_ascii_case(b"url") {
        return None;
    }
    rest.trim_ascii_start().strip_prefix(b"=").map(<[u8]>::trim_ascii_start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places() {
        for (value, expected) in [
            ("0; url=/x", Some("/x")),
            ("5;url=/x", Some("/x")),
            (" 5 , URL = \"/x\" y", Some("/x")),
            ("5; '/x'", Some("/x")),
            ("5; /x", Some("/x")),
            ("5 /x", Some("/x")),
            ("5; url='/x", Some("/x")),
            ("1.5; url=/x", Some("/x")),
            ("5; urlx", Some("urlx")),
            ("5; url", Some("url")),
            ("3; url=https://other.org/x;y", Some("https://other.org/x;y")),
            ("5", None),
            ("5;", None),
            ("5; url=", None),
            ("5; url=''", None),
            ("5x; url=/x", None),
            ("url=/x", None),
            ("; url=/x", None),
            ("", None),
        ] {
            assert_eq!(url(value.as_bytes()).map(|range| &value[range]), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(value in "[0-9a-z;,= '\"/]{0,20}", bytes in prop::collection::vec(any::<u8>(), 0..24)) {
            prop_assert!(url(value.as_bytes()).is_none_or(|range| value.get(range).is_some()));
            prop_assert!(url(&bytes).is_none_or(|range| bytes.get(range).is_some()));
        }
    }
}
