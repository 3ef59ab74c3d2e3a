use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use sha2::Sha256;

use super::cookie::Cookie;
use super::pool::Route;
use super::{BuildError, Problem};
use crate::wire::cookie::{is_name, is_value};
use crate::wire::host::Host;

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
    pub(super) kind: Kind,
    name: Option<Box<str>>,
    pub(super) path: Box<str>,
    domain: Option<Box<str>>,
    same_site: SameSite,
    secure: Secure,
    is_partitioned: bool,
    max_age: Option<Duration>,
    pub(super) insert_on: Vec<Method>,
    pub(super) accepts_plain: bool,
    pub(super) keeps_ended: bool,
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

    /// `Path`, as it stands in a URL: `/a%20b` for a folder with a blank. `/` unless said. Requests for other paths are balanced and not pinned.
    pub fn path(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    /// `Domain`: a host, without scheme or port. None unless said: the cookie is for the asked host alone.
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
        if !is_name(name.as_bytes()) {
            return Err(Problem::CookieName.of(&name));
        }
        if let Kind::ManagedSuffix(separator) | Kind::Suffix(separator) = self.kind
            && (separator == '=' || !separator.is_ascii() || !is_value(&[separator as u8]))
        {
            return Err(Problem::Separator.of(&separator.to_string()));
        }
        if !is_path(&self.path) {
            return Err(Problem::CookiePath.of(&self.path));
        }
        if let Some(domain) = self.domain.as_deref().filter(|domain| !is_domain(domain)) {
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
        Ok(Cookie::new(self, &name, pool))
    }

    /// For http and for https.
    pub(super) fn attributes(&self) -> [String; 2] {
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

/// As [`SameSite::parse`].
impl FromStr for SameSite {
    type Err = BuildError;

    fn from_str(text: &str) -> Result<Self, BuildError> {
        Self::parse(text).ok_or_else(|| Problem::SameSite.of(text))
    }
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Plain,
    Opaque(Vec<Key>),
    ManagedSuffix(char),
    Suffix(char),
    Whole,
}

#[derive(Clone)]
pub(super) struct Key(Box<[u8]>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// Neither a pool name nor a route holds a NUL, so that no two pairs read alike.
    pub(super) fn token(&self, pool: &str, route: &Route) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        for part in ["tower-proxied sticky-route 1", "\0", pool, "\0", route.as_str()] {
            mac.update(part.as_bytes());
        }
        Some(mac.finalize().into_bytes().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }
}

/// What a request's path could start with: a browser compares the bytes (RFC 6265, section 5.1.4).
fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b';' | b'?' | b'#'))
}

/// What a browser could find at the end of a host. It skips a dot at the start (RFC 6265, section 5.2.3), and a cookie
/// with a dot at the end is for no host.
fn is_domain(domain: &str) -> bool {
    let host = domain.strip_prefix('.').unwrap_or(domain);
    !host.ends_with('.') && matches!(Host::parse(host.as_bytes()), Some(Host::Name(_) | Host::V4(_)))
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
            (RouteCookie::plain().path("/; Domain=x"), "cookie path"),
            (RouteCookie::plain().domain("x\r\n"), "domain"),
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
    fn names_paths_and_domains_of_no_browser_are_refused() {
        let item =
            |cookie: RouteCookie| cookie.build("shop").map(drop).map_err(|error| error.item().to_owned());
        let cookie = RouteCookie::plain;
        for wrong in ["", "a b", "https://x", "a;b", "a\r\nb", "é"] {
            assert_eq!(item(cookie().name(wrong)), Err(wrong.to_owned()));
            assert_eq!(item(cookie().path(wrong)), Err(wrong.to_owned()));
            assert_eq!(item(cookie().domain(wrong)), Err(wrong.to_owned()));
        }
        for wrong in ["/a b", "/a?b", "/a#b", "/a;b", "/é", "/ ", "a/"] {
            assert_eq!(item(cookie().path(wrong)), Err(wrong.to_owned()));
        }
        for wrong in [".", "x.", "x:80", "x/", "[::1]", "..x", "*.x", " x"] {
            assert_eq!(item(cookie().domain(wrong)), Err(wrong.to_owned()));
        }
        for right in ["example.com", ".example.com", "Example.COM", "localhost", "192.0.2.7"] {
            assert_eq!(item(cookie().domain(right)), Ok(()));
        }
        for right in ["/", "/a", "/a/", "/a%20b", "/~x/=a"] {
            assert_eq!(item(cookie().path(right)), Ok(()));
        }
    }

    #[test]
    fn same_site_is_read_in_any_case() {
        assert_eq!("STRICT".parse(), Ok(SameSite::Strict));
        assert_eq!("lax".parse(), Ok(SameSite::Lax));
        assert_eq!("None".parse(), Ok(SameSite::None));
        let error = "laxer".parse::<SameSite>().unwrap_err();
        assert_eq!(error.to_string(), "SameSite \"laxer\" is refused: it must be strict, lax or none");
    }
}
