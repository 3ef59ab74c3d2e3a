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
