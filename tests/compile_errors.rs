//! Where the compiler refuses a stack, it says in the crate's own words what to do.

#[path = "compile_fail/checked.rs"]
mod checked;

/// Whether the error of the program holds all of these, whose wording is the crate's and not the compiler's.
#[track_caller]
fn tells(seen: &checked::Seen, program: &str, fixes: &[&str]) {
    let text = &seen.texts[program];
    for fix in fixes {
        assert!(text.contains(fix), "{fix:?} is not in\n{text}");
    }
}

#[test]
fn each_says_what_to_do() {
    let seen = checked::seen(false);
    let of_bytes = ["is not a `Body<Data = Bytes>`", "http_body_util::Full", "it is `ForceHttpsBody`"];
    for program in ["body_of_slices_below_force_https", "body_of_slices_behind_proxy", "no_body_at_all"] {
        tells(&seen, program, &of_bytes);
        assert!(!seen.texts[program].contains("E0271"), "{}", seen.texts[program]);
    }
    tells(&seen, "member_that_is_no_clone", &["cannot be a member of this pool", "tower::buffer::Buffer"]);
    assert_eq!(seen.errors, checked::marked(false));
}
