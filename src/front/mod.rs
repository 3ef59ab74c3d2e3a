//! PLACEHOLDER docs.

mod set_remote_user;

pub use self::set_remote_user::{SetRemoteUser, SetRemoteUserLayer};
