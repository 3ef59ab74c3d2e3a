//! What each front end writes, and who that is.

use super::*;

/// User, groups, name, address and id, as far as there are any; or the outcome. No identity header is left.
fn seen(preset: Preset, lines: &[(&str, &[u8])]) -> String {
    who(builder().preset(preset), lines)
}

fn who(builder: ProxyRemoteUserBuilder, lines: &[(&str, &[u8])]) -> String {
    let mut parts = parts(PROXY, lines);
    let outcome = outcome(&config(builder), &mut parts);
    if outcome != "IdentityMalformed" {
        assert!(parts.headers.is_empty(), "{lines:?}");
    }
    let Some(Identity::User(user)) = parts.extensions.get::<Identity>() else { return outcome };
    let groups = user.groups().collect::<Vec<_>>().join("+");
    let optional = [user.display_name(), user.email(), user.uid()].map(|text| text.unwrap_or("-").to_owned());
    format!("{user} [{groups}] {}", optional.join(" "))
}

#[test]
fn remote_user_alone() {
    for (line, expected) in [(&b"a"[..], "a [] - - -"), (b"", "Absent"), (b"(null)", "Absent")] {
        let lines: &[(&str, &[u8])] = &[("remote-user", line), ("remote-groups", b"admins")];
        assert_eq!(seen(Preset::UserOnly, lines), expected);
    }
}

/// `(null)` is nobody whatever was said before, and what was said stays.
#[test]
fn apache_httpd() {
    let before = || builder().placeholders(["-"]);
    for (line, expected) in [
        (&b"alice"[..], "alice [] - - -"),
        (b"", "Absent"),
        (b"(null)", "Absent"),
        (b"-", "Absent"),
        (b"(NULL)", "(NULL) [] - - -"),
        (b"CN=Alice,O=Example", "IdentityMalformed"),
    ] {
        let lines: &[(&str, &[u8])] = &[("remote-user", line), ("remote-groups", b"admins")];
        assert_eq!(who(before().preset(Preset::ApacheHttpd), lines), expected);
    }
    assert_eq!(who(before().preset(Preset::UserOnly), &[("remote-user", b"(null)")]), "(null) [] - - -");
    let empty = builder().placeholders([""; 0]).preset(Preset::ApacheHttpd);
    assert_eq!(who(empty, &[("remote-user", b"(null)")]), "Absent");
}

#[test]
fn authelia() {
    let user: &[(&str, &[u8])] = &[
        ("remote-user", b"john"),
        ("remote-groups", b"admin,dev"),
        ("remote-name", b"John Smith"),
        ("remote-email", b"j@example.com"),
    ];
    assert_eq!(seen(Preset::Authelia, user), "john [admin+dev] John Smith j@example.com -");
    let nobody: &[(&str, &[u8])] =
        &[("remote-user", b""), ("remote-groups", b""), ("remote-name", b""), ("remote-email", b"")];
    assert_eq!(seen(Preset::Authelia, nobody), "Absent");
    assert_eq!(who(builder(), user), seen(Preset::Authelia, user));
}

#[test]
fn authentik() {
    let user: &[(&str, &[u8])] = &[
        ("x-authentik-username", b"akadmin"),
        ("x-authentik-groups", b"authentik Admins|dev, ops"),
        ("x-authentik-email", b"root@example.com"),
        ("x-authentik-name", "Zoë".as_bytes()),
        ("x-authentik-uid", b"900347b8"),
        ("x-authentik-jwt", b"e30.e30.c2ln"),
        ("x-authentik-meta-app", b"app"),
    ];
    assert_eq!(
        seen(Preset::Authentik, user),
        "akadmin [authentik Admins+dev, ops] Zoë root@example.com 900347b8"
    );
    let bare: &[(&str, &[u8])] =
        &[("x-authentik-username", b"a"), ("x-authentik-groups", b""), ("x-authentik-email", b"")];
    assert_eq!(seen(Preset::Authentik, bare), "a [] - - -");
}

#[test]
fn oauth2_proxy_to_its_upstream() {
    let user: &[(&str, &[u8])] = &[
        ("x-forwarded-user", b"7"),
        ("x-forwarded-email", b"j@example.com"),
        ("x-forwarded-groups", b"a,b"),
        ("x-forwarded-preferred-username", b"john"),
        ("x-auth-request-user", b"eve"),
    ];
    assert_eq!(seen(Preset::Oauth2Proxy, user), "7 [a+b] - j@example.com -");
    let prefers_email = builder().preset(Preset::Oauth2Proxy).email_header(None);
    let lines: &[(&str, &[u8])] =
        &[("x-forwarded-user", b"j@example.com"), ("x-forwarded-email", b"eve@example.com")];
    assert_eq!(who(prefers_email, lines), "j@example.com [] - - -");
}

#[test]
fn oauth2_proxy_beside_a_front() {
    let user: &[(&str, &[u8])] = &[
        ("x-auth-request-user", b"7"),
        ("x-auth-request-email", b"j@example.com"),
        ("x-auth-request-groups", b"a,b"),
        ("x-auth-request-preferred-username", b"john"),
        ("x-forwarded-user", b"eve"),
        ("x-forwarded-groups", b"admins"),
    ];
    assert_eq!(seen(Preset::Oauth2ProxyAuthRequest, user), "7 [a+b] - j@example.com -");
    assert_eq!(seen(Preset::Oauth2ProxyAuthRequest, &user[4..]), "Absent");
}

#[test]
fn grafana() {
    let lines: &[(&str, &[u8])] = &[("x-webauth-user", b"alice"), ("x-webauth-groups", b"admins")];
    assert_eq!(seen(Preset::Grafana, lines), "alice [] - - -");
    let with_groups = builder()
        .preset(Preset::Grafana)
        .groups_header(HeaderName::from_static("x-webauth-groups"))
        .email_header(HeaderName::from_static("x-webauth-email"));
    assert_eq!(who(with_groups, lines), "alice [admins] - - -");
    let unset = builder().placeholders([""; 0]).preset(Preset::Grafana);
    assert_eq!(who(unset, &[("x-webauth-user", b"(null)")]), "Absent");
}

#[test]
fn kubernetes() {
    let lines: &[(&str, &[u8])] = &[
        ("x-remote-user", b"Bob"),
        ("x-remote-uid", b"42"),
        ("x-remote-group", b"system:masters, not really"),
        ("x-remote-group", b"dev"),
        ("x-remote-extra-acme.com%2fproject", b"some-project"),
        ("x-remote-extra-scopes", b"read"),
        ("x-remote-extra-scopes", b"write"),
    ];
    assert_eq!(seen(Preset::Kubernetes, lines), "Bob [system:masters, not really+dev] - - 42");
    let mut parts = parts(PROXY, lines);
    outcome(&config(builder().preset(Preset::Kubernetes)), &mut parts);
    let user = user(&parts);
    assert_eq!(user.extra()["acme.com/project"], ["some-project"]);
    assert_eq!(user.extra()["scopes"], ["read", "write"]);
}

#[test]
fn tailscale_serve() {
    let user: &[(&str, &[u8])] = &[
        ("tailscale-user-login", b"k@example.com"),
        ("tailscale-user-name", b"=?utf-8?q?Kr=C5=ABmi=C5=86a?="),
        ("tailscale-user-profile-pic", b"https://example.com/photo.jpg"),
    ];
    assert_eq!(seen(Preset::Tailscale, user), "k@example.com [] Krūmiņa - -");
    let plain: &[(&str, &[u8])] =
        &[("tailscale-user-login", b"a@example.com"), ("tailscale-user-name", b"Alice Architect")];
    assert_eq!(seen(Preset::Tailscale, plain), "a@example.com [] Alice Architect - -");
    assert_eq!(seen(Preset::Tailscale, &[]), "Absent");
}

#[test]
fn google_iap() {
    let of = |email: &[u8]| {
        let id = ("x-goog-authenticated-user-id", &b"accounts.google.com:7"[..]);
        seen(Preset::GoogleIap, &[("x-goog-authenticated-user-email", email), id])
    };
    assert_eq!(of(b"accounts.google.com:e@gmail.com"), "e@gmail.com [] - - -");
    assert_eq!(of(b"e@gmail.com"), "IdentityMalformed");
    assert_eq!(of(b"securetoken.google.com/other:e@gmail.com"), "IdentityMalformed");
    assert_eq!(of(b""), "Absent");
}

#[test]
fn pomerium() {
    let lines: &[(&str, &[u8])] =
        &[("x-pomerium-claim-email", b"alice@example.com"), ("x-forwarded-user", b"eve")];
    assert_eq!(seen(Preset::Pomerium, lines), "alice@example.com [] - - -");
    let groups = HeaderName::from_static("x-pomerium-claim-groups");
    let lines: &[(&str, &[u8])] = &[lines[0], ("x-pomerium-claim-groups", b"dev,ops")];
    let with_groups = builder().preset(Preset::Pomerium).groups_header(groups);
    assert_eq!(who(with_groups, lines), "alice@example.com [dev+ops] - - -");
}

/// Of two presets the second one holds, whole.
#[test]
fn of_two_presets_the_second_one_holds() {
    let all = [
        Preset::UserOnly,
        Preset::ApacheHttpd,
        Preset::Authelia,
        Preset::Authentik,
        Preset::Oauth2Proxy,
        Preset::Oauth2ProxyAuthRequest,
        Preset::Grafana,
        Preset::Kubernetes,
        Preset::Tailscale,
        Preset::GoogleIap,
        Preset::SetRemoteUser,
        Preset::Pomerium,
    ];
    for (first, second) in all.iter().flat_map(|first| all.map(|second| (*first, second))) {
        let own = config(builder().preset(first).preset(second));
        let alone = config(builder().preset(second));
        assert_eq!(format!("{:?}", own.fields), format!("{:?}", alone.fields), "{first:?} {second:?}");
    }
}
