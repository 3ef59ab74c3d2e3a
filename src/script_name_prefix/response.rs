use std::borrow::{Borrow, Cow};
use std::fmt::{self, Write};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};

use super::internal::is_same;
use super::mount::Mount;
use super::rules::{AlreadyPrefixed, Rules};
use crate::forced_host::{Origin, PublicUrl};
use crate::future::{Owed, sealed};
use crate::wire::dot_segments::{self, Dots};
use crate::wire::host::{HostPort, Scheme};
use crate::wire::path::{self, PathPrefix};
use crate::wire::reference::Reference;
use crate::wire::{link, refresh, set_cookie};

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

    /// `written` goes before paths; `total` is the prefix with those of all layers outside; `url` already has it.
    pub(super) fn of(
        rules: &Arc<Rules>,
        mount: Mount,
        written: PathPrefix,
        total: PathPrefix,
        url: Option<PublicUrl>,
    ) -> Self {
        let is_at_root = mount.public.is_root() && mount.received.is_none() && rules.internal.is_empty();
        if is_at_root || rules.rewrite.fields.is_empty() {
            return Self::untouched();
        }
        let depth = OnceLock::new();
        Self { paths: Some(Paths { rules: Arc::clone(rules), mount, depth, written, total, url }) }
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
    /// Of the page; the client may have made its path long, and it is looked at once only.
    depth: OnceLock<usize>,
    written: PathPrefix,
    total: PathPrefix,
    url: Option<PublicUrl>,
}

impl Paths {
    fn rewrite(&self, headers: &mut HeaderMap) {
        for (name, value) in headers.iter_mut() {
            if self.rules.rewrite.fields.contains(name)
                && let Some(mut rewritten) = self.rewritten(name, value.as_bytes())
            {
                rewritten.set_sensitive(value.is_sensitive());
                *value = rewritten;
            }
        }
    }

    /// `None` stays as it is, here and below.
    fn rewritten(&self, name: &HeaderName, value: &[u8]) -> Option<HeaderValue> {
        if *name == header::SET_COOKIE {
            written(|out| self.put_cookie(value, out))
        } else if *name == header::LINK {
            written(|out| put_spliced(value, link::references(value), |old| self.reference(old), out))
        } else if *name == header::REFRESH {
            written(|out| put_spliced(value, refresh::url(value), |old| self.reference(old), out))
        } else {
            // Read once, though it is written twice.
            let reference = self.reference(value.trim_ascii())?;
            written(|out| put_spliced(value, Some(0..value.len()), |_| Some(&reference), out))
        }
    }

    fn reference<'a>(&'a self, reference: &'a [u8]) -> Option<Public<'a>> {
        let parts = Reference::parse(reference);
        let hierarchy_len = reference.iter().position(|byte| b"?#".contains(byte)).unwrap_or(reference.len());
        let (hierarchy, tail) = reference.split_at_checked(hierarchy_len)?;
        let public = match (parts.scheme, parts.authority) {
            (_, Some(authority)) => self.own_url(hierarchy, authority, parts),
            (None, None) if has_hidden_scheme(parts.path) => None,
            (None, None) => self.local_path(parts.path),
            // Browsers take the scheme of the page before a path for nothing (RFC 3986, section 5.2.2).
            (Some(scheme), None) => {
                let page = self.url.as_ref().map(PublicUrl::scheme)?;
                let tabs = parts.path.iter().take_while(|byte| **byte == b'\t').count();
                (Scheme::of_uri(scheme)? == page).then(|| self.local_path(parts.path.get(tabs..)?))?
            }
        };
        public.map(|public| Public { tail, ..public })
    }

    fn own_url<'a>(
        &'a self,
        hierarchy: &'a [u8],
        authority: &[u8],
        parts: Reference<'a>,
    ) -> Option<Public<'a>> {
        let scheme = match parts.scheme {
            Some(scheme) => Some(Scheme::of_uri(scheme)?),
            None => self.url.as_ref().map(PublicUrl::scheme),
        };
        let host = HostPort::parse(authority)?;
        let is_public = self.url.as_ref().is_some_and(|url| is_same(&host, url.authority(), scheme));
        if !is_public && !self.rules.internal.contains(&host, scheme) {
            return None;
        }
        let path = self.absolute_path(if parts.path.is_empty() { b"/" } else { parts.path });
        match self.url.as_ref().filter(|_| !is_public) {
            Some(url) => {
                let path = path.unwrap_or_else(|| Public::path("", parts.path));
                Some(Public { start: Start::Origin(url.origin()), ..path })
            }
            None => Some(Public { start: Start::Written(hierarchy.strip_suffix(parts.path)?), ..path? }),
        }
    }

    /// A path without an authority, as browsers read it.
    fn local_path<'a>(&'a self, path: &'a [u8]) -> Option<Public<'a>> {
        match path {
            [] => None,
            [b'/', ..] => self.absolute_path(path),
            [b'\\', rest @ ..] => {
                let next = rest.iter().find(|byte| **byte != b'\t');
                let names_a_host = matches!(next, Some(b'/' | b'\\'));
                if names_a_host { None } else { self.absolute_path(path) }
            }
            _ => self.relative_path(path),
        }
    }

    fn absolute_path<'a>(&'a self, path: &'a [u8]) -> Option<Public<'a>> {
        if self.rules.already_prefixed == AlreadyPrefixed::Skip {
            let below = |prefix: &PathPrefix| {
                path::strip_prefix(path, prefix).filter(|below| !dot_segments::climbs_out(below))
            };
            match self.missing_prefix(|prefix| below(prefix).is_some()) {
                Some("") => return None,
                Some(missing) => return Some(Public::path(missing, path)),
                None => {}
            }
            if let Some(below) = self.mount.received.as_ref().and_then(below) {
                return Some(below_prefix(&self.written, below));
            }
        }
        if self.written.is_root() {
            None
        } else if dot_segments::climbs_out(path) || path.starts_with(b"\\") {
            Some(Public::path(self.written.as_str(), dot_segments::remove(path, Dots::AsBrowsers)))
        } else {
            Some(Public::path(self.written.as_str(), path))
        }
    }

    /// What must stand before a path that has a prefix already: nothing, or the prefixes of the layers outside where
    /// it has that of this mount alone.
    fn missing_prefix(&self, is_below: impl Fn(&PathPrefix) -> bool) -> Option<&str> {
        let has = |prefix: &PathPrefix| !prefix.is_root() && is_below(prefix);
        if has(&self.written) || has(&self.total) {
            Some("")
        } else if has(&self.mount.public) {
            self.written.as_str().strip_suffix(self.mount.public.as_str())
        } else {
            None
        }
    }

    /// Left alone, unless the browser would come out elsewhere than the inner service means: the browser's path is
    /// longer, so that there `..` goes further up; and at the bare mount point it has no slash at its end.
    fn relative_path<'a>(&'a self, relative: &[u8]) -> Option<Public<'a>> {
        let stays_in_the_mount = || {
            let up = dot_segments::folders(relative).up;
            let is_bare = self.mount.below().is_empty();
            !is_bare && (up == 0 || up <= *self.depth.get_or_init(|| depth(&self.mount)))
        };
        if self.total.is_root() || stays_in_the_mount() {
            return None;
        }
        // Whatever folder the page stands in, it is left.
        let meant = dot_segments::resolve(b"/", relative, Dots::AsBrowsers);
        Some(Public::path(self.written.as_str(), meant))
    }

    fn put_cookie(&self, value: &[u8], out: Out<'_>) -> bool {
        // It is void unless its path is `/`.
        const HOST: &[u8] = b"__Host-";
        let is_host_cookie =
            set_cookie::name(value).get(..HOST.len()).is_some_and(|start| start.eq_ignore_ascii_case(HOST));
        if is_host_cookie {
            return false;
        }
        let is_changed = put_spliced(value, set_cookie::paths(value), |path| self.cookie_path(path), out);
        let has_path = set_cookie::paths(value)
            .last()
            .is_some_and(|path| value.get(path).is_some_and(|path| path.starts_with(b"/")));
        if !self.mount.below().is_empty() || has_path || self.written.is_root() {
            return is_changed;
        }
        // The browser would take the folder of `/app`, which is the whole host (RFC 6265, section 5.1.4).
        if !is_changed {
            out(value);
        }
        out(b"; Path=");
        out(self.written.as_str().as_bytes());
        true
    }

    /// Browsers compare cookie paths as texts: no dot segments here. `/` is the whole mount, the bare mount point
    /// too, and so loses its slash.
    fn cookie_path<'a>(&'a self, path: &'a [u8]) -> Option<Public<'a>> {
        if !path.starts_with(b"/") {
            return None;
        }
        let mut below = path;
        if self.rules.already_prefixed == AlreadyPrefixed::Skip {
            match self.missing_prefix(|prefix| path::strip_prefix(path, prefix).is_some()) {
                Some("") => return None,
                Some(missing) => return Some(Public::path(missing, path)),
                None => {}
            }
            let received = self.mount.received.as_ref();
            below = received.and_then(|received| path::strip_prefix(path, received)).unwrap_or(path);
        }
        match (self.written.as_str(), below) {
            ("", below) if below.len() == path.len() => None,
            ("", b"") => Some(Public::path("/", b"")),
            ("", below) => Some(Public::path("", below)),
            (written, b"/") => Some(Public::path(written, b"")),
            (written, below) => Some(Public::path(written, below)),
        }
    }
}

/// Browsers delete tabs, and may find a scheme then.
fn has_hidden_scheme(path: &[u8]) -> bool {
    path.contains(&b'\t') && {
        let without_tabs: Vec<u8> = path.iter().copied().filter(|byte| *byte != b'\t').collect();
        Reference::parse(&without_tabs).scheme.is_some()
    }
}

/// How many folders below the mount point a page stands, as browsers count.
fn depth(mount: &Mount) -> usize {
    let below = mount.below().as_bytes();
    dot_segments::folders(below.strip_prefix(b"/").unwrap_or(below)).down
}

fn below_prefix<'a>(prefix: &'a PathPrefix, below: &'a [u8]) -> Public<'a> {
    if !prefix.is_root() {
        return Public::path(prefix.as_str(), below);
    }
    // `//host` and, to browsers, `/\host` are other hosts.
    let start = below.iter().position(|byte| !matches!(byte, b'/' | b'\\' | b'\t')).unwrap_or(below.len());
    Public::path("/", below.get(start..).unwrap_or_default())
}

/// A reference as the browser must see it: what stands in a row.
struct Public<'a> {
    start: Start<'a>,
    prefix: &'a str,
    below: Cow<'a, [u8]>,
    tail: &'a [u8],
}

enum Start<'a> {
    Written(&'a [u8]),
    Origin(&'a Origin),
}

impl<'a> Public<'a> {
    fn path(prefix: &'a str, below: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { start: Start::Written(b""), prefix, below: below.into(), tail: b"" }
    }

    fn put(&self, out: Out<'_>) {
        match self.start {
            Start::Written(start) => out(start),
            // A callback takes all that is written.
            Start::Origin(origin) => _ = origin.write_to(&mut Text(out)),
        }
        out(self.prefix.as_bytes());
        out(&self.below);
        out(self.tail);
    }
}

type Out<'a> = &'a mut dyn FnMut(&[u8]);

struct Text<'a>(Out<'a>);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        (self.0)(text.as_bytes());
        Ok(())
    }
}

/// What is put, or nothing where that is `false`. It is put twice: the first time for its length.
fn written(put: impl Fn(Out<'_>) -> bool) -> Option<HeaderValue> {
    let mut length = 0_usize;
    if !put(&mut |bytes| length = length.saturating_add(bytes.len())) {
        return None;
    }
    // What is longer than it need be is allocated a second time on its way to `Bytes`.
    let mut written = Vec::with_capacity(length);
    put(&mut |bytes| written.extend_from_slice(bytes));
    HeaderValue::from_maybe_shared(Bytes::from(written)).ok()
}

/// Replaces the ranges, as far as there is a replacement for them; blanks around them stay. Hands out nothing and is
/// `false` where nothing is replaced.
fn put_spliced<'a, P: Borrow<Public<'a>>>(
    value: &'a [u8],
    ranges: impl IntoIterator<Item = Range<usize>>,
    replace: impl Fn(&'a [u8]) -> Option<P>,
    out: Out<'_>,
) -> bool {
    let mut copied = 0;
    for range in ranges {
        let Some(padded) = value.get(range.clone()) else { continue };
        let blanks = padded.len().saturating_sub(padded.trim_ascii_start().len());
        let old = padded.trim_ascii();
        let Some(new) = replace(old) else { continue };
        let start = range.start.saturating_add(blanks);
        out(value.get(copied..start).unwrap_or_default());
        new.borrow().put(out);
        copied = start.saturating_add(old.len());
    }
    if copied > 0 {
        out(value.get(copied..).unwrap_or_default());
    }
    copied > 0
}

#[cfg(test)]
mod tests;
