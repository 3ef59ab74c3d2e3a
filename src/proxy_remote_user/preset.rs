use http::HeaderName;

use super::fields::{Encoding, Fields, Groups, UNSET};

/// The headers of a known front end, as it writes them with its own defaults.
///
/// Each one says what the front must **set or clear on every request**. What a preset reads and the front leaves alone
/// is the client's word: switch it off, as with
/// [`groups_header(None)`](super::ProxyRemoteUserBuilder::groups_header). No preset is a [`Proof`](super::Proof).
///
/// # Example
///
/// ```
/// use tower_proxied::proxy_remote_user::Preset;
/// use tower_proxied::{Proof, ProxyRemoteUserLayer, TrustedProxies};
///
/// let proof = Proof::peer(TrustedProxies::parse(["10.0.0.5"])?);
/// let layer = ProxyRemoteUserLayer::new(proof).preset(Preset::Authentik).required().build()?;
/// assert!(format!("{layer:?}").contains("x-authentik-username"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Preset {
    /// `Remote-User` alone: nginx with `proxy_set_header Remote-User $remote_user`.
    UserOnly,
    /// `Remote-User` alone, and `(null)` is nobody whatever [`placeholders`] were said before.
    ///
    /// `RequestHeader set Remote-User "expr=%{REMOTE_USER}"` sets an empty line for nobody. `%{REMOTE_USER}e` reads a
    /// variable of the environment that only mod_rewrite or a CGI fills; mod_headers writes `(null)` where it is not
    /// set, as it does for an empty `%{SSL_CLIENT_S_DN_CN}s`. Always `set`, never `add`, `append` or `merge`, and where the
    /// client's line cannot get around it: outside of `<If>`, without a condition. No account may be called `(null)`.
    ///
    /// [`placeholders`]: super::ProxyRemoteUserBuilder::placeholders
    ApacheHttpd,
    /// `Remote-User`, `-Groups` (comma), `-Name`, `-Email`. The default.
    ///
    /// Authelia answers the front's sub-request with these four, and it is the front that must copy each of them over
    /// the client's: Traefik's `authResponseHeaders`, Caddy's `copy_headers`, nginx's `auth_request_set` with
    /// `proxy_set_header`. On paths that bypass Authelia the front must clear them.
    Authelia,
    /// `X-authentik-username`, `-groups` (`|`), `-name`, `-email`, `-uid`.
    ///
    /// authentik writes all five for a user, empty where it knows nothing. On unauthenticated paths its proxy mode writes
    /// none, and does not remove what a client sent: clear them in front of it, or allow no such paths. With forward
    /// auth the front must copy or clear each.
    Authentik,
    /// `X-Forwarded-User`, `-Groups` (comma), `-Email`, as oauth2-proxy writes them to its upstream with
    /// `--pass-user-headers` (on by default).
    ///
    /// It removes the client's, unless `--skip-auth-strip-headers=false`. With `--prefer-email-to-user` it neither
    /// writes nor removes `X-Forwarded-Email`: say `.email_header(None)` then. The name is the provider's subject; a
    /// readable one is in `X-Forwarded-Preferred-Username`.
    Oauth2Proxy,
    /// `X-Auth-Request-User`, `-Groups` (comma), `-Email`, as oauth2-proxy answers a front's sub-request with
    /// `--set-xauthrequest`.
    ///
    /// It is the front that must copy each of them over the client's: nginx's `auth_request_set` with
    /// `proxy_set_header`, Traefik's `authResponseHeaders`.
    Oauth2ProxyAuthRequest,
    /// `X-WEBAUTH-USER` alone, as a front writes it for Grafana's `auth.proxy`; `(null)` is nobody, since Grafana's own
    /// recipe is Apache httpd's `%{PROXY_USER}e`.
    ///
    /// Grafana reads name, address, groups and role only where `headers` says so. Where the front sets or clears them
    /// too, add `.groups_header(x-webauth-groups)` and the like.
    Grafana,
    /// `X-Remote-User`, `-Group` (one per line), `-Uid`, `-Extra-…`, as the aggregation layer of Kubernetes writes them.
    ///
    /// The API server removes what the client sent. Its proof is a client certificate of the request-header authority
    /// with an allowed name: [`Proof::client_cert`](super::Proof::client_cert), which must check the name.
    Kubernetes,
    /// `Tailscale-User-Login`, `-Name` (RFC 2047), as `tailscale serve` writes them.
    ///
    /// It removes what the client sent, and writes nothing for tagged nodes and for Funnel: that is nobody. It connects
    /// from loopback, as every other program of the host can.
    Tailscale,
    /// `X-Goog-Authenticated-User-Email` with `accounts.google.com:` before the address.
    ///
    /// Google asks to check the signed assertion (`X-Goog-IAP-JWT-Assertion`) instead of the peer: see
    /// [`Proof::verify`](super::Proof::verify). Whoever goes around the proxy can send the plain header.
    GoogleIap,
    /// `Remote-User`, `-Groups` (comma), `-Name`, `-Email` (RFC 2047), as this crate's front end writes them
    /// (`SetRemoteUserLayer`, feature `front`). Give both sides this one value:
    ///
    /// ```
    /// use tower_proxied::front::SetRemoteUserLayer;
    /// use tower_proxied::proxy_remote_user::Preset;
    /// use tower_proxied::{Proof, ProxyRemoteUserLayer, TrustedProxies};
    ///
    /// const SHARED: Preset = Preset::SetRemoteUser;
    /// let front_end = SetRemoteUserLayer::from_detached_user().preset(SHARED).checked()?;
    /// let proof = Proof::peer(TrustedProxies::parse(["10.0.0.5"])?);
    /// let application = ProxyRemoteUserLayer::new(proof).preset(SHARED).build()?;
    /// assert!(format!("{front_end:?}").contains("Rfc2047"));
    /// assert!(format!("{application:?}").contains("Rfc2047"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    SetRemoteUser,
    /// `X-Pomerium-Claim-Email`, with `pass_identity_headers: true` and `email` among the `jwt_claims_headers`.
    ///
    /// Other claims are in headers only where they are listed: add those that are, such as
    /// `.groups_header(x-pomerium-claim-groups)`. Pomerium's signed assertion (`X-Pomerium-Jwt-Assertion`) is the better
    /// proof: see [`Proof::verify`](super::Proof::verify).
    Pomerium,
}

impl Preset {
    /// Sets names and notation, and leaves limits and realms alone.
    pub(crate) fn apply(self, fields: &mut Fields) {
        let header = |name| Some(HeaderName::from_static(name));
        let (user, groups, name, email, uid) = match self {
            Self::UserOnly | Self::ApacheHttpd => ("remote-user", None, None, None, None),
            Self::Authelia | Self::SetRemoteUser => {
                ("remote-user", header("remote-groups"), header("remote-name"), header("remote-email"), None)
            }
            Self::Authentik => (
                "x-authentik-username",
                header("x-authentik-groups"),
                header("x-authentik-name"),
                header("x-authentik-email"),
                header("x-authentik-uid"),
            ),
            Self::Oauth2Proxy => {
                ("x-forwarded-user", header("x-forwarded-groups"), None, header("x-forwarded-email"), None)
            }
            Self::Oauth2ProxyAuthRequest => (
                "x-auth-request-user",
                header("x-auth-request-groups"),
                None,
                header("x-auth-request-email"),
                None,
            ),
            Self::Grafana => ("x-webauth-user", None, None, None, None),
            Self::Kubernetes => {
                ("x-remote-user", header("x-remote-group"), None, None, header("x-remote-uid"))
            }
            Self::Tailscale => ("tailscale-user-login", None, header("tailscale-user-name"), None, None),
            Self::GoogleIap => ("x-goog-authenticated-user-email", None, None, None, None),
            Self::Pomerium => ("x-pomerium-claim-email", None, None, None, None),
        };
        fields.users = vec![HeaderName::from_static(user)];
        (fields.groups, fields.name, fields.email, fields.uid) = (groups, name, email, uid);
        fields.grouping = match self {
            Self::Authentik => Groups::Pipe,
            Self::Kubernetes => Groups::PerLine,
            _ => Groups::Comma,
        };
        fields.encoding = match self {
            Self::Tailscale | Self::SetRemoteUser => Encoding::Rfc2047,
            _ => Encoding::Utf8,
        };
        fields.prefix = (self == Self::GoogleIap).then(|| "accounts.google.com:".into());
        fields.extra_prefixes =
            if self == Self::Kubernetes { vec!["x-remote-extra-".into()] } else { Vec::new() };
        let leaves_unset = matches!(self, Self::ApacheHttpd | Self::Grafana);
        if leaves_unset && !fields.placeholders.iter().any(|placeholder| **placeholder == *UNSET) {
            fields.placeholders.push(UNSET.into());
        }
    }
}
