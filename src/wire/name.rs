//! Field names as other programs may read them.
//!
//! CGI, WSGI and PHP turn a header into a variable: `X_Remote_User`, `X.Remote.User` and `X-Remote-User` are
//! then one name (CVE-2015-0219, CVE-2025-64484, CVE-2026-39858). A guard must therefore treat all spellings
//! that fold together alike.

use std::sync::LazyLock;

use http::HeaderName;

pub use super::name_set::NameSet;

/// `X-Forwarded-For`.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `X-Forwarded-Host`.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `X-Forwarded-Port`.
pub const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// `X-Forwarded-Prefix`.
pub const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// `X-Forwarded-Proto`.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Forwarding headers, which proxies relay from the client unless told otherwise. Each stands for all spellings that
/// [fold together](fold_together) with it.
pub const FORWARDING: &[&str] = &[
    "forwarded",
    "x-forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-protocol",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-server",
    "x-forwarded-scheme",
    "x-forwarded-ssl",
    "x-forwarded-by",
    "x-forwarded-uri",
    "x-original-forwarded-for",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
    "x-url-scheme",
    "front-end-https",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-pseudo-ipv4",
    "fastly-client-ip",
    "fly-client-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-envoy-external-address",
    "cloudfront-viewer-address",
    "x-appengine-remote-addr",
];

/// Headers in which some product expects a user: a client behind a proven proxy can add them just as well. Each
/// stands for all spellings that [fold together](fold_together) with it.
pub const IDENTITY: &[&str] = &[
    "remote-user",
    "remote-group",
    "remote-groups",
    "remote-name",
    "remote-email",
    "x-remote-user",
    "x-remote-uid",
    "x-remote-group",
    "x-remote-groups",
    "x-remote-name",
    "x-remote-email",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-displayname",
    "x-forwarded-mail",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-preferred-username",
    "x-webauth-user",
    "x-webauth-name",
    "x-webauth-email",
    "x-webauth-role",
    "x-webauth-groups",
    "x-webauth-fullname",
    "sm-user",
    "x-pomerium-claim-email",
    "client-cert",
    "client-cert-chain",
    "x-forwarded-client-cert",
    "x-forwarded-tls-client-cert",
];

/// Families of such headers, by the start of their names.
pub const IDENTITY_PREFIXES: &[&str] = &[
    "x-remote-extra-",
    "x-authentik-",
    "tailscale-user-",
    "x-goog-authenticated-user-",
    "x-amzn-oidc-identity",
    "x-ms-client-principal",
];

/// Whether both names are the same once letters are lower-cased and everything that is neither a letter nor a
/// digit is a hyphen.
///
/// # Example
///
/// ```
/// use tower_proxied::wire::name::fold_together;
///
/// assert!(fold_together(b"x-forwarded-for", b"X_Forwarded.For"));
/// assert!(!fold_together(b"x-forwarded-for", b"x-forwardedfor"));
/// ```
pub fn fold_together(name: &[u8], other: &[u8]) -> bool {
    name.len() == other.len() && name.iter().zip(other).all(|(a, b)| fold(*a) == fold(*b))
}

/// Whether `name`, folded, starts with `prefix`, folded.
pub fn folds_to_prefix(name: &[u8], prefix: &[u8]) -> bool {
    name.get(..prefix.len()).is_some_and(|start| fold_together(start, prefix))
}

/// Whether some product takes this header, in any spelling, for a user or an attribute of one. Signed assertions
/// (`X-Goog-IAP-JWT-Assertion`, `Cf-Access-Jwt-Assertion`, `X-Amzn-Oidc-Data`) are not among them: they prove
/// themselves.
pub fn is_identity(header: &HeaderName) -> bool {
    static SET: LazyLock<NameSet> = LazyLock::new(|| NameSet::new(IDENTITY, IDENTITY_PREFIXES));
    SET.contains(header)
}

/// Whether some product takes this header, in any spelling, for what a proxy forwards.
pub fn is_forwarding(header: &HeaderName) -> bool {
    static SET: LazyLock<NameSet> = LazyLock::new(|| NameSet::new(FORWARDING, [""; 0]));
    SET.contains(header)
}

/// Whether `name` folds together with one of `names`.
pub fn is_any_of(name: &HeaderName, names: &[&str]) -> bool {
    let name = name.as_str().as_bytes();
    names.iter().any(|other| fold_together(name, other.as_bytes()))
}

#[inline]
pub(super) fn fold(byte: u8) -> u8 {
    FOLDED.get(usize::from(byte)).copied().unwrap_or(b'-')
}

static FOLDED: [u8; 256] = {
    let mut folded = [b'-'; 256];
    let mut rest: &mut [u8] = &mut folded;
    let mut byte = 0_u8;
    while let Some((place, others)) = rest.split_first_mut() {
        if byte.is_ascii_alphanumeric() {
            *place = byte.to_ascii_lowercase();
        }
        byte = byte.wrapping_add(1);
        rest = others;
    }
    folded
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_headers_in_any_spelling() {
        for name in
            ["remote-user", "X_WEBAUTH_USER", "x-authentik-anything", "X.Remote.Extra.scopes", "SM_USER"]
        {
            assert!(is_identity(&HeaderName::from_bytes(name.as_bytes()).unwrap()), "{name}");
        }
        for name in
            ["x-remote-user-with-suffix", "authorization", "x-goog-iap-jwt-assertion", "x-amzn-oidc-data"]
        {
            assert!(!is_identity(&HeaderName::from_bytes(name.as_bytes()).unwrap()), "{name}");
        }
    }

    #[test]
    fn every_byte_folds() {
        for byte in 0..=u8::MAX {
            let folded = if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
            assert_eq!(fold(byte), folded, "{byte}");
        }
    }
}
