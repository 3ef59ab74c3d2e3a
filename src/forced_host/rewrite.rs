use http::uri::{Authority, Scheme as UriScheme};
use http::{HeaderValue, Method, Uri, header, request};

use super::public_url::Origin;
use crate::refusal::RefusalKind;
use crate::wire::host::Scheme;

/// What the request named as its host before [`rewrite_host`](super::ForcedHostLayer::rewrite_host): the client's
/// bytes, or those of the nearest proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalHost {
    host: Option<HeaderValue>,
    authority: Option<Authority>,
}

impl OriginalHost {
    /// `Host`; one line of it where there were several.
    pub fn host(&self) -> Option<&[u8]> {
        self.host.as_ref().map(HeaderValue::as_bytes)
    }

    /// The authority of the request target, or `:authority`.
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_ref().map(Authority::as_str)
    }
}

pub(super) fn rewrite_host(parts: &mut request::Parts, public: &Origin) -> Result<(), RefusalKind> {
    if parts.method == Method::CONNECT {
        return Ok(());
    }
    // A canonical host is a legal field value and a legal authority; a refusal is cheaper than to rely on it.
    let text = public.authority().to_string();
    let host = HeaderValue::try_from(text.as_str()).map_err(|_| RefusalKind::HostMalformed)?;
    let original = OriginalHost {
        authority: parts.uri.authority().cloned(),
        host: parts.headers.insert(header::HOST, host),
    };
    if original.authority.is_some() {
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        uri.authority = Some(Authority::try_from(text).map_err(|_| RefusalKind::HostMalformed)?);
        uri.scheme = Some(match public.scheme() {
            Scheme::Http => UriScheme::HTTP,
            Scheme::Https => UriScheme::HTTPS,
        });
        parts.uri = Uri::from_parts(uri).map_err(|_| RefusalKind::HostMalformed)?;
    }
    parts.extensions.insert(original);
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::forced_host::PublicUrl;

    fn rewritten(request: request::Builder, public: &'static str) -> request::Parts {
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        rewrite_host(&mut parts, PublicUrl::from_static(public).origin()).unwrap();
        parts
    }

    #[test]
    fn origin_form_keeps_its_target() {
        let request = Request::get("//x?y").header("host", "evil.example").header("host", "internal:8000");
        let parts = rewritten(request, "https://[2001:DB8::1]:8443/app");
        assert_eq!(parts.headers.get_all("host").iter().collect::<Vec<_>>(), ["[2001:db8::1]:8443"]);
        assert_eq!(parts.uri, "//x?y");
        let original = parts.extensions.get::<OriginalHost>().unwrap();
        assert!(original.host().is_some());
        assert_eq!(original.authority(), None);
    }

    #[test]
    fn a_target_with_an_authority_gets_the_public_one() {
        let parts = rewritten(Request::get("http://u@internal:8000/x?y"), "https://example.com:443");
        assert_eq!(parts.headers["host"], "example.com");
        assert_eq!(parts.uri, "https://example.com/x?y");
        let original = parts.extensions.get::<OriginalHost>().unwrap();
        assert_eq!((original.host(), original.authority()), (None, Some("u@internal:8000")));
    }

    #[test]
    fn asterisk_and_connect() {
        let request = Request::options("*").header("host", "internal");
        let parts = rewritten(request, "https://example.com");
        assert_eq!((parts.uri.path(), parts.uri.authority()), ("*", None));
        assert_eq!(parts.headers["host"], "example.com");

        // As HTTP/2 has it.
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(UriScheme::HTTP);
        uri.authority = Some(Authority::from_static("internal"));
        uri.path_and_query = Some("*".parse().unwrap());
        let request = Request::options(Uri::from_parts(uri).unwrap());
        let parts = rewritten(request, "https://example.com");
        assert_eq!(parts.uri.authority().unwrap(), "example.com");
        assert_eq!(parts.uri.path(), "*");

        let request = Request::connect("db.internal:5432").header("host", "db.internal:5432");
        let parts = rewritten(request, "https://example.com");
        assert_eq!(parts.uri, "db.internal:5432");
        assert_eq!(parts.headers["host"], "db.internal:5432");
        assert!(parts.extensions.get::<OriginalHost>().is_none());
    }
}
