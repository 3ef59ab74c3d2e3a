/// The name of an element or attribute, in lower case. Longer ones than any that matters are known by their start and
/// their end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Name {
    bytes: [u8; Self::CAPACITY],
    len: usize,
}

impl Name {
    const CAPACITY: usize = 28;
    /// Of a name that does not fit, where the last bytes stand.
    const END: usize = Self::CAPACITY - 6;

    pub(super) fn of(text: &[u8]) -> Self {
        let mut name = Self::default();
        name.extend(text);
        name
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) fn extend(&mut self, text: &[u8]) {
        let free = self.bytes.get_mut(self.len..).unwrap_or_default();
        let beyond = text.get(free.len()..).unwrap_or_default();
        for (slot, byte) in free.iter_mut().zip(text) {
            *slot = byte.to_ascii_lowercase();
        }
        self.len = self.len.saturating_add(text.len());
        let end = self.bytes.get_mut(Self::END..).unwrap_or_default();
        for byte in beyond.get(beyond.len().saturating_sub(end.len())..).unwrap_or_default() {
            end.rotate_left(1);
            if let Some(last) = end.last_mut() {
                *last = byte.to_ascii_lowercase();
            }
        }
    }

    pub(super) fn push(&mut self, byte: u8) {
        self.extend(&[byte]);
    }

    /// The whole name; empty where it did not fit, since no name that matters is so long.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(super) fn starts_with(&self, start: &[u8]) -> bool {
        self.kept().starts_with(start)
    }

    /// Up to six bytes.
    pub(super) fn ends_with(&self, end: &[u8]) -> bool {
        self.kept().ends_with(end)
    }

    pub(super) fn is(&self, text: &[u8]) -> bool {
        self.as_bytes() == text
    }

    /// Tells names apart (FNV-1a), those that do not fit by what is kept of them, and their length.
    pub(super) fn hash(&self) -> u32 {
        hash(self.kept()) ^ u32::try_from(self.len.saturating_sub(Self::CAPACITY)).unwrap_or(u32::MAX)
    }

    /// For reports: of a name that does not fit, or is no UTF-8, what comes before.
    pub(super) fn as_str(&self) -> &str {
        let start = if self.len > Self::CAPACITY { Self::END } else { self.len };
        let start = self.bytes.get(..start).unwrap_or_default();
        start.utf8_chunks().next().map_or("", |chunk| chunk.valid())
    }

    fn kept(&self) -> &[u8] {
        self.bytes.get(..self.len.min(Self::CAPACITY)).unwrap_or_default()
    }
}

/// Of a name that fits, in lower case.
pub(super) const fn hash(mut name: &[u8]) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    while let [byte, rest @ ..] = name {
        hash = (hash ^ *byte as u32).wrapping_mul(0x0100_0193);
        name = rest;
    }
    hash
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_known_by_its_start_and_its_end(text in "[a-cA-C]{0,70}", cut in 0_usize..71, end in "[a-c]{0,6}") {
            let (before, after) = text.split_at(cut.min(text.len()));
            let mut name = Name::of(before.as_bytes());
            name.extend(after.as_bytes());
            let lower = text.to_ascii_lowercase();
            let fits = text.len() <= Name::CAPACITY;
            prop_assert_eq!(name.as_bytes(), if fits { lower.as_bytes() } else { b"" });
            prop_assert_eq!(name.as_str(), if fits { &lower } else { &lower[..Name::END] });
            prop_assert_eq!(name.ends_with(end.as_bytes()), lower.ends_with(&end));
            prop_assert!(name.ends_with(&lower.as_bytes()[lower.len().saturating_sub(6)..]));
            prop_assert!(name.starts_with(lower.get(..Name::END).unwrap_or(&lower).as_bytes()));
        }
    }

    #[test]
    fn of_a_name_in_another_encoding_the_start_is_told() {
        assert_eq!(Name::of(b"data-\xe9t\xe9").as_str(), "data-");
        assert_eq!(
            Name::of("data-flickity-lazyload\u{e9}".repeat(2).as_bytes()).as_str(),
            "data-flickity-lazyload"
        );
        assert_eq!(
            Name::of("a-bcdefghijklmnopqrst\u{e9}uvwxyzabc".as_bytes()).as_str(),
            "a-bcdefghijklmnopqrst"
        );
    }
}
