//! What Django's `RemoteUserMiddleware` made of raw requests, and what real front ends put on the wire: the layer
//! agrees, or differs for a reason that is named here.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use http::{HeaderName, HeaderValue, Request, Response};
use serde_json::Value;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_proxied::{Anonymous, Identity, PeerAddr, Proof, ProxyRemoteUserLayer, Refusal, TrustedProxies};

/// How the layer may differ from Django.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// Django's user of an empty header is called "".
    EmptyIsNobody,
    /// WSGI merges two lines into `alice,bob`.
    SeveralLinesAreRefused,
    /// WSGI takes `Remote_User` for `Remote-User`, as far as the server lets it.
    AliasesAreNotRead,
    /// WSGI hands bytes over as Latin-1.
    BytesAreUtf8,
}

#[derive(Debug)]
enum Seen {
    User(String),
    Nobody(Anonymous),
    Refused,
}

fn vectors(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect()
}

async fn ask(peer: &str, lines: &[(String, String)]) -> Seen {
    let mut request = Request::new(());
    for (name, value) in lines {
        let name = HeaderName::from_bytes(&latin1(name)).unwrap();
        request.headers_mut().append(name, HeaderValue::from_bytes(&latin1(value)).unwrap());
    }
    let layer = ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::loopback())).build().unwrap();
    let service = ServiceBuilder::new()
        .layer(PeerAddr::layer(peer.parse::<SocketAddr>().unwrap()))
        .layer(layer)
        .service(service_fn(|request: Request<()>| async move {
            let names: Vec<_> =
                request.headers().keys().map(|name| name.as_str().replace('_', "-")).collect();
            assert!(!names.iter().any(|name| name == "remote-user"), "{names:?}");
            let identity = request.extensions().get::<Identity>().cloned().expect("always there");
            let mut response = Response::new(());
            response.extensions_mut().insert(identity);
            Ok::<_, std::convert::Infallible>(response)
        }));
    let response = service.oneshot(request).await.unwrap();
    match (response.extensions().get::<Refusal>(), response.extensions().get::<Identity>()) {
        (Some(_), _) => Seen::Refused,
        (None, Some(Identity::User(user))) => Seen::User(user.name().to_owned()),
        (None, Some(Identity::Anonymous(reason))) => Seen::Nobody(*reason),
        (None, None) => panic!("an Identity is always there"),
    }
}

fn header_lines(request: &str) -> Vec<(String, String)> {
    let lines = request.lines().skip(1).take_while(|line| !line.is_empty());
    lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.into(), value.trim().into()))
        .collect()
}

#[tokio::test]
async fn differences_from_django_are_named() {
    let mut seen_differences = BTreeSet::new();
    for case in vectors("django_oracle.json") {
        let lines = header_lines(case["request"].as_str().unwrap());
        let has_alias = lines.iter().any(|(name, _)| name.eq_ignore_ascii_case("remote_user"));
        if !case["status"].as_str().unwrap().contains("200") {
            continue;
        }
        let seen = ask("127.0.0.1:1", &lines).await;
        let difference = match (case["remote_user"].as_str(), &seen) {
            (None, Seen::Nobody(Anonymous::Absent)) => continue,
            (Some(theirs), Seen::User(ours)) if theirs == ours => continue,
            (Some(""), Seen::Nobody(Anonymous::Absent)) => Difference::EmptyIsNobody,
            (Some(_), Seen::User(_) | Seen::Nobody(Anonymous::Absent)) if has_alias => {
                Difference::AliasesAreNotRead
            }
            (Some(theirs), Seen::Refused) if theirs.contains(',') => Difference::SeveralLinesAreRefused,
            (Some(theirs), Seen::User(ours)) if latin1(theirs) == ours.as_bytes() => Difference::BytesAreUtf8,
            (theirs, _) => panic!("{}: Django says {theirs:?}, seen {seen:?}", case["id"]),
        };
        seen_differences.insert(difference);
    }
    let all = [
        Difference::EmptyIsNobody,
        Difference::SeveralLinesAreRefused,
        Difference::AliasesAreNotRead,
        Difference::BytesAreUtf8,
    ];
    assert_eq!(seen_differences, BTreeSet::from(all), "each difference has a case");
}

#[tokio::test]
async fn a_hardened_front_end_is_the_only_one_to_name_a_user() {
    let mut replayed = 0;
    for case in vectors("wire_captures.json") {
        let Some(lines) = case["headers_at_backend"].as_array() else { continue };
        // A line without a colon has no value.
        let text = |part: &Value| part.as_str().unwrap_or_default().to_owned();
        let lines: Vec<(String, String)> =
            lines.iter().map(|line| (text(&line[0]), text(&line[1]))).collect();
        // A server refuses others before any layer sees them.
        let is_legal = |(name, value): &(String, String)| {
            HeaderName::from_bytes(&latin1(name)).is_ok() && HeaderValue::from_bytes(&latin1(value)).is_ok()
        };
        if !lines.iter().all(is_legal) {
            continue;
        }
        let stranger = ask("203.0.113.9:1", &lines).await;
        assert!(matches!(stranger, Seen::Nobody(Anonymous::Unproven)), "{}: {stranger:?}", case["id"]);
        let proven = ask("127.0.0.1:1", &lines).await;
        let is_fair = match &proven {
            // What clients tried to be is `admin`; a naive front end relays it.
            Seen::User(user) if case["config"] == "hardened" => user == "alice",
            Seen::User(_) | Seen::Refused => {
                lines.iter().any(|(name, _)| name.eq_ignore_ascii_case("remote-user"))
            }
            Seen::Nobody(reason) => *reason == Anonymous::Absent,
        };
        assert!(is_fair, "{}: {proven:?}", case["id"]);
        replayed += 1;
    }
    assert!(replayed > 500, "{replayed}");
}
