use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header, request};
use http_body::SizeHint;

use super::AdminChange;
use crate::asked_host::asked_host;
use crate::forced_host::PublicUrl;
use crate::forwarded_for::Proxied;
use crate::refusal::RefusalKind;
use crate::wire::host::{HostPort, Scheme};
use crate::wire::{list, text};

/// No form of the page comes near.
pub(super) const MAX_BYTES: usize = 4096;

/// What can be said of a form before its body is read.
pub(super) fn check(parts: &request::Parts, size: &SizeHint) -> Result<(), RefusalKind> {
    if !is_same_origin(parts) {
        return Err(RefusalKind::CrossSite);
    }
    if !is_form(&parts.headers) {
        return Err(RefusalKind::MediaTypeUnsupported);
    }
    // Digits that cannot be read are left to the body itself, which is counted.
    let declared = list::lines(&parts.headers, &header::CONTENT_LENGTH)
        .filter_map(|line| std::str::from_utf8(list::trim(line)).ok()?.parse().ok());
    if declared.chain([size.lower()]).any(|size: u64| size > MAX_BYTES as u64) {
        return Err(RefusalKind::BodyTooLarge);
    }
    Ok(())
}

/// The browser says it itself; one that does not say (plain http, or before 2023) sends the origin at least.
fn is_same_origin(parts: &request::Parts) -> bool {
    const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    match list::only_line(&parts.headers, &SEC_FETCH_SITE) {
        Ok(Some(site)) => site == b"same-origin",
        Ok(None) => is_own_origin(parts).unwrap_or(false),
        Err(_) => false,
    }
}

fn is_own_origin(parts: &request::Parts) -> Option<bool> {
    let line = list::only_line(&parts.headers, &header::ORIGIN).ok()??;
    let scheme_end = line.windows(3).position(|window| window == b"://")?;
    let (scheme, rest) = line.split_at_checked(scheme_end)?;
    let scheme = Scheme::of_uri(scheme)?;
    let authority = HostPort::parse(rest.strip_prefix(b"://")?)?;
    let is_own = |own_scheme: Scheme, own: &HostPort<'_>, own_port: Option<u16>| {
        let port = authority.port().unwrap_or(scheme.default_port());
        let own_port = own.port().or(own_port).unwrap_or(own_scheme.default_port());
        scheme == own_scheme && authority.host() == own.host() && port == own_port
    };
    if let Some(public) = parts.extensions.get::<PublicUrl>() {
        return Some(is_own(public.scheme(), public.authority(), None));
    }
    let proxied = parts.extensions.get::<Proxied>();
    // A browser that came by https told the site already, but for old ones: what is not known to be https is none.
    let own_scheme = proxied.and_then(Proxied::scheme);
    let own_scheme = own_scheme.or_else(|| Scheme::of_uri(parts.uri.scheme_str()?.as_bytes()));
    let own_scheme = own_scheme.unwrap_or(Scheme::Http);
    let own_port = proxied.and_then(Proxied::port);
    match proxied.and_then(Proxied::host) {
        Some(own) => Some(is_own(own_scheme, own, own_port)),
        None => Some(is_own(own_scheme, &asked_host(parts).ok()??, own_port)),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let Ok(Some(media_type)) = list::only_line(headers, &header::CONTENT_TYPE) else { return false };
    let essence = media_type.split(|byte| *byte == b';').next().unwrap_or_default();
    list::trim(essence).eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
        && !headers.contains_key(header::CONTENT_ENCODING)
}

/// What a form asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) member: String,
    pub(super) change: AdminChange,
    /// Empty where there is none.
    pub(super) token: String,
}

impl Form {
    /// `None` where a field is unknown, missing, there twice or unreadable.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let (mut member, mut action, mut token, mut weight, mut minutes) = (None, None, None, None, None);
        for pair in body.split(|byte| *byte == b'&') {
            let equals = pair.iter().position(|byte| *byte == b'=')?;
            let (name, value) = pair.split_at_checked(equals)?;
            let field = match &*decoded(name)? {
                "m" => &mut member,
                "action" => &mut action,
                "token" => &mut token,
                "weight" => &mut weight,
                "minutes" => &mut minutes,
                _ => return None,
            };
            if field.replace(decoded(value.strip_prefix(b"=")?)?).is_some() {
                return None;
            }
        }
        let change = AdminChange::parse(&action?, weight.as_deref(), minutes.as_deref())?;
        Some(Self { member: member?, change, token: token.unwrap_or_default() })
    }
}

fn decoded(bytes: &[u8]) -> Option<String> {
    let blanks: Vec<u8> = bytes.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    text::percent(&blanks).map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn is_own(uri: &str, headers: &[(&str, &str)], public: Option<&str>) -> bool {
        let mut request = Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        if let Some(public) = public {
            parts.extensions.insert(PublicUrl::parse(public).unwrap());
        }
        is_same_origin(&parts)
    }

    #[test]
    fn the_browser_decides_where_it_says_so() {
        let site = |site: &str| {
            is_own("/", &[("host", "a"), ("origin", "http://a"), ("sec-fetch-site", site)], None)
        };
        assert!(site("same-origin"));
        for other in ["same-site", "cross-site", "none", "Same-Origin", "same-origin, same-origin", ""] {
            assert!(!site(other), "{other}");
        }
        let twice = [("host", "a"), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")];
        assert!(!is_own("/", &twice, None));
        assert!(is_own("/", &[("host", "a"), ("sec-fetch-site", "same-origin")], None));
    }

    #[test]
    fn else_the_origin_is_compared_with_our_own() {
        let origin = |host: &str, origin: &str| is_own("/", &[("host", host), ("origin", origin)], None);
        for (host, own) in [
            ("a.example", "http://a.example"),
            ("A.example", "http://a.example:80"),
            ("a.example:80", "http://a.example"),
            ("a.example:8080", "http://a.example:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
        ] {
            assert!(origin(host, own), "{host} {own}");
        }
        for (host, other) in [
            ("a.example", "https://a.example"),
            ("a.example:8080", "https://a.example:8080"),
            ("a.example", "http://a.example:8080"),
            ("a.example:8080", "http://a.example"),
            ("a.example", "http://a.example.evil.example"),
            ("a.example", "http://evil.example"),
            ("a.example", "http://a.example@evil.example"),
            ("a.example", "http://a.example/"),
            ("a.example", "http://a.example, http://a.example"),
            ("a.example", "ws://a.example"),
            ("a.example", "a.example"),
            ("a.example", "null"),
            ("a.example", ""),
            ("", "http://"),
        ] {
            assert!(!origin(host, other), "{host} {other}");
        }
        let twice = [("host", "a"), ("origin", "http://a"), ("origin", "http://a")];
        assert!(!is_own("/", &twice, None));
        assert!(!is_own("/", &[("origin", "http://a")], None), "no host");
        assert!(!is_own("/", &[("host", "a")], None), "neither");
        assert!(
            !is_own("/", &[("host", "a"), ("referer", "http://a/")], None),
            "a referrer is not asked for"
        );
        assert!(is_own("https://a.example/", &[("origin", "https://a.example")], None));
        assert!(!is_own("https://a.example/", &[("origin", "http://a.example")], None));
    }

    #[test]
    fn the_public_url_wins_over_the_host() {
        let behind_apache = |origin: &str| {
            is_own("/", &[("host", "127.0.0.1:8000"), ("origin", origin)], Some("https://shop.example/store"))
        };
        assert!(behind_apache("https://shop.example"));
        assert!(!behind_apache("http://127.0.0.1:8000"));
        assert!(!behind_apache("http://shop.example"));
    }

    #[test]
    fn forms_have_each_field_once() {
        let form = Form::parse(b"m=a%3Cb&action=weight&weight=2&token=7.0f").unwrap();
        let change = AdminChange::Weight { hundredths: 200 };
        assert_eq!(form, Form { member: "a<b".into(), change, token: "7.0f".into() });
        assert_eq!(Form::parse(b"action=stop&m=a+b").unwrap().member, "a b");
        assert_eq!(Form::parse(b"%6d=a&action=stop").unwrap().member, "a");
        for bad in [
            "",
            "&",
            "m=a",
            "action=stop",
            "m=a&action=stop&",
            "m=a&&action=stop",
            "m=a&action=stop&m=a",
            "m=a&action=stop&%6D=b",
            "m=a&action=stop&action=stop",
            "m=a&action=stop&token=1&token=1",
            "m=a&action=stop&_method=PUT",
            "m=a&action=stop&url=http://evil.example",
            "m=a&action=stop&M=b",
            "m=a&action=stop&token",
            "m=a;action=stop",
            "m=%zz&action=stop",
            "m=%&action=stop",
            "m=%ff&action=stop",
            "m=a&action=stop\r\n",
            "m[]=a&action=stop",
        ] {
            assert_eq!(Form::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Form::parse(&body);
        }

        #[test]
        fn what_a_browser_encodes_is_read(member: String, token: String) {
            let pairs = [("m", &*member), ("action", "disable"), ("token", &*token)];
            let body = serde_urlencoded::to_string(pairs).unwrap();
            let form = Form { member, change: AdminChange::Disable, token };
            prop_assert_eq!(Form::parse(body.as_bytes()), Some(form));
        }
    }
}
