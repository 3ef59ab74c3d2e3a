//! Who is logged in, according to the proxy?
//!
//! [`ProxyRemoteUser`] believes the headers in which an authenticating proxy names the user, once the request has
//! proven to come from that proxy. It leaves an [`Identity`] in the request's extensions, always, and takes every
//! identity header out of the request, always.
//!
//! # What it decides, in order
//!
//! 1. An [`Identity`] that is in the extensions already is removed: it was proven for another layer, or another run.
//!    So is the application's own user of [`map_user`](ProxyRemoteUserBuilder::map_user).
//! 2. The [`Proof`] is checked, against the socket's peer and the request as it came. Neither a resolved client
//!    address nor anything else that another layer found in headers counts.
//! 3. Not proven: [`Anonymous::Unproven`], or [`Anonymous::NoPeer`] where the server says nothing of the peer; 403
//!    with [`OnForged::Refuse`] where identity headers are there.
//! 4. Proven, and another spelling of a configured header is there: it goes, or 400 with [`OnAlias::Refuse`].
//! 5. Proven: the user's header is read. No line, an empty one or `(null)` (what Apache httpd writes for a variable
//!    that is not set) is [`Anonymous::Absent`].
//! 6. Proven, but ambiguous or unreadable: 400, [`RefusalKind::IdentityMalformed`], and [`IdentityFault`] says which
//!    [`Role`] broke which [`Rule`]. That is: several lines, a comma in the user's name (two lines that were merged),
//!    several user headers that disagree, a separator of groups behind a backslash, bytes that the [`Encoding`] does not allow, a control or format character
//!    (Unicode Cc, Cf), white space of any kind at its ends once it is decoded, a value or a list that is too long, a
//!    prefix or a realm that is missing. It is never a guess, and never nobody: an application may show more to
//!    nobody. A realm that is not on the list is 403, [`RefusalKind::ForeignRealm`].
//! 7. All identity headers go, proven or not: the configured ones, the secret, those in which other products expect a
//!    user (`X-Forwarded-User`, `X-WEBAUTH-USER`, `Tailscale-User-…`, `Client-Cert`, …), and every other spelling of
//!    them. CGI, WSGI and PHP take `Remote_User` and `Remote.User` for `Remote-User` (CVE-2015-0219,
//!    CVE-2025-64484, CVE-2026-39858): each character that is neither a letter nor a digit counts as a hyphen.
//!    [`keep`](ProxyRemoteUserBuilder::keep), [`OnWellKnown::Pass`] and
//!    [`forward_canonical`](ProxyRemoteUserBuilder::forward_canonical) are the exceptions.
//! 8. A user, and `forward_canonical`: the headers are written anew, or 400 where no line can carry the user.
//! 9. A user, and `map_user`: the application's own function is asked; 403 or 503 where it gives no user.
//! 10. A user, and [`strip_authorization`](ProxyRemoteUserBuilder::strip_authorization): `Authorization` goes.
//! 11. Nobody, and [`required`](ProxyRemoteUserBuilder::required): 401 with `WWW-Authenticate`.
//!
//! On an [exempt path](ProxyRemoteUserBuilder::exempt_path) nothing is refused. Nobody stays nobody for the same reason;
//! who would have been refused otherwise is [`Anonymous::Exempt`], without any identity header. To a gRPC request, 400
//! is status 3, 401 is 16, 403 is 7 and 503 is 14.
//!
//! With [`on_event`](ProxyRemoteUserBuilder::on_event), a function of the application's is told of forged headers and a
//! missing peer (step 3), of spellings that go (step 4), and at last of the refusal, whichever step it comes from.
//!
//! A [disabled](ProxyRemoteUserLayer::disabled) layer removes the well-known headers in all spellings and leaves
//! [`Anonymous::Disabled`].
//!
//! [`RequireGroupLayer`] further in asks for a group.
//!
//! # Who reads it
//!
//! - axum (feature `axum`): handlers take a [`RemoteUser`], an `Option<RemoteUser>` or the [`Identity`]; see there.
//!   A `T` of `map_user` is an `Extension<T>`.
//! - tonic: interceptors and handlers find the [`Identity`] in `request.extensions()`; see there.
//! - Tests of handlers bring a user of their own, without this layer: `RemoteUser::for_test` (feature `test-util`).
//! - A session of the application follows the proxy's user with [`transition`].
//!
//! # Cost
//!
//! The protected names are compiled when the layer is built ([`NameSet`](crate::wire::name::NameSet)). Each header's
//! name is looked at once, and where one of them is protected, those from there on once more.
//!
//! | request | allocations (`tests/allocations`) |
//! |---|---|
//! | no identity headers, however many others | 1, of 16 bytes: the value in the extensions |
//! | forged ones, in any spelling | the same, up to 512 bytes of names; then room that doubles: 6 for 1000 names |
//! | a user, with or without groups and attributes | 2: the value, and the user in one block of 504 bytes |
//! | a text of more than 62 bytes; groups of more than 124 bytes, with one more for each | 1 more each; for groups, room that doubles |
//! | a refusal | 7: its response |
//! | `map_user` of a user | 1 more: the value in the extensions; and what the function takes |
//! | `on_event` | none, but for the list of names where there are forged ones or other spellings |
//! | the layer disabled | as without a user; once in a process, the well-known names are compiled |
//!
//! Attributes of [`extra_prefix`](ProxyRemoteUserBuilder::extra_prefix), text that must be decoded, and
//! [`forward_canonical`](ProxyRemoteUserBuilder::forward_canonical) of a user allocate besides. No header's value is
//! kept: a user does not hold on to what the server read.
//!
//! Time grows with the number of headers (`benches/proxy_remote_user.rs`). In four runs on a busy machine, 20 headers
//! without an identity took 230 to 421 ns: 2.4 to 3.8 times as long as `SetRequestHeader` of tower-http, 1.1 to 1.7
//! times as long as its `SetSensitiveRequestHeaders` with 4 names, less than a third of the same with 25 names, and an
//! eighth to a tenth of looking for the 37 names and 6 prefixes one by one. With a user in 3 groups they took 1031 to
//! 2130 ns.
//!
//! The order of lines of one name stays, the order of different names may change.
//!
//! # Deployment caveats
//!
//! - The proxy must **set or remove** each configured header on every request. One that it leaves alone is the
//!   client's: switch off what it does not write, as with [`groups_header(None)`](ProxyRemoteUserBuilder::groups_header).
//!   Without a preset four headers are read, not one: `Remote-User`, `Remote-Groups`, `Remote-Name` and `Remote-Email`
//!   ([`Preset::Authelia`]). Behind a proxy that writes the user alone, say [`Preset::UserOnly`]: else a client that is
//!   logged in chooses its groups.
//! - Behind this crate's own front end say [`Preset::SetRemoteUser`]: it writes names that are not ASCII as encoded
//!   words, and the default takes lines for UTF-8.
//! - The layer must be outside of everything that reads the user, of all routes, of fallbacks too. axum's
//!   `Router::layer` wraps the routes that are there when it is called, and none that `route` or `merge` add later:
//!   call it last.
//! - The server must say who the peer is: see [`PeerAddr`]. Else nobody is proven, and the reason is
//!   [`Anonymous::NoPeer`].
//! - Trailers of the request pass untouched: never read an identity from them.
//! - A layer that logs headers and stands outside of this one sees the secret. Let this one be the outer one, or mark
//!   the headers as sensitive first: see [`protected_headers`](ProxyRemoteUserLayer::protected_headers).
//!
//! # Example
//!
//! ```
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_proxied::{Identity, PeerAddr, Proof, ProxyRemoteUserLayer, TrustedProxies};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let identity = ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::parse(["10.0.0.5"])?)).build()?;
//! let app = |peer: &str| {
//!     let peer: std::net::SocketAddr = peer.parse().expect("an address");
//!     ServiceBuilder::new()
//!         .layer(PeerAddr::layer(peer))
//!         .layer(identity.clone())
//!         .service_fn(|request: Request<String>| async move {
//!             assert!(!request.headers().contains_key("remote-user"));
//!             let text = match request.extensions().get::<Identity>().expect("always there") {
//!                 Identity::User(user) => format!("hello {user}"),
//!                 Identity::Anonymous(reason) => format!("nobody: {reason:?}"),
//!             };
//!             Ok::<_, std::convert::Infallible>(Response::new(text))
//!         })
//! };
//! let request = || Request::builder().header("remote-user", "alice").body(String::new());
//! # use http_body_util::BodyExt;
//! let by_proxy = app("10.0.0.5:4711").oneshot(request()?).await?;
//! assert_eq!(by_proxy.into_body().collect().await?.to_bytes(), "hello alice");
//! let by_stranger = app("203.0.113.9:4711").oneshot(request()?).await?;
//! assert_eq!(by_stranger.into_body().collect().await?.to_bytes(), "nobody: Unproven");
//! # Ok(())
//! # }
//! ```

mod build_error;
mod builder;
mod event;
mod fault;
pub(crate) mod fields;
mod identity;
mod map_user;
mod preset;
mod proof;
mod require_group;
mod secret;
#[cfg(test)]
mod tests;
mod text_list;
mod transition;
pub(crate) mod write;

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, header, request};

pub use self::build_error::BuildError;
pub use self::builder::{OnAlias, OnForged, OnWellKnown, ProxyRemoteUserBuilder};
pub use self::event::{Event, EventKind};
pub use self::fault::{IdentityFault, Role, Rule};
pub use self::fields::{Encoding, Groups};
pub use self::identity::{Anonymous, DetachedUser, Identity, RemoteUser};
pub use self::map_user::Denied;
pub use self::preset::Preset;
pub use self::proof::{Proof, ProofKind, ProvenBy};
pub use self::require_group::{RequireGroup, RequireGroupLayer};
pub use self::secret::{Secret, SecretEnvError, SecretError};
pub use self::transition::{Mode, SessionUser, Transition, transition};
pub use self::write::{RealmForm, Unwritable};
pub use crate::body::ResponseBody;
use crate::future::Nothing;
use crate::header_map::{remove_where, remove_where_from, unlist};
use crate::refusal::{Refusal, RefusalKind};
use crate::shell::{Unit, report_no_peer, shell};
use crate::trust::PeerAddr;
use crate::wire::name;

/// Response future of [`ProxyRemoteUser`].
pub type ResponseFuture<F> = crate::future::ResponseFuture<F, Nothing>;

shell! {
    /// Layer of [`ProxyRemoteUser`]; see the [module](crate::proxy_remote_user) for what it decides.
    layer ProxyRemoteUserLayer;
    /// Finds the user whom a proven proxy names; see the [module](crate::proxy_remote_user).
    service ProxyRemoteUser;
    unit builder::Config, owes Nothing;
}

impl ProxyRemoteUserLayer {
    /// Believes requests that show this proof. There is no layer without a proof, and no default one. What this gives is
    /// a builder: finish with `.build()?`.
    ///
    /// Without a [preset](ProxyRemoteUserBuilder::preset) it reads `Remote-User`, and `Remote-Groups`, `Remote-Name` and
    /// `Remote-Email` too: that is only for a proxy that sets or clears each of the four on every request. For any other
    /// one say [`Preset::UserOnly`], or each header that the proxy writes.
    ///
    /// ```
    /// use tower_proxied::proxy_remote_user::Preset;
    /// use tower_proxied::{Proof, ProxyRemoteUserLayer, TrustedProxies};
    ///
    /// let proof = Proof::peer(TrustedProxies::parse(["10.0.0.5"])?);
    /// let layer = ProxyRemoteUserLayer::new(proof).preset(Preset::UserOnly).build()?;
    /// assert!(!format!("{layer:?}").contains("remote-groups"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(
        clippy::new_ret_no_self,
        reason = "what is configured must be checked as a whole before it is a layer"
    )]
    pub fn new(proof: Proof) -> ProxyRemoteUserBuilder {
        ProxyRemoteUserBuilder::new(proof)
    }

    /// The names of the headers that this layer removes, in their usual spelling: for a layer further out that hides
    /// values from logs, such as tower-http's `SetSensitiveRequestHeadersLayer`. The secret's is among them.
    ///
    /// Other spellings, and headers that are known by their prefix alone (`X-Remote-Extra-…`), are endless and not
    /// among them: this layer removes them, but what stands outside of it sees them.
    ///
    /// ```
    /// use http::HeaderName;
    /// use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
    /// use tower_proxied::{Proof, ProxyRemoteUserLayer, Secret};
    ///
    /// let header = HeaderName::from_static("x-proxy-secret");
    /// let proof = Proof::shared_secret(header.clone(), [Secret::parse("correct-horse-battery-staple")?]);
    /// let identity = ProxyRemoteUserLayer::new(proof).build()?;
    /// assert!(identity.protected_headers().contains(&header));
    /// let outermost = SetSensitiveRequestHeadersLayer::new(identity.protected_headers());
    /// # let _ = outermost;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn protected_headers(&self) -> Vec<HeaderName> {
        let well_known =
            name::IDENTITY.iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
        let mut headers: Vec<HeaderName> = match &self.config {
            Some(config) => config.fields.names().chain(&config.secret_headers).cloned().collect(),
            None => Vec::new(),
        };
        headers.extend(well_known);
        headers.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        headers.dedup();
        headers
    }

    /// As [`ProxyRemoteUserBuilder::exempt_path`], of a layer that is built.
    #[cfg(feature = "force-https-body")]
    pub(crate) fn exempt_path(mut self, path: &str) -> Self {
        crate::shell::edit(&mut self.config, |config| config.exempt.add(path));
        self
    }
}

impl builder::Config {
    fn peer(&self, extensions: &Extensions) -> Option<PeerAddr> {
        self.peer_from.map_or_else(|| PeerAddr::of(extensions), |peer_from| peer_from(extensions))
    }

    /// Who the request is from. Reads only; `has_protected` where any of the protected headers is there.
    fn judge(
        &self,
        peer: Option<PeerAddr>,
        parts: &request::Parts,
        has_protected: bool,
    ) -> Result<Judged, Refusal> {
        let Some(proven) = self.proof.check(peer.as_ref(), parts) else {
            if has_protected {
                let forged = self.seen(&parts.headers, |name| self.protects(name));
                self.tell(peer, EventKind::Forged(&forged));
            }
            let reason = if peer.is_none() && self.proof.asks_for_peer() {
                report_no_peer();
                self.tell(peer, EventKind::NoPeer);
                Anonymous::NoPeer
            } else {
                Anonymous::Unproven
            };
            if has_protected && self.on_forged == OnForged::Refuse {
                return Err(RefusalKind::IdentityForged.into());
            }
            return Ok(Judged { identity: Identity::Anonymous(reason), is_proven: false });
        };
        if !has_protected {
            return Ok(Judged { identity: Identity::Anonymous(Anonymous::Absent), is_proven: true });
        }
        if self.on_alias == OnAlias::Refuse
            && let Some(alias) = parts.headers.keys().find(|name| self.is_alias(name))
        {
            let role = self.fields.role(alias).unwrap_or(Role::Secret);
            return Err(role.broke()(Rule::Alias).into());
        }
        let aliases = self.seen(&parts.headers, |name| self.is_alias(name));
        if !aliases.is_empty() {
            self.tell(peer, EventKind::AliasDropped(&aliases));
        }
        let identity = match self.fields.read(&parts.headers)? {
            Some(user) => Identity::User(RemoteUser::mint(user, proven)),
            None => Identity::Anonymous(Anonymous::Absent),
        };
        Ok(Judged { identity, is_proven: true })
    }

    fn tell(&self, peer: Option<PeerAddr>, kind: EventKind<'_>) {
        if let Some(observer) = &self.observer {
            observer.tell(peer, kind);
        }
    }

    /// Such names, for an observer; none where there is no observer.
    fn seen<'a>(&self, headers: &'a HeaderMap, is_such: impl Fn(&HeaderName) -> bool) -> Vec<&'a HeaderName> {
        match &self.observer {
            Some(_) => headers.keys().filter(|name| is_such(name)).collect(),
            None => Vec::new(),
        }
    }

    /// In any spelling.
    fn is_secret(&self, header: &HeaderName) -> bool {
        self.secret_headers.iter().any(|secret| fields::folds(secret, header))
    }

    fn protects(&self, header: &HeaderName) -> bool {
        self.protected.contains(header)
    }

    /// Another spelling of a configured header.
    fn is_alias(&self, header: &HeaderName) -> bool {
        (self.fields.holds(header) && !self.fields.spells(header))
            || (self.is_secret(header) && !self.secret_headers.contains(header))
    }

    /// From the first protected header on.
    fn drain(&self, headers: &mut HeaderMap, first: usize, keeps: bool) {
        remove_where_from(headers, first, |name| self.protects(name) && !(keeps && self.keep.contains(name)));
    }

    /// What is left for the application of a user.
    fn welcome(&self, user: &RemoteUser, parts: &mut request::Parts) -> Result<(), Refusal> {
        if self.forwards_canonical {
            remove_where(&mut parts.headers, |name| self.fields.holds(name));
            unlist(&mut parts.headers, |name| self.protects(name));
            self.fields.write(user, &mut parts.headers).map_err(|_| RefusalKind::IdentityMalformed)?;
        }
        if let Some(user_map) = &self.user_map {
            user_map.map(user, &mut parts.extensions)?;
        }
        Ok(())
    }

    fn admit(&self, peer: Option<PeerAddr>, parts: &mut request::Parts) -> Result<Nothing, Refusal> {
        let is_exempt = self.exempt.contains(parts);
        let first = parts.headers.keys().position(|name| self.protects(name));
        let judged = self.judge(peer, parts, first.is_some());
        if let Some(first) = first {
            self.drain(&mut parts.headers, first, judged.as_ref().is_ok_and(|judged| judged.is_proven));
        }
        let welcomed = judged.and_then(|judged| {
            if let Identity::User(user) = &judged.identity {
                self.welcome(user, parts)?;
            }
            Ok(judged.identity)
        });
        let identity = match welcomed {
            Ok(identity) => identity,
            Err(_) if is_exempt => {
                self.drain(&mut parts.headers, 0, false);
                Identity::Anonymous(Anonymous::Exempt)
            }
            Err(refusal) => return Err(refusal),
        };
        match &identity {
            Identity::User(_) if self.strips_authorization => {
                parts.headers.remove(header::AUTHORIZATION);
            }
            Identity::Anonymous(why) if self.is_required && !is_exempt => {
                return Err(refuse_nobody(*why, &self.challenge));
            }
            Identity::User(_) | Identity::Anonymous(_) => {}
        }
        parts.extensions.insert(identity);
        Ok(Nothing)
    }
}

/// The 401 of whatever asks for a user.
pub(crate) fn refuse_nobody(why: Anonymous, challenge: &HeaderValue) -> Refusal {
    let kind = match why {
        Anonymous::Unproven | Anonymous::NoPeer => RefusalKind::NotProven,
        _ => RefusalKind::NotAuthenticated,
    };
    Refusal::from(kind).with_header(header::WWW_AUTHENTICATE, challenge.clone())
}

struct Judged {
    identity: Identity,
    is_proven: bool,
}

impl Unit for builder::Config {
    type Owed = Nothing;

    fn on_request(&self, parts: &mut request::Parts) -> Result<Nothing, Refusal> {
        parts.extensions.remove::<Identity>();
        if let Some(user_map) = &self.user_map {
            user_map.forget(&mut parts.extensions);
        }
        let peer = self.peer(&parts.extensions);
        let admitted = self.admit(peer, parts);
        if let Err(refusal) = &admitted {
            self.tell(peer, EventKind::Refused(refusal));
        }
        admitted
    }

    fn when_disabled(parts: &mut request::Parts) -> Nothing {
        remove_where(&mut parts.headers, name::is_identity);
        parts.extensions.insert(Identity::Anonymous(Anonymous::Disabled));
        Nothing
    }
}

/// What a refusal tells a client that named nobody (RFC 9110, section 11.6.1, asks for a challenge).
pub(crate) const CHALLENGE: HeaderValue = HeaderValue::from_static("RemoteUser");
