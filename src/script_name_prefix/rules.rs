use http::{HeaderName, header};

use super::internal::InternalAuthorities;

/// Which response fields are rewritten.
///
/// By default `Location`, `Content-Location`, `Refresh`, `Link` (targets and anchors) and the `Path` of
/// `Set-Cookie`.
///
/// # Example
///
/// ```
/// use http::{HeaderName, header};
/// use tower_proxied::script_name_prefix::ResponseRewrite;
///
/// let with_htmx = ResponseRewrite::default().also(HeaderName::from_static("hx-redirect"));
/// let redirects_only = ResponseRewrite::none().also(header::LOCATION);
/// assert_ne!(with_htmx, redirects_only);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ResponseRewrite {
    pub(super) fields: Vec<HeaderName>,
}

impl Default for ResponseRewrite {
    fn default() -> Self {
        let fields = vec![
            header::LOCATION,
            header::CONTENT_LOCATION,
            header::REFRESH,
            header::LINK,
            header::SET_COOKIE,
        ];
        Self { fields }
    }
}

impl ResponseRewrite {
    /// No field: responses pass as they are.
    pub fn none() -> Self {
        Self { fields: Vec::new() }
    }

    /// This field too. `Refresh`, `Link` and `Set-Cookie` are read in their own grammar, any other field as one URI
    /// reference.
    ///
    /// Not for `X-Accel-Redirect` and its like, which hold paths of the proxy.
    pub fn also(mut self, name: HeaderName) -> Self {
        self.fields.push(name);
        self
    }
}

/// What becomes of a path in a response that stands below the prefix already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlreadyPrefixed {
    /// It is left alone: something that knows the prefix wrote it.
    ///
    /// A layer inside writes the prefix of this one too, so that a path of `/a` below `/a` is told from one of the outer
    /// mount.
    Skip,
    /// The prefix is put before it all the same: for an application that has a route named like its prefix, and
    /// knows nothing of the prefix.
    Always,
}

#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) rewrite: ResponseRewrite,
    pub(super) already_prefixed: AlreadyPrefixed,
    pub(super) internal: InternalAuthorities,
}

impl Rules {
    /// Whether a path in a response that is below the public prefix passes as it is.
    pub(super) fn leave_public_paths_alone(&self) -> bool {
        self.already_prefixed == AlreadyPrefixed::Skip && !self.rewrite.fields.is_empty()
    }
}
