use memchr::memchr;

/// As `memchr`, for what is mostly near: it looks at the first bytes without a call.
#[inline]
pub(super) fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    const ONES: u128 = u128::from_le_bytes([1; 16]);
    let Some((near, far)) = bytes.split_first_chunk() else { return memchr(byte, bytes) };
    let differences = u128::from_le_bytes(*near) ^ u128::from_le_bytes([byte; 16]);
    // The lowest bit is that of the first byte which does not differ.
    let zeros = differences.wrapping_sub(ONES) & !differences & (ONES << 7);
    match zeros {
        0 => memchr(byte, far)?.checked_add(near.len()),
        zeros => usize::try_from(zeros.trailing_zeros() >> 3).ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_memchr_finds(bytes in prop::collection::vec(prop_oneof![0_u8..4, 0x7e_u8..0x83, any::<u8>()], 0..40), byte in prop_oneof![0_u8..4, 0x7e_u8..0x83]) {
            prop_assert_eq!(find(byte, &bytes), memchr(byte, &bytes));
        }
    }
}
