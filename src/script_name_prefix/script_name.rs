use http::uri::PathAndQuery;

use crate::wire::path::PathPrefix;

/// Where this request's application is mounted, and the path that the browser asked for: the extension that
/// [`ScriptNamePrefix`](crate::ScriptNamePrefix) leaves. Nested layers add up.
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
    pub fn public_path(&self) -> &PathAndQuery {
        &self.public_path
    }
}
