//! Values that the source code of an application holds.

use std::fmt::Display;

/// For `from_static` functions, which panic as http's do.
#[expect(clippy::panic, reason = "for literals, as http's from_static")]
#[track_caller]
pub(crate) fn literal<T, E: Display>(parsed: Result<T, E>) -> T {
    match parsed {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
