use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::wire::{list, name};

/// Headers in which some product expects a user: a client behind a proven proxy can add them just as well.
const WELL_KNOWN: &[&str] = &[
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

/// Families of such headers.
const WELL_KNOWN_PREFIXES: &[&str] = &[
    "x-remote-extra-",
    "x-authentik-",
    "tailscale-user-",
    "x-goog-authenticated-user-",
    "x-amzn-oidc-identity",
    "x-ms-client-principal",
];

/// Whether some product takes this header, in any spelling, for a user or an attribute of one. Signed assertions
/// (`X-Goog-IAP-JWT-Assertion`, `Cf-Access-Jwt-Assertion`, `X-Amzn-Oidc-Data`) are not among them: they prove
/// themselves.
pub(crate) fn is_well_known(header: &HeaderName) -> bool {
    name::is_any_of(header, WELL_KNOWN)
        || WELL_KNOWN_PREFIXES
            .iter()
            .any(|prefix| name::folds_to_prefix(header.as_str().as_bytes(), prefix.as_bytes()))
}

/// Removes all lines of the headers that go.
pub(crate) fn drain(headers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
    let found: Vec<HeaderName> = headers.keys().filter(|header| goes(header)).cloned().collect();
    for header in found {
        headers.remove(header);
    }
}

/// Takes names out of `Connection`: a proxy further in removes what is listed there (RFC 9110, section 7.6.1),
/// and a client can list what the front end wrote (CVE-2024-45410, CVE-2022-31813).
pub(crate) fn unlist(headers: &mut HeaderMap, is_listed_wrongly: impl Fn(&HeaderName) -> bool) {
    let goes = |option: &&[u8]| HeaderName::from_bytes(option).is_ok_and(|name| is_listed_wrongly(&name));
    let options = |line| split_list(line).filter(|option| !option.is_empty());
    if !list::lines(headers, &header::CONNECTION).flat_map(options).any(|option| goes(&option)) {
        return;
    }
    let mut kept: Vec<u8> = Vec::new();
    for option in list::lines(headers, &header::CONNECTION).flat_map(options).filter(|option| !goes(option)) {
        if !kept.is_empty() {
            kept.extend_from_slice(b", ");
        }
        kept.extend_from_slice(option);
    }
    headers.remove(header::CONNECTION);
    if let (false, Ok(value)) = (kept.is_empty(), HeaderValue::from_bytes(&kept)) {
        headers.insert(header::CONNECTION, value);
    }
}

fn split_list(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b',').map(list::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(lines: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::CONNECTION, line.parse().unwrap());
        }
        unlist(&mut headers, is_well_known);
        headers.get_all(header::CONNECTION).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn identity_headers_leave_connection() {
        assert_eq!(connection(&["Remote-User, keep-alive"]), ["keep-alive"]);
        assert_eq!(connection(&["close", "REMOTE_USER , upgrade"]), ["close, upgrade"]);
        assert!(connection(&["remote-user"]).is_empty());
        assert_eq!(connection(&["close,  upgrade", "te"]), ["close,  upgrade", "te"]);
    }

    #[test]
    fn well_known_in_any_spelling() {
        for name in
            ["remote-user", "X_WEBAUTH_USER", "x-authentik-anything", "X.Remote.Extra.scopes", "SM_USER"]
        {
            assert!(is_well_known(&HeaderName::from_bytes(name.as_bytes()).unwrap()), "{name}");
        }
        for name in
            ["x-remote-user-with-suffix", "authorization", "x-goog-iap-jwt-assertion", "x-amzn-oidc-data"]
        {
            assert!(!is_well_known(&HeaderName::from_bytes(name.as_bytes()).unwrap()), "{name}");
        }
    }
}
