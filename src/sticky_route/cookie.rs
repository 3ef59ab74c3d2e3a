use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, Method, header, request};

use super::pool::{Entry, Route, Snapshot};
use super::route_cookie::{Kind, RouteCookie};
use super::{BuildError, Problem};
use crate::wire;
use crate::wire::cookie::{Change, unquoted};
use crate::wire::list::{lines, trim};

/// A [`RouteCookie`] that was checked.
#[derive(Debug)]
pub(super) struct Cookie {
    config: RouteCookie,
    name: Box<[u8]>,
    pool: Box<str>,
    attributes: [String; 2],
}

/// What a request carries.
#[derive(Debug)]
pub(super) enum Reading<S> {
    /// No such cookie.
    Absent,
    /// A cookie that names no member.
    Unknown,
    /// The member, and whether the cookie is the one that is issued today.
    Pinned(Arc<Entry<S>>, bool),
}

/// What names one member.
pub(super) struct Pins {
    /// What cookies may carry for it, and whether that is what is issued today.
    pub(super) values: Vec<(Box<[u8]>, bool)>,
    /// The `Set-Cookie` lines, for http and for https.
    pub(super) issued: Option<[HeaderValue; 2]>,
}

impl Cookie {
    pub(super) fn new(config: RouteCookie, name: &str, pool: &str) -> Self {
        Self { attributes: config.attributes(), name: name.as_bytes().into(), pool: pool.into(), config }
    }

    pub(super) fn pins(&self, route: &Route) -> Result<Pins, BuildError> {
        let plain = || Box::<[u8]>::from(route.as_str().as_bytes());
        let (mut values, issued) = match &self.config.kind {
            Kind::Plain => (vec![(plain(), true)], Some(route.as_str().to_owned())),
            Kind::Opaque(keys) => {
                let tokens: Vec<String> =
                    keys.iter().filter_map(|key| key.token(&self.pool, route)).collect();
                let values =
                    tokens.iter().enumerate().map(|(at, token)| (token.as_bytes().into(), at == 0)).collect();
                (values, tokens.into_iter().next())
            }
            Kind::ManagedSuffix(separator) if route.as_str().contains(*separator) => {
                return Err(Problem::SeparatorInRoute.of(route.as_str()));
            }
            Kind::ManagedSuffix(_) | Kind::Suffix(_) | Kind::Whole => (vec![(plain(), true)], None),
        };
        if self.config.accepts_plain && matches!(self.config.kind, Kind::Opaque(_)) {
            values.push((plain(), false));
        }
        let Some(issued) = issued else { return Ok(Pins { values, issued: None }) };
        let name = String::from_utf8_lossy(&self.name);
        let [http, https] = &self.attributes;
        let line = |attributes: &str| {
            HeaderValue::try_from(format!("{name}={issued}{attributes}"))
                .map_err(|_| Problem::Route.of(route.as_str()))
        };
        Ok(Pins { values, issued: Some([line(http)?, line(https)?]) })
    }

    /// Whether this layer sets the cookie itself.
    pub(super) fn is_own(&self) -> bool {
        matches!(self.config.kind, Kind::Plain | Kind::Opaque(_))
    }

    /// Whether the cookie is set by this layer, or changed.
    pub(super) fn is_written(&self) -> bool {
        self.is_own() || matches!(self.config.kind, Kind::ManagedSuffix(_))
    }

    pub(super) fn is_in_scope(&self, parts: &request::Parts) -> bool {
        wire::cookie::path_matches(self.config.path.as_bytes(), parts.uri.path().as_bytes())
    }

    pub(super) fn is_inserted_on(&self, method: &Method) -> bool {
        self.config.insert_on.is_empty() || self.config.insert_on.contains(method)
    }

    /// Of several cookies the first that names a member for which `is_usable` holds; else the first that names one.
    pub(super) fn read<S>(
        &self,
        headers: &HeaderMap,
        snapshot: &Snapshot<S>,
        is_usable: impl Fn(&Entry<S>) -> bool,
    ) -> Reading<S> {
        let mut reading = Reading::Absent;
        for value in wire::cookie::values(headers, &self.name) {
            let pinned = self.pinned(unquoted(value), snapshot);
            match pinned {
                Some((entry, is_current)) if is_usable(entry) => {
                    return Reading::Pinned(entry.clone(), is_current);
                }
                Some((entry, is_current)) if !matches!(reading, Reading::Pinned(..)) => {
                    reading = Reading::Pinned(entry.clone(), is_current);
                }
                None if matches!(reading, Reading::Absent) => reading = Reading::Unknown,
                _ => {}
            }
        }
        reading
    }

    /// Takes out of the request what only this layer is to see.
    pub(super) fn strip<S>(&self, headers: &mut HeaderMap, snapshot: &Snapshot<S>) {
        match self.config.kind {
            Kind::Plain | Kind::Opaque(_) => {
                wire::cookie::change_all(headers, &self.name, |_| Change::Remove);
            }
            Kind::ManagedSuffix(separator) => wire::cookie::change_all(headers, &self.name, |value| {
                let bare = unquoted(value);
                match split_last(bare, separator) {
                    Some((session, route)) if snapshot.pinned(route).is_some() => {
                        Change::Value(in_quotes_of(value, session.to_vec()))
                    }
                    _ => Change::Keep,
                }
            }),
            Kind::Suffix(_) | Kind::Whole => {}
        }
    }

    /// Takes a member's own cookie of this name out. Whether the member ended the affinity, and may.
    pub(super) fn drop_set_by_member(&self, headers: &mut HeaderMap) -> bool {
        let now = SystemTime::now();
        let mut is_ended = false;
        wire::cookie::change_set_cookies(headers, |cookie| {
            if cookie.name != &*self.name {
                return None;
            }
            let ends = self.config.keeps_ended && cookie.is_deletion(now);
            is_ended |= ends;
            (!ends).then(Vec::new)
        });
        is_ended
    }

    /// Appends the route to the application's cookie, where it sets one. Whether it does.
    pub(super) fn append_route(&self, headers: &mut HeaderMap, route: &Route) -> bool {
        let Kind::ManagedSuffix(separator) = self.config.kind else { return false };
        let now = SystemTime::now();
        wire::cookie::change_set_cookies(headers, |cookie| {
            if cookie.name != &*self.name || cookie.is_deletion(now) {
                return None;
            }
            let mut value = unquoted(cookie.value).to_vec();
            value.extend(separator.to_string().bytes().chain(route.as_str().bytes()));
            Some(cookie.with_value(&in_quotes_of(cookie.value, value)))
        })
    }

    fn pinned<'s, S>(&self, value: &[u8], snapshot: &'s Snapshot<S>) -> Option<(&'s Arc<Entry<S>>, bool)> {
        match self.config.kind {
            Kind::Plain | Kind::Opaque(_) | Kind::Whole => snapshot.pinned(value),
            Kind::ManagedSuffix(separator) => snapshot.pinned(split_last(value, separator)?.1),
            Kind::Suffix(separator) => {
                let first = value.iter().position(|byte| char::from(*byte) == separator)?;
                let (_, after_first) = value.split_at_checked(first.saturating_add(1))?;
                snapshot.pinned(after_first).or_else(|| snapshot.pinned(split_last(value, separator)?.1))
            }
        }
    }
}

/// `Cache-Control: private`, unless no shared cache keeps the response anyway: it names one client's member.
pub(super) fn keep_from_shared_caches(headers: &mut HeaderMap) {
    let is_kept = |line: &[u8]| {
        // In a quoted string a comma parts nothing: such a line is not relied on.
        !line.contains(&b'"')
            && line.split(|byte| *byte == b',').map(trim).any(|directive| {
                directive.eq_ignore_ascii_case(b"private") || directive.eq_ignore_ascii_case(b"no-store")
            })
    };
    if !lines(headers, &header::CACHE_CONTROL).any(is_kept) {
        headers.append(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}

fn split_last(value: &[u8], separator: char) -> Option<(&[u8], &[u8])> {
    let last = value.iter().rposition(|byte| char::from(*byte) == separator)?;
    let (session, rest) = value.split_at_checked(last)?;
    Some((session, rest.get(1..)?))
}

fn in_quotes_of(quoted: &[u8], value: Vec<u8>) -> Vec<u8> {
    if unquoted(quoted).len() == quoted.len() { value } else { [b"\"", &*value, b"\""].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_told_once() {
        for (given, lines) in [
            (&[][..], &["private"][..]),
            (&["public, max-age=60"], &["public, max-age=60", "private"]),
            (&["max-age=60 , PRIVATE"], &["max-age=60 , PRIVATE"]),
            (&["no-store"], &["no-store"]),
            (&["private=\"x-a, private\""], &["private=\"x-a, private\"", "private"]),
        ] {
            let mut headers = HeaderMap::new();
            for line in given {
                headers.append(header::CACHE_CONTROL, HeaderValue::from_static(line));
            }
            keep_from_shared_caches(&mut headers);
            assert_eq!(headers.get_all(header::CACHE_CONTROL).iter().collect::<Vec<_>>(), lines);
        }
    }
}
