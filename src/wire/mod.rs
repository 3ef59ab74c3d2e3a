//! Parsers for what proxies write: bytes in, borrowed slices out.
//!
//! They know nothing of the layers above them, allocate nothing unless they say so, and never panic.

#[cfg(feature = "sticky-route")]
pub mod cookie;
pub mod forwarded;
pub mod host;
pub mod link;
pub mod list;
pub mod name;
pub mod node;
pub mod path;
pub mod reference;
pub mod refresh;
pub mod set_cookie;
mod short_text;
pub mod text;
pub mod uri_parts;
