use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[derive(Clone, Debug, PartialEq)]
struct Account(String);

fn mapping() -> ProxyRemoteUserBuilder {
    builder().map_user(|user: &RemoteUser| match user.name() {
        "down" => Err(Denied::Unavailable),
        name if name.starts_with('a') => Ok(Account(name.to_uppercase())),
        _ => Err(Denied::Forbidden),
    })
}

/// With an account of somebody else, as an earlier run may have left it.
fn stale(peer: &str, lines: &[(&str, &[u8])]) -> request::Parts {
    let mut parts = parts(peer, lines);
    parts.extensions.insert(Account("STALE".to_owned()));
    parts
}

#[test]
fn a_user_has_an_account_and_a_stale_one_is_nobodys() {
    let config = config(mapping());
    for (peer, user, expected, account) in [
        (PROXY, "alice", "alice", Some("ALICE")),
        (PROXY, "", "Absent", None),
        (STRANGER, "alice", "Unproven", None),
        (PROXY, "mallory", "UserDenied", None),
        (PROXY, "down", "UserUnavailable", None),
        (PROXY, "a,b", "IdentityMalformed", None),
    ] {
        let mut parts = stale(peer, &[("remote-user", user.as_bytes())]);
        assert_eq!(outcome(&config, &mut parts), expected, "{user}");
        let seen = parts.extensions.get::<Account>().map(|account| &*account.0);
        assert_eq!(seen, account, "{user}");
    }
}

#[test]
fn an_exempt_path_is_not_refused_and_has_no_account() {
    let config = config(mapping().keep(USER).forward_canonical().exempt_path("/healthz"));
    for user in ["mallory", "down"] {
        let mut parts = stale(PROXY, &[("remote-user", user.as_bytes())]);
        parts.uri = "/healthz".parse().unwrap();
        assert_eq!(outcome(&config, &mut parts), "Exempt", "{user}");
        assert!(parts.extensions.get::<Account>().is_none() && parts.headers.is_empty(), "{user}");
    }
}

/// Refused for the headers, the user is not shown to the function; a user who cannot be written has no account.
#[test]
fn the_function_sees_whole_users_alone() {
    let is_called = Arc::new(AtomicBool::new(false));
    let own = Arc::clone(&is_called);
    let config = config(
        builder().encoding(Encoding::Rfc2047).forward_canonical().exempt_path("/x").map_user(move |_| {
            own.store(true, Ordering::Relaxed);
            Ok(Account(String::new()))
        }),
    );
    let mut parts = stale(PROXY, &[("remote-user", b"=?utf-8?q?a=2Cb?=")]);
    parts.uri = "/x".parse().unwrap();
    assert_eq!(outcome(&config, &mut parts), "Exempt");
    assert!(parts.extensions.get::<Account>().is_none());
    assert!(!is_called.load(Ordering::Relaxed));
}

#[test]
fn a_denial_says_which() {
    let config = config(mapping());
    for (user, status, sentence) in [
        (&b"mallory"[..], 403, "the application does not accept this user"),
        (b"down", 503, "the application cannot tell now"),
    ] {
        let refusal = config.on_request(&mut parts(PROXY, &[("remote-user", user)])).unwrap_err();
        assert_eq!(refusal.status(), status);
        assert!(refusal.to_string().starts_with(sentence), "{refusal}");
    }
}

/// A disabled layer knows no type to forget.
#[test]
fn a_disabled_layer_leaves_an_account() {
    let mut parts = stale(STRANGER, &[("remote-user", b"alice")]);
    Config::when_disabled(&mut parts);
    assert!(parts.extensions.get::<Account>().is_some());
}
