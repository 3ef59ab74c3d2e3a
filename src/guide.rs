//! How to do things, what is what for those who know it from elsewhere, and what is held off: each with a proof that runs.

#[doc = include_str!("../docs/django.md")]
pub mod django {}

#[doc = include_str!("../docs/apache.md")]
pub mod apache {}

#[doc = include_str!("../docs/attacks.md")]
pub mod attacks {}
