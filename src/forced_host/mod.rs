//! PLACEHOLDER docs.

mod public_url;

pub use self::public_url::PublicUrl;
