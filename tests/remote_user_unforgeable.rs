//! Nobody but the layer makes a `RemoteUser`: the programs of `tests/compile_fail` do not compile.
//!
//! What is compared is the line and the code of each error (`//~ E0451`), as `--message-format=json` gives them:
//! compilers word their messages anew, and keep the codes.

#[path = "compile_fail/checked.rs"]
mod checked;

use checked::{marked, seen};

#[test]
fn an_application_cannot_forge_a_user() {
    let seen = seen(false).errors;
    assert_eq!(seen, marked(false));
    assert!(seen["compiles"].is_empty());
    assert_eq!(seen.values().filter(|errors| errors.is_empty()).count(), 1, "all others fail");
}

#[test]
fn test_util_adds_the_constructor_for_tests_and_nothing_else() {
    let seen = seen(true).errors;
    assert_eq!(seen, marked(true));
    assert!(seen["compiles"].is_empty() && seen["user_for_test"].is_empty());
}
