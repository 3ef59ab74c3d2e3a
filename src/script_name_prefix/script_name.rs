use std::borrow::Cow;

use http::uri::PathAndQuery;

use super::mount::Mount;
use crate::wire::path::PathPrefix;

/// Where this request's application is mounted, and the path that the browser asked for: the extension that
/// [`ScriptNamePrefix`](crate::ScriptNamePrefix) leaves. Nested layers add up.
///
/// With the feature `axum` it is an extractor. Where the layer did not run, the extractor answers 500 and names it.
///
/// # Example
///
/// ```
/// use axum::{Router, extract::Request, response::Redirect, routing::get};
/// use tower::{ServiceBuilder, ServiceExt};
/// use tower_proxied::{PathPrefix, ScriptName, ScriptNamePrefixLayer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let old = async |name: ScriptName| {
///     Redirect::to(&format!("{}/new?from={}", name.prefix(), name.public_path()))
/// };
/// let app = Router::new().route("/old", get(old));
/// let service = ServiceBuilder::new()
///     .layer(ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/webapps")))
///     .service(app);
/// let response = service.oneshot(Request::get("/webapps/old").body(axum::body::Body::empty())?).await?;
/// assert_eq!(response.headers()["location"], "/webapps/new?from=/webapps/old");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ScriptName {
    prefix: PathPrefix,
    /// Of the prefix, what the browser's path has before the one that arrived.
    lead_len: usize,
    arrived: PathAndQuery,
    /// Where in what arrived the browser's path goes on.
    rest_at: usize,
    left_alone: PathPrefix,
}

impl ScriptName {
    /// The prefix: empty, or `/a/b`.
    pub fn prefix(&self) -> &PathPrefix {
        &self.prefix
    }

    /// Path and query as the browser sees them, byte for byte where the proxy kept them.
    ///
    /// Where the proxy took the prefix away, it is put before what arrived, which allocates. Both together may be
    /// longer than the 65534 bytes that an [`http::Uri`] can hold.
    ///
    /// It is what the client wrote, quotes and all: escape it where it is printed.
    pub fn public_path(&self) -> Cow<'_, str> {
        let lead = self.prefix.as_str().get(..self.lead_len).unwrap_or_default();
        let rest = self.arrived.as_str().get(self.rest_at..).unwrap_or_default();
        match lead {
            "" if rest.starts_with('/') => Cow::Borrowed(rest),
            "" => Cow::Owned(["/", rest].concat()),
            lead => Cow::Owned([lead, rest].concat()),
        }
    }

    /// The public path for a URI; `None` where it is too long for one.
    #[cfg(feature = "axum")]
    pub(super) fn path_and_query(&self) -> Option<PathAndQuery> {
        match self.public_path() {
            Cow::Borrowed(path) if path.len() == self.arrived.as_str().len() => Some(self.arrived.clone()),
            path => PathAndQuery::from_maybe_shared(bytes::Bytes::from(path.into_owned())).ok(),
        }
    }

    /// The layer knows the path, and takes it for none of its own.
    pub(crate) fn passed_by(arrived: PathAndQuery) -> Self {
        Self { prefix: PathPrefix::root(), lead_len: 0, arrived, rest_at: 0, left_alone: PathPrefix::root() }
    }

    /// Paths in responses that stand below `left_alone` will be left alone by this layer.
    pub(super) fn entered(outer: Option<&Self>, mount: &Mount, left_alone: PathPrefix) -> Self {
        let prefix = match outer {
            Some(outer) => outer.prefix.join(&mount.public),
            None => mount.public.clone(),
        };
        let (lead_len, arrived, rest_at) = match outer {
            _ if !mount.is_arrived_public => (prefix.as_str().len(), &mount.arrived, mount.below_at),
            Some(outer) => (outer.lead_len, &outer.arrived, outer.rest_at),
            None => (0, &mount.arrived, 0),
        };
        Self { prefix, lead_len, arrived: arrived.clone(), rest_at, left_alone }
    }

    /// Below it, the layer that left this leaves paths in responses alone. Empty where it leaves none alone.
    pub(super) fn left_alone(&self) -> &PathPrefix {
        &self.left_alone
    }
}

impl PartialEq for ScriptName {
    fn eq(&self, other: &Self) -> bool {
        self.prefix == other.prefix && self.public_path() == other.public_path()
    }
}

impl Eq for ScriptName {}
