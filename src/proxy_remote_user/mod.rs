//! Who is logged in, according to the proxy?
//!
//! [`ProxyRemoteUser`] believes the headers in which an authenticating proxy names the user, once the request has
//! proven to come from that proxy. It leaves an [`Identity`] in the request's extensions, always, and takes every
//! identity header out of the request, always.
//!
//! # What it decides, in order
//!
//! 1. An [`Identity`] that is in the extensions already is removed: it was proven for another layer, or another run.
//! 2. The [`Proof`] is checked, against the socket's peer and the request as it came. Neither a resolved client
//!    address nor anything else that another layer found in headers counts.
//! 3. Proven: the user's header is read. No line, an empty one or `(null)` (what Apache's `%{REMOTE_USER}e` writes
//!    for nobody) is [`Anonymous::Absent`].
//! 4. Proven, but ambiguous or unreadable: 400, [`RefusalKind::IdentityMalformed`]. That is: several lines, a comma
//!    in the user's name (two lines that were merged), several user headers that disagree, bytes that the
//!    [`Encoding`] does not allow, a control or format character (Unicode Cc, Cf), white space of any kind at its
//!    ends once it is decoded, a value or a list that is too long. It is never a guess, and never nobody: an application may show more to nobody.
//! 5. Not proven: [`Anonymous::Unproven`], or [`Anonymous::NoPeer`] where the server says nothing of the peer; 403
//!    with [`OnForged::Refuse`] where identity headers are there.
//! 6. Nobody, and [`required`](ProxyRemoteUserBuilder::required): 401 with `WWW-Authenticate`.
//! 7. All identity headers go, proven or not: the configured ones, the secret, those in which other products expect a
//!    user (`X-Forwarded-User`, `X-WEBAUTH-USER`, `Tailscale-User-…`, `Client-Cert`, …), and every other spelling of
//!    them. CGI, WSGI and PHP take `Remote_User` and `Remote.User` for `Remote-User` (CVE-2015-0219,
//!    CVE-2025-64484, CVE-2026-39858): each character that is neither a letter nor a digit counts as a hyphen.
//!
//! A [disabled](ProxyRemoteUserLayer::disabled) layer removes the well-known headers in all spellings and leaves
//! [`Anonymous::Disabled`].
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
//! - The layer must be outside of everything that reads the user, of all routes, of fallbacks too.
//! - Trailers of the request pass untouched: never read an identity from them.
//! - A layer that logs headers and stands outside of this one sees the secret. Let this one be the outer one, or mark
//!   the header as sensitive first.
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

mod builder;
pub(crate) mod fields;
mod identity;
mod preset;
mod proof;
#[cfg(test)]
mod tests;
mod text_list;
mod transition;
pub(crate) mod write;

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, header, request};

pub use self::builder::{BuildError, OnAlias, OnForged, ProxyRemoteUserBuilder};
pub use self::fields::{Encoding, Groups};
pub use self::identity::{Anonymous, DetachedUser, Identity, RemoteUser};
pub use self::preset::Preset;
pub use self::proof::{Proof, ProofKind, ProvenBy, Secret, SecretError};
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
}

impl builder::Config {
    fn peer(&self, extensions: &Extensions) -> Option<PeerAddr> {
        self.peer_from.map_or_else(|| PeerAddr::of(extensions), |peer_from| peer_from(extensions))
    }

    /// Who the request is from. Reads only; `has_protected` where any of the protected headers is there.
    fn judge(&self, parts: &request::Parts, has_protected: bool) -> Result<Judged, RefusalKind> {
        let peer = self.peer(&parts.extensions);
        let Some(proven) = self.proof.check(peer.as_ref(), parts) else {
            if self.on_forged == OnForged::Refuse && has_protected {
                return Err(RefusalKind::IdentityForged);
            }
            let reason = if peer.is_none() && self.proof.asks_for_peer() {
                report_no_peer();
                Anonymous::NoPeer
            } else {
                Anonymous::Unproven
            };
            return Ok(Judged { identity: Identity::Anonymous(reason), is_proven: false });
        };
        if !has_protected {
            return Ok(Judged { identity: Identity::Anonymous(Anonymous::Absent), is_proven: true });
        }
        if self.on_alias == OnAlias::Refuse && parts.headers.keys().any(|name| self.is_alias(name)) {
            return Err(RefusalKind::IdentityMalformed);
        }
        let identity = match self.fields.read(&parts.headers)? {
            Some(user) => Identity::User(RemoteUser::mint(user, proven)),
            None => Identity::Anonymous(Anonymous::Absent),
        };
        Ok(Judged { identity, is_proven: true })
    }

    fn is_secret(&self, header: &HeaderName) -> bool {
        self.secret_headers
            .iter()
            .any(|secret| name::fold_together(secret.as_str().as_bytes(), header.as_str().as_bytes()))
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

    fn refuse_nobody(&self, why: Anonymous) -> Refusal {
        let kind = match why {
            Anonymous::Unproven | Anonymous::NoPeer => RefusalKind::NotProven,
            _ => RefusalKind::NotAuthenticated,
        };
        Refusal::from(kind).with_header(header::WWW_AUTHENTICATE, self.challenge.clone())
    }
}

struct Judged {
    identity: Identity,
    is_proven: bool,
}

impl Unit for builder::Config {
    type Owed = Nothing;

    fn on_request(&self, parts: &mut request::Parts) -> Result<Nothing, Refusal> {
        parts.extensions.remove::<Identity>();
        let is_exempt = self.exempt.contains(parts);
        let first = parts.headers.keys().position(|name| self.protects(name));
        let judged = self.judge(parts, first.is_some());
        if let Some(first) = first {
            self.drain(&mut parts.headers, first, judged.as_ref().is_ok_and(|judged| judged.is_proven));
        }
        let mut identity = match judged {
            Ok(judged) => judged.identity,
            Err(_) if is_exempt => Identity::Anonymous(Anonymous::Exempt),
            Err(refusal) => return Err(refusal.into()),
        };
        if let (Identity::User(user), true) = (&identity, self.forwards_canonical) {
            remove_where(&mut parts.headers, |name| self.fields.holds(name));
            unlist(&mut parts.headers, |name| self.protects(name));
            if self.fields.write(user, &mut parts.headers).is_err() {
                if !is_exempt {
                    return Err(RefusalKind::IdentityMalformed.into());
                }
                self.drain(&mut parts.headers, 0, false);
                identity = Identity::Anonymous(Anonymous::Exempt);
            }
        }
        match &identity {
            Identity::User(_) if self.strips_authorization => {
                parts.headers.remove(header::AUTHORIZATION);
            }
            Identity::Anonymous(why) if self.is_required && !is_exempt => {
                return Err(self.refuse_nobody(*why));
            }
            Identity::User(_) | Identity::Anonymous(_) => {}
        }
        parts.extensions.insert(identity);
        Ok(Nothing)
    }

    fn when_disabled(parts: &mut request::Parts) -> Nothing {
        remove_where(&mut parts.headers, name::is_identity);
        parts.extensions.insert(Identity::Anonymous(Anonymous::Disabled));
        Nothing
    }
}

/// What a refusal tells a client that named nobody (RFC 9110, section 11.6.1, asks for a challenge).
pub(crate) const CHALLENGE: HeaderValue = HeaderValue::from_static("RemoteUser");
