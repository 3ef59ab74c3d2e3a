use std::fmt;

use http::{Extensions, HeaderName, HeaderValue};

use super::fields::{Encoding, Fields, Groups};
use super::preset::Preset;
use super::proof::Proof;
use super::{CHALLENGE, ProxyRemoteUserLayer};
use crate::shell::ExemptPaths;
use crate::trust::PeerAddr;
use crate::wire::name::{self, NameSet};

/// Makes a [`ProxyRemoteUserLayer`]; see the [module](crate::proxy_remote_user). It is no layer yet: finish with
/// `.build()?`.
///
/// # Example
///
/// Authelia's four headers are the default, and each of them must be set or cleared by the proxy. Where it writes the
/// user alone, start with [`preset(Preset::UserOnly)`](Self::preset). Kubernetes' front proxy:
///
/// ```
/// use http::HeaderName;
/// use tower_proxied::proxy_remote_user::Groups;
/// use tower_proxied::{Proof, ProxyRemoteUserLayer, TrustedProxies};
///
/// let builder = ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::parse(["10.0.0.5"])?))
///     .user_header(HeaderName::from_static("x-remote-user"))
///     .groups_header(HeaderName::from_static("x-remote-group"))
///     .groups(Groups::PerLine)
///     .name_header(None)
///     .email_header(None)
///     .required();
/// let layer = builder.clone().build()?;
/// # let _ = layer;
///
/// let mistake = builder.user_header(HeaderName::from_static("host")).build().unwrap_err();
/// assert_eq!(mistake.item(), "host");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ProxyRemoteUserBuilder {
    config: Config,
}

#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) proof: Proof,
    /// All headers in which the proof looks for a secret.
    pub(super) secret_headers: Vec<HeaderName>,
    pub(super) fields: Fields,
    pub(super) keep: Vec<HeaderName>,
    pub(super) is_required: bool,
    pub(super) challenge: HeaderValue,
    pub(super) on_forged: OnForged,
    pub(super) on_alias: OnAlias,
    pub(super) forwards_canonical: bool,
    pub(super) strips_authorization: bool,
    pub(super) peer_from: Option<fn(&Extensions) -> Option<PeerAddr>>,
    pub(super) exempt: ExemptPaths,
    /// Compiled by [`build`](ProxyRemoteUserBuilder::build).
    pub(super) protected: NameSet,
}

impl ProxyRemoteUserBuilder {
    pub(super) fn new(proof: Proof) -> Self {
        Self {
            config: Config {
                secret_headers: proof.secret_headers(),
                proof,
                fields: Fields::default(),
                keep: Vec::new(),
                is_required: false,
                challenge: CHALLENGE,
                on_forged: OnForged::Strip,
                on_alias: OnAlias::Drop,
                forwards_canonical: false,
                strips_authorization: false,
                peer_from: None,
                exempt: ExemptPaths::default(),
                protected: NameSet::new(name::IDENTITY, name::IDENTITY_PREFIXES),
            },
        }
    }

    /// The headers of a known front end, all at once: call it before the setters of single ones.
    pub fn preset(mut self, preset: Preset) -> Self {
        preset.apply(&mut self.config.fields);
        self
    }

    /// The header that names the user. `remote-user` unless said.
    pub fn user_header(self, header: HeaderName) -> Self {
        self.user_headers([header])
    }

    /// Several headers that name the user, for a proxy that writes one or the other. Two that name different users
    /// are refused with 400: one of them may be the client's.
    pub fn user_headers(mut self, headers: impl IntoIterator<Item = HeaderName>) -> Self {
        self.config.fields.users = headers.into_iter().collect();
        self
    }

    /// The header with the user's groups. `remote-groups` unless said; `None` reads no groups.
    pub fn groups_header(mut self, header: impl Into<Option<HeaderName>>) -> Self {
        self.config.fields.groups = header.into();
        self
    }

    /// The header with the user's name for display. `remote-name` unless said; `None` reads none.
    pub fn name_header(mut self, header: impl Into<Option<HeaderName>>) -> Self {
        self.config.fields.name = header.into();
        self
    }

    /// The header with the user's address for mail. `remote-email` unless said; `None` reads none.
    pub fn email_header(mut self, header: impl Into<Option<HeaderName>>) -> Self {
        self.config.fields.email = header.into();
        self
    }

    /// The header with an id that stays when the name changes. None unless said.
    pub fn uid_header(mut self, header: impl Into<Option<HeaderName>>) -> Self {
        self.config.fields.uid = header.into();
        self
    }

    /// Headers whose names start so hold further attributes, the key being the rest of the name (Kubernetes:
    /// `x-remote-extra-`). In a key, percent triplets are decoded once, malformed ones are kept.
    pub fn extra_prefix(mut self, prefix: &str) -> Self {
        self.config.fields.extra_prefixes.push(prefix.to_ascii_lowercase().into());
        self
    }

    /// How groups are written. [`Groups::Comma`] unless said.
    pub fn groups(mut self, groups: Groups) -> Self {
        self.config.fields.grouping = groups;
        self
    }

    /// How text is written. [`Encoding::Utf8`] unless said. This crate's front end writes [`Encoding::Rfc2047`]: see
    /// [`Preset::SetRemoteUser`].
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.config.fields.encoding = encoding;
        self
    }

    /// Values that stand for nobody, besides the empty one. `(null)` unless said.
    pub fn placeholders<I>(mut self, placeholders: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Box<str>>,
    {
        self.config.fields.placeholders = placeholders.into_iter().map(Into::into).collect();
        self
    }

    /// The most bytes of a decoded value; a longer one is refused with 400. 256 unless said.
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.config.fields.max_value_bytes = bytes;
        self
    }

    /// The most groups; more are refused with 400, since a list that was cut means something else. 128 unless said.
    pub fn max_groups(mut self, groups: usize) -> Self {
        self.config.fields.max_groups = groups;
        self
    }

    /// Names may hold commas, as distinguished names of LDAP do. A proxy that merges the client's line into its
    /// own then goes unseen.
    pub fn allow_comma(mut self) -> Self {
        self.config.fields.allows_comma = true;
        self
    }

    /// The user's name must start so, and loses it (Google IAP: `accounts.google.com:`); else 400.
    pub fn require_prefix(mut self, prefix: &str) -> Self {
        self.config.fields.prefix = Some(prefix.into());
        self
    }

    /// The user's name must be `name@REALM` or `REALM\name` with one of these realms, and loses it. Another realm is
    /// refused with 403, none or two with 400. Case counts.
    ///
    /// With several realms, a name must mean the same person in all of them.
    pub fn require_realm<I>(mut self, realms: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Box<str>>,
    {
        self.config.fields.realms = Some(realms.into_iter().map(Into::into).collect());
        self
    }

    /// Requests of nobody are refused with 401.
    pub fn required(mut self) -> Self {
        self.config.is_required = true;
        self
    }

    /// What `WWW-Authenticate` of the 401 says. `RemoteUser` unless said.
    pub fn challenge(mut self, challenge: HeaderValue) -> Self {
        self.config.challenge = challenge;
        self
    }

    /// Identity headers without proof. [`OnForged::Strip`] unless said.
    pub fn on_forged(mut self, policy: OnForged) -> Self {
        self.config.on_forged = policy;
        self
    }

    /// Other spellings of configured headers, in a proven request. [`OnAlias::Drop`] unless said.
    pub fn on_alias(mut self, policy: OnAlias) -> Self {
        self.config.on_alias = policy;
        self
    }

    /// Hands this identity header through to the application as it came, from a proven proxy: only one that the proxy
    /// sets or removes on every request.
    pub fn keep(mut self, header: HeaderName) -> Self {
        self.config.keep.push(header);
        self
    }

    /// Writes the user's headers anew, for an application that is itself a proxy, or reads headers: one clean line
    /// each, of a proven user alone. `Connection` and `Trailer` no longer name them. They are written as they are read,
    /// so that a further [`ProxyRemoteUser`](crate::ProxyRemoteUser) with these settings finds the same user: extra
    /// attributes under the first prefix, the name with what [`require_prefix`](Self::require_prefix) and
    /// [`require_realm`](Self::require_realm) took off (`name@REALM`, whichever form came).
    ///
    /// A value that only an encoding could carry (`=?utf-8?q?a=2Cb?=`, a comma) is refused with 400.
    pub fn forward_canonical(mut self) -> Self {
        self.config.forwards_canonical = true;
        self
    }

    /// Removes `Authorization` where the proxy named a user. Without a user it stays, for a login further in.
    pub fn strip_authorization(mut self) -> Self {
        self.config.strips_authorization = true;
        self
    }

    /// Where the peer stands in the extensions, for servers that [`PeerAddr`] does not know.
    pub fn peer_from(mut self, peer: fn(&Extensions) -> Option<PeerAddr>) -> Self {
        self.config.peer_from = Some(peer);
        self
    }

    /// A path that is never refused. What would have been refused is [`Anonymous::Exempt`](super::Anonymous::Exempt).
    pub fn exempt_path(mut self, path: &str) -> Self {
        self.config.exempt.add(path);
        self
    }

    /// Checks everything together.
    ///
    /// # Errors
    ///
    /// A proof that nobody can show (an empty set, no secret); a header that HTTP or another layer needs (`Host`,
    /// `Cookie`, `Content-…`, `X-Forwarded-For`, …), or a prefix that covers one; two roles whose headers are the same
    /// in some spelling; a secret that is to be kept; no user header; an empty or ambiguous realm, an empty prefix.
    /// The error names the item.
    pub fn build(mut self) -> Result<ProxyRemoteUserLayer, BuildError> {
        self.config.check()?;
        self.config.protected = self.config.protected();
        Ok(self.config.into())
    }
}

/// What becomes of a request that proves nothing and holds identity headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnForged {
    /// It passes as nobody's, without them.
    Strip,
    /// It is refused with 403.
    Refuse,
}

/// What becomes of a proven request with another spelling of a configured header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnAlias {
    /// It passes without that one.
    Drop,
    /// It is refused with 400.
    Refuse,
}

/// Why a [`ProxyRemoteUserLayer`] cannot be built, or the headers of a front end's `SetRemoteUserLayer` cannot be
/// written. [`item`](Self::item) says what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    item: Box<str>,
    problem: Problem,
}

impl BuildError {
    /// The offending item.
    pub fn item(&self) -> &str {
        &self.item
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    NoProof,
    Reserved,
    Clash,
    KeptSecret,
    BroadPrefix,
    NoUserHeader,
    Realm,
    NamePrefix,
}

impl Problem {
    fn of(self, item: impl fmt::Display) -> BuildError {
        BuildError { item: item.to_string().into(), problem: self }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let item = &*self.item;
        match self.problem {
            Problem::NoProof => write!(f, "no proof of the proxy: {item} is never met"),
            Problem::Reserved => {
                write!(f, "reserved header {item:?}: it would be removed from every request")
            }
            Problem::Clash => write!(f, "header {item:?} has two roles, perhaps in another spelling"),
            Problem::KeptSecret => write!(f, "header {item:?} holds a secret, which is never handed through"),
            Problem::BroadPrefix => {
                write!(f, "prefix {item:?} is too broad: it covers headers that are needed")
            }
            Problem::NoUserHeader => f.write_str("no header names the user"),
            Problem::Realm => {
                write!(f, "realm {item:?} is refused: it is empty, or holds @ or \\, or there is none")
            }
            Problem::NamePrefix => f.write_str("the prefix of user names is empty"),
        }
    }
}

impl std::error::Error for BuildError {}

/// Names that HTTP, a browser's session or a layer of this crate needs.
const RESERVED: &[&str] = &[
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "if-match",
    "if-none-match",
    "keep-alive",
    "origin",
    "proxy-authorization",
    "range",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-real-ip",
];

const RESERVED_PREFIXES: &[&str] = &["content-", "if-", "sec-"];

impl Config {
    /// The configured headers, the secrets, and those in which other products expect a user.
    fn protected(&self) -> NameSet {
        let own = self.fields.names().chain(&self.secret_headers).map(HeaderName::as_str);
        let prefixes = self.fields.extra_prefixes.iter().map(|prefix| &**prefix);
        NameSet::new(
            own.chain(name::IDENTITY.iter().copied()),
            prefixes.chain(name::IDENTITY_PREFIXES.iter().copied()),
        )
    }

    fn check(&self) -> Result<(), BuildError> {
        if let Some(part) = self.proof.impossible_part() {
            return Err(Problem::NoProof.of(part));
        }
        let kept_secret =
            self.keep.iter().find(|kept| self.secret_headers.iter().any(|secret| folds(secret, kept)));
        if let Some(kept) = kept_secret {
            return Err(Problem::KeptSecret.of(kept));
        }
        self.fields.check(&self.secret_headers)
    }
}

impl Fields {
    /// Finds what no request could mend, beside these headers of secrets.
    pub(crate) fn check<'a>(
        &'a self,
        secret_headers: impl IntoIterator<Item = &'a HeaderName>,
    ) -> Result<(), BuildError> {
        if self.users.is_empty() {
            return Err(Problem::NoUserHeader.of("user_headers"));
        }
        let mut taken: Vec<&HeaderName> = Vec::new();
        for header in self.names().chain(secret_headers) {
            if is_reserved(header) {
                return Err(Problem::Reserved.of(header));
            }
            if taken.iter().any(|other| folds(other, header)) {
                return Err(Problem::Clash.of(header));
            }
            taken.push(header);
        }
        for prefix in &self.extra_prefixes {
            let covers = |header: &str| name::folds_to_prefix(header.as_bytes(), prefix.as_bytes());
            let is_usable =
                HeaderName::from_bytes(prefix.as_bytes()).is_ok_and(|prefix| !is_reserved(&prefix));
            if !is_usable || RESERVED.iter().chain(RESERVED_PREFIXES).any(|reserved| covers(reserved)) {
                return Err(Problem::BroadPrefix.of(prefix));
            }
            if let Some(header) = taken.iter().find(|header| covers(header.as_str())) {
                return Err(Problem::Clash.of(header));
            }
        }
        if self.prefix.as_deref() == Some("") {
            return Err(Problem::NamePrefix.of(""));
        }
        if let Some(realms) = &self.realms {
            if realms.is_empty() {
                return Err(Problem::Realm.of(""));
            }
            if let Some(realm) = realms.iter().find(|realm| realm.is_empty() || realm.contains(['@', '\\'])) {
                return Err(Problem::Realm.of(realm));
            }
        }
        Ok(())
    }
}

fn is_reserved(header: &HeaderName) -> bool {
    name::is_any_of(header, RESERVED)
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| name::folds_to_prefix(header.as_str().as_bytes(), prefix.as_bytes()))
}

fn folds(header: &HeaderName, other: &HeaderName) -> bool {
    name::fold_together(header.as_str().as_bytes(), other.as_str().as_bytes())
}
