//! Hosts and links as browsers read them, which is as the `url` crate does, and references as RFC 3986 has them, which
//! is as the `iri-string` crate does.

use iri_string::types::{UriAbsoluteStr, UriReferenceStr};
use tower_proxied::PublicUrl;
use tower_proxied::wire::host::{Host, HostPort};
use url::Url;

/// What is read as a host is the host that browsers go to, and has one spelling.
pub(crate) fn host_is_what_browsers_read(bytes: &[u8]) {
    let Some(read) = HostPort::parse(bytes) else { return };
    let canonical = read.to_string();
    assert_eq!(HostPort::parse(canonical.as_bytes()).as_ref(), Some(&read));
    assert_eq!(read.clone().into_owned().to_string(), canonical);
    let written = std::str::from_utf8(bytes).expect("a host is in ASCII");
    for text in [written, &canonical] {
        let url = match Url::parse(&format!("https://{text}/")) {
            Ok(url) => url,
            // Browsers look into Punycode, and go nowhere where it is wrong.
            Err(_) => {
                assert!(canonical.contains("xn--"), "{text}");
                continue;
            }
        };
        match (url.host().unwrap(), read.host()) {
            (url::Host::Domain(theirs), Host::Name(_)) => {
                assert_eq!(theirs.strip_suffix('.').unwrap_or(theirs), read.host().to_string(), "{text}");
            }
            (url::Host::Ipv4(theirs), Host::V4(ours)) => assert_eq!(theirs, *ours, "{text}"),
            (url::Host::Ipv6(theirs), Host::V6(ours)) => assert_eq!(theirs, *ours, "{text}"),
            (theirs, ours) => panic!("{text}: {theirs} is read as {ours:?}"),
        }
        assert_eq!(url.port_or_known_default(), read.port().or(Some(443)), "{text}");
        assert_eq!((url.username(), url.password(), url.path()), ("", None, "/"), "{text}");
    }
}

/// A link leads a browser to the public URL's origin and below its prefix, also where it is cut behind the origin.
pub(crate) fn link_stays(public: &PublicUrl, current_path: &str, reference: &str) {
    let Ok(link) = public.absolute_from(current_path, reference) else { return };
    assert!(link.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'), "{link}");
    let site = Url::parse(&public.to_string()).unwrap();
    let url = Url::parse(&link).unwrap();
    assert_eq!(url.origin(), site.origin(), "{link}");
    assert_eq!((url.username(), url.password()), ("", None), "{link}");
    let below = url.path().strip_prefix(public.prefix().as_str());
    let below = below.unwrap_or_else(|| panic!("{link} is out of the prefix"));
    assert!(below.is_empty() || below.starts_with('/') && !below.starts_with("//"), "{link}");
    let cut = link.strip_prefix(&public.origin().to_string()).expect("the origin as it prints");
    assert_eq!(site.join(cut).as_ref(), Ok(&url), "{link}");
    assert_eq!(public.absolute(&link), Ok(link));
}

/// Well-formed references resolve as RFC 3986, section 5.2, has it.
pub(crate) fn resolves_as_the_rfc(public: &PublicUrl, base: &str, reference: &str) {
    let resolved = public.resolve_any(base, reference);
    if let Ok(uri) = &resolved {
        assert!(uri.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'), "{uri}");
    }
    // `iri-string` takes `%2e` for a dot, as browsers do; section 5.2.4 knows dots alone.
    if [base, reference].iter().any(|text| text.to_ascii_lowercase().contains("%2e")) {
        return;
    }
    let (Ok(base), Ok(reference)) = (UriAbsoluteStr::new(base), UriReferenceStr::new(reference)) else {
        return;
    };
    let expected = reference.resolve_against(base).to_string();
    assert_eq!(resolved, Ok(expected), "{reference} from {base}");
}
