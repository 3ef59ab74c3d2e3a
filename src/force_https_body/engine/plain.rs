//! What can be passed over without a look at each token.

use memchr::memchr;

use super::find::find;
use super::name::Name;
use super::rewriter::content_of;
use super::tokenizer::{Content, Syntax, Tag};

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
        let Some(text) = find(b'<', rest) else { return bytes.len() };
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

/// What follows the tag that `bytes` begin with, or the style sheet. `None` for all that is not a whole tag.
fn behind_tag(bytes: &[u8], syntax: Syntax) -> Option<&[u8]> {
    let tag = Tag::read(bytes)?;
    let after = tag.after()?;
    if tag.is_end_tag || !is_special(tag.name) {
        return Some(after);
    }
    let is_style = syntax == Syntax::Html && tag.name.eq_ignore_ascii_case(b"style");
    if is_style { behind_style(after) } else { None }
}

fn behind_style(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = text.get(memchr(b'<', text)?..)?;
        // The name of an end tag ends before the next one.
        match text.starts_with(b"</").then(|| Tag::read(text)).flatten() {
            Some(tag) if tag.name.eq_ignore_ascii_case(b"style") => return tag.after(),
            _ => text = text.get(1..)?,
        }
    }
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
