//! Text in header values: how front ends write what ASCII cannot hold.
//!
//! Decoding is strict: what is not well formed is `None`, never read as something else, and never repaired with
//! U+FFFD (two different names would then be the same). One pass only: what decoding brings forth is not decoded
//! again.

use std::borrow::Cow;

use super::{list, path};

/// UTF-8 (RFC 3629): overlong forms, surrogates and cut sequences are refused.
pub fn utf8(bytes: &[u8]) -> Option<Cow<'_, str>> {
    std::str::from_utf8(bytes).ok().map(Cow::Borrowed)
}

/// ISO-8859-1: each byte is the character of the same number.
pub fn latin1(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Cow::Borrowed(text),
        _ => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
    }
}

/// Percent triplets (RFC 3986, section 2.1) of UTF-8. A percent sign without two hex digits is refused.
///
/// # Example
///
/// ```
/// use tower_proxied::wire::text::percent;
///
/// assert_eq!(percent(b"Andr%C3%A9").as_deref(), Some("André"));
/// assert_eq!(percent(b"al%2561ce").as_deref(), Some("al%61ce"));
/// assert_eq!(percent(b"100%"), None);
/// ```
pub fn percent(bytes: &[u8]) -> Option<Cow<'_, str>> {
    match percent_bytes(bytes)? {
        Cow::Borrowed(bytes) => utf8(bytes),
        Cow::Owned(bytes) => owned_utf8(bytes),
    }
}

/// The same, of any bytes.
pub(crate) fn percent_bytes(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    if bytes.contains(&b'%') {
        escapes(bytes, b'%', |byte| byte).map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(bytes))
    }
}

/// Encoded words (RFC 2047): `=?charset?q?…?=` and `=?charset?b?…?=`, of UTF-8, US-ASCII or ISO-8859-1, among
/// plain UTF-8 text. Blanks between two encoded words go (section 6.2). An encoded word stands alone between
/// blanks (section 5); a `=?` that begins none is refused.
///
/// # Example
///
/// ```
/// use tower_proxied::wire::text::encoded_words;
///
/// assert_eq!(encoded_words(b"=?utf-8?q?Kr=C5=AB?= =?utf-8?q?mi=C5=86a?=").as_deref(), Some("Krūmiņa"));
/// assert_eq!(encoded_words(b"Some One").as_deref(), Some("Some One"));
/// assert_eq!(encoded_words(b"=?utf-8?q?broken"), None);
/// ```
pub fn encoded_words(bytes: &[u8]) -> Option<Cow<'_, str>> {
    if !bytes.windows(2).any(|pair| pair == b"=?") {
        return utf8(bytes);
    }
    let mut text = String::new();
    let mut blanks: &[u8] = b"";
    let mut is_after_word = false;
    let mut rest = bytes;
    while !rest.is_empty() {
        let (token, after) = split_where(rest, |byte| matches!(byte, b' ' | b'\t'));
        let word = encoded_word(token)?;
        if !(is_after_word && word.is_some()) {
            text.push_str(std::str::from_utf8(blanks).ok()?);
        }
        match &word {
            Some(word) => text.push_str(word),
            None => text.push_str(std::str::from_utf8(token).ok()?),
        }
        is_after_word = word.is_some();
        (blanks, rest) = split_where(after, |byte| !matches!(byte, b' ' | b'\t'));
    }
    text.push_str(std::str::from_utf8(blanks).ok()?);
    Some(Cow::Owned(text))
}

/// Whether a character is a control (Unicode general category Cc) or a format character (Cf, Unicode 15): it has
/// no shape of its own, so that two texts may look alike and differ (`admin` and `admin` with U+200B).
///
/// # Example
///
/// ```
/// use tower_proxied::wire::text::is_invisible;
///
/// assert!(is_invisible('\0') && is_invisible('\u{200b}') && is_invisible('\u{202e}'));
/// assert!(!is_invisible('é') && !is_invisible(' '));
/// ```
pub fn is_invisible(char: char) -> bool {
    char.is_control()
        || (!char.is_ascii() && FORMAT.iter().any(|(first, last)| (*first..=*last).contains(&char)))
}

const FORMAT: &[(char, char)] = &[
    ('\u{ad}', '\u{ad}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{2064}'),
    ('\u{2066}', '\u{206f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0001}', '\u{e0001}'),
    ('\u{e0020}', '\u{e007f}'),
];

/// The reverse of [`percent`]: everything but letters, digits and `-._~@` is a triplet.
pub fn to_percent(text: &str) -> String {
    to_escapes(text.bytes(), b'%', |byte| byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte))
}

/// The reverse of [`percent`] where the text becomes part of a field name, whose letters lose their case: everything
/// but lower-case letters, digits, `-` and `.` is a triplet, `_` too, which servers drop or take for `-`.
pub(crate) fn to_percent_name(text: &str) -> String {
    to_escapes(text.bytes(), b'%', |byte| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte)
    })
}

/// The reverse of [`encoded_words`]: plain where the text is ASCII and holds no `=?`, else words of at most 75
/// characters (RFC 2047, section 2), none of which cuts a character.
pub fn to_encoded_words(text: &str) -> String {
    if text.is_ascii() && !text.contains("=?") {
        return text.to_owned();
    }
    const MAX_ESCAPED: usize = 75 - "=?utf-8?q??=".len();
    let mut words = Vec::new();
    let mut word = String::new();
    for char in text.chars() {
        let mut buffer = [0; 4];
        let bytes = char.encode_utf8(&mut buffer).bytes();
        let escaped =
            to_escapes(bytes, b'=', |byte| byte.is_ascii_alphanumeric() || b"-.@!*+/".contains(&byte));
        if word.len().saturating_add(escaped.len()) > MAX_ESCAPED {
            words.push(std::mem::take(&mut word));
        }
        word.push_str(&escaped);
    }
    words.push(word);
    let words: Vec<String> = words.iter().map(|word| format!("=?utf-8?q?{word}?=")).collect();
    words.join(" ")
}

/// `Some(None)` is a token that is plain text, `None` one that only begins like an encoded word.
fn encoded_word(token: &[u8]) -> Option<Option<Cow<'_, str>>> {
    if !token.windows(2).any(|pair| pair == b"=?") {
        return Some(None);
    }
    let inner = token.strip_prefix(b"=?")?.strip_suffix(b"?=")?;
    let mut parts = inner.split(|byte| *byte == b'?');
    let (charset, encoding, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !encoded.is_ascii() {
        return None;
    }
    let bytes = match encoding {
        b"q" | b"Q" => escapes(encoded, b'=', |byte| if byte == b'_' { b' ' } else { byte })?,
        b"b" | b"B" => base64(encoded)?,
        _ => return None,
    };
    let text = match charset {
        utf8 if utf8.eq_ignore_ascii_case(b"utf-8") => owned_utf8(bytes)?,
        ascii if ascii.eq_ignore_ascii_case(b"us-ascii") && bytes.is_ascii() => owned_utf8(bytes)?,
        western if western.eq_ignore_ascii_case(b"iso-8859-1") => Cow::Owned(latin1(&bytes).into_owned()),
        _ => return None,
    };
    Some(Some(text))
}

/// Base64 with its padding (RFC 4648, section 4); bits that no byte needs must be zero (section 3.5).
fn base64(encoded: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| -> Option<u32> {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        DIGITS.iter().position(|digit| *digit == byte)?.try_into().ok()
    };
    let digits = list::trim(encoded);
    let padding = digits.iter().rev().take_while(|byte| **byte == b'=').count();
    let (groups, rest) = digits.as_chunks::<4>();
    if padding > 2 || !rest.is_empty() {
        return None;
    }
    let mut bytes = Vec::new();
    let mut left = digits.len().checked_sub(padding)?;
    for group in groups {
        let used = left.min(4);
        left = left.saturating_sub(4);
        let bits = group.iter().take(used).try_fold(0_u32, |bits, byte| Some((bits << 6) | digit(*byte)?))?;
        let [_, first, second, third] = match used {
            4 => bits,
            3 => bits << 6,
            2 => bits << 12,
            _ => return None,
        }
        .to_be_bytes();
        let (whole, spare): (&[u8], &[u8]) = match used {
            4 => (&[first, second, third], &[]),
            3 => (&[first, second], &[third]),
            _ => (&[first], &[second, third]),
        };
        if spare.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(whole);
    }
    Some(bytes)
}

/// Decodes `mark` and two hex digits; `plain` maps all other bytes.
fn escapes(bytes: &[u8], mark: u8, plain: impl Fn(u8) -> u8) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        if *first == mark {
            let (hex, after) = after.split_at_checked(2)?;
            decoded.push(path::triplet(hex)?);
            rest = after;
        } else {
            decoded.push(plain(*first));
            rest = after;
        }
    }
    Some(decoded)
}

fn to_escapes(bytes: impl Iterator<Item = u8>, mark: u8, is_plain: impl Fn(u8) -> bool) -> String {
    let mut escaped = String::new();
    for byte in bytes {
        if is_plain(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push(char::from(mark));
            escaped.extend(path::hex_digits(byte));
        }
    }
    escaped
}

fn owned_utf8<'a>(bytes: Vec<u8>) -> Option<Cow<'a, str>> {
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn split_where(bytes: &[u8], is_end: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let at = bytes.iter().position(|byte| is_end(*byte)).unwrap_or(bytes.len());
    bytes.split_at_checked(at).unwrap_or((bytes, b""))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn percent_reads_what_it_wrote(text in any::<String>()) {
            let written = to_percent(&text);
            prop_assert_eq!(percent(written.as_bytes()), Some(Cow::Borrowed(&*text)));
        }

        #[test]
        fn a_field_name_carries_any_text(text in any::<String>()) {
            let name = http::HeaderName::try_from(format!("x-{}", to_percent_name(&text))).unwrap();
            prop_assert_eq!(percent(&name.as_str().as_bytes()[2..]), Some(Cow::Borrowed(&*text)));
        }

        #[test]
        fn encoded_words_read_what_they_wrote(text in any::<String>()) {
            let written = to_encoded_words(&text);
            prop_assert_eq!(encoded_words(written.as_bytes()), Some(Cow::Borrowed(&*text)));
        }

        #[test]
        fn base64_is_the_one_of_the_crate(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let written = base64::engine::general_purpose::STANDARD.encode(&bytes);
            prop_assert_eq!(base64(written.as_bytes()), Some(bytes));
        }

        #[test]
        fn base64_refuses_what_the_crate_refuses(text in "[AQg/+=]{0,12}") {
            let theirs = base64::engine::general_purpose::STANDARD.decode(&text).ok();
            prop_assert_eq!(base64(text.as_bytes()), theirs);
        }

        #[test]
        fn nothing_panics(bytes in any::<Vec<u8>>()) {
            let _ = (utf8(&bytes), latin1(&bytes), percent(&bytes), encoded_words(&bytes));
        }
    }

    #[test]
    fn refused() {
        for text in ["%", "a%2", "%zz", "%C3", "%c0%af"] {
            assert_eq!(percent(text.as_bytes()), None, "{text}");
        }
        assert_eq!(encoded_words(b"=?iso-8859-1?q?Andr\xe9?="), None);
        for text in [
            "=?",
            "=?utf-8?q?André?=",
            "=?utf-8?q?x",
            "=?utf-8?q?=C3?=",
            "=?utf-8?x?x?=",
            "=?koi8-r?q?x?=",
            "=?us-ascii?q?=C3=A9?=",
            "a=?utf-8?q?x?=",
            "=?utf-8?q?x?=a",
            "=?utf-8?b?YQ?=",
        ] {
            assert_eq!(encoded_words(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn encoded_words_among_text() {
        let decoded = |text: &str| encoded_words(text.as_bytes()).map(Cow::into_owned);
        assert_eq!(decoded("Mr  =?UTF-8?Q?A_B?=  x").as_deref(), Some("Mr  A B  x"));
        assert_eq!(decoded("=?iso-8859-1?q?Andr=E9?=").as_deref(), Some("André"));
        assert_eq!(decoded("=?utf-8?b?QW5kcsOp?=").as_deref(), Some("André"));
    }

    #[test]
    fn long_text_is_cut_into_short_words() {
        let written = to_encoded_words(&"ņ".repeat(40));
        assert!(written.split(' ').count() > 1);
        assert!(written.split(' ').all(|word| word.len() <= 75), "{written}");
    }

    #[test]
    fn latin1_is_bytewise() {
        assert_eq!(latin1(b"Andr\xe9"), "André");
    }
}
