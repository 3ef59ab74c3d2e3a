//! Nothing to find the user and to drain the headers, one boxed value to tell it, one more for a user.

use http::{HeaderName, Request};
use tower_proxied::proxy_remote_user::{OnAlias, OnForged, Preset, ProxyRemoteUserBuilder};
use tower_proxied::{DetachedUser, Identity, PeerAddr, Proof, ProxyRemoteUserLayer, Secret, TrustedProxies};

use crate::counting::Taken;
use crate::{PROXY, STRANGER, call, request};

const VALUE: Taken = Taken { allocations: 1, bytes: size_of::<Identity>() };
/// The value, and the user with what proved it, behind a counter of references.
const USER: Taken = Taken {
    allocations: 2,
    bytes: size_of::<Identity>() + size_of::<DetachedUser>() + size_of::<usize>() + 2 * size_of::<usize>(),
};

fn builder() -> ProxyRemoteUserBuilder {
    ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::parse(["10.0.0.0/8"]).unwrap()))
}

/// What a browser behind a proxy sends.
const CLEAN: [(&str, &str); 20] = [
    ("host", "shop.example"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
    ("accept-language", "lv,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("referer", "https://shop.example/"),
    ("cookie", "id=0123456789abcdef; theme=dark"),
    ("connection", "keep-alive"),
    ("cache-control", "max-age=0"),
    ("upgrade-insecure-requests", "1"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-user", "?1"),
    ("sec-ch-ua-platform", "\"Linux\""),
    ("x-forwarded-for", "203.0.113.5"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "shop.example"),
    ("x-request-id", "7f1c9d4e"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
];

fn from(peer: PeerAddr, lines: &[(&str, &str)]) -> Request<()> {
    let mut request = request(lines);
    request.extensions_mut().insert(peer);
    request
}

fn with(lines: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&CLEAN, lines].concat()
}

/// What is taken for a request that passes, and whose it is; only the clean headers are left.
fn passes(layer: &ProxyRemoteUserLayer, peer: PeerAddr, lines: &[(&str, &str)]) -> (Taken, Identity) {
    let (taken, status, request) = call(layer, from(peer, lines));
    let mut request = request.unwrap();
    assert_eq!((status, request.headers().len()), (200, CLEAN.len()), "{lines:?}");
    (taken, request.extensions_mut().remove().unwrap())
}

#[test]
fn a_clean_request_costs_one_value() {
    let secret = Secret::parse("correct-horse-battery").unwrap();
    let with_secret = Proof::shared_secret(HeaderName::from_static("x-secret"), [secret]);
    for layer in [
        builder().build().unwrap(),
        builder().preset(Preset::Kubernetes).on_forged(OnForged::Refuse).build().unwrap(),
        builder().on_alias(OnAlias::Refuse).forward_canonical().strip_authorization().build().unwrap(),
        ProxyRemoteUserLayer::new(with_secret).build().unwrap(),
        ProxyRemoteUserLayer::disabled(),
    ] {
        for peer in [PROXY, STRANGER] {
            let (taken, identity) = passes(&layer, peer, &CLEAN);
            assert!(identity.is_anonymous());
            assert_eq!(taken, VALUE, "{layer:?}");
        }
    }
}

#[test]
fn forged_headers_cost_nothing_more() {
    let lines = with(&[
        ("remote-user", "admin"),
        ("remote-user", "root"),
        ("remote_user", "admin"),
        ("remote.groups", "admins"),
        ("x-forwarded-user", "admin"),
        ("x_webauth_user", "admin"),
        ("x-authentik-username", "admin"),
        ("x_remote_extra_scopes", "all"),
        ("tailscale-user-login", "admin"),
        ("sm_user", "admin"),
        ("client-cert", ":AAAA:"),
    ]);
    for layer in [builder().build().unwrap(), ProxyRemoteUserLayer::disabled()] {
        let (taken, identity) = passes(&layer, STRANGER, &lines);
        assert!(identity.is_anonymous());
        assert_eq!(taken, VALUE);
    }
}

#[test]
fn a_user_costs_one_more() {
    let layer = builder().uid_header(HeaderName::from_static("x-uid")).build().unwrap();
    let user = ("remote-user", "alice");
    let groups = ("remote-groups", "dev, ops,authentik Admins");
    let attributes = [
        user,
        groups,
        ("remote-name", "Alice Ānna"),
        ("remote-email", "alice@example.com"),
        ("x-uid", "900347b8a29876b45ca6f75722635ecfedf0e931c6022e3a29a8aa13fb5516fb".get(..62).unwrap()),
    ];
    for lines in [&[user][..], &[user, groups], &attributes, &[user, ("remote_user", "eve"), groups]] {
        let (taken, identity) = passes(&layer, PROXY, &with(lines));
        assert_eq!(identity.user().unwrap().name(), "alice");
        assert_eq!(taken, USER, "{lines:?}");
    }
    let (_, identity) = passes(&layer, PROXY, &with(&attributes));
    let user = identity.user().unwrap();
    assert_eq!(user.groups().collect::<Vec<_>>(), ["dev", "ops", "authentik Admins"]);
    assert_eq!((user.display_name(), user.uid().map(str::len)), (Some("Alice Ānna"), Some(62)));
    println!("a user has {} bytes", size_of::<DetachedUser>());
}

/// A text of more than 62 bytes, and groups of more than 124 together, cost one each.
#[test]
fn long_texts_cost_one_each() {
    let layer = builder().build().unwrap();
    let (name, groups) = ("a".repeat(63), "authentik Admins,".repeat(8));
    for (lines, more) in [
        (vec![("remote-user", &*name)], 1),
        (vec![("remote-user", "alice"), ("remote-groups", &groups)], 1),
        (vec![("remote-user", &*name), ("remote-groups", &groups), ("remote-email", &name)], 3),
    ] {
        let (taken, identity) = passes(&layer, PROXY, &[&CLEAN, &lines[..]].concat());
        assert!(identity.is_authenticated());
        assert_eq!(taken.allocations, USER.allocations + more, "{lines:?}");
    }
}

/// The application's own user is one value more, and who is told takes a list of names where there is something to tell.
#[test]
fn what_the_application_asks_for_besides() {
    let user = [("remote-user", "alice")];
    let mapped = builder().map_user(|_| Ok(7_u64)).build().unwrap();
    let (taken, _) = passes(&mapped, PROXY, &with(&user));
    let number = size_of::<u64>();
    assert_eq!(taken, Taken { allocations: USER.allocations + 1, bytes: USER.bytes + number });

    let told = builder().on_event(|_| {}).build().unwrap();
    for (peer, lines, expected) in [
        (PROXY, &CLEAN[..], VALUE.allocations),
        (STRANGER, &CLEAN, VALUE.allocations),
        (PROXY, &with(&user), USER.allocations),
        (PROXY, &with(&[("remote-user", "alice"), ("remote_user", "eve")]), USER.allocations + 1),
        (STRANGER, &with(&user), VALUE.allocations + 1),
    ] {
        assert_eq!(passes(&told, peer, lines).0.allocations, expected, "{lines:?}");
    }
}

/// A header map, the length of the text in one of its values, and the refusal among the extensions.
#[test]
fn a_refusal_costs_its_response() {
    let required = builder().required().build().unwrap();
    let forged = with(&[("remote-user", "admin"), ("remote_user", "admin")]);
    let strict = builder().on_forged(OnForged::Refuse).build().unwrap();
    for (layer, peer, lines, refusal) in [
        (&required, PROXY, &CLEAN[..], (401, 7)),
        (&required, STRANGER, &CLEAN, (401, 7)),
        (&required, STRANGER, &forged, (401, 7)),
        (&strict, STRANGER, &forged, (403, 7)),
    ] {
        let (taken, status, left) = call(layer, from(peer, lines));
        assert!(left.is_none());
        assert_eq!((status, taken.allocations), refusal, "{taken:?}");
    }
}

/// However many headers there are: nothing more for those that stay, and for those that go room for their names,
/// which doubles.
#[test]
fn headers_grow() {
    let layer = builder().build().unwrap();
    for (count, room) in [(20, 0), (100, 2), (400, 4), (1000, 5)] {
        for peer in [PROXY, STRANGER] {
            let names = |start: &str| (0..count).map(|number| format!("{start}{number}")).collect::<Vec<_>>();
            let through = |names: &[String]| {
                let lines: Vec<_> = names.iter().map(|name| (&**name, "admin")).collect();
                let (taken, _, left) = call(&layer, from(peer, &lines));
                (taken, left.unwrap().headers().len())
            };
            assert_eq!(through(&names("x-cat")), (VALUE, count));
            let forged = names("x_authentik.");
            let (taken, left) = through(&forged);
            assert_eq!((taken.allocations, left), (VALUE.allocations + room, 0), "{count}");
            let written: usize = forged.iter().map(|name| name.len() + 1).sum();
            assert!(taken.bytes <= VALUE.bytes + 4 * written, "{count}: {taken:?}");
        }
    }
}
