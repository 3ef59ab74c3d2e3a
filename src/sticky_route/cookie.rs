use std::ops::ControlFlow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request};

use super::pool::{Entry, Route, Snapshot};
use super::route_cookie::{Carrier, Kind, RouteCookie, Turn};
use super::token::{Age, DatedToken, Dates, Key, Limits, WallClock};
use super::{BuildError, Problem};
use crate::wire;
use crate::wire::cookie::{Change, unquoted};
use crate::wire::list::{lines, trim};

/// A [`RouteCookie`] that was checked.
#[derive(Debug)]
pub(super) struct Cookie {
    config: RouteCookie,
    carrier: Carrier,
    limits: Limits,
    pool: Box<str>,
    attributes: [String; 2],
    wall_clock: WallClock,
}

/// What a request carries.
#[derive(Debug)]
pub(super) enum Reading<S> {
    /// No such cookie.
    Absent,
    /// A cookie that names no member.
    Unknown,
    /// A cookie that named a member, and is too old.
    Expired,
    Pinned(Arc<Entry<S>>, Pin),
}

impl<S> Reading<S> {
    fn rank(&self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::Unknown => 1,
            Self::Expired => 2,
            Self::Pinned(..) => 3,
        }
    }
}

/// What a cookie says beside its member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pin {
    /// Whether it is what would be issued now.
    pub(super) is_current: bool,
    /// When the client was pinned.
    pub(super) first: Option<u64>,
}

/// What names one member.
pub(super) struct Pins {
    /// What cookies may carry for it, and whether that is what is issued today.
    pub(super) values: Vec<(Box<[u8]>, bool)>,
    /// The lines that a client gets, over http and over https.
    pub(super) issued: Option<[HeaderValue; 2]>,
}

impl Cookie {
    pub(super) fn new(config: RouteCookie, carrier: Carrier, limits: Limits, pool: &str) -> Self {
        Self {
            attributes: config.attributes.lines(),
            carrier,
            limits,
            pool: pool.into(),
            wall_clock: WallClock::default(),
            config,
        }
    }

    pub(super) fn with_wall_clock(self, wall_clock: WallClock) -> Self {
        Self { wall_clock, ..self }
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
        let line = |is_secure| self.line(&issued, is_secure).ok_or_else(|| Problem::Route.of(route.as_str()));
        Ok(Pins { values, issued: Some([line(false)?, line(true)?]) })
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
        wire::cookie::path_matches(self.config.attributes.path.as_bytes(), parts.uri.path().as_bytes())
    }

    pub(super) fn is_inserted_on(&self, method: &Method) -> bool {
        self.config.insert_on.is_empty() || self.config.insert_on.contains(method)
    }

    /// Of several cookies the first that names a member for which `is_usable` holds; else the first that names one.
    pub(super) fn read<S>(
        &self,
        parts: &request::Parts,
        snapshot: &Snapshot<S>,
        is_usable: impl Fn(&Entry<S>) -> bool,
    ) -> Reading<S> {
        let mut reading = Reading::Absent;
        let _ = self.try_each_value(parts, |value| {
            let found = self.pinned(unquoted(value), snapshot);
            let is_found = matches!(&found, Reading::Pinned(entry, _) if is_usable(entry));
            if is_found || found.rank() > reading.rank() {
                reading = found;
            }
            if is_found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        reading
    }

    /// Takes out of the request what only this layer is to see.
    pub(super) fn strip<S>(&self, headers: &mut HeaderMap, snapshot: &Snapshot<S>) {
        let name = match &self.carrier {
            Carrier::Cookie(name) => name,
            Carrier::Header(name) => {
                headers.remove(name);
                return;
            }
        };
        match self.config.kind {
            Kind::Plain | Kind::Opaque(_) => wire::cookie::change_all(headers, name, |_| Change::Remove),
            Kind::ManagedSuffix(separator) => {
                wire::cookie::change_all(headers, name, |value| {
                    match split_last(unquoted(value), separator) {
                        Some((session, route))
                            if snapshot.pinned(route).is_some() || self.is_other(route) =>
                        {
                            Change::Value(in_quotes_of(value, session.to_vec()))
                        }
                        _ => Change::Keep,
                    }
                })
            }
            Kind::Suffix(_) | Kind::Whole => {}
        }
    }

    /// Takes a member's own cookie of this name out. Whether the member ended the affinity, and may.
    pub(super) fn drop_set_by_member(&self, headers: &mut HeaderMap) -> bool {
        match &self.carrier {
            Carrier::Cookie(name) => {
                let mut is_ended = false;
                wire::cookie::change_set_cookies(headers, |cookie| {
                    if cookie.name != &**name {
                        return None;
                    }
                    let ends = self.config.keeps_ended && cookie.is_deletion(self.wall_clock.now());
                    is_ended |= ends;
                    (!ends).then(Vec::new)
                });
                is_ended
            }
            Carrier::Header(name) => {
                let is_ended =
                    self.config.keeps_ended && lines(headers, name).any(|line| trim(line).is_empty());
                headers.remove(name);
                if is_ended {
                    headers.insert(name, HeaderValue::from_static(""));
                }
                is_ended
            }
        }
    }

    /// Appends the route to the application's cookie, where it sets one. Whether it does.
    pub(super) fn append_route(&self, headers: &mut HeaderMap, route: &Route) -> bool {
        let (Kind::ManagedSuffix(separator), Carrier::Cookie(name)) = (&self.config.kind, &self.carrier)
        else {
            return false;
        };
        let now = self.wall_clock.now();
        wire::cookie::change_set_cookies(headers, |cookie| {
            if cookie.name != &**name || cookie.is_deletion(now) {
                return None;
            }
            let mut value = unquoted(cookie.value).to_vec();
            value.extend(separator.to_string().bytes().chain(route.as_str().bytes()));
            Some(cookie.with_value(&in_quotes_of(cookie.value, value)))
        })
    }

    /// Names the member to the client, whose pin is as old as `first`.
    pub(super) fn issue<S>(
        &self,
        headers: &mut HeaderMap,
        entry: &Entry<S>,
        is_secure: bool,
        first: Option<u64>,
    ) {
        let line = match &self.config.kind {
            Kind::Opaque(keys) if !self.limits.are_none() => {
                let dates = self.limits.dates(first, self.wall_clock.seconds());
                let token = keys.first().and_then(|key| key.dated_token(&self.pool, &entry.route, dates));
                token.and_then(|token| self.line(&token, is_secure))
            }
            _ => entry
                .issued
                .as_ref()
                .map(|[http, https]| if is_secure { https.clone() } else { http.clone() }),
        };
        let Some(line) = line else { return };
        let name = match &self.carrier {
            Carrier::Cookie(_) => header::SET_COOKIE,
            Carrier::Header(name) => name.clone(),
        };
        headers.append(name, line);
        keep_from_shared_caches(headers);
    }

    fn line(&self, value: &str, is_secure: bool) -> Option<HeaderValue> {
        let [http, https] = &self.attributes;
        match &self.carrier {
            Carrier::Cookie(name) => {
                let attributes = if is_secure { https } else { http };
                HeaderValue::try_from(format!("{}={value}{attributes}", String::from_utf8_lossy(name))).ok()
            }
            Carrier::Header(_) => HeaderValue::try_from(value).ok(),
        }
    }

    /// All that may be a pin, in its order.
    fn try_each_value(
        &self,
        parts: &request::Parts,
        mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if let Some((name, Turn::BeforeCookie)) = &self.config.url_parameter {
            wire::parameter::values(&parts.uri, name.as_bytes()).try_for_each(&mut each)?;
        }
        match &self.carrier {
            Carrier::Cookie(name) => {
                wire::cookie::values(&parts.headers, name).try_for_each(&mut each)?;
            }
            Carrier::Header(name) => lines(&parts.headers, name).map(trim).try_for_each(&mut each)?,
        }
        if let Some((name, Turn::AfterCookie)) = &self.config.url_parameter {
            wire::parameter::values(&parts.uri, name.as_bytes()).try_for_each(each)?;
        }
        ControlFlow::Continue(())
    }

    fn pinned<S>(&self, value: &[u8], snapshot: &Snapshot<S>) -> Reading<S> {
        let found = match &self.config.kind {
            Kind::Opaque(keys) => return self.dated(value, keys, snapshot).unwrap_or(Reading::Unknown),
            Kind::Plain | Kind::Whole => snapshot.pinned(value),
            Kind::ManagedSuffix(separator) => {
                split_last(value, *separator).and_then(|(_, route)| snapshot.pinned(route))
            }
            Kind::Suffix(separator) => {
                let (_, behind_first) = wire::cut(value, *separator as u8);
                behind_first
                    .and_then(|route| snapshot.pinned(route))
                    .or_else(|| split_last(value, *separator).and_then(|(_, route)| snapshot.pinned(route)))
            }
        };
        match found {
            Some((entry, is_current)) => Reading::Pinned(entry.clone(), Pin { is_current, first: None }),
            None => Reading::Unknown,
        }
    }

    /// A token with its dates, or one without: as from before there were limits.
    fn dated<S>(&self, value: &[u8], keys: &[Key], snapshot: &Snapshot<S>) -> Option<Reading<S>> {
        let ((entry, is_of_today), dates) = match snapshot.pinned(value) {
            Some(found) => (found, Dates::default()),
            None => {
                let token = DatedToken::parse(value)?;
                let found = snapshot.pinned(token.token)?;
                (found, token.dates(keys, &self.pool, &found.0.route)?)
            }
        };
        let age = if self.limits.are_none() && dates == Dates::default() {
            Age::Fresh
        } else {
            self.limits.age(dates, self.wall_clock.seconds())
        };
        if age == Age::Over {
            return Some(Reading::Expired);
        }
        let pin = Pin { is_current: is_of_today && age == Age::Fresh, first: dates.first };
        Some(Reading::Pinned(entry.clone(), pin))
    }

    fn is_other(&self, route: &[u8]) -> bool {
        self.config.other_routes.iter().any(|other| other.as_bytes() == route)
    }
}

/// `Cache-Control: private`, unless no shared cache keeps the response anyway: it names one client's member. The same in
/// each field that a cache obeys instead (RFC 9213): `CDN-Cache-Control`, and those that vendors name after themselves.
fn keep_from_shared_caches(headers: &mut HeaderMap) {
    let is_targeted = |name: &&HeaderName| name.as_str().ends_with("-cache-control");
    let targeted: Vec<HeaderName> = headers.keys().filter(is_targeted).cloned().collect();
    for name in targeted.into_iter().chain([header::CACHE_CONTROL]) {
        if !lines(headers, &name).any(is_kept_from_shared_caches) {
            headers.append(name, HeaderValue::from_static("private"));
        }
    }
}

fn is_kept_from_shared_caches(line: &[u8]) -> bool {
    // In a quoted string a comma parts nothing: such a line is not relied on.
    !line.contains(&b'"')
        && line.split(|byte| *byte == b',').map(trim).any(|directive| {
            directive.eq_ignore_ascii_case(b"private") || directive.eq_ignore_ascii_case(b"no-store")
        })
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

    /// A cache that has a field of its own does not look at `Cache-Control` (RFC 9213, section 2.1).
    #[test]
    fn caches_with_a_field_of_their_own_are_told_there() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("cdn-cache-control", "max-age=600"),
            ("vendor-cdn-cache-control", "no-store"),
            ("x-cache-controls", "max-age=600"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        keep_from_shared_caches(&mut headers);
        let all = |name: &str| {
            headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b'|')
        };
        assert_eq!(all("cdn-cache-control"), b"max-age=600|private");
        assert_eq!(all("vendor-cdn-cache-control"), b"no-store");
        assert_eq!(all("x-cache-controls"), b"max-age=600");
        assert_eq!(all("cache-control"), b"private");
    }
}
