use http::uri::PathAndQuery;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptName {
    pub(crate) prefix: PathPrefix,
    pub(crate) public_path: PathAndQuery,
}

impl ScriptName {
    /// The prefix: empty, or `/a/b`.
    pub fn prefix(&self) -> &PathPrefix {
        &self.prefix
    }

    /// Path and query as the browser sees them, byte for byte where the proxy kept them.
    ///
    /// Where the proxy took the prefix away, it is put before what arrived. If both together are longer than the
    /// 65534 bytes that [`PathAndQuery`] can hold, this is what arrived.
    pub fn public_path(&self) -> &PathAndQuery {
        &self.public_path
    }
}
