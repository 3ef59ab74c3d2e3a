/// The name of an element or attribute, in lower case. Longer ones than any that matters are known by their start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Name {
    bytes: [u8; Self::CAPACITY],
    len: usize,
}

impl Name {
    const CAPACITY: usize = 28;

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
        for (slot, byte) in free.iter_mut().zip(text) {
            *slot = byte.to_ascii_lowercase();
        }
        self.len = self.len.saturating_add(text.len());
    }

    pub(super) fn push(&mut self, byte: u8) {
        self.extend(&[byte]);
    }

    /// The whole name; empty where it did not fit, since no name that matters is so long.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(super) fn starts_with(&self, start: &[u8]) -> bool {
        self.bytes.get(..self.len.min(Self::CAPACITY)).is_some_and(|bytes| bytes.starts_with(start))
    }

    pub(super) fn is(&self, text: &[u8]) -> bool {
        self.as_bytes() == text
    }

    /// Tells names apart (FNV-1a), those that are too long to be known by their start and their length.
    pub(super) fn hash(&self) -> u32 {
        let kept = self.bytes.get(..self.len.min(Self::CAPACITY)).unwrap_or_default();
        hash(kept) ^ u32::try_from(self.len.saturating_sub(Self::CAPACITY)).unwrap_or(u32::MAX)
    }

    /// For reports.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// Of a name that is not too long, in lower case.
pub(super) const fn hash(mut name: &[u8]) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    while let [byte, rest @ ..] = name {
        hash = (hash ^ *byte as u32).wrapping_mul(0x0100_0193);
        name = rest;
    }
    hash
}
