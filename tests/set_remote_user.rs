//! The traps into which front ends fell that tell application servers who is logged in.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version, header};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower::layer::util::Stack;
use tower::util::MapRequestLayer;
use tower::{Layer, ServiceExt};
use tower_proxied::front::{SetRemoteUserLayer, Target, UpstreamLayer};
use tower_proxied::proxy_remote_user::{Anonymous, Encoding, Groups, Preset};
use tower_proxied::wire::{name, text};
use tower_proxied::{
    DetachedUser, Identity, PeerAddr, Proof, ProxyRemoteUserLayer, RefusalKind, Secret, TrustedProxies,
};

use self::inner::{Refused, inner};

#[path = "../fuzz/checks/inner.rs"]
mod inner;

const SECRET: &str = "correct-horse-battery-staple";
const SECRET_HEADER: HeaderName = HeaderName::from_static("x-proxy-secret");

fn peer() -> PeerAddr {
    PeerAddr::Tcp(([127, 0, 0, 1], 4711).into())
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn shown(headers: &HeaderMap) -> Vec<String> {
    let line =
        |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.as_bytes().escape_ascii());
    let mut lines: Vec<String> = headers.iter().map(line).collect();
    lines.sort();
    lines
}

fn writer(user: Option<DetachedUser>) -> SetRemoteUserLayer {
    let secret = Secret::parse(SECRET).unwrap();
    SetRemoteUserLayer::from_fn(move |_| user.clone()).shared_secret(SECRET_HEADER, secret).checked().unwrap()
}

fn alice() -> DetachedUser {
    DetachedUser::new("alice").with_groups(["dev"])
}

/// What goes on of a client's lines.
fn sent(layer: &SetRemoteUserLayer, lines: &[(&str, &str)]) -> Vec<String> {
    shown(&inner(layer, peer(), headers(lines)).unwrap().headers)
}

fn read(headers: HeaderMap) -> Result<Identity, Refused> {
    let proof = Proof::peer(TrustedProxies::loopback())
        & Proof::shared_secret(SECRET_HEADER, [Secret::parse(SECRET).unwrap()]);
    let layer = ProxyRemoteUserLayer::new(proof).preset(Preset::SetRemoteUser).build().unwrap();
    inner(&layer, peer(), headers).map(|parts| {
        assert!(!parts.headers.contains_key(SECRET_HEADER), "the secret stays here");
        parts.extensions.get::<Identity>().unwrap().clone()
    })
}

/// The user as the application finds him.
fn arrived(user: DetachedUser) -> Result<DetachedUser, Refused> {
    let written = inner(&writer(Some(user)), peer(), HeaderMap::new())?;
    read(written.headers).map(|identity| DetachedUser::clone(identity.user().expect("somebody")))
}

const WRITTEN: [&str; 3] =
    ["remote-groups: dev", "remote-user: alice", "x-proxy-secret: correct-horse-battery-staple"];

/// Trap 1, CVE-2025-64484 (oauth2-proxy), CVE-2026-39858 (Traefik), GHSA-f59h-q822-g45g and GHSA-49wc-4hcv-v58q (Caddy).
#[test]
fn aliases_beside_the_real_header_go() {
    for mark in "-_.`~+^|%'!*#$&".chars() {
        let alias = |name: &str| name.replace('-', &mark.to_string());
        let names = ["remote-user", "remote-groups", "x-proxy-secret", "x-forwarded-user"].map(alias);
        let lines: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "admin")).collect();
        assert_eq!(sent(&writer(Some(alice())), &lines), WRITTEN, "{mark}");
    }
}

#[test]
fn aliases_of_extra_attributes_go() {
    let layer = writer(Some(alice().with_extra("scopes", "read"))).extra_prefix("x-acme-").checked().unwrap();
    let lines =
        [("x_acme_scopes", "root"), ("x.acme.other", "root"), ("x-acme-scopes", "root"), ("x-acme-", "")];
    assert_eq!(sent(&layer, &lines), [&WRITTEN[..2], &["x-acme-scopes: read"], &WRITTEN[2..]].concat());
}

/// Issue 877 of oauth2-proxy: the front end appended, and the client's groups were read as well.
#[test]
fn groups_of_the_client_are_not_appended_to() {
    let lines = [("remote-groups", "admins"), ("remote-groups", "root")];
    assert_eq!(sent(&writer(Some(alice())), &lines), WRITTEN);
    let without_groups = writer(Some(DetachedUser::new("alice")));
    assert_eq!(sent(&without_groups, &lines), WRITTEN[1..]);
    let per_line = writer(Some(alice().with_groups(["dev", "ops"]))).groups(Groups::PerLine);
    assert_eq!(sent(&per_line, &lines), ["remote-groups: dev", "remote-groups: ops", WRITTEN[1], WRITTEN[2]]);
}

/// GHSA-7r4p-vjf4-gxv4 (Caddy): what the user does not have stayed as the client sent it.
#[test]
fn an_attribute_that_the_user_lacks_is_not_the_clients() {
    let lines = [("remote-email", "root@example.org"), ("remote-name", "Root"), ("remote-uid", "0")];
    let layer = writer(Some(alice())).uid_header(HeaderName::from_static("remote-uid"));
    assert_eq!(sent(&layer, &lines), WRITTEN);
}

/// Trap 12: groups without a user.
#[test]
fn nobody_is_in_no_group() {
    for nobody in [None, Some(DetachedUser::new("").with_groups(["admins"]))] {
        let lines = [("remote-groups", "admins"), ("remote-user", "admin")];
        assert_eq!(sent(&writer(nobody), &lines), WRITTEN[2..]);
    }
}

/// Trap 9, CVE-2024-45410 (Traefik) and CVE-2022-31813 (Apache httpd).
#[test]
fn connection_takes_nothing_away() {
    let layer = writer(Some(alice()));
    for (listed, kept) in [
        (&["close, Remote-User"][..], &["close"][..]),
        (&["remote-user", "close, X-Proxy-Secret", "REMOTE-GROUPS"], &["close"]),
        (&["Remote_User, remote.groups, X_PROXY_SECRET,x-webauth-user"], &[]),
        (&["close, \"Remote-User\", upgrade"], &["close, upgrade"]),
        (&["close; Remote-User"], &[]),
        (&["close Remote-User"], &[]),
        (&["remote-user\t,, ,", ","], &[]),
        (&["close, x-mine"], &["close, x-mine"]),
    ] {
        for field in ["connection", "proxy-connection", "trailer"] {
            let lines: Vec<(&str, &str)> = listed.iter().map(|line| (field, *line)).collect();
            let headers = inner(&layer, peer(), headers(&lines)).unwrap().headers;
            let found: Vec<_> = headers.get_all(field).iter().map(|line| line.to_str().unwrap()).collect();
            assert_eq!(found, kept, "{field}: {listed:?}");
        }
    }
    let raw = HeaderValue::from_bytes(b"close, \xffRemote-User").unwrap();
    let mut obscure = HeaderMap::new();
    obscure.insert(header::CONNECTION, raw);
    assert_eq!(inner(&layer, peer(), obscure).unwrap().headers[header::CONNECTION], "close");
}

/// Upstream removes what Connection names, as proxies further in do: inside of SetRemoteUser or outside.
#[test]
fn upstream_removes_nothing_of_the_identity() {
    const LOGIN: HeaderName = HeaderName::from_static("x-acme-login");
    let user = alice().with_extra("scopes", "read");
    let set_remote_user =
        writer(Some(user)).user_header(LOGIN).extra_prefix("x-acme-extra-").checked().unwrap();
    let upstream = || UpstreamLayer::new(Target::from_static("http://127.0.0.1:8001"));
    let expected = [
        "host: shop.example",
        "remote-groups: dev",
        "x-acme-extra-scopes: read",
        "x-acme-login: alice",
        "x-proxy-secret: correct-horse-battery-staple",
    ];
    let names = "X-Acme-Login, Remote-Groups, X-Acme-Extra-Scopes, X-Proxy-Secret";
    for lines in [
        &[("connection", "close, x-acme-login")][..],
        &[("connection", names)],
        &[("connection", "close"), ("connection", names), ("connection", "keep-alive")],
        &[("connection", "X_Acme_Login, remote_groups, X.Proxy.Secret")],
        &[("connection", "\"x-acme-login\", ;x-acme-login, x-acme-login remote-groups")],
        &[("proxy-connection", names)],
        &[("keep-alive", names), ("connection", "keep-alive")],
        &[("te", names), ("connection", "te")],
        &[("trailer", names)],
        &[("upgrade", names), ("connection", "upgrade")],
    ] {
        let mut asked = headers(lines);
        asked.insert(header::HOST, HeaderValue::from_static("shop.example"));
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let of_version = MapRequestLayer::new(move |mut request: Request<()>| {
                *request.version_mut() = version;
                request
            });
            // The inner one stands first.
            let upstream_inside =
                Stack::new(Stack::new(upstream(), set_remote_user.clone()), of_version.clone());
            let inside = inner(&upstream_inside, peer(), asked.clone()).unwrap();
            let upstream_outside = Stack::new(Stack::new(set_remote_user.clone(), upstream()), of_version);
            let outside = inner(&upstream_outside, peer(), asked.clone()).unwrap();
            for parts in [inside, outside] {
                assert_eq!(shown(&parts.headers), expected, "{lines:?}");
            }
        }
    }
}

/// Trap 22: what is declared to follow in trailers is no identity.
#[test]
fn no_trailer_is_declared_that_names_a_user() {
    let lines = [("trailer", "X-Checksum, Remote-User"), ("trailer", "Remote_Groups"), ("te", "trailers")];
    let sent = sent(&writer(Some(alice())), &lines);
    assert_eq!(sent, [&WRITTEN[..2], &["te: trailers", "trailer: X-Checksum"], &WRITTEN[2..]].concat());
}

/// Over HTTP/1.1 hyper's client sends the trailers that are declared; over HTTP/2 all of them.
#[tokio::test]
async fn trailers_that_name_a_user_stay_behind_over_http_1() {
    for (is_http2, expected) in [(false, &["x-checksum"][..]), (true, &["remote-user", "x-checksum"])] {
        let (address, mut trailers) = trailers_of_requests().await;
        let target = Target::parse(&format!("http://{address}")).unwrap();
        let upstream = if is_http2 { UpstreamLayer::http2(target) } else { UpstreamLayer::new(target) };
        let client = Client::builder(TokioExecutor::new()).http2_only(is_http2).build_http();
        let front_end = writer(Some(alice())).layer(upstream.layer(client));
        let declared = headers(&[("remote-user", "admin"), ("x-checksum", "42")]);
        let frames = [Frame::data(Bytes::from("body")), Frame::trailers(declared)].map(Ok::<_, Infallible>);
        let request = Request::post("/")
            .header(header::HOST, "shop.example")
            .header(header::TRAILER, "x-checksum, Remote-User")
            .header(header::TE, "trailers")
            .body(StreamBody::new(tokio_stream::iter(frames)))
            .unwrap();
        let exchange = async {
            assert_eq!(front_end.oneshot(request).await.unwrap().status(), 200);
            trailers.recv().await.unwrap()
        };
        let trailers = tokio::time::timeout(Duration::from_secs(10), exchange).await.expect("in time");
        let mut names: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, expected);
    }
}

async fn trailers_of_requests() -> (SocketAddr, mpsc::UnboundedReceiver<HeaderMap>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let sender = sender.clone();
            async move {
                let body = request.into_body().collect().await.unwrap();
                sender.send(body.trailers().cloned().unwrap_or_default()).unwrap();
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let server = auto::Builder::new(TokioExecutor::new());
        server.serve_connection(TokioIo::new(socket), service).await
    });
    (address, receiver)
}

/// Trap 14: a layer that logs headers, and the table of HTTP/2.
#[test]
fn every_line_is_sensitive() {
    let user =
        alice().with_display_name("Alice").with_email("a@example.org").with_uid("7").with_extra("k", "v");
    let layer = writer(Some(user)).uid_header(HeaderName::from_static("remote-uid")).extra_prefix("x-extra-");
    let headers = inner(&layer, peer(), HeaderMap::new()).unwrap().headers;
    assert_eq!(headers.len(), 7);
    assert!(headers.values().all(HeaderValue::is_sensitive), "{headers:?}");
    assert!(!format!("{headers:?} {layer:?}").contains("horse"));
}

/// Trap 18, CVE-2022-35957 (Grafana): the front end's machine is made to ask.
#[test]
fn the_right_address_without_the_secret_is_nobody() {
    let nobody = |headers: HeaderMap| {
        let identity = read(headers).unwrap();
        matches!(identity, Identity::Anonymous(Anonymous::Unproven))
    };
    assert!(nobody(headers(&[("remote-user", "admin")])));
    assert!(nobody(headers(&[("remote-user", "admin"), ("x-proxy-secret", "guess-guess-guess-guess")])));
    // Through the front end, but logged in as nobody.
    let lines = headers(&[("remote-user", "admin"), ("x-proxy-secret", SECRET)]);
    let through = inner(&writer(None), peer(), lines).unwrap().headers;
    assert!(matches!(read(through).unwrap(), Identity::Anonymous(Anonymous::Absent)));
}

/// Trap 19: the client sends a guess beside the real one.
#[test]
fn the_secret_stands_once() {
    let lines = [("x-proxy-secret", "guess"), ("x_proxy_secret", "guess"), ("x-proxy-secret", SECRET)];
    assert_eq!(sent(&writer(Some(alice())), &lines), WRITTEN);
}

/// nginx drops names with `_`, Caddy those with `.` too; CGI takes both for `-`.
#[test]
fn no_key_is_dropped_or_taken_for_another() {
    let keys = ["a-b", "a_b", "A_B", "a b", "example.org/scopes", "schlüssel", "100%", "%41"];
    let user = keys.iter().fold(alice(), |user, key| user.with_extra(*key, *key));
    let layer = writer(Some(user)).extra_prefix("X-Remote-Extra-").checked().unwrap();
    let written = inner(&layer, peer(), HeaderMap::new()).unwrap().headers;
    for name in written.keys() {
        assert!(!name.as_str().contains('_'), "{name}");
    }
    assert_eq!(
        written["x-remote-extra-example.org%2fscopes"], "example.org/scopes",
        "as Kubernetes writes it"
    );
    let proof = Proof::peer(TrustedProxies::loopback());
    let reader = ProxyRemoteUserLayer::new(proof)
        .preset(Preset::SetRemoteUser)
        .extra_prefix("x-remote-extra-")
        .build()
        .unwrap();
    let read = inner(&reader, peer(), written).unwrap();
    let identity = read.extensions.get::<Identity>().unwrap();
    let extra = identity.user().unwrap().extra();
    assert_eq!(extra.len(), keys.len());
    assert!(keys.iter().all(|key| extra[*key] == [*key]), "{extra:?}");
}

/// Trap 17: a name that its owner chose so that it decodes to another one.
#[test]
fn a_name_that_looks_encoded_is_no_other_name() {
    for name in ["=?utf-8?q?admin?=", "=?utf-8?q?admin", "a=?b", "%61dmin", "(null) "] {
        match arrived(DetachedUser::new(name)) {
            Ok(user) => assert_eq!(user.name(), name),
            Err(refused) => assert_eq!((name, refused.kind), ("(null) ", RefusalKind::IdentityUnwritable)),
        }
    }
    let raw = inner(&writer(Some(DetachedUser::new("=?utf-8?q?admin?="))), peer(), HeaderMap::new());
    assert_eq!(raw.unwrap().headers["remote-user"], "=?utf-8?q?=3D=3Futf-8=3Fq=3Fadmin=3F=3D?=");
}

/// Trap 4: `\xe8` and `\xe9` are two people, also for who does not decode.
#[test]
fn no_two_users_are_written_alike() {
    let mut seen = std::collections::BTreeSet::new();
    for name in ["Andre", "André", "Andrè", "Andr\u{fffd}", "Andre\u{301}", "=?utf-8?q?Andr=C3=A9?="] {
        let written =
            inner(&writer(Some(DetachedUser::new(name))), peer(), HeaderMap::new()).unwrap().headers;
        assert!(seen.insert(written["remote-user"].as_bytes().to_vec()), "{name}");
        assert_eq!(arrived(DetachedUser::new(name)).unwrap().name(), name);
    }
}

/// RFC 2047, section 2: a word has at most 75 characters; section 5: no character is cut.
#[test]
fn a_long_name_is_one_line_of_whole_words() {
    for (start, char, count) in [("", 'ņ', 128), ("a", '漢', 85), ("", '😀', 64), ("=?", '=', 254)] {
        for count in [1, 20, 21, 22, count - 1, count] {
            let name = format!("{start}{}", char.to_string().repeat(count));
            let written = inner(&writer(Some(DetachedUser::new(&*name))), peer(), HeaderMap::new()).unwrap();
            let lines: Vec<_> = written.headers.get_all("remote-user").iter().collect();
            let [line] = lines[..] else { panic!("{lines:?}") };
            for word in line.to_str().unwrap().split(' ') {
                assert!(word.len() <= 75, "{word}");
                assert!(text::encoded_words(word.as_bytes()).is_some(), "{word}");
            }
            assert_eq!(arrived(DetachedUser::new(&*name)).unwrap().name(), name);
        }
        let too_long = format!("{start}{}", char.to_string().repeat(count + 1));
        let refused = arrived(DetachedUser::new(too_long)).unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.kind), (500, RefusalKind::IdentityUnwritable));
    }
}

/// What each foreign application finds.
#[test]
fn encodings_for_foreign_applications() {
    for (encoding, bytes) in [
        (Encoding::Latin1, &b"Andr\xe9"[..]),
        (Encoding::Utf8, b"Andr\xc3\xa9"),
        (Encoding::Percent, b"Andr%C3%A9"),
        (Encoding::Rfc2047, b"=?utf-8?q?Andr=C3=A9?="),
    ] {
        let layer = writer(Some(DetachedUser::new("André"))).encoding(encoding);
        let written = inner(&layer, peer(), HeaderMap::new()).unwrap().headers;
        assert_eq!(written["remote-user"].as_bytes(), bytes);
    }
}

#[test]
fn one_preset_serves_both_sides() {
    let user = DetachedUser::new("André")
        .with_groups(["Entwicklung", "Qualität"])
        .with_display_name("André, dit =?")
        .with_email("andré@example.org");
    let read = arrived(user).unwrap();
    assert_eq!(read.name(), "André");
    assert_eq!(read.groups().collect::<Vec<_>>(), ["Entwicklung", "Qualität"]);
    assert_eq!(read.display_name(), Some("André, dit =?"));
    assert_eq!(read.email(), Some("andré@example.org"));
}

#[test]
fn what_is_written_is_known_as_identity() {
    let headers = inner(&writer(Some(alice())), peer(), HeaderMap::new()).unwrap().headers;
    let foreign: Vec<_> = headers.keys().filter(|name| !name::is_identity(name)).collect();
    assert_eq!(foreign, [SECRET_HEADER]);
}
