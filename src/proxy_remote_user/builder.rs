use http::{Extensions, HeaderName, HeaderValue};

use super::build_error::BuildError;
use super::event::{Event, Observer};
use super::fields::{Encoding, Fields, Groups};
use super::identity::RemoteUser;
use super::map_user::{Denied, UserMap};
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
/// user alone, start with [`preset(Preset::UserOnly)`](Self::preset). A proxy that no [`Preset`] describes, and that
/// writes a user and roles:
///
/// ```
/// use http::HeaderName;
/// use tower_proxied::proxy_remote_user::{Groups, Preset};
/// use tower_proxied::{Proof, ProxyRemoteUserLayer, TrustedProxies};
///
/// let builder = ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::parse(["10.0.0.5"])?))
///     .preset(Preset::UserOnly)
///     .user_header(HeaderName::from_static("x-acme-login"))
///     .groups_header(HeaderName::from_static("x-acme-roles"))
///     .groups(Groups::Semicolon)
///     .required();
/// let layer = builder.clone().build()?;
/// assert!(layer.protected_headers().contains(&HeaderName::from_static("x-acme-roles")));
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
    pub(super) on_well_known: OnWellKnown,
    pub(super) forwards_canonical: bool,
    pub(super) strips_authorization: bool,
    pub(super) peer_from: Option<fn(&Extensions) -> Option<PeerAddr>>,
    pub(super) exempt: ExemptPaths,
    /// Compiled by [`build`](ProxyRemoteUserBuilder::build).
    pub(super) protected: NameSet,
    pub(super) user_map: Option<UserMap>,
    pub(super) observer: Option<Observer>,
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
                on_well_known: OnWellKnown::Strip,
                forwards_canonical: false,
                strips_authorization: false,
                peer_from: None,
                exempt: ExemptPaths::default(),
                protected: NameSet::new(name::IDENTITY, name::IDENTITY_PREFIXES),
                user_map: None,
                observer: None,
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

    /// Values that stand for nobody, besides the empty one. `(null)` unless said: Apache httpd writes it for a variable
    /// that is not set, and without it all who are not logged in share that account.
    pub fn placeholders<I>(mut self, placeholders: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Box<str>>,
    {
        self.config.fields.placeholders = placeholders.into_iter().map(Into::into).collect();
        self
    }

    /// The most bytes of a user's name, once it is decoded; a longer one is refused with 400. As
    /// [`max_value_bytes`](Self::max_value_bytes) unless said.
    pub fn max_user_bytes(mut self, bytes: usize) -> Self {
        self.config.fields.max_user_bytes = Some(bytes);
        self
    }

    /// The most bytes of any value, once it is decoded, and of the key of an extra attribute; a longer one is refused
    /// with 400. 256 unless said. The user's name has a limit of its own with
    /// [`max_user_bytes`](Self::max_user_bytes).
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.config.fields.max_value_bytes = bytes;
        self
    }

    /// The most groups; more are refused with 400, since a list that was cut means something else. 128 unless said.
    pub fn max_groups(mut self, groups: usize) -> Self {
        self.config.fields.max_groups = groups;
        self
    }

    /// Names, addresses for mail and ids may hold commas, as distinguished names of LDAP do. A proxy that merges the
    /// client's line into its own then goes unseen.
    pub fn allow_comma(mut self) -> Self {
        self.config.fields.allows_comma = true;
        self
    }

    /// The name for display may hold format characters (Unicode Cf), as names in Persian or Sinhala need them. A page
    /// must then isolate it (`<bdi>`), since it can turn around what follows. In all that decides something (the
    /// user's name, groups, address for mail, id, extra attributes) they stay refused: two that look alike would differ.
    pub fn allow_format_chars(mut self) -> Self {
        self.config.fields.allows_format_chars = true;
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

    /// Identity headers of other products, which this layer is not told to read. [`OnWellKnown::Strip`] unless said.
    pub fn on_well_known(mut self, policy: OnWellKnown) -> Self {
        self.config.on_well_known = policy;
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

    /// A path that is never refused. Nobody stays nobody there, [`required`](Self::required) or not; who would have been
    /// refused for another reason is [`Anonymous::Exempt`](super::Anonymous::Exempt).
    pub fn exempt_path(mut self, path: &str) -> Self {
        self.config.exempt.add(path);
        self
    }

    /// Makes the application's own user of the proxy's: what the function gives stands in the extensions beside
    /// [`Identity`](super::Identity), as a `T`. A second call replaces the first.
    ///
    /// A `T` that was there before is removed in all cases, so that a `T` is always of this request and proven. For
    /// nobody there is none. [`Denied`] refuses the request: 403, or 503 where something that the function relies on
    /// fails. A [disabled](ProxyRemoteUserLayer::disabled) layer does not know `T`, and leaves what is there.
    ///
    /// In axum a handler takes `Extension<T>`, and `Option<Extension<T>>` where nobody may come: of nobody, the first is
    /// axum's own 500.
    ///
    /// The function runs on every request of a user, and holds it up: look things up in memory. What needs a database
    /// belongs in a middleware further in, which reads the [`Identity`](super::Identity).
    ///
    /// Extensions want `T: Clone`; where that is dear or impossible, give an `Arc<User>`. `T` should be a type of your
    /// own: one that the server leaves, such as connection information, would be removed before the proof reads it. A
    /// panic ends the request, as one of a handler does.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use std::sync::Arc;
    ///
    /// use http::{Request, Response};
    /// use tower::{ServiceBuilder, ServiceExt};
    /// use tower_proxied::proxy_remote_user::Denied;
    /// use tower_proxied::{PeerAddr, Proof, ProxyRemoteUserLayer, RemoteUser, TrustedProxies};
    ///
    /// #[derive(Debug, PartialEq)]
    /// struct Account {
    ///     number: u32,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let accounts = HashMap::from([("alice", Arc::new(Account { number: 7 }))]);
    /// let layer = ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::parse(["10.0.0.5"])?))
    ///     .map_user(move |user: &RemoteUser| accounts.get(user.name()).cloned().ok_or(Denied::Forbidden))
    ///     .build()?;
    /// let app = ServiceBuilder::new()
    ///     .layer(PeerAddr::layer(PeerAddr::Tcp(([10, 0, 0, 5], 4711).into())))
    ///     .layer(layer)
    ///     .service_fn(|request: Request<()>| async move {
    ///         assert_eq!(request.extensions().get::<Arc<Account>>().map(|account| account.number), Some(7));
    ///         Ok::<_, std::convert::Infallible>(Response::new(()))
    ///     });
    /// let alice = Request::builder().header("remote-user", "alice").body(())?;
    /// assert_eq!(app.clone().oneshot(alice).await?.status(), 200);
    /// let mallory = Request::builder().header("remote-user", "mallory").body(())?;
    /// assert_eq!(app.oneshot(mallory).await?.status(), 403);
    /// # Ok(())
    /// # }
    /// ```
    pub fn map_user<T, F>(mut self, map: F) -> Self
    where
        T: Clone + Send + Sync + 'static,
        F: Fn(&RemoteUser) -> Result<T, Denied> + Send + Sync + 'static,
    {
        self.config.user_map = Some(UserMap::new(map));
        self
    }

    /// Tells this function what an operator may want to know: forged headers, dropped spellings, refusals, a missing
    /// peer. It sees no value of the request (see [`Event`]) and cannot change what becomes of it; a panic ends the
    /// request, as one of a handler does. It runs while the request waits. Without it, nothing is gathered.
    ///
    /// On an exempt path, what would have been refused is no event.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use tower_proxied::proxy_remote_user::EventKind;
    /// use tower_proxied::{Proof, ProxyRemoteUserLayer, TrustedProxies};
    ///
    /// let forgeries = Arc::new(AtomicU64::new(0));
    /// let counter = Arc::clone(&forgeries);
    /// let layer = ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::parse(["10.0.0.5"])?))
    ///     .on_event(move |event| {
    ///         if let EventKind::Forged(_) = event.kind() {
    ///             counter.fetch_add(1, Ordering::Relaxed);
    ///         }
    ///         eprintln!("{event}");
    ///     })
    ///     .build()?;
    /// # use tower::ServiceExt;
    /// # let app = tower::ServiceBuilder::new().layer(layer).service_fn(|_: http::Request<()>| async {
    /// #     Ok::<_, std::convert::Infallible>(http::Response::new(()))
    /// # });
    /// # let request = http::Request::builder().header("remote_user", "admin").body(())?;
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(app.oneshot(request))?;
    /// assert_eq!(forgeries.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_event(mut self, on_event: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.config.observer = Some(Observer::new(on_event));
        self
    }

    /// Checks everything together.
    ///
    /// # Errors
    ///
    /// A proof that nobody can show (an empty set, no secret); a header that HTTP or another layer needs (`Host`,
    /// `Cookie`, `Content-…`, `X-Forwarded-For`, …), or a prefix that covers one; two roles whose headers are the same
    /// in some spelling, or prefixes that overlap; no user header; a header to keep that is the secret's, another
    /// spelling of a configured one, or no identity header at all; a separator that stands in names or in the encoding;
    /// a limit of zero bytes; a placeholder, prefix or realm that no name can match; an empty challenge; an exempt path with a
    /// query; a type of this crate that `map_user` would overwrite. The error names the item, and the likely fix.
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

/// What becomes of identity headers that other products read, such as `X-WEBAUTH-USER` or `Client-Cert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnWellKnown {
    /// They go, proven or not.
    Strip,
    /// They pass **as anybody wrote them**, proven or not, and reach whatever further in believes them: only where all
    /// of that has a proof of its own. To hand one through that the proxy writes, say
    /// [`keep`](ProxyRemoteUserBuilder::keep) instead. Configured headers and the secret go as ever.
    Pass,
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

impl Config {
    /// The configured headers, the secrets, and, unless they pass, those in which other products expect a user.
    fn protected(&self) -> NameSet {
        let own = self.fields.names().chain(&self.secret_headers).map(HeaderName::as_str);
        let prefixes = self.fields.extra_prefixes.iter().map(|prefix| &**prefix);
        let (names, families): (&[_], &[_]) = match self.on_well_known {
            OnWellKnown::Strip => (name::IDENTITY, name::IDENTITY_PREFIXES),
            OnWellKnown::Pass => (&[], &[]),
        };
        NameSet::new(own.chain(names.iter().copied()), prefixes.chain(families.iter().copied()))
    }
}
