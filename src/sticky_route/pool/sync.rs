//! What the state of a member stands on. A model checker (tests/models) puts its own in its place.

pub(super) use std::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};

pub(super) use tokio::sync::Notify;

pub(super) use super::pick::random;
