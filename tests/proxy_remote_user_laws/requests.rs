//! What proxies, clients and servers put into a request, and what the inner service gets.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, Version};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tower::{Layer, Service, service_fn};
use tower_proxied::{
    DetachedUser, Identity, PeerAddr, ProxyRemoteUserLayer, Refusal, RefusalKind, RemoteUser,
};

use crate::model::{self, Who};
use crate::told::{EMAILS, EXEMPT, EXTRAS, GROUPS, NAMES, ProxyCert, SECRETS, SIGNATURE, UIDS, USERS};

pub(crate) type Line = (String, Vec<u8>);

#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) peer: Option<PeerAddr>,
    pub(crate) has_cert: bool,
    pub(crate) lines: Vec<Line>,
    pub(crate) target: &'static str,
    method: Method,
    version: Version,
    body: Vec<u8>,
    /// A layer, or an earlier run, left one there.
    has_stale_identity: bool,
}

impl Sent {
    pub(crate) fn is_exempt(&self) -> bool {
        self.target.split('?').next() == Some(EXEMPT)
    }

    pub(crate) fn without(&self, goes: impl Fn(&str) -> bool) -> Self {
        let mut sent = self.clone();
        sent.lines.retain(|(name, _)| !goes(name));
        sent
    }

    /// With lines before, between and after its own.
    pub(crate) fn with(&self, added: &[(Line, prop::sample::Index)]) -> Self {
        let mut sent = self.clone();
        for (line, at) in added {
            sent.lines.insert(at.index(sent.lines.len() + 1), line.clone());
        }
        sent
    }
}

pub(crate) fn sent() -> impl Strategy<Value = Sent> {
    let tcp = |text: &str| Some(PeerAddr::Tcp(text.parse::<SocketAddr>().unwrap()));
    let peer = prop_oneof![
        8 => Just(tcp("10.0.0.5:4711")),
        1 => Just(tcp("[::ffff:10.0.0.5]:1")),
        2 => Just(tcp("203.0.113.9:40000")),
        1 => Just(Some(PeerAddr::Unix)),
        1 => Just(None),
    ];
    let connection = (peer, any::<bool>(), any::<bool>());
    let head = (
        select(&["/", "/a//b?q=%2F", EXEMPT, "/healthz?full", "/healthz/"][..]),
        select(&[Method::GET, Method::POST, Method::OPTIONS][..]),
        select(&[Version::HTTP_10, Version::HTTP_11, Version::HTTP_2, Version::HTTP_3][..]),
        vec(any::<u8>(), 0..4),
    );
    (connection, head, lines()).prop_map(|((peer, has_cert, has_stale_identity), head, lines)| {
        let (target, method, version, body) = head;
        Sent { peer, has_cert, lines, target, method, version, body, has_stale_identity }
    })
}

/// Mostly what a proxy writes: each header once, with a value that can be read.
fn lines() -> impl Strategy<Value = Vec<Line>> {
    let once = |names: &'static [&'static str]| {
        vec(select(names).prop_flat_map(|name| (Just(name.to_owned()), fair_value())), 0..=2)
    };
    let extra =
        (select(&EXTRAS[..]), select(&["scopes", "%73copes", "a%20b", "%zz", "%00", ""][..]), fair_value())
            .prop_map(|(prefix, key, value)| (format!("{prefix}{key}"), value));
    let secret = (0..SECRETS.len(), select(&[0_usize, 0, 0, 1, 2][..])).prop_map(|(at, which)| {
        let (header, secrets) = SECRETS[at];
        (header.to_owned(), secrets.get(which).unwrap_or(&"guess-guess-guess-guess").as_bytes().to_vec())
    });
    let signature = select(&["good", "bad"][..]).prop_map(|value| (SIGNATURE.to_owned(), value.into()));
    let other = (
        select(
            &[
                "accept",
                "cookie",
                "authorization",
                "x-remote-user-suffix",
                "remoteuser",
                "x-goog-iap-jwt-assertion",
            ][..],
        ),
        any_value(),
    )
        .prop_map(|(name, value)| (name.to_owned(), value));
    let connection =
        vec(connection_option(), 0..4).prop_map(|options| ("connection".to_owned(), options.join(&b","[..])));
    let rare = prop_oneof![extra, signature, other, client_line()];
    (
        vec(select(&USERS[..]).prop_flat_map(|name| (Just(name.to_owned()), user_value())), 0..=2),
        (once(&GROUPS), once(&NAMES), once(&EMAILS), once(&UIDS)),
        (vec(secret, 0..=2), vec(connection, 0..=1)),
        vec(rare, 0..4),
    )
        .prop_map(|(users, (groups, names, emails, uids), (secrets, connection), rare)| {
            [users, groups, names, emails, uids, secrets, connection, rare].concat()
        })
        .prop_shuffle()
}

/// A line of an identity header, in any spelling and with any value, as clients invent them.
pub(crate) fn client_line() -> impl Strategy<Value = Line> {
    let configured =
        [&USERS[..], &GROUPS, &NAMES, &EMAILS, &UIDS, &EXTRAS, &SECRETS.map(|(name, _)| name)].concat();
    let name = prop_oneof![select(configured), select(model::WELL_KNOWN), select(model::WELL_KNOWN_FAMILIES)];
    let alias = (
        name,
        any::<u16>(),
        select(&["_", ".", "~", "+", "^", "|", "%", "'", "!", "*", "#", "$", "&", "`"][..]),
    )
        .prop_map(|(name, which, other)| {
            let spell = |(at, char): (usize, char)| match char {
                '-' | '_' | '.' if which & (1 << (at % 16)) != 0 => other.to_owned(),
                char => char.to_string(),
            };
            name.chars().enumerate().map(spell).collect::<String>()
        });
    let end = select(&["", "", "key"][..]);
    (alias, end, any_value()).prop_map(|(name, end, value)| {
        // Only a family has names that go on.
        let goes_on = name.ends_with(|char: char| !char.is_ascii_alphanumeric());
        (if goes_on { name + end } else { name }, value)
    })
}

fn user_value() -> impl Strategy<Value = Vec<u8>> {
    let fair = select(
        &[
            "alice",
            " bob\t",
            "alice@CORP",
            "alice@EVIL",
            "admin@CORP@EVIL",
            "EVIL\\admin@CORP",
            "admin\u{a0}",
            "alice%20",
            "EVIL\\bob",
            "CORP\\bob",
            "idp:alice",
            "idp:x\\carol",
            "(null)",
            "",
            "caf\u{e9}",
            "al%69ce",
        ][..],
    );
    prop_oneof![6 => fair.prop_map(|text| text.as_bytes().to_vec()), 1 => any_value()]
}

fn fair_value() -> impl Strategy<Value = Vec<u8>> {
    let fair = select(
        &[
            "dev",
            "dev,ops",
            "a;b",
            "a|b",
            "a, ,b",
            "CN=Lee\\, Ann,ops",
            "R&D\\;ops\\",
            "Alice A.",
            "Doe, Alice",
            "a@example.com",
            "7",
            "",
            "(null)",
        ][..],
    );
    prop_oneof![4 => fair.prop_map(|text| text.as_bytes().to_vec()), 1 => any_value()]
}

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    let piece = [
        "alice",
        "admin",
        "CORP",
        "@",
        "\\",
        ",",
        ";",
        "|",
        "idp:",
        "(null)",
        "-",
        " ",
        "\t",
        "%41",
        "%2C",
        "%",
        "%00",
        "%C3%A9",
        "\u{e9}",
        "\u{a0}",
        "\u{ad}",
        "\u{85}",
        "\u{202e}",
        "\u{2028}",
        "\u{feff}",
        "=?utf-8?q?admin?=",
    ];
    let piece = prop_oneof![
        4 => select(piece.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop_oneof![0x20..=0x7e_u8, 0x80..=0xff_u8].prop_map(|byte| vec![byte]),
    ];
    vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

fn connection_option() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => select(&["close", " keep-alive", "", "remote user", "\u{e9}"][..]).prop_map(|text| text.as_bytes().to_vec()),
        2 => client_line().prop_map(|(name, _)| name.to_uppercase().into_bytes()),
        1 => any_value(),
    ]
}

/// All that can be told apart, of the request that the inner service got or of the refusal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Served { who: Who, headers: BTreeMap<String, Vec<Vec<u8>>>, rest: String },
    Refused { kind: RefusalKind, response: String },
}

/// Everything that an outer layer or the server put there.
#[derive(Clone, Debug)]
struct Marker;

pub(crate) fn seen(layer: &ProxyRemoteUserLayer, sent: &Sent) -> Seen {
    let mut request = Request::new(sent.body.clone());
    *request.uri_mut() = sent.target.parse::<Uri>().unwrap();
    *request.method_mut() = sent.method.clone();
    *request.version_mut() = sent.version;
    for (name, value) in &sent.lines {
        request
            .headers_mut()
            .append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value).unwrap());
    }
    request.extensions_mut().insert(Marker);
    if let Some(peer) = sent.peer {
        request.extensions_mut().insert(peer);
    }
    if sent.has_cert {
        request.extensions_mut().insert(ProxyCert);
    }
    if sent.has_stale_identity {
        let root = RemoteUser::for_test(DetachedUser::new("root"));
        request.extensions_mut().insert(Identity::User(root));
    }
    let inner = Mutex::new(None);
    let mut service = layer.layer(service_fn(|request: Request<Vec<u8>>| {
        *inner.lock().unwrap() = Some(request);
        std::future::ready(Ok::<_, Infallible>(Response::new(String::new())))
    }));
    let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(&mut Context::from_waker(Waker::noop()))
    else {
        unreachable!("nothing here waits, or fails")
    };
    let Some(request) = inner.lock().unwrap().take() else {
        let kind = response.extensions().get::<Refusal>().expect("who does not ask refuses").kind();
        return Seen::Refused { kind, response: format!("{:?} {:?}", response.status(), response.headers()) };
    };
    let (mut parts, body) = request.into_parts();
    let identity = parts.extensions.remove::<Identity>().expect("an Identity is always there");
    let peer = parts.extensions.remove::<PeerAddr>();
    let has_cert = parts.extensions.remove::<ProxyCert>().is_some();
    assert!(parts.extensions.remove::<Marker>().is_some());
    assert!(parts.extensions.is_empty(), "nothing else is left");
    let mut headers: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for (name, value) in &parts.headers {
        headers.entry(name.to_string()).or_default().push(value.as_bytes().to_vec());
    }
    let rest = format!("{} {} {:?} {body:?} {peer:?} {has_cert}", parts.method, parts.uri, parts.version);
    Seen::Served { who: Who::from(&identity), headers, rest }
}
