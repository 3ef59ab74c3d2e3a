//! What can be passed over without a look at each token.

use memchr::memchr;

use super::name::Name;
use super::rewriter::content_of;
use super::tokenizer::{Content, Syntax};

/// Where the first `http` stands that may be the scheme of a URL. Its letters are as such or are none; the `:` may
/// also be a character reference, or escaped in CSS.
pub(super) fn scheme_at(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 64;
    let mut at = 0_usize;
    while let Some(window) = bytes.get(at..).and_then(|rest| rest.first_chunk::<{ BLOCK + SCHEME - 1 }>()) {
        if may_hold_scheme::<BLOCK>(window)
            && let Some(found) = look_for_scheme(window)
        {
            return at.checked_add(found);
        }
        at = at.saturating_add(BLOCK);
    }
    look_for_scheme(bytes.get(at..)?).and_then(|found| at.checked_add(found))
}

/// How many bytes, from between two tags on, are text and whole tags that mean nothing to URLs: no attribute can
/// hold one that changes, and what follows is markup of HTML again. There must be no [`scheme_at`] in `bytes`.
pub(super) fn plain(bytes: &[u8], syntax: Syntax) -> usize {
    let mut at = 0_usize;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(text) = memchr(b'<', rest) else { return bytes.len() };
        at = at.saturating_add(text);
        let Some(after) = rest.get(text..).and_then(|rest| behind_tag(rest, syntax)) else { return at };
        at = bytes.len().saturating_sub(after.len());
    }
}

/// With what follows it.
const SCHEME: usize = 5;

fn look_for_scheme(bytes: &[u8]) -> Option<usize> {
    bytes.windows(SCHEME).position(|window| match window {
        [letters @ .., b':' | b'&' | b'\\'] => letters.eq_ignore_ascii_case(b"http"),
        _ => false,
    })
}

/// Whether a `tp` is in it that no small letter follows. Without a branch inside of the block: it becomes vector code.
fn may_hold_scheme<const BLOCK: usize>(window: &[u8]) -> bool {
    let from = |at: usize| window.get(at..).and_then(|bytes| bytes.first_chunk::<BLOCK>());
    let (Some(thirds), Some(fourths), Some(fifths)) = (from(2), from(3), from(4)) else { return true };
    let each = thirds.iter().zip(fourths).zip(fifths);
    each.fold(0, |any, ((third, fourth), fifth)| {
        let is_tp = ((third ^ b't') | (fourth ^ b'p')) & !0x20 == 0;
        any | u8::from(is_tp & (fifth.cast_signed() < 0x60))
    }) != 0
}

/// What follows the tag that `bytes` begin with. `None` for all that is not a whole tag of the plainest kind.
fn behind_tag(bytes: &[u8], syntax: Syntax) -> Option<&[u8]> {
    let (second, rest) = bytes.get(1..)?.split_first()?;
    if *second == b'/' {
        let name = rest.first()?;
        return name.is_ascii_alphabetic().then(|| behind_attributes(behind_name(rest)?)).flatten();
    }
    if !second.is_ascii_alphabetic() {
        return None;
    }
    let tag = bytes.get(1..)?;
    let rest = behind_name(tag)?;
    let name = tag.get(..tag.len().saturating_sub(rest.len()))?;
    if !is_special(name) {
        return behind_attributes(rest);
    }
    let is_style = syntax == Syntax::Html && name.eq_ignore_ascii_case(b"style");
    if is_style { behind_style(behind_attributes(rest)?) } else { None }
}

/// What follows a name of an element.
fn behind_name(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(bytes.iter().position(|byte| ends_name(*byte))?..)
}

fn behind_attributes(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        match rest {
            [b'>', after @ ..] | [b'/', b'>', after @ ..] => return Some(after),
            [b' ' | b'\n' | b'\t' | b'\r' | b'\x0c', after @ ..] => rest = after,
            [b'/' | b'=' | b'"' | b'\'' | b'<', ..] => return None,
            _ => {
                let name = rest.iter().position(|byte| ends_name(*byte))?;
                rest = match rest.get(name..)? {
                    [b'=', quote @ (b'"' | b'\''), value @ ..] => {
                        value.get(memchr(*quote, value)?.checked_add(1)?..)?
                    }
                    [b'=', value @ ..] => behind_unquoted(value)?,
                    after => after,
                };
            }
        }
    }
}

fn behind_unquoted(value: &[u8]) -> Option<&[u8]> {
    match value.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'>')? {
        0 => None,
        end => value.get(end..),
    }
}

fn behind_style(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = text.get(memchr(b'<', text)?..)?;
        match text.get(1..)?.split_at_checked(6)? {
            (end, rest) if end.eq_ignore_ascii_case(b"/style") && ends_name(*rest.first()?) => {
                return behind_attributes(rest);
            }
            _ => text = text.get(1..)?,
        }
    }
}

/// In a name of an attribute quotes are letters too, and an `=` may be the first one: those are left to the tokenizer.
fn ends_name(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | b'\r' | b'\x0c' | b'/' | b'>' | b'=' | b'"' | b'\'' | b'<')
}

/// What the element holds is not just markup of HTML.
fn is_special(name: &[u8]) -> bool {
    // Most names are told by this.
    let may_be = matches!(
        (name.len(), name.first().map(u8::to_ascii_lowercase)),
        (3, Some(b's' | b'x'))
            | (4, Some(b'm'))
            | (5, Some(b's' | b't'))
            | (6, Some(b's' | b'i'))
            | (7, Some(b'n'))
            | (8, Some(b't' | b'n'))
            | (9, Some(b'p'))
    );
    may_be && {
        let name = Name::of(name);
        content_of(&name) != Content::Markup || matches!(name.as_bytes(), b"svg" | b"math")
    }
}
