//! What a layer is told, as plain data that layer and model are made of.

use http::HeaderName;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use tower_proxied::proxy_remote_user::{Encoding, Groups, OnAlias, OnForged};
use tower_proxied::{Proof, ProxyRemoteUserLayer, Secret, TrustedProxies};

/// Two secrets, each with an older one.
pub(crate) const SECRETS: [(&str, [&str; 2]); 2] = [
    ("x-proxy-secret", ["correct-horse-battery-staple-1", "correct-horse-battery-staple-0"]),
    ("x_gate.key", ["another-secret-of-the-gate-1", "another-secret-of-the-gate-0"]),
];
pub(crate) const USERS: [&str; 3] = ["remote-user", "x-forwarded-user", "x_acme.login"];
pub(crate) const GROUPS: [&str; 2] = ["remote-groups", "x-team"];
pub(crate) const NAMES: [&str; 2] = ["remote-name", "x-shown-as"];
pub(crate) const EMAILS: [&str; 2] = ["remote-email", "x_mail"];
pub(crate) const UIDS: [&str; 2] = ["x-remote-uid", "x.acme.id"];
pub(crate) const EXTRAS: [&str; 2] = ["x-remote-extra-", "x-attribute-"];
/// Shows [`Tree::Verify`], and is no identity header.
pub(crate) const SIGNATURE: &str = "x-signature";
pub(crate) const EXEMPT: &str = "/healthz";

#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) proof: Tree,
    pub(crate) users: Vec<&'static str>,
    pub(crate) groups: Option<&'static str>,
    pub(crate) name: Option<&'static str>,
    pub(crate) email: Option<&'static str>,
    pub(crate) uid: Option<&'static str>,
    pub(crate) extra: Option<&'static str>,
    pub(crate) grouping: Groups,
    /// Any but RFC 2047, whose reader has a twin of its own beside it.
    pub(crate) encoding: Encoding,
    pub(crate) placeholders: Vec<&'static str>,
    pub(crate) max_value_bytes: usize,
    pub(crate) max_groups: usize,
    pub(crate) allows_comma: bool,
    pub(crate) prefix: Option<&'static str>,
    pub(crate) realms: Option<Vec<&'static str>>,
    pub(crate) keep: Vec<&'static str>,
    pub(crate) is_required: bool,
    pub(crate) refuses_forged: bool,
    pub(crate) refuses_aliases: bool,
    pub(crate) forwards: bool,
    pub(crate) strips_authorization: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Tree {
    Peer,
    Secret(usize),
    Cert,
    Verify,
    Never,
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

/// As a TLS listener leaves it.
#[derive(Clone, Debug)]
pub(crate) struct ProxyCert;

impl Tree {
    pub(crate) fn asks_for_peer(&self) -> bool {
        match self {
            Self::Peer => true,
            Self::And(a, b) | Self::Or(a, b) => a.asks_for_peer() || b.asks_for_peer(),
            _ => false,
        }
    }

    pub(crate) fn secret_headers(&self) -> Vec<&'static str> {
        match self {
            Self::Secret(at) => vec![SECRETS[*at].0],
            Self::And(a, b) | Self::Or(a, b) => [a.secret_headers(), b.secret_headers()].concat(),
            _ => Vec::new(),
        }
    }

    fn proof(&self) -> Proof {
        match self {
            Self::Peer => Proof::peer(TrustedProxies::parse(["10.0.0.5"]).unwrap()),
            Self::Secret(at) => {
                let (header, secrets) = SECRETS[*at];
                Proof::shared_secret(
                    header.parse().unwrap(),
                    secrets.map(|text| Secret::parse(text).unwrap()),
                )
            }
            Self::Cert => Proof::client_cert(|extensions| extensions.get::<ProxyCert>().is_some()),
            Self::Verify => {
                Proof::verify(|parts| parts.headers.get(SIGNATURE).is_some_and(|it| it == "good"))
            }
            Self::Never => Proof::verify(|_| false),
            Self::And(a, b) => a.proof() & b.proof(),
            Self::Or(a, b) => a.proof() | b.proof(),
        }
    }
}

pub(crate) fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        8 => Just(Tree::Peer),
        4 => (0..SECRETS.len()).prop_map(Tree::Secret),
        2 => Just(Tree::Cert),
        2 => Just(Tree::Verify),
        1 => Just(Tree::Never),
    ];
    leaf.prop_recursive(3, 6, 2, |tree| {
        (tree.clone(), tree, any::<bool>()).prop_map(|(a, b, is_and)| {
            let (a, b) = (Box::new(a), Box::new(b));
            if is_and { Tree::And(a, b) } else { Tree::Or(a, b) }
        })
    })
}

pub(crate) fn told() -> impl Strategy<Value = Told> {
    let headers = (
        prop_oneof![2 => Just(USERS.to_vec()), 1 => subsequence(&USERS[..], 1..=USERS.len())],
        option::weighted(0.8, select(&GROUPS[..])),
        option::weighted(0.7, select(&NAMES[..])),
        option::weighted(0.7, select(&EMAILS[..])),
        option::weighted(0.5, select(&UIDS[..])),
        option::weighted(0.5, select(&EXTRAS[..])),
        subsequence(&["remote-user", "remote-groups", "x-webauth-user", "x_acme.login"][..], 0..=2),
    );
    let notation = (
        select(&[Groups::Comma, Groups::Semicolon, Groups::Pipe, Groups::PerLine][..]),
        select(&[Encoding::Utf8, Encoding::Latin1, Encoding::Percent][..]),
        select(vec![&["(null)"][..], &[], &["(null)", "-", "alice"]]),
        select(&[256_usize, 9][..]),
        select(&[128_usize, 2, 0][..]),
        option::weighted(0.15, Just("idp:")),
        option::weighted(0.5, select(vec![&["CORP"][..], &["CORP", "idp:x"]])),
    );
    let flag = || prop::bool::weighted(0.25);
    let policies = (flag(), flag(), flag(), flag(), any::<bool>(), flag());
    (tree(), headers, notation, policies).prop_map(|(proof, headers, notation, policies)| {
        let (users, groups, name, email, uid, extra, mut keep) = headers;
        // What is on no list passes without being kept: to name it is an error.
        keep.retain(|kept| *kept != "x_acme.login" || users.contains(kept));
        let (grouping, encoding, placeholders, max_value_bytes, max_groups, prefix, realms) = notation;
        let (allows_comma, is_required, refuses_forged, refuses_aliases, forwards, strips_authorization) =
            policies;
        Told {
            proof,
            users,
            groups,
            name,
            email,
            uid,
            extra,
            grouping,
            encoding,
            placeholders: placeholders.to_vec(),
            max_value_bytes,
            max_groups,
            allows_comma,
            prefix,
            realms: realms.map(<[_]>::to_vec),
            keep,
            is_required,
            refuses_forged,
            refuses_aliases,
            forwards,
            strips_authorization,
        }
    })
}

impl Told {
    pub(crate) fn layer(&self) -> ProxyRemoteUserLayer {
        let header = |name: &str| name.parse::<HeaderName>().unwrap();
        let mut builder = ProxyRemoteUserLayer::new(self.proof.proof())
            .user_headers(self.users.iter().map(|name| header(name)))
            .groups_header(self.groups.map(header))
            .name_header(self.name.map(header))
            .email_header(self.email.map(header))
            .uid_header(self.uid.map(header))
            .groups(self.grouping)
            .encoding(self.encoding)
            .placeholders(self.placeholders.iter().copied())
            .max_value_bytes(self.max_value_bytes)
            .max_groups(self.max_groups)
            .on_forged(if self.refuses_forged { OnForged::Refuse } else { OnForged::Strip })
            .on_alias(if self.refuses_aliases { OnAlias::Refuse } else { OnAlias::Drop })
            .exempt_path(EXEMPT);
        if let Some(extra) = self.extra {
            builder = builder.extra_prefix(extra);
        }
        if let Some(prefix) = self.prefix {
            builder = builder.require_prefix(prefix);
        }
        if let Some(realms) = &self.realms {
            builder = builder.require_realm(realms.iter().copied());
        }
        for kept in &self.keep {
            builder = builder.keep(header(kept));
        }
        if self.allows_comma {
            builder = builder.allow_comma();
        }
        if self.is_required {
            builder = builder.required();
        }
        if self.forwards {
            builder = builder.forward_canonical();
        }
        if self.strips_authorization {
            builder = builder.strip_authorization();
        }
        builder.build().unwrap()
    }
}
