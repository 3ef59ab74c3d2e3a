//! Where a URL may begin that changes: all other bytes are passed on as they are.

/// Where the first `http` stands that may be the scheme of a URL that changes. Its letters are as such or are none; the
/// `:` may also be a character reference, or escaped in CSS, and so may the slash behind it.
pub(super) fn scheme_at(bytes: &[u8]) -> Option<usize> {
    let mut at = 0_usize;
    while let Some(window) = bytes.get(at..).and_then(|rest| rest.first_chunk::<{ BLOCK + SCHEME - 1 }>()) {
        if may_hold_scheme(window)
            && holds_scheme(window)
            && let Some(found) = look_for_scheme(window)
        {
            return at.checked_add(found);
        }
        at = at.saturating_add(BLOCK);
    }
    let rest = bytes.get(at..)?;
    // What follows the last `:` is not known.
    let last = || rest.len().checked_sub(SCHEME - 1).filter(|last| rest.get(*last..).is_some_and(is_scheme));
    look_for_scheme(rest).or_else(last).and_then(|found| at.checked_add(found))
}

/// How many bytes there are from the first [`scheme_at`] on.
pub(super) fn from_scheme(bytes: &[u8]) -> usize {
    scheme_at(bytes).map_or(0, |at| bytes.len().saturating_sub(at))
}

/// Whether the last bytes may begin a scheme that goes on in the next piece.
pub(super) fn may_end_in_scheme(bytes: &[u8]) -> bool {
    let letters = b"http";
    (1..=letters.len()).any(|len| {
        let (Some(start), Some(last)) = (letters.get(..len), bytes.len().checked_sub(len)) else {
            return false;
        };
        bytes.get(last..).is_some_and(|last| last.eq_ignore_ascii_case(start))
    })
}

/// With the two bytes that follow it.
const SCHEME: usize = 6;

/// How many places are looked at together.
const BLOCK: usize = 64;

fn look_for_scheme(bytes: &[u8]) -> Option<usize> {
    bytes.windows(SCHEME).position(is_scheme)
}

/// Only a slash makes it a URL that changes, and what a URL parser drops may stand before it.
fn is_scheme(bytes: &[u8]) -> bool {
    let Some((letters, behind)) = bytes.split_first_chunk::<4>() else { return false };
    let may_be_scheme = match behind {
        [b':', next, ..] => matches!(next, b'/' | b'\\' | b'&' | b'\t' | b'\n' | b'\r'),
        [b':' | b'&' | b'\\', ..] => true,
        _ => false,
    };
    may_be_scheme && letters.eq_ignore_ascii_case(b"http")
}

/// Whether a `tp` is in it that no small letter follows. Without a branch inside of the block: it becomes vector code.
#[inline(always)]
fn may_hold_scheme(window: &[u8; BLOCK + SCHEME - 1]) -> bool {
    let [_, _, thirds, fourths, fifths, _] = each_byte(window);
    let each = thirds.iter().zip(fourths).zip(fifths);
    each.fold(0, |any, ((third, fourth), fifth)| {
        let is_tp = ((third ^ b't') | (fourth ^ b'p')) & !0x20 == 0;
        any | u8::from(is_tp & (fifth.cast_signed() < 0x60))
    }) != 0
}

/// As [`is_scheme`], of all places at once, for what has much of `http`, and few schemes.
fn holds_scheme(window: &[u8; BLOCK + SCHEME - 1]) -> bool {
    let [firsts, seconds, thirds, fourths, fifths, sixths] = each_byte(window);
    let each = firsts.iter().zip(seconds).zip(thirds).zip(fourths).zip(fifths).zip(sixths);
    each.fold(0, |any, (((((first, second), third), fourth), fifth), sixth)| {
        let letters = (first ^ b'h') | (second ^ b't') | (third ^ b't') | (fourth ^ b'p');
        let is_slash = b"/\\&\t\n\r".iter().fold(false, |any, byte| any | (sixth == byte));
        let is_scheme = ((*fifth == b':') & is_slash) | (*fifth == b'&') | (*fifth == b'\\');
        any | u8::from((letters & !0x20 == 0) & is_scheme)
    }) != 0
}

/// The first bytes of all places in the block, the second ones, and so on.
#[inline(always)]
fn each_byte(window: &[u8; BLOCK + SCHEME - 1]) -> [&[u8; BLOCK]; SCHEME] {
    [0, 1, 2, 3, 4, 5].map(|at| window.get(at..).and_then(|bytes| bytes.first_chunk()).unwrap_or(&[0; BLOCK]))
}
