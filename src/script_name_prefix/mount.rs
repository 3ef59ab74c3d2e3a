use bytes::Bytes;
use http::request;
use http::uri::PathAndQuery;

use crate::forwarded_for::Proxied;
use crate::refusal::RefusalKind;
use crate::wire::path::{self, PathPrefix};

/// A prefix as the browser sees it, and the one under which the proxy sends the requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounts {
    /// As the browser sees it.
    pub public: PathPrefix,
    /// As it arrives here.
    pub received: PathPrefix,
}

/// Who takes the prefix away.
#[derive(Clone, Debug)]
pub(super) enum Mode {
    Keeps(PathPrefix),
    Strips(PathPrefix),
    Maps(Mounts),
    Either(PathPrefix),
    FromProxied,
}

/// Where one request stands below which prefix.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    pub(super) public: PathPrefix,
    /// Another prefix that also stands for this mount, in responses.
    pub(super) received: Option<PathPrefix>,
    /// The path that arrived is the one that the browser asked for.
    pub(super) is_arrived_public: bool,
    pub(super) arrived: PathAndQuery,
    /// Where in `arrived` the part below the prefix starts.
    pub(super) below_at: usize,
}

impl Mode {
    /// `None` is outside of the prefix.
    pub(super) fn mount(&self, parts: &request::Parts) -> Result<Option<Mount>, RefusalKind> {
        Ok(match self {
            Self::Keeps(prefix) => Mount::kept(parts, prefix),
            Self::Strips(prefix) => Mount::stripped(parts, prefix.clone()),
            Self::Either(prefix) => {
                Mount::kept(parts, prefix).or_else(|| Mount::stripped(parts, prefix.clone()))
            }
            Self::Maps(Mounts { public, received }) => Mount::kept(parts, received).map(|mount| Mount {
                public: public.clone(),
                received: Some(received.clone()),
                is_arrived_public: false,
                ..mount
            }),
            Self::FromProxied => {
                let proxied = parts.extensions.get::<Proxied>().ok_or(RefusalKind::ProxiedMissing)?;
                let prefix = proxied.prefix.usable()?.cloned();
                Mount::stripped(parts, prefix.unwrap_or_else(PathPrefix::root))
            }
        })
    }
}

impl Mount {
    fn kept(parts: &request::Parts, prefix: &PathPrefix) -> Option<Self> {
        let arrived = arrived(parts)?;
        let below = path::strip_prefix(arrived.path().as_bytes(), prefix)?;
        let below_at = arrived.path().len().saturating_sub(below.len());
        Some(Self { public: prefix.clone(), received: None, is_arrived_public: true, arrived, below_at })
    }

    fn stripped(parts: &request::Parts, prefix: PathPrefix) -> Option<Self> {
        let arrived = arrived(parts)?;
        let is_arrived_public = prefix.is_root();
        Some(Self { public: prefix, received: None, is_arrived_public, arrived, below_at: 0 })
    }

    /// The path below the prefix as it arrived; empty at the bare mount point.
    pub(super) fn below(&self) -> &str {
        self.arrived.path().get(self.below_at..).unwrap_or_default()
    }

    /// Path and query below the prefix.
    fn below_with_query(&self) -> &str {
        self.arrived.as_str().get(self.below_at..).unwrap_or_default()
    }

    /// Path and query for the inner service.
    pub(super) fn inner(&self) -> Option<PathAndQuery> {
        let below = self.below_with_query();
        if !below.starts_with('/') {
            // A path cannot be empty (RFC 9112, section 3.2.1).
            return if below.is_empty() {
                Some(PathAndQuery::from_static("/"))
            } else {
                PathAndQuery::from_maybe_shared(Bytes::from(["/", below].concat())).ok()
            };
        }
        let slashes = below.bytes().take_while(|byte| *byte == b'/').count();
        let inner = below.get(slashes.saturating_sub(1)..)?;
        if inner.len() == self.arrived.as_str().len() {
            Some(self.arrived.clone())
        } else {
            inner.parse().ok()
        }
    }

    /// The bare mount point with a slash behind it, and the query.
    pub(super) fn with_slash(&self, prefix: &PathPrefix) -> String {
        format!("{prefix}/{}", self.below_with_query())
    }
}

/// `http://host?query` asks for `/` (RFC 9110, section 4.2.3).
pub(super) fn arrived(parts: &request::Parts) -> Option<PathAndQuery> {
    let arrived = parts.uri.path_and_query()?;
    if arrived.as_str().starts_with('/') { Some(arrived.clone()) } else { arrived.to_string().parse().ok() }
}
