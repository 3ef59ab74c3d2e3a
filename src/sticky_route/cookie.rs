use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue, Method, header, request};
use sha2::Sha256;

use super::pool::{Entry, Route, Snapshot};
use super::{BuildError, Problem};
use crate::wire;
use crate::wire::cookie::{Change, unquoted};
use crate::wire::list::{lines, trim};

/// Where the route of a client is kept.
///
/// | | cookie of | the value is | a client can choose its member |
/// |---|---|---|---|
/// | [`opaque`](Self::opaque) | this layer | a token that only the keys tell | no |
/// | [`plain`](Self::plain) | this layer | the route | yes |
/// | [`managed_suffix`](Self::managed_suffix) | the application | extended by the route, here | yes |
/// | [`suffix`](Self::suffix) | the application | extended by the route, there | yes |
/// | [`whole_value`](Self::whole_value) | the application | the route | yes |
///
/// A client that can choose its member can aim all of its load at one of them. The attributes are for cookies of
/// this layer: the application sets its own.
#[derive(Clone, Debug)]
#[must_use]
pub struct RouteCookie {
    kind: Kind,
    name: Option<Box<str>>,
    path: Box<str>,
    domain: Option<Box<str>>,
    same_site: SameSite,
    secure: Secure,
    is_partitioned: bool,
    max_age: Option<Duration>,
    insert_on: Vec<Method>,
    accepts_plain: bool,
    keeps_ended: bool,
}

impl RouteCookie {
    /// A cookie of its own with a token of 128 bits: HMAC-SHA256 of pool and route, cut and in hexadecimal.
    ///
    /// The first key makes the tokens, all of them are accepted; a client with a token of another key gets a new one.
    /// Front ends that share keys, pool name and routes agree without talking. A key has 32 bytes at least, of a
    /// good source of randomness (RFC 2104, section 3).
    pub fn opaque<I>(keys: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        Self::of(Kind::Opaque(keys.into_iter().map(|key| Key(key.as_ref().into())).collect()), None)
    }

    /// A cookie of its own with the route as it is, for tests and for other front ends that read it.
    pub fn plain() -> Self {
        Self::of(Kind::Plain, None)
    }

    /// The application's own session cookie, which on its way out gets the separator and the route appended, and on
    /// its way in loses them again: HAProxy's `cookie … prefix`, for applications that know nothing of routes.
    ///
    /// The route is what follows the **last** separator, if it is a member's; nothing else is ever cut.
    /// A cookie that the application deletes is left alone.
    pub fn managed_suffix(name: &str, separator: char) -> Self {
        Self::of(Kind::ManagedSuffix(separator), Some(name))
    }

    /// The application's own session cookie, to which the application appends the route, as Tomcat's `jvmRoute` and
    /// [`RouteSuffixLayer`](super::RouteSuffixLayer) do: `stickysession=` of Apache. It is only read.
    ///
    /// The route is what follows the first separator, as Apache reads it, or else the last one.
    pub fn suffix(name: &str, separator: char) -> Self {
        Self::of(Kind::Suffix(separator), Some(name))
    }

    /// A cookie of the application whose value is the route: `stickysessionsep=Off` of Apache. It is only read.
    pub fn whole_value(name: &str) -> Self {
        Self::of(Kind::Whole, Some(name))
    }

    /// The name of the cookie. For a cookie of its own `<pool>-route` unless said, so that two pools never read each
    /// other's.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// `Path`. `/` unless said. Requests for other paths are balanced and not pinned.
    pub fn path(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    /// `Domain`. None unless said.
    pub fn domain(mut self, domain: &str) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// `SameSite`. [`SameSite::Lax`] unless said.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// `Secure`. [`Secure::Auto`] unless said.
    pub fn secure(mut self, secure: Secure) -> Self {
        self.secure = secure;
        self
    }

    /// `Partitioned`: one cookie jar for each embedding site (CHIPS). Wants [`Secure::Always`].
    pub fn partitioned(mut self) -> Self {
        self.is_partitioned = true;
        self
    }

    /// `Max-Age`, in seconds. Without it the cookie lives as long as the browser session.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Pins only clients that come with one of these methods. All unless said.
    pub fn insert_on<I: IntoIterator<Item = Method>>(mut self, methods: I) -> Self {
        self.insert_on = methods.into_iter().collect();
        self
    }

    /// Accepts plain routes beside tokens, while clients still have them from before. They get a token.
    pub fn accept_plain(mut self) -> Self {
        self.accepts_plain = true;
        self
    }

    /// A member may end the affinity: its own deletion of this cookie goes out. Otherwise a member's `Set-Cookie` of
    /// this name is taken out.
    pub fn let_members_end_it(mut self) -> Self {
        self.keeps_ended = true;
        self
    }

    fn of(kind: Kind, name: Option<&str>) -> Self {
        Self {
            kind,
            name: name.map(Into::into),
            path: "/".into(),
            domain: None,
            same_site: SameSite::Lax,
            secure: Secure::Auto,
            is_partitioned: false,
            max_age: None,
            insert_on: Vec::new(),
            accepts_plain: false,
            keeps_ended: false,
        }
    }

    pub(super) fn build(self, pool: &str) -> Result<Cookie, BuildError> {
        let name = self.name.clone().unwrap_or_else(|| format!("{pool}-route").into());
        if !wire::cookie::is_name(name.as_bytes()) {
            return Err(Problem::CookieName.of(&name));
        }
        if let Kind::ManagedSuffix(separator) | Kind::Suffix(separator) = self.kind
            && (separator == '=' || !separator.is_ascii() || !wire::cookie::is_value(&[separator as u8]))
        {
            return Err(Problem::Separator.of(&separator.to_string()));
        }
        let is_attribute = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b';');
        if !self.path.starts_with('/') || !is_attribute(&self.path) {
            return Err(Problem::CookiePath.of(&self.path));
        }
        if let Some(domain) =
            self.domain.as_deref().filter(|domain| domain.is_empty() || !is_attribute(domain))
        {
            return Err(Problem::CookieDomain.of(domain));
        }
        let is_always_secure = self.secure == Secure::Always;
        let starts_with =
            |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        if starts_with("__Host-") && (!is_always_secure || self.domain.is_some() || *self.path != *"/") {
            return Err(Problem::HostPrefix.of(&name));
        }
        if starts_with("__Secure-") && !is_always_secure {
            return Err(Problem::SecurePrefix.of(&name));
        }
        if self.is_partitioned && !is_always_secure {
            return Err(Problem::Partitioned.of(&name));
        }
        if self.same_site == SameSite::None && !is_always_secure {
            return Err(Problem::SameSiteNone.of(&name));
        }
        if let Kind::Opaque(keys) = &self.kind {
            if keys.is_empty() {
                return Err(Problem::NoKey.of(&name));
            }
            if keys.iter().any(|key| key.0.len() < 32) {
                return Err(Problem::ShortKey.of(&name));
            }
        }
        Ok(Cookie {
            attributes: self.attributes(),
            name: name.as_bytes().into(),
            pool: pool.into(),
            config: self,
        })
    }

    /// For http and for https.
    fn attributes(&self) -> [String; 2] {
        [false, true].map(|is_https| {
            let mut attributes = format!("; Path={}", self.path);
            if let Some(domain) = &self.domain {
                attributes.push_str("; Domain=");
                attributes.push_str(domain);
            }
            attributes.push_str("; HttpOnly; SameSite=");
            attributes.push_str(self.same_site.as_str());
            if self.secure == Secure::Always || (self.secure == Secure::Auto && is_https) {
                attributes.push_str("; Secure");
            }
            if self.is_partitioned {
                attributes.push_str("; Partitioned");
            }
            if let Some(max_age) = self.max_age {
                attributes.push_str("; Max-Age=");
                attributes.push_str(&max_age.as_secs().to_string());
            }
            attributes
        })
    }
}

/// When the cookie is `Secure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Secure {
    /// Where the client came by https, as [`Proxied::is_secure`](crate::Proxied::is_secure) says. Without
    /// [`ForwardedFor`](crate::ForwardedFor) outside nobody says so.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Whether requests from other sites carry the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SameSite {
    /// No request from another site does.
    Strict,
    /// Only a top-level navigation does.
    Lax,
    /// All do. Wants [`Secure::Always`].
    None,
}

impl SameSite {
    /// `strict`, `lax` or `none`; case does not matter.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Strict, Self::Lax, Self::None]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(text))
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

#[derive(Clone, Debug)]
enum Kind {
    Plain,
    Opaque(Vec<Key>),
    ManagedSuffix(char),
    Suffix(char),
    Whole,
}

#[derive(Clone)]
struct Key(Box<[u8]>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// Neither a pool name nor a route holds a NUL, so that no two pairs read alike.
    fn token(&self, pool: &str, route: &Route) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        for part in ["tower-proxied sticky-route 1", "\0", pool, "\0", route.as_str()] {
            mac.update(part.as_bytes());
        }
        Some(mac.finalize().into_bytes().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }
}

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

impl Cookie {
    /// What cookies may carry for a route, whether it is what is issued today, and the lines that issue it.
    #[expect(clippy::type_complexity, reason = "read in one place")]
    pub(super) fn pins(
        &self,
        route: &Route,
    ) -> Result<(Vec<(Box<[u8]>, bool)>, Option<[HeaderValue; 2]>), BuildError> {
        let plain = || Box::<[u8]>::from(route.as_str().as_bytes());
        let (mut pins, issued) = match &self.config.kind {
            Kind::Plain => (vec![(plain(), true)], Some(route.as_str().to_owned())),
            Kind::Opaque(keys) => {
                let tokens: Vec<String> =
                    keys.iter().filter_map(|key| key.token(&self.pool, route)).collect();
                let pins =
                    tokens.iter().enumerate().map(|(at, token)| (token.as_bytes().into(), at == 0)).collect();
                (pins, tokens.into_iter().next())
            }
            Kind::ManagedSuffix(separator) if route.as_str().contains(*separator) => {
                return Err(Problem::SeparatorInRoute.of(route.as_str()));
            }
            Kind::ManagedSuffix(_) | Kind::Suffix(_) | Kind::Whole => (vec![(plain(), true)], None),
        };
        if self.config.accepts_plain && matches!(self.config.kind, Kind::Opaque(_)) {
            pins.push((plain(), false));
        }
        let Some(issued) = issued else { return Ok((pins, None)) };
        let name = String::from_utf8_lossy(&self.name);
        let [http, https] = &self.attributes;
        let line = |attributes: &str| {
            HeaderValue::try_from(format!("{name}={issued}{attributes}"))
                .map_err(|_| Problem::Route.of(route.as_str()))
        };
        Ok((pins, Some([line(http)?, line(https)?])))
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
    fn tokens_are_those_of_every_front_end() {
        let key = Key([7; 32].into());
        let token = |pool: &str, route: &str| key.token(pool, &Route::parse(route).unwrap()).unwrap();
        // printf 'tower-proxied sticky-route 1\0shop\0http-1' | openssl dgst -sha256 -mac hmac -macopt hexkey:0707…
        assert_eq!(token("shop", "http-1"), "260cadc062886f694b16f4f49491b3f1");
        assert_ne!(token("shop", "http-1"), token("shop2", "http-1"));
        assert_ne!(
            token("shop", "http-1"),
            Key([8; 32].into()).token("shop", &Route::parse("http-1").unwrap()).unwrap()
        );
    }

    #[test]
    fn keys_are_not_printed() {
        let cookie = RouteCookie::opaque([[65; 32]]);
        let text = format!("{cookie:?}");
        assert!(text.contains("Key(..)") && !text.contains("65"), "{text}");
    }

    #[test]
    fn combinations_that_no_browser_takes_are_refused() {
        let problem = |cookie: RouteCookie| cookie.build("shop").unwrap_err().to_string();
        for (cookie, names) in [
            (RouteCookie::plain().name("bad name"), "bad name"),
            (RouteCookie::plain().name(""), "\"\""),
            (RouteCookie::plain().name("__Host-r"), "__Host-"),
            (RouteCookie::plain().name("__host-r").secure(Secure::Always).domain("x"), "__Host-"),
            (RouteCookie::plain().name("__Secure-r"), "__Secure-"),
            (RouteCookie::plain().partitioned(), "Partitioned"),
            (RouteCookie::plain().same_site(SameSite::None), "SameSite=None"),
            (RouteCookie::plain().path("x"), "\"x\""),
            (RouteCookie::plain().path("/; Domain=x"), "Path"),
            (RouteCookie::plain().domain("x\r\n"), "Domain"),
            (RouteCookie::suffix("s", ';'), "\";\""),
            (RouteCookie::suffix("s", 'é'), "é"),
            (RouteCookie::opaque([[0; 31]]), "32 bytes"),
            (RouteCookie::opaque(Vec::<Vec<u8>>::new()), "key"),
        ] {
            let text = problem(cookie);
            assert!(text.contains(names), "{text}");
        }
        assert!(
            RouteCookie::plain().name("__Host-r").secure(Secure::Always).partitioned().build("p").is_ok()
        );
    }

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
