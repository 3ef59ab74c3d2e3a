use http::HeaderName;

use super::fields::{Encoding, Fields, Groups};

/// The headers of a known front end.
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
    /// `Remote-User` alone: Apache httpd with `RequestHeader set Remote-User %{REMOTE_USER}e`, nginx with
    /// `proxy_set_header Remote-User $remote_user`.
    UserOnly,
    /// `Remote-User`, `-Groups` (comma), `-Name`, `-Email`. The default.
    Authelia,
    /// `X-authentik-username`, `-groups` (`|`), `-name`, `-email`, `-uid`.
    Authentik,
    /// `X-Forwarded-User`, `-Groups` (comma), `-Email`, as `--pass-user-headers` writes them.
    Oauth2Proxy,
    /// `X-Remote-User`, `-Group` (one per line), `-Uid`, `-Extra-…`, as the aggregation layer writes them.
    Kubernetes,
    /// `Tailscale-User-Login`, `-Name`, as `tailscale serve` writes them (RFC 2047).
    Tailscale,
    /// `X-Goog-Authenticated-User-Email` with `accounts.google.com:` before the address. Google asks to check the
    /// signed assertion (`X-Goog-IAP-JWT-Assertion`) instead of the peer: see [`Proof::verify`](super::Proof::verify).
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
}

impl Preset {
    /// Sets names and notation, and leaves limits and realms alone.
    pub(crate) fn apply(self, fields: &mut Fields) {
        let header = |name| Some(HeaderName::from_static(name));
        let (user, groups, name, email, uid) = match self {
            Self::UserOnly => ("remote-user", None, None, None, None),
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
            Self::Kubernetes => {
                ("x-remote-user", header("x-remote-group"), None, None, header("x-remote-uid"))
            }
            Self::Tailscale => ("tailscale-user-login", None, header("tailscale-user-name"), None, None),
            Self::GoogleIap => ("x-goog-authenticated-user-email", None, None, None, None),
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
    }
}
