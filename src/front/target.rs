use std::fmt;
use std::str::FromStr;

use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Uri};

use crate::literal::literal;
use crate::wire::host::{HostPort, Scheme};

/// The origin of an application server: `http://host:port`.
///
/// # Example
///
/// ```
/// use tower_proxied::front::Target;
///
/// assert_eq!(Target::parse("http://[::1]:8001/")?.to_string(), "http://[::1]:8001");
/// let error = Target::parse("http://app:8001/webapps").unwrap_err();
/// assert!(error.to_string().contains("\"http://app:8001/webapps\""));
/// # Ok::<(), tower_proxied::front::TargetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    scheme: Scheme,
    authority: Authority,
    host_line: HeaderValue,
}

impl Target {
    /// Reads `http://host`, `http://host:port` or the same with `https`; one slash may stand at the end.
    ///
    /// # Errors
    ///
    /// Another scheme, a path, a query, user information, a host that no grammar admits; the error holds the text.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        parse_target(text).ok_or_else(|| TargetError { text: text.into() })
    }

    /// For literals.
    ///
    /// # Panics
    ///
    /// Where [`parse`](Self::parse) gives an error.
    pub fn from_static(text: &'static str) -> Self {
        literal(Self::parse(text))
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host and port, in canonical form.
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    pub(super) fn host_line(&self) -> HeaderValue {
        self.host_line.clone()
    }

    /// What is asked for, at this target.
    pub(super) fn uri(&self, asked: &Uri) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(match self.scheme {
            Scheme::Http => http::uri::Scheme::HTTP,
            Scheme::Https => http::uri::Scheme::HTTPS,
        });
        parts.authority = Some(self.authority.clone());
        parts.path_and_query =
            Some(asked.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
        // All three parts are there, so that this cannot fail.
        Uri::from_parts(parts).unwrap_or_default()
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

/// A text that is no [`Target`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError {
    text: Box<str>,
}

impl TargetError {
    /// The offending text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "target {:?} is refused: it must be http:// or https://, a host and perhaps a port, no path",
            self.text
        )
    }
}

impl std::error::Error for TargetError {}

fn parse_target(text: &str) -> Option<Target> {
    let (scheme, authority) = text.split_once("://")?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    let authority = HostPort::parse(authority.strip_suffix('/').unwrap_or(authority).as_bytes())?.to_string();
    Some(Target {
        scheme,
        host_line: HeaderValue::from_str(&authority).ok()?,
        authority: authority.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        for (text, canonical) in [
            ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
            ("http://App_1.Internal/", "http://app_1.internal"),
            ("https://[2001:DB8::1]:443", "https://[2001:db8::1]:443"),
        ] {
            assert_eq!(Target::parse(text).unwrap().to_string(), canonical);
        }
        for text in [
            "",
            "app:8001",
            "//app",
            "ftp://app",
            "HTTP://app",
            "http://",
            "http://app/x",
            "http://app//",
            "http://app?q",
            "http://u@app",
            "http://app:0",
            "http://app:",
            "http://app:65536",
            "http:// app",
            "http://127.1",
            "http://a,b",
            "http://app#f",
        ] {
            assert_eq!(Target::parse(text).unwrap_err().text(), text, "{text}");
        }
    }
}
