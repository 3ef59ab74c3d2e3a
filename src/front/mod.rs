//! The front end's side: what it tells the application servers.
//!
//! [`SetRemoteUserLayer`] says who is logged in.

mod set_remote_user;

pub use self::set_remote_user::{SetRemoteUser, SetRemoteUserLayer};
