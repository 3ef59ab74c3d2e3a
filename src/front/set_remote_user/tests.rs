use http::{HeaderValue, Request};

use super::*;
use crate::proxy_remote_user::{Anonymous, RemoteUser};

fn parts(user: Option<DetachedUser>) -> request::Parts {
    let mut request = Request::new(());
    for (name, value) in [
        ("remote-user", "admin"),
        ("remote_groups", "admins"),
        ("x-webauth-user", "admin"),
        ("x-secret", "guess"),
        ("connection", "close, Remote-User, x-secret"),
        ("accept", "*/*"),
    ] {
        request.headers_mut().append(name, HeaderValue::from_static(value));
    }
    if let Some(user) = user {
        request.extensions_mut().insert(user);
    }
    request.into_parts().0
}

fn secret() -> Secret {
    Secret::parse("correct-horse-battery").unwrap()
}

fn run(layer: SetRemoteUserLayer, mut parts: request::Parts) -> Result<Vec<String>, RefusalKind> {
    let config = layer.config.unwrap();
    config.on_request(&mut parts).map_err(|refusal| refusal.kind())?;
    let mut lines: Vec<String> = parts
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.as_bytes().escape_ascii()))
        .collect();
    lines.sort();
    Ok(lines)
}

#[test]
fn replaces_what_the_client_sent() {
    let layer =
        SetRemoteUserLayer::from_detached_user().shared_secret(HeaderName::from_static("x-secret"), secret());
    let user = DetachedUser::new("André").with_groups(["dev", "ops"]).with_display_name("A, B");
    assert_eq!(
        run(layer, parts(Some(user))).unwrap(),
        [
            "accept: */*",
            "connection: close",
            "remote-groups: dev,ops",
            "remote-name: A, B",
            "remote-user: =?utf-8?q?Andr=C3=A9?=",
            "x-secret: correct-horse-battery",
        ]
    );
}

#[test]
fn nobody_has_no_headers_but_the_secret() {
    for user in [None, Some(DetachedUser::new("").with_groups(["admins"]))] {
        let layer = SetRemoteUserLayer::from_detached_user()
            .shared_secret(HeaderName::from_static("x-secret"), secret());
        let lines = run(layer, parts(user)).unwrap();
        assert_eq!(lines, ["accept: */*", "connection: close", "x-secret: correct-horse-battery"]);
    }
}

#[test]
fn what_cannot_be_carried_is_refused() {
    for user in [
        DetachedUser::new("a,b"),
        DetachedUser::new("a\nb"),
        DetachedUser::new(" a"),
        DetachedUser::new("(null)"),
        DetachedUser::new("a\u{200b}"),
        DetachedUser::new("a".repeat(257)),
        DetachedUser::new("a").with_groups(["x,y"]),
        DetachedUser::new("a").with_groups([""]),
        DetachedUser::new("a").with_email("a@x,b@x"),
    ] {
        let layer = SetRemoteUserLayer::from_detached_user();
        let text = format!("{user:?}");
        assert_eq!(run(layer, parts(Some(user))), Err(RefusalKind::IdentityUnwritable), "{text}");
    }
    let lines = DetachedUser::new("a").with_groups(["x,y"]);
    let layer = SetRemoteUserLayer::from_detached_user().groups(Groups::PerLine);
    assert!(run(layer, parts(Some(lines))).unwrap().contains(&"remote-groups: x,y".to_owned()));
}

#[test]
fn headers_that_clash_are_found_before_any_request() {
    let header = HeaderName::from_static;
    let layer = SetRemoteUserLayer::from_detached_user;
    for (layer, item) in [
        (layer().email_header(header("remote-user")), "remote-user"),
        (layer().groups_header(header("remote_user")), "remote_user"),
        (layer().shared_secret(header("remote-user"), secret()), "remote-user"),
        (layer().shared_secret(header("cookie"), secret()), "cookie"),
        (layer().user_header(header("x-forwarded-for")), "x-forwarded-for"),
        (layer().uid_header(header("content-id")), "content-id"),
        (layer().extra_prefix("remote-"), "remote-user"),
        (layer().extra_prefix("X-"), "x-"),
        (layer().extra_prefix("a b"), "a b"),
        (layer().extra_prefix(""), ""),
    ] {
        assert_eq!(layer.clone().checked().unwrap_err().item(), item);
        let alice = DetachedUser::new("alice");
        assert_eq!(layer.can_write(&alice), Err(Unwritable::Configuration), "{item}");
        for user in [None, Some(alice)] {
            assert_eq!(run(layer.clone(), parts(user)), Err(RefusalKind::IdentityUnwritable), "{item}");
        }
    }
    let mended = layer().email_header(header("remote-user")).email_header(None);
    assert!(mended.checked().is_ok() && SetRemoteUserLayer::disabled().checked().is_ok());
}

/// Neither half of a user nor, where headers clash, the secret as the user's name.
#[test]
fn on_an_exempt_path_nothing_is_half_written() {
    let layer = SetRemoteUserLayer::from_detached_user;
    let alice = DetachedUser::new("alice");
    for (layer, user) in [
        (layer(), alice.clone().with_groups(["x,y"])),
        (layer().shared_secret(HeaderName::from_static("remote-user"), secret()), alice),
    ] {
        let mut parts = parts(Some(user));
        parts.uri = "/healthz".parse().unwrap();
        let lines = run(layer.exempt_path("/healthz"), parts).unwrap();
        assert_eq!(lines, ["accept: */*", "connection: close, x-secret", "x-secret: guess"]);
    }
}

#[test]
fn says_what_cannot_be_written() {
    let alice = || DetachedUser::new("alice");
    let layer = || {
        SetRemoteUserLayer::from_detached_user()
            .uid_header(HeaderName::from_static("remote-uid"))
            .extra_prefix("x-extra-")
    };
    for (user, why) in [
        (DetachedUser::new("a,b"), Unwritable::Name),
        (alice().with_groups(["a", "(null)"]), Unwritable::Groups),
        (alice().with_groups(["g"; 129]), Unwritable::Groups),
        (alice().with_display_name(""), Unwritable::DisplayName),
        (alice().with_email("a@x,b@x"), Unwritable::Email),
        (alice().with_uid(" 7"), Unwritable::Uid),
        (alice().with_extra("", "v"), Unwritable::Extra),
        (alice().with_extra("a\u{200b}", "v"), Unwritable::Extra),
        (alice().with_extra("a", "v\n"), Unwritable::Extra),
        (alice().with_extra("a", ""), Unwritable::Extra),
    ] {
        assert_eq!(layer().can_write(&user), Err(why), "{user:?}");
    }
    for form in [RealmForm::AfterAt, RealmForm::BeforeBackslash] {
        for user in [
            alice(),
            alice().with_realm(""),
            alice().with_realm("A@B"),
            alice().with_realm("A\\B"),
            DetachedUser::new("alice@EVIL").with_realm("CORP"),
            DetachedUser::new("EVIL\\alice").with_realm("CORP"),
            DetachedUser::new("(null)").with_realm("CORP"),
        ] {
            assert_eq!(layer().realm(form).can_write(&user), Err(Unwritable::Realm), "{form:?} {user:?}");
        }
    }
    assert_eq!(layer().can_write(&alice().with_realm("CORP").with_extra("a", "v")), Ok(()));
    assert_eq!(SetRemoteUserLayer::disabled().can_write(&DetachedUser::new("")), Ok(()));
}

#[test]
fn an_identity_is_asked_for() {
    let run = |identity: Option<Identity>| {
        let mut parts = parts(None);
        identity.map(|identity| parts.extensions.insert(identity));
        run(SetRemoteUserLayer::from_identity(), parts)
    };
    assert_eq!(run(None), Err(RefusalKind::IdentityMissing));
    assert!(!format!("{:?}", run(Some(Identity::Anonymous(Anonymous::Absent)))).contains("remote-user"));
    let alice = Identity::User(RemoteUser::for_test(DetachedUser::new("alice")));
    assert!(run(Some(alice)).unwrap().contains(&"remote-user: alice".to_owned()));
}

#[test]
fn a_disabled_writer_drains() {
    let mut parts = parts(Some(DetachedUser::new("alice")));
    Config::when_disabled(&mut parts);
    assert!(!parts.headers.keys().any(name::is_identity));
}

#[test]
fn debug_shows_no_secret() {
    let layer =
        SetRemoteUserLayer::from_detached_user().shared_secret(HeaderName::from_static("x-secret"), secret());
    assert!(!format!("{layer:?}").contains("horse"));
}
