use std::ops::Range;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Response, header};

use super::internal::{InternalAuthorities, is_same};
use super::mount::Mount;
use crate::forced_host::PublicUrl;
use crate::future::{Owed, sealed};
use crate::wire::host::{HostPort, Scheme};
use crate::wire::path::{self, PathPrefix};
use crate::wire::uri_parts::UriParts;
use crate::wire::{link, refresh, set_cookie};

const REFRESH: HeaderName = header::REFRESH;

/// Which response fields are rewritten.
///
/// By default `Location`, `Content-Location`, `Refresh`, `Link` (targets and anchors) and the `Path` of
/// `Set-Cookie`.
///
/// # Example
///
/// ```
/// use http::{HeaderName, header};
/// use tower_proxied::script_name_prefix::ResponseRewrite;
///
/// let with_htmx = ResponseRewrite::default().also(HeaderName::from_static("hx-redirect"));
/// let redirects_only = ResponseRewrite::none().also(header::LOCATION);
/// assert_ne!(with_htmx, redirects_only);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ResponseRewrite {
    fields: Vec<HeaderName>,
}

impl Default for ResponseRewrite {
    fn default() -> Self {
        let fields =
            vec![header::LOCATION, header::CONTENT_LOCATION, REFRESH, header::LINK, header::SET_COOKIE];
        Self { fields }
    }
}

impl ResponseRewrite {
    /// No field: responses pass as they are.
    pub fn none() -> Self {
        Self { fields: Vec::new() }
    }

    /// This field too. `Refresh`, `Link` and `Set-Cookie` are read in their own grammar, any other field as one URI
    /// reference.
    ///
    /// Not for `X-Accel-Redirect` and its like, which hold paths of the proxy.
    pub fn also(mut self, name: HeaderName) -> Self {
        self.fields.push(name);
        self
    }
}

/// What becomes of a path in a response that stands below the prefix already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlreadyPrefixed {
    /// It is left alone: something that knows the prefix wrote it.
    Skip,
    /// The prefix is put before it all the same: for an application that has a route named like its prefix, and
    /// knows nothing of the prefix.
    Always,
}

#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) rewrite: ResponseRewrite,
    pub(super) already_prefixed: AlreadyPrefixed,
    pub(super) internal: InternalAuthorities,
}

/// What this unit owes the response: paths as the browser sees them. Opaque.
#[derive(Clone, Debug)]
pub struct PublicPaths {
    paths: Option<Paths>,
}

impl PublicPaths {
    /// The response passes as it is.
    pub(super) fn untouched() -> Self {
        Self { paths: None }
    }

    /// `total` is the prefix with those of the layers outside; `url` already has it.
    pub(super) fn of(rules: &Arc<Rules>, mount: Mount, total: PathPrefix, url: Option<PublicUrl>) -> Self {
        let is_at_root = mount.public.is_root() && mount.received.is_none() && rules.internal.is_empty();
        if is_at_root || rules.rewrite.fields.is_empty() {
            return Self::untouched();
        }
        Self { paths: Some(Paths { rules: Arc::clone(rules), mount, total, url }) }
    }
}

impl sealed::Sealed for PublicPaths {}

impl<R> Owed<R> for PublicPaths {
    type Body = R;

    fn settle(self, mut response: Response<R>) -> Response<R> {
        if let Some(paths) = self.paths {
            paths.rewrite(response.headers_mut());
        }
        response
    }
}

/// The paths of one request and its response.
#[derive(Clone, Debug)]
struct Paths {
    rules: Arc<Rules>,
    mount: Mount,
    total: PathPrefix,
    url: Option<PublicUrl>,
}

impl Paths {
    fn rewrite(&self, headers: &mut HeaderMap) {
        for (name, value) in headers.iter_mut() {
            if !self.rules.rewrite.fields.contains(name) {
                continue;
            }
            let bytes = value.as_bytes();
            let reference = |reference: &[u8]| self.reference(reference);
            let rewritten = match name {
                name if *name == header::SET_COOKIE => self.cookie(bytes),
                name if *name == header::LINK => splice(bytes, link::references(bytes), reference),
                name if *name == REFRESH => splice(bytes, refresh::url(bytes), reference),
                _ => splice(bytes, Some(0..bytes.len()), reference),
            };
            if let Some(mut rewritten) =
                rewritten.and_then(|bytes| HeaderValue::from_maybe_shared(bytes::Bytes::from(bytes)).ok())
            {
                rewritten.set_sensitive(value.is_sensitive());
                *value = rewritten;
            }
        }
    }

    /// `None` stays as it is, here and below.
    fn reference(&self, reference: &[u8]) -> Option<Vec<u8>> {
        let parts = UriParts::cut(reference)?;
        let path = match (parts.scheme, parts.authority, parts.path) {
            (None, None, b"") => None,
            (None, None, [b'/', ..]) => self.absolute_path(parts.path),
            (None, None, _) => self.relative_path(parts.path),
            (_, Some(authority), _) => return self.own_url(reference, authority, parts),
            (Some(_), None, _) => None,
        };
        path.map(|path| [&path, parts.tail].concat())
    }

    fn own_url(&self, reference: &[u8], authority: &[u8], parts: UriParts<'_>) -> Option<Vec<u8>> {
        let scheme = match parts.scheme {
            Some(scheme) => Some(http_scheme(scheme)?),
            None => self.url.as_ref().map(PublicUrl::scheme),
        };
        let host = HostPort::parse(authority)?;
        let is_public = self.url.as_ref().is_some_and(|url| is_same(&host, url.authority(), scheme));
        if !is_public && !self.rules.internal.contains(&host, scheme) {
            return None;
        }
        let origin = self
            .url
            .as_ref()
            .filter(|_| !is_public)
            .map(|url| format!("{}://{}", url.scheme(), url.authority()));
        let path = self.absolute_path(if parts.path.is_empty() { b"/" } else { parts.path });
        if origin.is_none() && path.is_none() {
            return None;
        }
        let origin_len = reference.len().checked_sub(parts.path.len())?.checked_sub(parts.tail.len())?;
        let own_origin = reference.get(..origin_len)?;
        let origin = origin.as_deref().map_or(own_origin, str::as_bytes);
        Some([origin, path.as_deref().unwrap_or(parts.path), parts.tail].concat())
    }

    fn absolute_path(&self, path: &[u8]) -> Option<Vec<u8>> {
        let public = &self.mount.public;
        if self.rules.already_prefixed == AlreadyPrefixed::Skip {
            let is_below =
                |prefix| path::strip_prefix(path, prefix).is_some_and(|below| !path::climbs_out(below));
            if !public.is_root() && (is_below(public) || is_below(&self.total)) {
                return None;
            }
            if let Some(below) = self.below_received(path).filter(|below| !path::climbs_out(below)) {
                return Some(below_public(public, below));
            }
        }
        if public.is_root() {
            None
        } else if path::climbs_out(path) {
            Some(below_public(public, &path::remove_dot_segments(path)))
        } else {
            Some(below_public(public, path))
        }
    }

    /// Left alone, unless the browser would come out elsewhere than the inner service means: the browser's path is
    /// longer, so that there `..` goes further up; and at the bare mount point it has no slash at its end.
    fn relative_path(&self, relative: &[u8]) -> Option<Vec<u8>> {
        let public = &self.mount.public;
        if public.is_root() {
            return None;
        }
        let below = self.mount.below().as_bytes();
        let meant = path::resolve(inner_path(below), relative);
        let browsed = path::resolve(&[public.as_str().as_bytes(), below].concat(), relative);
        let arrives = path::strip_prefix(&browsed, public).map(inner_path);
        (arrives != Some(inner_path(&meant))).then(|| below_public(public, &meant))
    }

    fn cookie(&self, value: &[u8]) -> Option<Vec<u8>> {
        // It is void unless its path is `/`.
        const HOST: &[u8] = b"__Host-";
        let is_host_cookie =
            set_cookie::name(value).get(..HOST.len()).is_some_and(|start| start.eq_ignore_ascii_case(HOST));
        if is_host_cookie {
            return None;
        }
        let rewritten = splice(value, set_cookie::paths(value), |path| self.cookie_path(path));
        let has_path = set_cookie::paths(value)
            .last()
            .is_some_and(|path| value.get(path).is_some_and(|path| path.starts_with(b"/")));
        if self.mount.below().is_empty() && !has_path && !self.mount.public.is_root() {
            // The browser would take the folder of `/app`, which is the whole host (RFC 6265, section 5.1.4).
            let value = rewritten.as_deref().unwrap_or(value);
            return Some([value, b"; Path=", self.mount.public.as_str().as_bytes()].concat());
        }
        rewritten
    }

    /// Browsers compare cookie paths as texts: no dot segments here. `/` is the whole mount, the bare mount point
    /// too, and so loses its slash.
    fn cookie_path(&self, path: &[u8]) -> Option<Vec<u8>> {
        let public = &self.mount.public;
        if !path.starts_with(b"/") {
            return None;
        }
        let mut below = path;
        if self.rules.already_prefixed == AlreadyPrefixed::Skip {
            let is_below = |prefix| path::strip_prefix(path, prefix).is_some();
            if !public.is_root() && (is_below(public) || is_below(&self.total)) {
                return None;
            }
            below = self.below_received(path).unwrap_or(path);
        }
        if public.is_root() {
            let is_mapped = below.len() < path.len();
            return is_mapped.then(|| if below.is_empty() { b"/".to_vec() } else { below.to_vec() });
        }
        Some(if below == b"/" {
            public.as_str().into()
        } else {
            [public.as_str().as_bytes(), below].concat()
        })
    }

    fn below_received<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        path::strip_prefix(path, self.mount.received.as_ref()?)
    }
}

/// As the inner service sees it.
fn inner_path(below: &[u8]) -> &[u8] {
    if below.is_empty() { b"/" } else { path::one_leading_slash(below) }
}

fn below_public(public: &PathPrefix, below: &[u8]) -> Vec<u8> {
    if !public.is_root() {
        return [public.as_str().as_bytes(), below].concat();
    }
    // `//host` and, to browsers, `/\host` are other hosts.
    let start = below.iter().position(|byte| !matches!(byte, b'/' | b'\\' | b'\t')).unwrap_or(below.len());
    [b"/", below.get(start..).unwrap_or_default()].concat()
}

fn http_scheme(scheme: &[u8]) -> Option<Scheme> {
    [Scheme::Http, Scheme::Https]
        .into_iter()
        .find(|known| scheme.eq_ignore_ascii_case(known.as_str().as_bytes()))
}

/// Replaces the ranges, as far as there is a replacement for them; blanks around them stay.
fn splice(
    value: &[u8],
    ranges: impl IntoIterator<Item = Range<usize>>,
    replace: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let mut spliced = Vec::new();
    let mut copied = 0;
    for range in ranges {
        let Some(padded) = value.get(range.clone()) else { continue };
        let blanks = padded.len().saturating_sub(padded.trim_ascii_start().len());
        let old = padded.trim_ascii();
        let Some(new) = replace(old) else { continue };
        let start = range.start.saturating_add(blanks);
        spliced.extend_from_slice(value.get(copied..start).unwrap_or_default());
        spliced.extend_from_slice(&new);
        copied = start.saturating_add(old.len());
    }
    if copied == 0 {
        return None;
    }
    spliced.extend_from_slice(value.get(copied..).unwrap_or_default());
    Some(spliced)
}
