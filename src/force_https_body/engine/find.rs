use memchr::{memchr, memchr2};

const ONES: u64 = u64::from_le_bytes([1; 8]);

/// As `memchr`, for what is mostly near: it looks at the first bytes without a call.
#[inline(always)]
pub(super) fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    let Some((near, far)) = bytes.split_first_chunk() else { return memchr(byte, bytes) };
    match equal(byte, u64::from_le_bytes(*near)) {
        0 => memchr(byte, far)?.checked_add(8),
        marks => first(marks),
    }
}

/// As `memchr2`, for what is mostly near.
#[inline(always)]
pub(super) fn find2(one: u8, other: u8, bytes: &[u8]) -> Option<usize> {
    let Some((near, far)) = bytes.split_first_chunk() else { return memchr2(one, other, bytes) };
    let near = u64::from_le_bytes(*near);
    match equal(one, near) | equal(other, near) {
        0 => memchr2(one, other, far)?.checked_add(8),
        marks => first(marks),
    }
}

/// Where the first byte stands that may end the name of a tag or attribute, if it is near.
#[inline(always)]
pub(super) fn find_end_of_near_name(bytes: &[u8]) -> Option<usize> {
    let near = u64::from_le_bytes(*bytes.first_chunk()?);
    let below = near.wrapping_sub(u64::from_le_bytes([b'0'; 8])) & !near & (ONES << 7);
    match below | equal(b'>', near) | equal(b'=', near) {
        0 => None,
        marks => first(marks),
    }
}

/// What follows the `>` that ends a tag without values, if it is near.
#[inline(always)]
pub(super) fn behind_near_end(bytes: &[u8]) -> Option<&[u8]> {
    let near = u64::from_le_bytes(*bytes.first_chunk()?);
    match (equal(b'>', near), equal(b'=', near)) {
        (0, _) => None,
        (end, 0) => bytes.get(first(end)?.checked_add(1)?..),
        _ => None,
    }
}

/// The lowest bit is that of the first byte which is equal; those above it say nothing.
fn equal(byte: u8, bytes: u64) -> u64 {
    let differences = bytes ^ u64::from_le_bytes([byte; 8]);
    differences.wrapping_sub(ONES) & !differences & (ONES << 7)
}

fn first(marks: u64) -> Option<usize> {
    usize::try_from(marks.trailing_zeros() >> 3).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_memchr_finds(bytes in prop::collection::vec(prop_oneof![0_u8..4, 0x7e_u8..0x83, any::<u8>()], 0..40), byte in prop_oneof![0_u8..4, 0x7e_u8..0x83]) {
            prop_assert_eq!(find(byte, &bytes), memchr(byte, &bytes));
            prop_assert_eq!(find2(byte, 0x80, &bytes), memchr2(byte, 0x80, &bytes));
        }

        #[test]
        fn finds_the_end_of_a_tag_without_values(tag in "[a='\u{be} ]{0,9}>?[a=>\u{be}]{0,9}") {
            let end = tag.split_once('>').filter(|(named, _)| !named.contains('='));
            if let Some(after) = behind_near_end(tag.as_bytes()) {
                prop_assert_eq!(end.map(|(_, after)| after.as_bytes()), Some(after));
            } else {
                prop_assert!(tag.len() < 8 || end.is_none_or(|(named, _)| named.len() > 7) || tag.as_bytes()[..8].contains(&b'='));
            }
        }
    }
}
