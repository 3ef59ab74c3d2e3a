//! What must hold between SetRemoteUser and ProxyRemoteUser for all users and all clients.

#[macro_use]
#[path = "common/laws.rs"]
mod laws;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tower::layer::util::Stack;
use tower_proxied::front::{SetRemoteUserLayer, Target, UpstreamLayer};
use tower_proxied::proxy_remote_user::{Preset, ProxyRemoteUserBuilder};
use tower_proxied::wire::name;
use tower_proxied::{DetachedUser, Identity, PeerAddr, Proof, RefusalKind, Secret, TrustedProxies};

use self::inner::inner;
use self::shapes::{is_writable, shape};
use self::users::{plain_user, user};

#[path = "../fuzz/checks/inner.rs"]
mod inner;
#[path = "set_remote_user_laws/shapes.rs"]
mod shapes;
#[path = "set_remote_user_laws/sockets.rs"]
mod sockets;
#[path = "set_remote_user_laws/users.rs"]
mod users;

const SECRET_HEADER: HeaderName = HeaderName::from_static("x-proxy-secret");

laws! {
    /// A user is refused as unwritable, or read back exactly, and the naive twin says which.
    fn who_is_written_is_read(user in user(), shape in shape()) {
        match inner(&shape.writer(&user), peer(), HeaderMap::new()) {
            Ok(nobody) if !user.is_authenticated() => prop_assert!(nobody.headers.is_empty()),
            Ok(written) => {
                prop_assert!(is_writable(&user, &shape), "{:?}", written.headers);
                prop_assert_eq!(shape.writer(&user).can_write(&user), Ok(()));
                prop_assert_eq!(read(shape.reader(&user), written.headers)?, shape.carried(&user));
            }
            Err(refused) => {
                prop_assert_eq!(refused.kind, RefusalKind::IdentityUnwritable);
                prop_assert!(!is_writable(&user, &shape));
                prop_assert!(shape.writer(&user).can_write(&user).is_err());
            }
        }
    }

    /// The law above is not kept by refusing everybody.
    fn plain_people_are_always_written(user in plain_user(), shape in shape()) {
        let written = inner(&shape.writer(&user), peer(), HeaderMap::new());
        prop_assert!(written.is_ok(), "{:?}", written.err());
    }

    /// A proxy between proxies hands on who came.
    fn a_reader_that_forwards_is_read_by_the_next(user in plain_user(), shape in shape()) {
        let written = inner(&shape.writer(&user), peer(), HeaderMap::new()).expect("plain");
        let between = shape.reader(&user).forward_canonical().build().expect("sound");
        let forwarded = inner(&between, peer(), written.headers).expect("as it was written");
        prop_assert_eq!(read(shape.reader(&user), forwarded.headers)?, shape.carried(&user));
    }

    /// Whatever a client adds, identity and secret go on as without it, also through Upstream on either side.
    fn nothing_a_client_adds_changes_who_it_is(
        user in option::of(plain_user()), added in added(), where_upstream in 0..3_u8,
    ) {
        let without = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("shop.example"))]);
        let mut with = without.clone();
        for (name, value) in added {
            with.append(name, value);
        }
        let seen = |headers: HeaderMap| {
            let writer = acme(user.clone());
            let upstream = UpstreamLayer::new(Target::from_static("http://127.0.0.1:8001"));
            let parts = match where_upstream {
                0 => inner(&writer, peer(), headers),
                1 => inner(&Stack::new(upstream, writer), peer(), headers),
                _ => inner(&Stack::new(writer, upstream), peer(), headers),
            };
            parts.expect("plain people are written").headers
        };
        let (with, without) = (seen(with), seen(without));
        prop_assert_eq!(protected(&with), protected(&without));
        for field in ["connection", "proxy-connection", "trailer"] {
            for option in with.get_all(field).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b',')) {
                let option = HeaderName::from_bytes(option.trim_ascii());
                prop_assert!(!option.is_ok_and(|name| is_protected(&name)), "{:?}", with);
            }
        }
    }

    /// One line per header but where lists are asked for, of visible ASCII and blanks, all of them sensitive.
    fn lines_are_visible_ascii(user in user()) {
        let writer = acme(Some(user));
        if let Ok(written) = inner(&writer, peer(), HeaderMap::new()) {
            for (name, value) in &written.headers {
                prop_assert!(value.as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte)), "{:?}", value.as_bytes());
                prop_assert!(value.is_sensitive());
                let is_alone = written.headers.get_all(name).iter().count() == 1;
                prop_assert!(is_alone || name.as_str().starts_with("x-acme-extra-"), "{}", name);
            }
        }
    }
}

fn peer() -> PeerAddr {
    PeerAddr::Tcp(([127, 0, 0, 1], 4711).into())
}

fn proof() -> Proof {
    Proof::peer(TrustedProxies::loopback())
}

/// The user as text, since users do not compare.
fn read(reader: ProxyRemoteUserBuilder, headers: HeaderMap) -> Result<String, TestCaseError> {
    let layer = reader.build().expect("sound");
    let shown = format!("{headers:?}");
    let parts = inner(&layer, peer(), headers)
        .map_err(|refused| TestCaseError::fail(format!("{refused:?} of {shown}")))?;
    let identity = parts.extensions.get::<Identity>().expect("always there");
    let user = identity.user().ok_or_else(|| TestCaseError::fail(format!("{identity} of {shown}")))?;
    Ok(format!("{:?}", DetachedUser::clone(user)))
}

/// A writer with headers of its own, which are on no list.
fn acme(user: Option<DetachedUser>) -> SetRemoteUserLayer {
    SetRemoteUserLayer::from_fn(move |_| user.clone())
        .user_header(HeaderName::from_static("x-acme-login"))
        .uid_header(HeaderName::from_static("remote-uid"))
        .extra_prefix("x-acme-extra-")
        .shared_secret(SECRET_HEADER, Secret::parse("correct-horse-battery-staple").expect("long"))
        .checked()
        .expect("sound")
}

fn is_protected(header: &HeaderName) -> bool {
    let own: [&[u8]; 3] = [b"x-acme-login", b"remote-uid", b"x-proxy-secret"];
    own.iter().any(|own| name::fold_together(own, header.as_str().as_bytes()))
        || name::folds_to_prefix(header.as_str().as_bytes(), b"x-acme-extra-")
        || name::is_identity(header)
}

fn protected(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let mut lines: Vec<_> = headers
        .iter()
        .filter(|(name, _)| is_protected(name))
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect();
    lines.sort();
    lines
}

/// Lines that a client invents: identities in all spellings, lists that name them, and others.
fn added() -> impl Strategy<Value = Vec<(HeaderName, HeaderValue)>> {
    let identity = (spelling(), vec(any::<u8>(), 0..12));
    let element = prop_oneof![
        4 => spelling().prop_map(String::into_bytes),
        2 => select(vec!["close", "keep-alive", "te", "upgrade", "trailers", "\"remote-user\"", ";remote-user", ""])
            .prop_map(|option| option.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..6),
    ];
    let field = select(vec!["connection", "proxy-connection", "trailer", "keep-alive", "te", "upgrade"]);
    let list = (field, vec(element, 0..5), select(vec![", ", ",", " ,\t", " "]))
        .prop_map(|(field, elements, separator)| (field.to_owned(), elements.join(separator.as_bytes())));
    let other = ("x-[a-d]{1,3}", vec(any::<u8>(), 0..6));
    let line = prop_oneof![3 => identity, 3 => list, 1 => other];
    vec(line, 0..10).prop_map(|lines| {
        let legal = |(name, value): (String, Vec<u8>)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(&value).ok()?))
        };
        lines.into_iter().filter_map(legal).collect()
    })
}

fn spelling() -> impl Strategy<Value = String> {
    let base = select(vec![
        "x-acme-login",
        "x-acme-extra-scopes",
        "remote-user",
        "remote-groups",
        "remote-name",
        "remote-email",
        "remote-uid",
        "x-proxy-secret",
        "x-forwarded-user",
        "x-remote-extra-scopes",
        "client-cert",
    ]);
    (base, select(b"--_.~+^|%'!*#$&`".to_vec()), any::<Index>(), any::<bool>()).prop_map(
        |(base, mark, which, is_upper)| {
            let hyphens = base.matches('-').count();
            let mut seen = 0;
            let which = which.index(hyphens + 1);
            let name: String = base
                .chars()
                .map(|char| {
                    seen += usize::from(char == '-');
                    // All of them, or one.
                    if char == '-' && (which == 0 || which == seen) { char::from(mark) } else { char }
                })
                .collect();
            if is_upper { name.to_ascii_uppercase() } else { name }
        },
    )
}

/// Presets in the order of the documentation.
const PRESETS: [Preset; 8] = [
    Preset::UserOnly,
    Preset::Authelia,
    Preset::Authentik,
    Preset::Oauth2Proxy,
    Preset::Kubernetes,
    Preset::Tailscale,
    Preset::GoogleIap,
    Preset::SetRemoteUser,
];
