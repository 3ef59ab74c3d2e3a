use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Text that owns what is short, and shares what is long: hosts and prefixes of requests cost no allocation.
#[derive(Clone)]
pub(crate) enum ShortText {
    Inline { length: u8, bytes: [u8; Self::INLINE] },
    Shared(Arc<str>),
}

impl ShortText {
    /// Longer texts are shared.
    pub(crate) const INLINE: usize = 62;

    pub(crate) fn new(text: &str) -> Self {
        let mut bytes = [0; Self::INLINE];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(start), Ok(length)) => {
                start.copy_from_slice(text.as_bytes());
                Self::Inline { length, bytes }
            }
            _ => Self::Shared(text.into()),
        }
    }

    /// One text and then the other.
    pub(crate) fn concat(first: &str, second: &str) -> Self {
        let mut bytes = [0; Self::INLINE];
        let length = first.len().saturating_add(second.len());
        let halves = bytes.get_mut(..length).and_then(|bytes| bytes.split_at_mut_checked(first.len()));
        match (halves, u8::try_from(length)) {
            (Some((start, end)), Ok(length)) => {
                start.copy_from_slice(first.as_bytes());
                end.copy_from_slice(second.as_bytes());
                Self::Inline { length, bytes }
            }
            _ => Self::Shared([first, second].concat().into()),
        }
    }

    /// ASCII letters in lower case.
    pub(crate) fn lower_case(text: &str) -> Self {
        match Self::new(text) {
            Self::Inline { length, mut bytes } => {
                bytes.make_ascii_lowercase();
                Self::Inline { length, bytes }
            }
            Self::Shared(_) => Self::Shared(text.to_ascii_lowercase().into()),
        }
    }
}

impl Deref for ShortText {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            // What was put in was text.
            Self::Inline { length, bytes } => bytes
                .get(..usize::from(*length))
                .and_then(|text| std::str::from_utf8(text).ok())
                .unwrap_or_default(),
            Self::Shared(text) => text,
        }
    }
}

impl fmt::Debug for ShortText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl PartialEq for ShortText {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for ShortText {}

impl std::hash::Hash for ShortText {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_texts_come_back() {
        for length in [0, 1, 61, 62, 63, 255, 256, 600] {
            let text = "\u{e9}A".repeat(length).chars().take(length).collect::<String>();
            assert_eq!(*ShortText::new(&text), *text, "{length}");
            assert_eq!(*ShortText::lower_case(&text), *text.to_ascii_lowercase(), "{length}");
            assert_eq!(*ShortText::concat(&text, "/b"), *format!("{text}/b"), "{length}");
        }
        assert!(matches!(ShortText::new(&"a".repeat(62)), ShortText::Inline { .. }));
        assert!(matches!(ShortText::new(&"a".repeat(63)), ShortText::Shared(_)));
    }
}
