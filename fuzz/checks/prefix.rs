//! What must hold of ScriptNamePrefix, judged by naive twins and, for redirects, by what browsers do (the `url` crate).

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, HeaderName, Request, Response, Uri, header};
use tower::{Layer, Service, service_fn};
use tower_proxied::script_name_prefix::{
    AlreadyPrefixed, Bare, InternalAuthorities, Mounts, ResponseRewrite,
};
use tower_proxied::wire::host::HostPort;
use tower_proxied::wire::reference::Reference;
use tower_proxied::wire::{link, refresh};
use tower_proxied::{PathPrefix, PublicUrl, Refusal, RefusalKind, ScriptName, ScriptNamePrefixLayer};
use url::Url;

/// Where an application is mounted: as the browser sees it, and as the proxy sends it.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) layer: ScriptNamePrefixLayer,
    pub(crate) public: &'static str,
    pub(crate) received: &'static str,
    pub(crate) url: Option<PublicUrl>,
    /// A path that begins with the received prefix has it, any other has none.
    pub(crate) is_either: bool,
}

pub(crate) const HOST: &str = "example.com";
pub(crate) const INTERNAL: &str = "http-1:8000";

pub(crate) fn sites() -> Vec<Site> {
    let prefix = PathPrefix::from_static;
    let keeps = |path| (ScriptNamePrefixLayer::proxy_keeps(prefix(path)), path, path);
    let strips = |path| (ScriptNamePrefixLayer::proxy_strips(prefix(path)), path, "");
    let either = |path| (ScriptNamePrefixLayer::either(prefix(path)), path, path);
    let maps = |public, received| {
        let mounts = Mounts { public: prefix(public), received: prefix(received) };
        (ScriptNamePrefixLayer::proxy_maps(mounts), public, received)
    };
    let modes = [
        keeps("/app"),
        keeps("/a/b"),
        strips("/app"),
        strips("/a/b"),
        either("/app"),
        maps("/app", "/django"),
        maps("/app", ""),
        maps("", "/django"),
        maps("/a/b", "/a"),
    ];
    let mut sites = Vec::new();
    for (at, (layer, public, received)) in modes.into_iter().enumerate() {
        let layer = layer
            .bare(Bare::Serve)
            .internal_authorities(InternalAuthorities::from_static(&[INTERNAL]))
            .rewrite(ResponseRewrite::default().also(HeaderName::from_static("hx-redirect")));
        for url in [None, Some(PublicUrl::from_static("https://example.com"))] {
            sites.push(Site { layer: layer.clone(), public, received, url, is_either: at == 4 });
        }
    }
    sites
}

impl Site {
    pub(crate) fn always(self) -> Self {
        Self { layer: self.layer.already_prefixed(AlreadyPrefixed::Always), ..self }
    }

    /// What of a target's path stands below the prefix.
    fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        naive_below(path, self.received).or(self.is_either.then_some(path))
    }

    /// What must be told to the browser for a target, path and query.
    pub(crate) fn public_path(&self, target: &str) -> Option<String> {
        let (path, _) = target.split_once('?').unwrap_or((target, ""));
        let rest_at = path.len() - self.below(path)?.len();
        if self.public == self.received && rest_at > 0 {
            return Some(target.to_owned());
        }
        let public = [self.public, &target[rest_at..]].concat();
        Some(if public.starts_with('/') { public } else { ["/", &public].concat() })
    }

    /// What the inner service must be asked for, where it is asked.
    fn inner_target(&self, target: &str) -> Option<String> {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (target, String::new()),
        };
        Some(format!("/{}{query}", self.below(path)?.trim_start_matches('/')))
    }
}

/// What came of one exchange.
pub(crate) struct Seen {
    pub(crate) inner: Option<(Uri, Option<ScriptName>)>,
    pub(crate) refused: Option<RefusalKind>,
    pub(crate) headers: HeaderMap,
}

/// A request through the layer, answered with these headers.
pub(crate) fn exchange(site: &Site, target: &Uri, answered: &HeaderMap) -> Seen {
    let mut inner = None;
    let mut service = site.layer.layer(service_fn(|request: Request<()>| {
        inner = Some((request.uri().clone(), request.extensions().get::<ScriptName>().cloned()));
        let mut response = Response::new(());
        response.headers_mut().clone_from(answered);
        std::future::ready(Ok::<_, Infallible>(response))
    }));
    let mut request = Request::new(());
    request.uri_mut().clone_from(target);
    if let Some(url) = &site.url {
        request.extensions_mut().insert(url.clone());
    }
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(service.poll_ready(&mut context), Poll::Ready(Ok(()))));
    let Poll::Ready(answer) = pin!(service.call(request)).poll(&mut context) else {
        unreachable!("nothing here waits")
    };
    let (parts, _) = answer.unwrap_or_else(|never| match never {}).into_parts();
    drop(service);
    Seen { inner, refused: parts.extensions.get().map(Refusal::kind), headers: parts.headers }
}

/// All that must hold of one exchange.
pub(crate) fn holds(site: &Site, target: &Uri, answered: &HeaderMap) {
    let seen = exchange(site, target, answered);
    if !target.path().starts_with('/') {
        assert_eq!(seen.inner.map(|(uri, _)| uri).as_ref(), Some(target), "a target without a path");
        assert_eq!(&seen.headers, answered);
        return;
    }
    let arrived = match target.path_and_query() {
        Some(path) if path.as_str().starts_with('/') => path.to_string(),
        _ => format!("/{}", target.path_and_query().map_or("", |path| path.as_str())),
    };
    let Some((inner, script_name)) = seen.inner else {
        let is_outside = site.below(target.path()).is_none();
        let expected = if is_outside { RefusalKind::OutsidePrefix } else { RefusalKind::EscapesPrefix };
        assert_eq!(seen.refused, Some(expected), "{site:?} {target}");
        assert!(is_outside || has_dots(target.path()), "refused without reason: {target}");
        return;
    };
    let script_name = script_name.expect("the layer puts it there");
    assert_eq!(script_name.prefix().as_str(), site.public);
    assert_eq!(Some(&*script_name.public_path()), site.public_path(&arrived).as_deref(), "{site:?} {target}");
    let inner_target = inner.path_and_query().expect("it has a path").as_str();
    assert_eq!(Some(inner_target), site.inner_target(&arrived).as_deref(), "{site:?} {target}");
    stays_in_the_mount(inner.path());
    let base = format!("https://{HOST}{}", script_name.public_path());
    let inner = format!("https://{HOST}{inner_target}");
    responses_are_public(site, &inner, &base, answered, &seen.headers);
    let again = exchange(site, target, &seen.headers);
    if !format!("{:?}", site.layer).contains("Always") {
        assert_eq!(again.headers, seen.headers, "twice is once: {answered:?} {target}");
    }
}

/// However a server behind reads the path, it stays where it was mounted.
pub(crate) fn stays_in_the_mount(inner: &str) {
    let merged = inner.replace(['\t'], "").replace('\\', "/");
    let merged = merged.split('/').filter(|segment| !segment.is_empty()).collect::<Vec<_>>().join("/");
    for path in [inner, &format!("/{merged}")] {
        let read = Url::parse(&format!("https://{HOST}/mount{path}")).expect("a path is a path");
        assert!(naive_below(read.path(), "/mount").is_some(), "{inner} is read as {read}");
    }
}

fn responses_are_public(site: &Site, inner: &str, base: &str, answered: &HeaderMap, seen: &HeaderMap) {
    assert_eq!(answered.len(), seen.len());
    let (Ok(inner), Ok(base)) = (Url::parse(inner), Url::parse(base)) else { return };
    for ((name, before), (name_after, after)) in answered.iter().zip(seen) {
        assert_eq!(name, name_after);
        let (before, after) = (before.as_bytes(), after.as_bytes());
        match name.as_str() {
            "set-cookie" => cookie_is_public(site, base.path(), before, after),
            "location" | "content-location" | "hx-redirect" => {
                reference_is_public(site, &inner, &base, before, after);
            }
            "refresh" | "link" => {
                let (old, new) = (references(name, before), references(name, after));
                assert_eq!(old.len(), new.len(), "{} {}", before.escape_ascii(), after.escape_ascii());
                for (before, after) in old.into_iter().zip(new) {
                    reference_is_public(site, &inner, &base, before, after);
                }
            }
            _ => assert_eq!(before, after, "{name}"),
        }
    }
}

fn references<'a>(name: &HeaderName, value: &'a [u8]) -> Vec<&'a [u8]> {
    let ranges: Vec<_> = if *name == header::LINK {
        link::references(value).collect()
    } else {
        refresh::url(value).into_iter().collect()
    };
    ranges.into_iter().map(|range| &value[range]).collect()
}

/// The browser follows the reference to this origin and prefix, unless the application has named another host.
pub(crate) fn reference_is_public(site: &Site, inner: &Url, base: &Url, before: &[u8], after: &[u8]) {
    let shown = || format!("{site:?}\n{base}: {} became {}", before.escape_ascii(), after.escape_ascii());
    let follow = |base: &Url, reference| base.join(&String::from_utf8_lossy(reference));
    let Ok(meant) = follow(inner, before) else { return };
    let reference = Reference::parse(before.trim_ascii());
    let is_http =
        |scheme: &[u8]| [&b"http"[..], b"https"].iter().any(|http| scheme.eq_ignore_ascii_case(http));
    let names_internal =
        reference.authority == Some(INTERNAL.as_bytes()) && reference.scheme.is_none_or(is_http);
    let followed = follow(base, after);
    if meant.origin() != base.origin() && !names_internal {
        // By the other scheme, or with the dot of the DNS root.
        let is_own = followed.is_ok_and(|followed| {
            let name = followed.host_str().unwrap_or_default();
            name.strip_suffix('.').unwrap_or(name) == HOST && followed.port() == meant.port()
        });
        assert!(before == after || is_own, "another host is left alone, or never reached: {}", shown());
        return;
    }
    // What is an authority to browsers alone, or in no strict grammar, is left alone.
    let is_read_alike = match reference.authority {
        Some(authority) => HostPort::parse(authority).is_some() && !authority.contains(&b'\t'),
        None => !is_double_slash(before),
    };
    let has_lone_scheme = reference.authority.is_none() && reference.scheme.is_some();
    let colon = before.iter().position(|byte| *byte == b':');
    let has_hidden_scheme =
        reference.scheme.is_none() && colon.is_some_and(|at| is_scheme_but_for_tabs(&before[..at]));
    let is_unknown_public = site.url.is_none() && (reference.authority.is_some() || has_lone_scheme);
    if !is_read_alike || has_hidden_scheme || is_unknown_public && !names_internal {
        assert_eq!(before, after, "{}", shown());
        return;
    }
    let followed = followed.unwrap_or_else(|error| panic!("{error}: {}", shown()));
    let is_origin = followed.origin() == base.origin();
    assert!(is_origin || names_internal && site.url.is_none(), "leaves the origin: {}", shown());
    if site.public.is_empty() {
        return;
    }
    assert!(naive_below(followed.path(), site.public).is_some(), "leaves the prefix: {}", shown());
}

/// Browsers delete them.
fn is_scheme_but_for_tabs(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    text.contains(&b'\t')
        && text.first().is_some_and(u8::is_ascii_alphabetic)
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.\t".contains(byte))
}

/// Behind a scheme, if there is one.
fn is_double_slash(reference: &[u8]) -> bool {
    let bytes: Vec<u8> = reference.trim_ascii().iter().copied().filter(|byte| *byte != b'\t').collect();
    let path = match bytes.iter().position(|byte| *byte == b':') {
        Some(colon) if bytes[..colon].iter().all(u8::is_ascii_alphabetic) => &bytes[colon + 1..],
        _ => &bytes,
    };
    path.len() > 1 && path[..2].iter().all(|byte| matches!(byte, b'/' | b'\\'))
}

/// All bytes stay but those of `Path` values, and those lead below the prefix.
pub(crate) fn cookie_is_public(site: &Site, base: &str, before: &[u8], after: &[u8]) {
    let shown = || format!("{site:?} {base}: {} became {}", before.escape_ascii(), after.escape_ascii());
    let old: Vec<&[u8]> = before.split(|byte| *byte == b';').collect();
    let mut new: Vec<&[u8]> = after.split(|byte| *byte == b';').collect();
    let name = old[0].split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
    if old[0].contains(&b'=') && name.to_ascii_lowercase().starts_with(b"__host-") {
        assert_eq!(before, after);
        return;
    }
    if new.len() == old.len() + 1 {
        let added = new.pop().unwrap();
        assert_eq!(added, format!(" Path={}", site.public).as_bytes(), "{}", shown());
        assert!(naive_below(base, site.public) == Some(""), "not at the bare mount point: {}", shown());
    }
    assert_eq!(old.len(), new.len(), "{}", shown());
    for (at, (old, new)) in old.into_iter().zip(new).enumerate() {
        let split = |attribute: &'_ [u8]| {
            let equals = attribute.iter().position(|byte| *byte == b'=')? + 1;
            let value_at = equals + attribute[equals..].len() - attribute[equals..].trim_ascii_start().len();
            let end = attribute.trim_ascii_end().len().max(value_at);
            let is_path = attribute[..equals - 1].trim_ascii().eq_ignore_ascii_case(b"path");
            let value = attribute[value_at..end].to_vec();
            is_path.then(|| (attribute[..value_at].to_vec(), value, attribute[end..].to_vec()))
        };
        match (split(old), split(new)) {
            (Some((start, old, end)), Some(new)) if at > 0 => {
                assert_eq!((&start, &end), (&new.0, &new.2), "{}", shown());
                if old.starts_with(b"/") {
                    let path = String::from_utf8_lossy(&new.1).into_owned();
                    assert!(naive_below(&path, site.public).is_some(), "{}", shown());
                } else {
                    assert_eq!(old, new.1, "{}", shown());
                }
            }
            _ => assert_eq!(old, new, "{}", shown()),
        }
    }
}

/// What of the path is left below the prefix: cut at slashes, decoded as far as may be, compared segment by segment.
pub(crate) fn naive_below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let mut below_at = 0;
    for segment in prefix.split('/').skip(1) {
        let rest = path[below_at..].strip_prefix('/')?;
        let first = rest.split('/').next().unwrap_or_default();
        if canonical(first) != canonical(segment) {
            return None;
        }
        below_at += 1 + first.len();
    }
    Some(&path[below_at..])
}

fn canonical(segment: &str) -> String {
    let mut pieces = segment.split('%');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                text.push(char::from(byte));
                text.push_str(&piece[2..]);
            }
            Some(_) => text += &format!("%{}{}", piece[..2].to_ascii_uppercase(), &piece[2..]),
            None => text += &format!("%{piece}"),
        }
    }
    text
}

fn has_dots(path: &str) -> bool {
    path.replace('\t', "").to_ascii_lowercase().replace("%2e", ".").contains("..")
}
