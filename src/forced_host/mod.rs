//! PLACEHOLDER docs.

mod public_url;
mod reference;

pub use self::public_url::{Origin, PublicUrl, PublicUrlError};
pub use self::reference::ReferenceError;
