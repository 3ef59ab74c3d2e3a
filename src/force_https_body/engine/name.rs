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

    /// For reports.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}
