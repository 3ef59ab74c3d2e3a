//! PLACEHOLDER docs.
