use std::fmt;
use std::sync::Arc;

use crate::wire::host::{HostPort, Scheme};
use crate::wire::path::PathPrefix;

/// This application's address as the browser sees it: origin and prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    scheme: Scheme,
    /// Canonical; the default port of the scheme is dropped.
    authority: Arc<HostPort<'static>>,
    prefix: PathPrefix,
}

impl PublicUrl {
    pub(crate) fn new(scheme: Scheme, authority: HostPort<'_>, prefix: PathPrefix) -> Self {
        let authority = authority.into_owned();
        let port = authority.port().filter(|port| *port != scheme.default_port());
        Self { scheme, authority: Arc::new(HostPort::new(authority.host().clone(), port)), prefix }
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The path under which the application is mounted.
    pub fn prefix(&self) -> &PathPrefix {
        &self.prefix
    }

    /// Host, and the port unless it is the scheme's own.
    pub fn authority(&self) -> &HostPort<'static> {
        &self.authority
    }

    /// The same origin with this prefix: for the layer that knows where the application is mounted.
    #[allow(dead_code)]
    pub(crate) fn with_prefix(&self, prefix: PathPrefix) -> Self {
        Self { prefix, ..self.clone() }
    }
}

/// `https://example.com/webapps`, without a slash at the end.
impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.prefix)
    }
}
