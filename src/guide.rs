//! For those who know it from elsewhere: what is what here, each with a proof that runs.

#[doc = include_str!("../docs/django.md")]
pub mod django {}

#[doc = include_str!("../docs/apache.md")]
pub mod apache {}

#[doc = include_str!("../docs/real_peers.md")]
pub mod real_peers {}
