//! Parsers for what proxies write: bytes in, borrowed slices out.
//!
//! They know nothing of the layers above them, allocate nothing unless they say so, and never panic.

#[cfg(feature = "sticky-route")]
pub mod cookie;
pub mod dot_segments;
pub mod forwarded;
pub mod host;
pub mod link;
pub mod list;
pub mod name;
mod name_set;
pub mod node;
#[cfg(feature = "sticky-route")]
pub mod parameter;
pub mod path;
pub mod reference;
pub mod refresh;
pub mod set_cookie;
mod short_bytes;
mod short_text;
pub mod text;

pub(crate) use self::short_bytes::ShortBytes;
pub(crate) use self::short_text::ShortText;

/// What stands before and behind the first `mark`.
pub(crate) fn cut(bytes: &[u8], mark: u8) -> (&[u8], Option<&[u8]>) {
    match bytes.iter().position(|byte| *byte == mark).and_then(|at| bytes.split_at_checked(at)) {
        Some((before, behind)) => (before, behind.get(1..)),
        None => (bytes, None),
    }
}
