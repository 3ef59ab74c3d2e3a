use std::fmt;

use crate::wire::ShortBytes;

/// Texts in one buffer. A few short ones cost no allocation.
#[derive(Clone)]
pub(super) struct TextList {
    bytes: ShortBytes<{ Self::INLINE }>,
    count: usize,
}

/// Stands behind each text, and in none: no UTF-8 holds this byte (RFC 3629, section 3).
const END: u8 = 0xff;

impl TextList {
    /// The most bytes that cost nothing, one more for each text included.
    const INLINE: usize = 124;

    pub(super) fn new() -> Self {
        Self { bytes: ShortBytes::new(), count: 0 }
    }

    pub(super) fn push(&mut self, text: &str) {
        self.bytes.push(text.as_bytes(), END);
        self.count = self.count.saturating_add(1);
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn iter(&self) -> Texts<'_> {
        Texts { bytes: &self.bytes, left: self.count }
    }
}

impl fmt::Debug for TextList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[derive(Clone)]
pub(super) struct Texts<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Texts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.left = self.left.checked_sub(1)?;
        let end = self.bytes.iter().position(|byte| *byte == END)?;
        let (text, rest) = self.bytes.split_at_checked(end)?;
        self.bytes = rest.get(1..).unwrap_or_default();
        // What was put in was text.
        Some(std::str::from_utf8(text).unwrap_or_default())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Texts<'_> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_come_back(texts in prop::collection::vec(any::<String>(), 0..12)) {
            let mut list = TextList::new();
            texts.iter().for_each(|text| list.push(text));
            prop_assert_eq!(list.len(), texts.len());
            prop_assert_eq!(list.iter().len(), texts.len());
            prop_assert_eq!(list.iter().collect::<Vec<_>>(), texts);
        }
    }
}
