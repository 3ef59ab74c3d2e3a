use std::str::FromStr;
use std::time::Duration;

use super::{BuildError, Problem};
use crate::wire::host::Host;

/// What stands behind the value in `Set-Cookie`.
#[derive(Clone, Debug)]
pub(super) struct Attributes {
    pub(super) path: Box<str>,
    pub(super) domain: Option<Box<str>>,
    pub(super) same_site: SameSite,
    pub(super) secure: Secure,
    pub(super) is_partitioned: bool,
    pub(super) max_age: Option<Duration>,
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            path: "/".into(),
            domain: None,
            same_site: SameSite::Lax,
            secure: Secure::Auto,
            is_partitioned: false,
            max_age: None,
        }
    }
}

impl Attributes {
    /// Refuses what browsers drop in silence, for a cookie of this name.
    pub(super) fn check(&self, name: &str) -> Result<(), BuildError> {
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
            return Err(Problem::HostPrefix.of(name));
        }
        if starts_with("__Secure-") && !is_always_secure {
            return Err(Problem::SecurePrefix.of(name));
        }
        if self.is_partitioned && !is_always_secure {
            return Err(Problem::Partitioned.of(name));
        }
        if self.same_site == SameSite::None && !is_always_secure {
            return Err(Problem::SameSiteNone.of(name));
        }
        Ok(())
    }

    /// For http and for https.
    pub(super) fn lines(&self) -> [String; 2] {
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
    ///
    /// A browser that got the cookie by https takes none of the same name by http. Where one host answers both, give
    /// each a pool, and so a cookie, of its own name; or [`Secure::Never`].
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
    use super::super::RouteCookie;
    use super::*;

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
