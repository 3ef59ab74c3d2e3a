//! `Forwarded` (RFC 7239, section 4).
//!
//! `forwarded-pair = token "=" value`, `value = token / quoted-string` (RFC 9110, sections 5.6.2 and 5.6.4).
//!
//! Quoted strings are read **from the right**, as the list is: a quote is closed by the next one to the left that no
//! odd run of backslashes escapes. That is exact for what a proxy appended, and deaf to everything left of it: an
//! open quote that a client sent swallows nothing.

use super::list::{Element, from_right_by};

/// The elements of all lines, from the right.
///
/// # Example
///
/// ```
/// use tower_proxied::wire::forwarded::{ForwardedElement, from_right};
///
/// // A host that is a valid reg-name, and looks like a further element to who splits at every comma.
/// let line: &[u8] = br#"for=", for=203.0.113.5;host="a,for=6.6.6.6;x=""#;
/// let nearest = from_right([line].into_iter()).next().unwrap();
/// let element = ForwardedElement::parse(nearest.bytes).unwrap();
/// assert_eq!(element.node().unwrap().text(&mut [0; 64]), Some(&b"203.0.113.5"[..]));
/// assert_eq!(element.host().unwrap().text(&mut [0; 64]), Some(&b"a,for=6.6.6.6;x="[..]));
/// ```
pub fn from_right<'a, I>(lines: I) -> impl Iterator<Item = Element<'a>>
where
    I: DoubleEndedIterator<Item = &'a [u8]>,
{
    from_right_by(last_unquoted_comma, lines)
}

/// One element: what one hop says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardedElement<'a> {
    node: Option<Value<'a>>,
    by: Option<Value<'a>>,
    host: Option<Value<'a>>,
    proto: Option<Value<'a>>,
}

impl<'a> ForwardedElement<'a> {
    /// Reads the pairs of an element. Empty pairs, other parameters, blanks around `;`, and `:`, `[`, `]` outside of
    /// quotes are tolerated.
    ///
    /// `None` is malformed: a pair without `=`, blanks around it, a quote that does not close, a parameter that
    /// stands twice.
    pub fn parse(element: &'a [u8]) -> Option<Self> {
        let mut parsed = Self::default();
        let mut rest = Some(element);
        while let Some(pairs) = rest {
            let (pair, after) = first_pair(pairs)?;
            rest = after;
            let pair = super::list::trim(pair);
            if !pair.is_empty() {
                parsed.take(pair)?;
            }
        }
        Some(parsed)
    }

    /// `for`: the node that the hop got the request from.
    pub fn node(&self) -> Option<Value<'a>> {
        self.node
    }

    /// `host`: what the request asked for.
    pub fn host(&self) -> Option<Value<'a>> {
        self.host
    }

    /// `proto`: the scheme.
    pub fn proto(&self) -> Option<Value<'a>> {
        self.proto
    }

    fn take(&mut self, pair: &'a [u8]) -> Option<()> {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = pair.split_at_checked(equals)?;
        let value = Value::parse(value.strip_prefix(b"=")?)?;
        if name.is_empty() || !name.iter().all(|byte| is_tchar(*byte)) {
            return None;
        }
        let slot = match name {
            name if name.eq_ignore_ascii_case(b"for") => &mut self.node,
            name if name.eq_ignore_ascii_case(b"by") => &mut self.by,
            name if name.eq_ignore_ascii_case(b"host") => &mut self.host,
            name if name.eq_ignore_ascii_case(b"proto") => &mut self.proto,
            _ => return Some(()),
        };
        slot.replace(value).is_none().then_some(())
    }
}

/// The value of a pair: a token, or what stands in quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    bytes: &'a [u8],
    is_escaped: bool,
}

impl<'a> Value<'a> {
    /// The value without quotes and escapes; `buffer` is needed for those. `None` where it is too small.
    pub fn text<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b [u8]>
    where
        'a: 'b,
    {
        if !self.is_escaped {
            return Some(self.bytes);
        }
        let mut length = 0_usize;
        let mut bytes = self.bytes.iter();
        while let Some(byte) = bytes.next() {
            let byte = if *byte == b'\\' { bytes.next()? } else { byte };
            *buffer.get_mut(length)? = *byte;
            length = length.saturating_add(1);
        }
        buffer.get(..length)
    }

    fn parse(value: &'a [u8]) -> Option<Self> {
        let Some(quoted) = value.strip_prefix(b"\"") else {
            let is_plain = |byte: &u8| is_tchar(*byte) || matches!(byte, b':' | b'[' | b']');
            let is_token = !value.is_empty() && value.iter().all(is_plain);
            return is_token.then_some(Self { bytes: value, is_escaped: false });
        };
        let end = closing_quote(quoted)?;
        let bytes = quoted.get(..end)?;
        let is_all = end.checked_add(1) == Some(quoted.len());
        is_all.then_some(Self { bytes, is_escaped: bytes.contains(&b'\\') })
    }
}

/// The first pair of several, and what stands behind its `;`. `None` where a quote does not close.
fn first_pair(pairs: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let mut at = 0_usize;
    loop {
        let found = pairs.get(at..)?.iter().position(|byte| matches!(byte, b';' | b'"'));
        let Some(found) = found else { return Some((pairs, None)) };
        at = at.checked_add(found)?;
        let (pair, rest) = pairs.split_at_checked(at)?;
        match rest.split_first()? {
            (b'"', quoted) => at = at.checked_add(closing_quote(quoted)?)?.checked_add(2)?,
            (_, rest) => return Some((pair, Some(rest))),
        }
    }
}

/// Where the quoted string ends that starts with `quoted`.
fn closing_quote(quoted: &[u8]) -> Option<usize> {
    let mut at = 0_usize;
    loop {
        let found = quoted.get(at..)?.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        at = at.checked_add(found)?;
        if quoted.get(at) == Some(&b'"') {
            return Some(at);
        }
        at = at.checked_add(2)?;
    }
}

/// The rightmost comma outside of quotes.
fn last_unquoted_comma(line: &[u8]) -> Option<usize> {
    let mut rest = line;
    loop {
        let at = rest.iter().rposition(|byte| matches!(byte, b',' | b'"'))?;
        let (before, found) = rest.split_at_checked(at)?;
        if found.first() == Some(&b',') {
            return Some(at);
        }
        rest = before.get(..opening_quote(before)?)?;
    }
}

/// Where the quoted string starts that ends with `before` and its closing quote.
fn opening_quote(before: &[u8]) -> Option<usize> {
    let mut end = before.len();
    loop {
        let quote = before.get(..end)?.iter().rposition(|byte| *byte == b'"')?;
        let escapes = before.get(..quote)?.iter().rev().take_while(|byte| **byte == b'\\').count();
        if escapes.is_multiple_of(2) {
            return Some(quote);
        }
        end = quote;
    }
}

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
    matches!(
        byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'
            | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~'
    )
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

    #[test]
    fn tchar_is_the_rfcs() {
        for byte in 0..=255_u8 {
            let listed = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_tchar(byte), listed, "{byte}");
        }
    }

    fn elements(line: &str) -> Vec<String> {
        let elements = from_right([line.as_bytes()].into_iter());
        elements.map(|element| String::from_utf8(element.bytes.to_vec()).unwrap()).collect()
    }

    #[test]
    fn quotes_are_read_from_the_right() {
        assert_eq!(elements(r#"for=a, for="b,c", for=d"#), ["for=d", r#"for="b,c""#, "for=a"]);
        assert_eq!(elements(r#"for=", for=b"#), ["for=b", r#"for=""#], "an open quote on the left");
        assert_eq!(elements(r#"for="\", for=b"#), ["for=b", r#"for="\""#], "a backslash before the quote");
        assert_eq!(elements(r#"host="a\",b";for=c"#), [r#"host="a\",b";for=c"#], "an escaped quote within");
        assert_eq!(elements(r#"host="a\\\\", for=c"#), ["for=c", r#"host="a\\\\""#]);
        assert_eq!(elements(r#"for="a"#), [r#"for="a"#], "what does not open on this line is one element");
    }

    #[test]
    fn pairs() {
        let text = |value: Option<Value<'_>>| {
            value.map(|value| String::from_utf8(value.text(&mut [0; 64]).unwrap().to_vec()).unwrap())
        };
        let read = |element: &str| {
            let element = ForwardedElement::parse(element.as_bytes())?;
            Some((text(element.node()), text(element.host()), text(element.proto())))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            read(r#"For=192.0.2.1; HOST="a\"b;c" ;proto=https;;secret="x y""#),
            Some((some("192.0.2.1"), some("a\"b;c"), some("https")))
        );
        assert_eq!(read("by=x"), Some((None, None, None)));
        assert_eq!(read("for=[2001:db8::1]:80"), Some((some("[2001:db8::1]:80"), None, None)));
        for malformed in [
            "for",
            "for=",
            "for= a",
            "for =a",
            "=a",
            "for=a b",
            "for=\"a",
            "for=\"a\"b",
            "for=a;FOR=b",
            "for=1.1.1.\\1",
        ] {
            assert_eq!(read(malformed), None, "{malformed}");
        }
    }
}
