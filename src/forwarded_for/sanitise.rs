use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Config;
use super::claims::Span;
use super::walk::Walk;
use crate::header_map::remove_where;
use crate::wire::name::{self, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PREFIX, X_FORWARDED_PROTO};

impl Config {
    /// Leaves of the protected fields what the trusted hops wrote, so that the inner service sees the same
    /// request whatever a client adds.
    pub(super) fn sanitise(&self, walk: &Walk, headers: &mut HeaderMap) {
        let attested = [
            (self.source.name().clone(), walk.source),
            (X_FORWARDED_PROTO, walk.claims.scheme),
            (X_FORWARDED_HOST, walk.claims.host),
            (X_FORWARDED_PORT, walk.claims.port),
            (X_FORWARDED_PREFIX, walk.claims.prefix),
        ];
        for (name, span) in &attested {
            if let Some(span) = span {
                keep_from(headers, name, *span);
            }
        }
        let is_trusted = walk.proxied.trusted_hops > 0;
        let is_attested =
            |name: &HeaderName| attested.iter().any(|(own, span)| own == name && span.is_some());
        remove_where(headers, |name| {
            (name::is_forwarding(name) || self.source.is_spelled_by(name))
                && !is_attested(name)
                && !(is_trusted && self.keep.contains(name))
        });
    }
}

/// Cuts a field down to what stands at `span` and to the right of it.
fn keep_from(headers: &mut HeaderMap, name: &HeaderName, span: Span) {
    // An entry reserves room for a new field: it is taken only where something must be cut.
    let count = headers.get_all(name).iter().count();
    if count <= span.line.saturating_add(1) && span.start == 0 {
        return;
    }
    let Entry::Occupied(mut field) = headers.entry(name) else { return };
    let kept: Vec<HeaderValue> = field
        .iter()
        .enumerate()
        .filter_map(|(index, value)| match count.saturating_sub(index).checked_sub(1)? {
            line if line > span.line => None,
            line if line == span.line && span.start > 0 => {
                let mut kept = HeaderValue::from_bytes(value.as_bytes().get(span.start..)?).ok()?;
                kept.set_sensitive(value.is_sensitive());
                Some(kept)
            }
            _ => Some(value.clone()),
        })
        .collect();
    let mut kept = kept.into_iter();
    if let Some(first) = kept.next() {
        field.insert(first);
    }
    kept.for_each(|value| field.append(value));
}
