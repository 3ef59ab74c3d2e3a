use std::ops::Deref;

/// Bytes that grow, and allocate nothing as long as they are no more than `N`.
#[derive(Clone)]
pub(crate) enum ShortBytes<const N: usize> {
    Inline { used: u16, bytes: [u8; N] },
    Heap(Vec<u8>),
}

impl<const N: usize> ShortBytes<N> {
    pub(crate) fn new() -> Self {
        Self::Inline { used: 0, bytes: [0; N] }
    }

    /// Puts these behind the others, and then `end`.
    pub(crate) fn push(&mut self, more: &[u8], end: u8) {
        if let Self::Inline { used, bytes } = self {
            let free = bytes.get_mut(usize::from(*used)..).unwrap_or_default();
            let length =
                u16::try_from(more.len()).ok().and_then(|length| used.checked_add(length)?.checked_add(1));
            if let (Some(length), Some((place, [mark, ..]))) = (length, free.split_at_mut_checked(more.len()))
            {
                place.copy_from_slice(more);
                *mark = end;
                *used = length;
                return;
            }
            let mut bytes = Vec::with_capacity(self.len().saturating_add(more.len()).saturating_mul(2));
            bytes.extend_from_slice(self);
            *self = Self::Heap(bytes);
        }
        if let Self::Heap(bytes) = self {
            bytes.extend_from_slice(more);
            bytes.push(end);
        }
    }
}

impl<const N: usize> Deref for ShortBytes<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline { used, bytes } => bytes.get(..usize::from(*used)).unwrap_or_default(),
            Self::Heap(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn grows_as_a_vec_does(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9)) {
            let (mut short, mut long) = (ShortBytes::<16>::new(), Vec::new());
            for piece in &pieces {
                short.push(piece, b',');
                long.extend_from_slice(piece);
                long.push(b',');
                prop_assert_eq!(&*short, &*long);
                prop_assert_eq!(matches!(short, ShortBytes::Inline { .. }), long.len() <= 16);
            }
        }
    }
}
