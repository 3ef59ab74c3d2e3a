//! Field names as other programs may read them.
//!
//! CGI, WSGI and PHP turn a header into a variable: `X_Remote_User`, `X.Remote.User` and `X-Remote-User` are
//! then one name (CVE-2015-0219, CVE-2025-64484, CVE-2026-39858). A guard must therefore treat all spellings
//! that fold together alike.

use http::HeaderName;

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

/// Whether `name` folds together with one of `names`.
pub fn is_any_of(name: &HeaderName, names: &[&str]) -> bool {
    let name = name.as_str().as_bytes();
    names.iter().any(|other| fold_together(name, other.as_bytes()))
}

fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}
