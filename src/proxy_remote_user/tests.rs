use http::header::{AUTHORIZATION, CONNECTION};
use http::{HeaderMap, HeaderName, HeaderValue, Request, request};
use proptest::prelude::*;

use super::builder::Config;
use super::*;
use crate::trust::TrustedProxies;

mod build;
mod events;
mod faults;
mod map_user;
mod presets;
mod rendering;

const PROXY: &str = "10.0.0.5:4711";
const STRANGER: &str = "203.0.113.9:4711";

fn builder() -> ProxyRemoteUserBuilder {
    ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::parse(["10.0.0.5"]).unwrap()))
}

fn config(builder: ProxyRemoteUserBuilder) -> std::sync::Arc<Config> {
    builder.build().unwrap().config.unwrap()
}

fn parts(peer: &str, lines: &[(&str, &[u8])]) -> request::Parts {
    let mut request = Request::new(());
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_bytes(value).unwrap());
    }
    request.extensions_mut().insert(PeerAddr::Tcp(peer.parse().unwrap()));
    request.into_parts().0
}

/// The name of the user, the reason why there is none, or the refusal.
fn outcome(config: &Config, parts: &mut request::Parts) -> String {
    match config.on_request(parts) {
        Err(refusal) => format!("{:?}", refusal.kind()),
        Ok(_) => match parts.extensions.get::<Identity>() {
            Some(Identity::User(user)) => user.name().to_owned(),
            Some(Identity::Anonymous(reason)) => format!("{reason:?}"),
            None => "no Identity".to_owned(),
        },
    }
}

fn user(parts: &request::Parts) -> RemoteUser {
    parts.extensions.get::<Identity>().and_then(Identity::user).expect("somebody").clone()
}

fn judged(builder: ProxyRemoteUserBuilder, lines: &[(&str, &[u8])]) -> String {
    outcome(&config(builder), &mut parts(PROXY, lines))
}

#[test]
fn a_stale_identity_is_believed_by_nobody() {
    let config = config(builder());
    let mut first = parts(PROXY, &[("remote-user", b"alice")]);
    assert_eq!(outcome(&config, &mut first), "alice");
    let mut again = parts(STRANGER, &[]);
    again.extensions.insert(first.extensions.get::<Identity>().unwrap().clone());
    assert_eq!(outcome(&config, &mut again), "Unproven");
    let mut disabled = parts(STRANGER, &[("remote-user", b"eve")]);
    disabled.extensions.insert(first.extensions.get::<Identity>().unwrap().clone());
    Config::when_disabled(&mut disabled);
    assert!(matches!(disabled.extensions.get::<Identity>(), Some(Identity::Anonymous(Anonymous::Disabled))));
    assert!(disabled.headers.is_empty());
}

#[test]
fn a_proof_sees_no_stale_identity() {
    let proof = Proof::verify(|parts| parts.extensions.get::<Identity>().is_some());
    let mut parts = parts(PROXY, &[("remote-user", b"alice")]);
    parts.extensions.insert(Identity::Anonymous(Anonymous::Absent));
    assert_eq!(outcome(&config(ProxyRemoteUserLayer::new(proof)), &mut parts), "Unproven");
}

#[test]
fn the_peer_stands_where_the_server_left_it() {
    #[derive(Clone)]
    struct Connection(PeerAddr);

    let config =
        config(builder().peer_from(|extensions| extensions.get::<Connection>().map(|found| found.0)));
    let connection = |peer: &str| Connection(PeerAddr::Tcp(peer.parse().unwrap()));
    let lines: &[(&str, &[u8])] = &[("remote-user", b"alice")];
    let mut by_proxy = parts(STRANGER, lines);
    by_proxy.extensions.insert(connection(PROXY));
    assert_eq!(outcome(&config, &mut by_proxy), "alice");
    let mut by_stranger = parts(PROXY, lines);
    by_stranger.extensions.insert(connection(STRANGER));
    assert_eq!(outcome(&config, &mut by_stranger), "Unproven");
    assert_eq!(outcome(&config, &mut parts(PROXY, lines)), "NoPeer");
}

#[test]
fn aliases_of_own_names_go_behind_a_proven_proxy_too() {
    let login = HeaderName::from_static("x_acme_login");
    let config = config(builder().user_header(login).extra_prefix("x-acme-attribute-"));
    let mut parts = parts(
        PROXY,
        &[
            ("x_acme_login", b"alice"),
            ("x-acme-login", b"eve"),
            ("x.acme.login", b"eve"),
            ("x-acme-attribute-team", b"a"),
            ("x_acme_attribute_team", b"b"),
        ],
    );
    assert_eq!(outcome(&config, &mut parts), "alice");
    assert!(parts.headers.is_empty());
    let user = user(&parts);
    assert_eq!(user.extra()["team"], ["a"]);
}

#[test]
fn says_what_proved_the_user() {
    let config = config(builder());
    let mut parts = parts(PROXY, &[("remote-user", b"alice")]);
    outcome(&config, &mut parts);
    let user = user(&parts);
    assert!(user.proven_by().includes(ProofKind::Peer));
    assert!(!user.proven_by().includes(ProofKind::SharedSecret));
}

#[test]
fn ambiguous_or_unreadable_is_refused_and_never_nobody() {
    let user: &[(&[u8], &str)] = &[
        (b"alice,admin", "IdentityMalformed"),
        (b", ", "IdentityMalformed"),
        (b"\xff", "IdentityMalformed"),
        ("ad\u{ad}min".as_bytes(), "IdentityMalformed"),
        ("\u{202e}nimda".as_bytes(), "IdentityMalformed"),
        ("ad\u{85}min".as_bytes(), "IdentityMalformed"),
        (b"ad\tmin", "IdentityMalformed"),
        ("admin\u{a0}".as_bytes(), "IdentityMalformed"),
        ("\u{3000}admin".as_bytes(), "IdentityMalformed"),
        ("admin\u{2028}".as_bytes(), "IdentityMalformed"),
        ("Ann\u{a0}Lee".as_bytes(), "Ann\u{a0}Lee"),
        (&[b'a'; 257], "IdentityMalformed"),
        (b"(null)", "Absent"),
        (b" \t", "Absent"),
        (b"=?utf-8?q?admin?=", "=?utf-8?q?admin?="),
        (b"%61dmin", "%61dmin"),
    ];
    for (value, expected) in user {
        assert_eq!(judged(builder(), &[("remote-user", value)]), *expected, "{}", value.escape_ascii());
    }
    assert_eq!(judged(builder(), &[("remote-user", &[b'a'; 256])]).len(), 256);
    assert_eq!(judged(builder(), &[("remote-user", b""), ("remote-user", b"alice")]), "IdentityMalformed");
    assert_eq!(
        judged(builder(), &[("remote-user", b"alice"), ("remote-name", b"\xff")]),
        "IdentityMalformed"
    );
    assert_eq!(
        judged(builder(), &[("remote-user", b"alice"), ("remote-email", b"a@x, b@x")]),
        "IdentityMalformed"
    );
    assert_eq!(judged(builder(), &[("remote-user", b"alice"), ("remote-name", b"Doe, Alice")]), "alice");
}

#[test]
fn what_decoding_brings_forth_is_checked() {
    let percent = || builder().encoding(Encoding::Percent);
    for value in [&b"a%0D%0Ab"[..], b"%20alice", b"alice%09", b"a%E2%80%8Bb", b"a%", b"%C0%AF"] {
        assert_eq!(
            judged(percent(), &[("remote-user", value)]),
            "IdentityMalformed",
            "{}",
            value.escape_ascii()
        );
    }
    assert_eq!(judged(percent(), &[("remote-user", b"%28null%29")]), "Absent");
    assert_eq!(judged(percent(), &[("remote-user", b"Doe%2C%20A")]), "Doe, A");
    let words = || builder().encoding(Encoding::Rfc2047);
    assert_eq!(judged(words(), &[("remote-user", b"=?utf-8?q?a=0D=0Ab?=")]), "IdentityMalformed");
    assert_eq!(judged(words(), &[("remote-user", b"=?utf-8?q?a")]), "IdentityMalformed");
}

#[test]
fn too_many_groups_are_refused_and_not_cut() {
    let groups = |count: usize| vec!["g"; count].join(",");
    let lines =
        |groups: &str| judged(builder(), &[("remote-user", b"a"), ("remote-groups", groups.as_bytes())]);
    assert_eq!(lines(&groups(128)), "a");
    assert_eq!(lines(&groups(129)), "IdentityMalformed");
    assert_eq!(
        judged(builder().max_groups(0), &[("remote-user", b"a"), ("remote-groups", b"g")]),
        "IdentityMalformed"
    );
}

#[test]
fn prefix_and_realm_leave_a_name() {
    let prefixed = || builder().require_prefix("idp:");
    for (value, expected) in [
        (&b"idp:alice"[..], "alice"),
        (b"idp:", "IdentityMalformed"),
        (b"idp: alice", "IdentityMalformed"),
        (b"idp:(null)", "IdentityMalformed"),
        (b"IDP:alice", "IdentityMalformed"),
    ] {
        assert_eq!(judged(prefixed(), &[("remote-user", value)]), expected, "{}", value.escape_ascii());
    }
    let realm = || builder().require_realm(["CORP"]);
    for (value, expected) in [
        (&b"CORP\\alice"[..], "alice"),
        (b"alice@EVIL", "ForeignRealm"),
        (b"alice@", "IdentityMalformed"),
        (b"@CORP", "IdentityMalformed"),
        (b"(null)@CORP", "IdentityMalformed"),
        (b"a\\b\\CORP", "IdentityMalformed"),
    ] {
        assert_eq!(judged(realm(), &[("remote-user", value)]), expected, "{}", value.escape_ascii());
    }
}

#[test]
fn an_extra_key_has_one_spelling() {
    let extra = || builder().extra_prefix("X-Remote-Extra-");
    let user = ("remote-user", &b"a"[..]);
    assert_eq!(
        judged(extra(), &[user, ("x-remote-extra-scopes", b"r"), ("x-remote-extra-%73copes", b"root")]),
        "IdentityMalformed"
    );
    assert_eq!(judged(extra(), &[user, ("x-remote-extra-a%00b", b"r")]), "IdentityMalformed");
    assert_eq!(judged(extra(), &[user, ("x-remote-extra-a", b"\xff")]), "IdentityMalformed");
    assert_eq!(judged(extra(), &[user, ("x-remote-extra-a", b"r"), ("x-remote-extra-a", b"w")]), "a");
}

#[test]
fn exempt_paths_are_never_refused() {
    let config = config(builder().required().exempt_path("/healthz").keep(USER));
    let mut nobody = parts(STRANGER, &[]);
    nobody.uri = "/healthz?full".parse().unwrap();
    assert_eq!(outcome(&config, &mut nobody), "Unproven");
    let mut malformed = parts(PROXY, &[("remote-user", b"a"), ("remote-user", b"b")]);
    malformed.uri = "/healthz".parse().unwrap();
    assert_eq!(outcome(&config, &mut malformed), "Exempt");
    assert!(malformed.headers.is_empty());
    let mut elsewhere = parts(STRANGER, &[]);
    assert_eq!(outcome(&config, &mut elsewhere), "NotProven");
    assert_eq!(outcome(&config, &mut parts(PROXY, &[])), "NotAuthenticated");
}

/// The proxy's encoding can carry a comma, the plain line that would be written cannot.
#[test]
fn an_exempt_path_is_not_refused_for_a_user_who_cannot_be_written() {
    let config = config(
        builder()
            .encoding(Encoding::Rfc2047)
            .forward_canonical()
            .strip_authorization()
            .keep(USER)
            .exempt_path("/healthz"),
    );
    let lines: &[(&str, &[u8])] =
        &[("remote-user", b"=?utf-8?q?a=2Cb?="), ("remote-groups", b"dev"), ("authorization", b"Basic eA==")];
    let mut elsewhere = parts(PROXY, lines);
    assert_eq!(outcome(&config, &mut elsewhere), "IdentityMalformed");
    let mut exempt = parts(PROXY, lines);
    exempt.uri = "/healthz".parse().unwrap();
    assert_eq!(outcome(&config, &mut exempt), "Exempt");
    assert_eq!(exempt.headers.keys().collect::<Vec<_>>(), [AUTHORIZATION]);
}

const USER: HeaderName = HeaderName::from_static("remote-user");

#[test]
fn kept_headers_pass_from_a_proven_proxy_alone() {
    let config = config(builder().keep(USER));
    let lines: &[(&str, &[u8])] = &[("remote-user", b"alice"), ("remote_user", b"eve")];
    let mut proven = parts(PROXY, lines);
    assert_eq!(outcome(&config, &mut proven), "alice");
    assert_eq!(proven.headers.len(), 1);
    assert_eq!(proven.headers[USER], "alice");
    let mut stranger = parts(STRANGER, lines);
    assert_eq!(outcome(&config, &mut stranger), "Unproven");
    assert!(stranger.headers.is_empty());
}

#[test]
fn authorization_goes_only_after_success() {
    let config = config(builder().strip_authorization());
    let mut user = parts(PROXY, &[("remote-user", b"a"), ("authorization", b"Basic eA==")]);
    outcome(&config, &mut user);
    assert!(!user.headers.contains_key(AUTHORIZATION));
    let mut nobody = parts(STRANGER, &[("remote-user", b"a"), ("authorization", b"Basic eA==")]);
    outcome(&config, &mut nobody);
    assert!(nobody.headers.contains_key(AUTHORIZATION));
}

#[test]
fn canonical_lines_are_not_listed_in_connection() {
    let config = config(builder().forward_canonical());
    let mut user = parts(PROXY, &[("remote-user", b" a "), ("connection", b"close, X_Remote_User")]);
    assert_eq!(outcome(&config, &mut user), "a");
    assert_eq!(user.headers[USER], "a");
    assert!(user.headers[USER].is_sensitive());
    assert_eq!(user.headers[CONNECTION], "close");
}

/// What the reader took off stands there again, so that the next reader finds the same user.
#[test]
fn canonical_lines_are_what_the_next_reader_reads() {
    let google = || builder().preset(Preset::GoogleIap);
    let realm = || builder().require_realm(["CORP", "LAB"]);
    let extra =
        || builder().extra_prefix("x-remote-extra-").keep(HeaderName::from_static("x-remote-extra-a"));
    let words = || builder().encoding(Encoding::Rfc2047);
    struct Case<'a>(
        &'a dyn Fn() -> ProxyRemoteUserBuilder,
        &'a [(&'a str, &'a [u8])],
        &'a [(&'a str, &'a str)],
    );
    let cases: [Case<'_>; 5] = [
        Case(
            &google,
            &[("x-goog-authenticated-user-email", b"accounts.google.com:e@x")],
            &[("x-goog-authenticated-user-email", "accounts.google.com:e@x")],
        ),
        Case(&realm, &[("remote-user", b"alice@LAB")], &[("remote-user", "alice@LAB")]),
        Case(&realm, &[("remote-user", b"CORP\\alice")], &[("remote-user", "alice@CORP")]),
        Case(
            &extra,
            &[
                ("remote-user", b"alice"),
                ("x-remote-extra-a", b" read"),
                ("x-remote-extra-a", b"write"),
                ("x-remote-extra-a%2Fb", b""),
                ("x_remote_extra_a", b"root"),
            ],
            &[("remote-user", "alice"), ("x-remote-extra-a", "read"), ("x-remote-extra-a", "write")],
        ),
        Case(
            &words,
            &[("remote-user", b"=?iso-8859-1?q?Andr=E9?=")],
            &[("remote-user", "=?utf-8?q?Andr=C3=A9?=")],
        ),
    ];
    for Case(builder, sent, expected) in cases {
        let mut first = parts(PROXY, sent);
        assert_ne!(outcome(&config(builder().forward_canonical()), &mut first), "IdentityMalformed");
        let mut lines: Vec<(&str, &str)> =
            first.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        lines.sort_unstable();
        assert_eq!(lines, expected);
        let mut second = parts(PROXY, &[]);
        second.headers = first.headers;
        outcome(&config(builder()), &mut second);
        let user = |extensions: &Extensions| {
            DetachedUser::clone(extensions.get::<Identity>().and_then(Identity::user).unwrap())
        };
        assert_eq!(format!("{:?}", user(&second.extensions)), format!("{:?}", user(&first.extensions)));
    }
}

#[test]
fn debug_of_the_layer_shows_no_secret() {
    let secret = Secret::parse("correct-horse-battery").unwrap();
    let layer =
        ProxyRemoteUserLayer::new(Proof::shared_secret(HeaderName::from_static("x-secret"), [secret]));
    assert!(!format!("{:?}", layer.build().unwrap()).contains("horse"));
}

/// Names that are somebody's identity, in all spellings, and what stands in them.
fn identity_lines() -> impl Strategy<Value = Vec<(HeaderName, HeaderValue)>> {
    let base = prop::sample::select(vec![
        "x-acme-login",
        "x-acme-attribute-team",
        "remote-user",
        "remote-groups",
        "remote-name",
        "remote-email",
        "x-secret",
        "x-remote-extra-scopes",
        "x-forwarded-user",
        "x-webauth-user",
        "sm-user",
        "x-authentik-username",
        "client-cert",
    ]);
    let marks = prop::collection::vec(prop::sample::select(b"-_.~+^|%'!*#$&`".to_vec()), 8);
    let name = (base, marks).prop_map(|(base, marks)| {
        let mut marks = marks.into_iter().cycle();
        let bytes: Vec<u8> =
            base.bytes().map(|byte| if byte == b'-' { marks.next().unwrap() } else { byte }).collect();
        HeaderName::from_bytes(&bytes).unwrap()
    });
    let value = prop::collection::vec(any::<u8>(), 0..20)
        .prop_filter_map("a legal value", |bytes| HeaderValue::from_bytes(&bytes).ok());
    prop::collection::vec((name, value), 0..12)
}

proptest! {
    /// Whatever identity headers a stranger adds, the inner service sees the same request.
    #[test]
    fn a_stranger_changes_nothing(
        added in identity_lines(),
        others in prop::collection::vec("[a-d]{1,3}", 0..4),
        is_required in any::<bool>(),
    ) {
        let secret = Secret::parse("correct-horse-battery").unwrap();
        let proof = Proof::peer(TrustedProxies::loopback())
            & Proof::shared_secret(HeaderName::from_static("x-secret"), [secret]);
        let mut builder = ProxyRemoteUserLayer::new(proof)
            .user_headers([USER, HeaderName::from_static("x-acme-login")])
            .extra_prefix("x-acme-attribute-")
            .keep(USER);
        if is_required {
            builder = builder.required();
        }
        let config = config(builder);
        let other = |name: &String| HeaderName::from_bytes(name.as_bytes()).unwrap();
        let (mut without, mut with) = (parts(STRANGER, &[]), parts(STRANGER, &[]));
        let mut added = added.into_iter();
        for (index, name) in others.iter().enumerate() {
            for (name, value) in added.by_ref().take(index) {
                with.headers.append(name, value);
            }
            with.headers.append(other(name), HeaderValue::from_static("v"));
            without.headers.append(other(name), HeaderValue::from_static("v"));
        }
        with.headers.extend(added);
        prop_assert_eq!(outcome(&config, &mut with), outcome(&config, &mut without));
        prop_assert_eq!(with.headers, without.headers);
    }

    /// Behind a proven proxy, aliases and the headers of other products change nothing either.
    #[test]
    fn aliases_change_nothing(added in identity_lines()) {
        let config = config(builder());
        let mut with = parts(PROXY, &[("remote-user", b"alice"), ("remote-groups", b"dev"), ("accept", b"*/*")]);
        for (name, value) in added {
            if name::is_identity(&name) && !config.fields.spells(&name) {
                with.headers.append(name, value);
            }
        }
        prop_assert_eq!(outcome(&config, &mut with), "alice");
        let user = user(&with);
        prop_assert_eq!(user.groups().collect::<Vec<_>>(), ["dev"]);
        prop_assert!(user.display_name().is_none() && user.email().is_none());
        prop_assert_eq!(with.headers.keys().collect::<Vec<_>>(), ["accept"]);
    }

    /// What is written reads back as the same user, or is not written.
    #[test]
    fn written_users_are_read_again(
        name in "[a-zA-Zé,@ (\u{200b}%=?_ņ\u{7f}]{0,12}",
        groups in prop::collection::vec("[a-c,|; é%=?\t]{0,6}", 0..4),
        display_name in prop::option::of("[A-Za-z, éņ=?%]{0,10}"),
        encoding in prop::sample::select(vec![Encoding::Utf8, Encoding::Latin1, Encoding::Percent, Encoding::Rfc2047]),
        grouping in prop::sample::select(vec![
            Groups::Comma, Groups::Semicolon, Groups::Pipe, Groups::PerLine, Groups::Separated(' '), Groups::Separated('='),
        ]),
    ) {
        prop_assume!(grouping.unusable_separator(encoding).is_none());
        let fields = fields::Fields { encoding, grouping, ..fields::Fields::default() };
        let mut user = DetachedUser::new(&*name).with_groups(groups.iter().map(|group| &**group));
        if let Some(display_name) = &display_name {
            user = user.with_display_name(&**display_name);
        }
        let mut headers = HeaderMap::new();
        let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        match fields.write(&user, &mut headers) {
            Ok(()) => {
                let read = fields.read(&headers).unwrap().expect("somebody");
                prop_assert_eq!(read.name(), &*name);
                prop_assert!(read.groups().eq(groups.iter().map(|group| &**group)));
                prop_assert_eq!(read.display_name(), display_name.as_deref());
            }
            Err(_) => prop_assert!(
                !(is_plain(&name) && groups.iter().all(|group| is_plain(group))
                    && display_name.as_deref().is_none_or(is_plain))
            ),
        }
    }
}
