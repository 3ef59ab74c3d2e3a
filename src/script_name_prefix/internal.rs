use std::fmt;

use crate::configured_host::configured_host;
use crate::literal::literal;
use crate::wire::host::{HostPort, Scheme};

/// Authorities under which only the proxies know this application, such as `127.0.0.1:8081`.
///
/// # Example
///
/// ```
/// use tower_proxied::script_name_prefix::InternalAuthorities;
///
/// let internal = InternalAuthorities::parse(["127.0.0.1:8081", "http-1:8000"])?;
/// let error = InternalAuthorities::parse(["http-1:8000", "http://http-2"]).unwrap_err();
/// assert_eq!(error.item(), "http://http-2");
/// # let _ = internal;
/// # Ok::<(), tower_proxied::script_name_prefix::InternalAuthorityError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InternalAuthorities(Vec<HostPort<'static>>);

impl InternalAuthorities {
    /// Reads `host` or `host:port`, in the grammar of [`wire::host`](crate::wire::host). No port is the default one
    /// of the scheme under which the authority is met. With the feature `idn` the name may be written in Unicode.
    ///
    /// # Errors
    ///
    /// The first item that is none; the error holds it.
    pub fn parse<I>(items: I) -> Result<Self, InternalAuthorityError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let parse = |item: I::Item| {
            let item = item.as_ref();
            configured_host(item).ok_or_else(|| InternalAuthorityError { item: item.into() })
        };
        items.into_iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// For literals.
    ///
    /// # Panics
    ///
    /// Where [`parse`](Self::parse) gives an error.
    pub fn from_static(items: &[&'static str]) -> Self {
        literal(Self::parse(items))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, authority: &HostPort<'_>, scheme: Option<Scheme>) -> bool {
        self.0.iter().any(|internal| is_same(internal, authority, scheme))
    }
}

/// Whether both name one host and one port under this scheme.
pub(super) fn is_same(a: &HostPort<'_>, b: &HostPort<'_>, scheme: Option<Scheme>) -> bool {
    let port = |authority: &HostPort<'_>| authority.port().or(scheme.map(Scheme::default_port));
    a.host() == b.host() && port(a) == port(b)
}

/// A text that is no authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalAuthorityError {
    item: Box<str>,
}

impl InternalAuthorityError {
    /// The offending item.
    pub fn item(&self) -> &str {
        &self.item
    }
}

impl fmt::Display for InternalAuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "internal authority {:?} is refused: it must be a host, or a host, a colon and a port",
            self.item
        )
    }
}

impl std::error::Error for InternalAuthorityError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_unicode_are_those_that_browsers_send() {
        let internal = InternalAuthorities::parse(["b\u{fc}cher.example:8000"]);
        assert_eq!(internal.is_ok(), cfg!(feature = "idn"));
        if let Ok(internal) = internal {
            let authority = HostPort::parse(b"XN--bcher-kva.example:8000").unwrap();
            assert!(internal.contains(&authority, None));
        }
    }
}
