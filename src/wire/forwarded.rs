//! `Forwarded` (RFC 7239, section 4), the writing side.
//!
//! `forwarded-pair = token "=" value`, `value = token / quoted-string` (RFC 9110, sections 5.6.2 and 5.6.4).

/// Adds a pair to an element; what is no token is quoted, as every address with a colon in it must be.
///
/// # Example
///
/// ```
/// use tower_proxied::wire::forwarded::push_pair;
///
/// let mut element = String::new();
/// push_pair(&mut element, "for", "[2001:db8::1]");
/// push_pair(&mut element, "proto", "https");
/// assert_eq!(element, r#"for="[2001:db8::1]";proto=https"#);
/// ```
pub fn push_pair(element: &mut String, name: &str, value: &str) {
    if !element.is_empty() {
        element.push(';');
    }
    element.push_str(name);
    element.push('=');
    if !value.is_empty() && value.bytes().all(is_tchar) {
        element.push_str(value);
        return;
    }
    element.push('"');
    for char in value.chars() {
        if matches!(char, '"' | '\\') {
            element.push('\\');
        }
        element.push(char);
    }
    element.push('"');
}

/// Whether every quoted string in a line ends in it. Behind an open one, a reader from the left takes what is
/// appended for a part of the string.
pub fn quotes_close(line: &[u8]) -> bool {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for byte in line {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ => {}
        }
    }
    !is_quoted
}

/// RFC 9110, section 5.6.2.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Splits `name=value`, reading the value as a token or a quoted string.
    fn read_pair(pair: &str) -> (String, String) {
        let (name, value) = pair.split_once('=').unwrap();
        let Some(quoted) = value.strip_prefix('"') else { return (name.into(), value.into()) };
        let mut chars = quoted.strip_suffix('"').unwrap().chars();
        let mut text = String::new();
        while let Some(char) = chars.next() {
            assert_ne!(char, '"', "a quote that is not escaped");
            text.push(if char == '\\' { chars.next().unwrap() } else { char });
        }
        (name.into(), text)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in "[ -~]{0,20}") {
            let mut pair = String::new();
            push_pair(&mut pair, "host", &value);
            prop_assert!(quotes_close(pair.as_bytes()), "{}", pair);
            prop_assert_eq!(read_pair(&pair), (String::from("host"), value));
        }
    }

    #[test]
    fn only_a_token_stands_bare() {
        for (value, written) in [
            ("192.0.2.1", "for=192.0.2.1"),
            ("unknown", "for=unknown"),
            ("192.0.2.1:80", "for=\"192.0.2.1:80\""),
            ("a,for=6.6.6.6;x=", "for=\"a,for=6.6.6.6;x=\""),
            ("", "for=\"\""),
        ] {
            let mut pair = String::new();
            push_pair(&mut pair, "for", value);
            assert_eq!(pair, written);
        }
    }

    #[test]
    fn open_quotes() {
        for (line, closes) in [
            ("for=1.2.3.4", true),
            (r#"for="[::1]""#, true),
            (r#"for=""#, false),
            (r#"for="a\""#, false),
            (r#"for="a\\""#, true),
            (r#"for=\"a"#, false),
        ] {
            assert_eq!(quotes_close(line.as_bytes()), closes, "{line}");
        }
    }
}
