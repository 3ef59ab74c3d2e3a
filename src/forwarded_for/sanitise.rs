use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Config;
use super::claims::{self, Span};
use super::walk::Walk;
use crate::wire::name::{self, X_FORWARDED_FOR};

impl Config {
    /// Leaves of the protected fields what the trusted hops wrote, so that the inner service sees the same
    /// request whatever a client adds.
    pub(super) fn sanitise(&self, walk: &Walk, headers: &mut HeaderMap) {
        let is_trusted = walk.proxied.trusted_hops > 0;
        let found: Vec<HeaderName> =
            headers.keys().filter(|name| name::is_any_of(name, name::FORWARDING)).cloned().collect();
        for name in found {
            let span = match &name {
                name if *name == X_FORWARDED_FOR => walk.source,
                name if *name == claims::SCHEME => walk.claims.scheme,
                name if *name == claims::HOST => walk.claims.host,
                name if *name == claims::PORT => walk.claims.port,
                name if *name == claims::PREFIX => walk.claims.prefix,
                _ => None,
            };
            match span {
                Some(span) => keep_from(headers, &name, span),
                None if is_trusted && self.keep.contains(&name) => {}
                None => {
                    headers.remove(&name);
                }
            }
        }
    }
}

/// Cuts a field down to what stands at `span` and to the right of it.
fn keep_from(headers: &mut HeaderMap, name: &HeaderName, span: Span) {
    let Entry::Occupied(mut field) = headers.entry(name) else { return };
    let count = field.iter().count();
    let kept: Vec<HeaderValue> = field
        .iter()
        .enumerate()
        .filter_map(|(index, value)| match count.saturating_sub(index).checked_sub(1)? {
            line if line > span.line => None,
            line if line == span.line && span.start > 0 => {
                HeaderValue::from_bytes(value.as_bytes().get(span.start..)?).ok()
            }
            _ => Some(value.clone()),
        })
        .collect();
    if kept.len() == count && span.start == 0 {
        return;
    }
    let mut kept = kept.into_iter();
    if let Some(first) = kept.next() {
        field.insert(first);
    }
    kept.for_each(|value| field.append(value));
}
