use std::fmt::{self, Write};
use std::str::FromStr;
use std::sync::Arc;

use http::request;
use http::uri::PathAndQuery;

use super::reference::{self, ReferenceError};
use crate::configured_host::{UNICODE, configured_host};
use crate::literal::literal;
use crate::script_name_prefix::ScriptName;
use crate::wire::host::{Host, HostPort, Scheme};
use crate::wire::path::PathPrefix;
use crate::wire::reference::Reference;

/// Scheme, host and port, as the browser sees them. Prints as `https://example.com`, without a default port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    /// Canonical; the default port of the scheme is dropped.
    authority: Arc<HostPort<'static>>,
}

impl Origin {
    fn new(scheme: Scheme, authority: HostPort<'_>) -> Self {
        let port = authority.port().filter(|port| *port != scheme.default_port());
        let host = authority.into_owned().into_host();
        Self { scheme, authority: Arc::new(HostPort::new(host, port)) }
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host, and the port unless it is the scheme's own.
    pub fn authority(&self) -> &HostPort<'static> {
        &self.authority
    }

    /// The host.
    pub fn host(&self) -> &Host<'static> {
        self.authority.host()
    }

    /// The port, be it written or the scheme's own.
    pub fn port(&self) -> u16 {
        self.authority.port().unwrap_or(self.scheme.default_port())
    }

    /// As it prints.
    pub(crate) fn write_to(&self, text: &mut impl Write) -> fmt::Result {
        text.write_str(self.scheme.as_str())?;
        text.write_str("://")?;
        match (self.host(), self.authority.port()) {
            // In lower case already.
            (Host::Name(name), None) => text.write_str(name),
            _ => write!(text, "{}", self.authority),
        }
    }

    pub(super) fn is(&self, scheme: Scheme, authority: &HostPort<'_>) -> bool {
        self.scheme == scheme
            && self.host() == authority.host()
            && self.port() == authority.port().unwrap_or(scheme.default_port())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_to(f)
    }
}

/// This application's address as the browser sees it: origin and prefix.
///
/// It is a plain value, the same in handlers, jobs and mails. [`ForcedHost`](crate::ForcedHost) leaves one in the
/// extensions of each request; code without a request has its own. Cloning it allocates nothing.
///
/// With the feature `axum` it is an extractor. Where the layer did not run, the extractor answers 500 and names it;
/// `Option<PublicUrl>` is for handlers that serve exempt paths, too. With the feature `serde` it is read from the text.
///
/// # Example
///
/// ```
/// use std::sync::LazyLock;
/// use tower_proxied::PublicUrl;
///
/// static SITE: LazyLock<PublicUrl> = LazyLock::new(|| PublicUrl::from_static("https://Example.com:443/webapps/"));
///
/// assert_eq!(SITE.to_string(), "https://example.com/webapps");
/// assert_eq!(SITE.origin().to_string(), "https://example.com");
/// assert_eq!(SITE.host().to_string(), "example.com");
/// assert_eq!(SITE.port(), 443);
/// assert_eq!(SITE.prefix().as_str(), "/webapps");
/// assert_eq!(SITE.absolute("/reset/abc")?, "https://example.com/webapps/reset/abc");
/// # Ok::<(), tower_proxied::forced_host::ReferenceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    origin: Origin,
    prefix: PathPrefix,
}

impl PublicUrl {
    /// Reads `http://` or `https://`, a host in the grammar of [`wire::host`](crate::wire::host), a port where it
    /// is not the scheme's own, and the prefix. With the feature `idn` the name may be written in Unicode.
    ///
    /// # Errors
    ///
    /// Another scheme, user info, a host or port that cannot be read, no safe [`PathPrefix`], a query, a fragment.
    /// The error holds the text, without the user info.
    pub fn parse(text: &str) -> Result<Self, PublicUrlError> {
        let because = |problem| PublicUrlError { text: without_user_info(text).into(), problem };
        let reference = Reference::parse(text.as_bytes());
        let scheme = reference.scheme.and_then(Scheme::of_uri).ok_or_else(|| because(Problem::Scheme))?;
        let authority = reference.authority.unwrap_or_default();
        if authority.contains(&b'@') {
            return Err(because(Problem::UserInfo));
        }
        let host = if authority.is_ascii() { Problem::Host } else { Problem::Unicode };
        let authority = std::str::from_utf8(authority).ok().and_then(configured_host);
        let authority = authority.ok_or_else(|| because(host))?;
        if reference.query.is_some() || reference.fragment.is_some() {
            return Err(because(Problem::Query));
        }
        let prefix = std::str::from_utf8(reference.path).ok().and_then(|path| PathPrefix::parse(path).ok());
        let prefix = prefix.ok_or_else(|| because(Problem::Prefix))?;
        Ok(Self::new(scheme, authority, prefix))
    }

    /// For literals.
    ///
    /// # Panics
    ///
    /// Where [`parse`](Self::parse) gives an error.
    pub fn from_static(text: &'static str) -> Self {
        literal(Self::parse(text))
    }

    pub(crate) fn new(scheme: Scheme, authority: HostPort<'_>, prefix: PathPrefix) -> Self {
        Self { origin: Origin::new(scheme, authority), prefix }
    }

    /// The same origin with this prefix: for the layer that knows where the application is mounted.
    pub(crate) fn with_prefix(&self, prefix: PathPrefix) -> Self {
        Self { prefix, ..self.clone() }
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.origin.scheme()
    }

    /// Host, and the port unless it is the scheme's own.
    pub fn authority(&self) -> &HostPort<'static> {
        self.origin.authority()
    }

    /// The host.
    pub fn host(&self) -> &Host<'static> {
        self.origin.host()
    }

    /// The port, be it written or the scheme's own.
    pub fn port(&self) -> u16 {
        self.origin.port()
    }

    /// The path under which the application is mounted.
    pub fn prefix(&self) -> &PathPrefix {
        &self.prefix
    }

    /// The absolute URI of a path of this application, ready for a mail or a `Location`: always below this origin
    /// and prefix, always printable ASCII, never with a dot segment that a browser would climb by.
    ///
    /// In this order:
    ///
    /// 1. A control character or a backslash is an error: browsers delete tabs and line feeds and take a
    ///    backslash for a slash, so that `/\evil.example` would leave the origin.
    /// 2. A scheme without an authority (`javascript:…`, `https:evil.example`) is an error.
    /// 3. An authority must be this origin's own, in whatever spelling; user info is an error. The path is public
    ///    then already, and must lie at or below the prefix.
    /// 4. Everything else is a path of the application, and gets the prefix. `.` and `..`, `%2e` too, are resolved
    ///    and never climb higher than the prefix (RFC 3986, section 5.2.4; browsers read `%2e` as a dot). Slashes
    ///    at its start count as one, since it may be used without the authority later (CVE-2018-14574).
    /// 5. What no URI may hold is percent-encoded as UTF-8 (RFC 3987, section 3.1); triplets stay as they are.
    ///
    /// A relative reference is resolved against `/`; see [`absolute_from`](Self::absolute_from). A path that has the
    /// prefix already, such as one of [`ScriptName::public_path`], would get it twice: put [`origin`](Self::origin)
    /// before it.
    ///
    /// # Errors
    ///
    /// [`ReferenceError`] says which of these rules the reference breaks.
    ///
    /// # Cost
    ///
    /// One allocation, the text; time grows with the length of the reference and the current path alone.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_proxied::PublicUrl;
    /// use tower_proxied::forced_host::ReferenceError;
    ///
    /// let public = PublicUrl::from_static("https://example.com/app");
    /// assert_eq!(public.absolute("/café")?, "https://example.com/app/caf%C3%A9");
    /// assert_eq!(public.absolute(&format!("{}/app/x", public.origin()))?, "https://example.com/app/x");
    /// assert_eq!(public.absolute("/../../x")?, "https://example.com/app/x");
    /// assert_eq!(public.absolute("https://EXAMPLE.com:443/app/x")?, "https://example.com/app/x");
    /// assert_eq!(public.absolute("https://example.com/x"), Err(ReferenceError::OutsidePrefix));
    /// assert_eq!(public.absolute("//evil.example/x"), Err(ReferenceError::CrossOrigin));
    /// # Ok::<(), ReferenceError>(())
    /// ```
    pub fn absolute(&self, reference: &str) -> Result<String, ReferenceError> {
        self.absolute_from("/", reference)
    }

    /// The same for a reference that stands in the page at `current_path`: path and query as the application sees
    /// them, without the prefix.
    ///
    /// # Errors
    ///
    /// Those of [`absolute`](Self::absolute), and all of them are about the reference: the current path is the
    /// client's, and is encoded whatever it holds.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_proxied::PublicUrl;
    ///
    /// let public = PublicUrl::from_static("https://example.com/app");
    /// assert_eq!(public.absolute_from("/list?page=1", "?page=2")?, "https://example.com/app/list?page=2");
    /// assert_eq!(public.absolute_from("/a/b", "../../../c")?, "https://example.com/app/c");
    /// # Ok::<(), tower_proxied::forced_host::ReferenceError>(())
    /// ```
    pub fn absolute_from(&self, current_path: &str, reference: &str) -> Result<String, ReferenceError> {
        reference::absolute(self, current_path, reference)
    }

    /// Resolves any reference as RFC 3986 (section 5.2, strict) has it, wherever it leads: for references that are
    /// trusted, such as an operator's link to another site.
    ///
    /// The base is a reference too, seen from this URL: `""` is this URL itself, `"/x"` is a path of the host and
    /// not of the application.
    ///
    /// # Errors
    ///
    /// A control character, a backslash ([`absolute`](Self::absolute) says why), and an authority that holds
    /// what no authority may (RFC 3986, section 3.2).
    ///
    /// # Example
    ///
    /// ```
    /// use tower_proxied::PublicUrl;
    ///
    /// let public = PublicUrl::from_static("https://example.com");
    /// assert_eq!(public.resolve_any("/b/c/d;p?q", "../g")?, "https://example.com/b/g");
    /// assert_eq!(public.resolve_any("", "//example.org/x")?, "https://example.org/x");
    /// # Ok::<(), tower_proxied::forced_host::ReferenceError>(())
    /// ```
    pub fn resolve_any(&self, base: &str, reference: &str) -> Result<String, ReferenceError> {
        reference::resolve_any(self, base, reference)
    }

    /// The public URL of this very request, byte for byte: for signatures over the URL (webhooks, OAuth 1).
    ///
    /// Where a [`ScriptName`] stands in the extensions, path and query are the ones that it keeps; else they are
    /// the request's own behind the prefix. `OPTIONS *` and `CONNECT` have no path: the result is this URL then.
    ///
    /// Origin and prefix are sure, the rest is what the client wrote: quotes and bytes that no URI may hold are still in
    /// it. Escape it where it is printed; for links use [`absolute_from`](Self::absolute_from).
    ///
    /// A router that cuts the path itself (axum's `nest`) must be asked for the original one where no `ScriptName` keeps
    /// it: call this with the parts as they were before. In axum, `http::request::Parts` is an extractor.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_proxied::PublicUrl;
    ///
    /// let public = PublicUrl::from_static("https://example.com/app");
    /// let (parts, ()) = http::Request::get("//a%2fb?").body(())?.into_parts();
    /// assert_eq!(public.current(&parts), "https://example.com/app//a%2fb?");
    /// # Ok::<(), http::Error>(())
    /// ```
    pub fn current(&self, parts: &request::Parts) -> String {
        let path = |path: Option<&PathAndQuery>| match path {
            // It prints a slash before a query that has none, as `http://host?query` means it.
            Some(path) if path.path().starts_with('/') => path.to_string(),
            _ => String::new(),
        };
        match parts.extensions.get::<ScriptName>() {
            Some(script_name) => format!("{}{}", self.origin, script_name.public_path()),
            _ => format!("{self}{}", path(parts.uri.path_and_query())),
        }
    }
}

/// `https://example.com/webapps`, without a slash at the end.
impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.prefix)
    }
}

impl FromStr for PublicUrl {
    type Err = PublicUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// A text that is no [`PublicUrl`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrlError {
    text: Box<str>,
    problem: Problem,
}

impl PublicUrlError {
    /// The offending text; what stood before an `@` is left out, for it may be a password.
    pub fn text(&self) -> &str {
        &self.text
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    Scheme,
    UserInfo,
    Unicode,
    Host,
    Prefix,
    Query,
}

impl fmt::Display for PublicUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.problem {
            Problem::Scheme => "it must start with http:// or https://",
            Problem::UserInfo => "it must not hold a user name or password",
            Problem::Unicode => UNICODE,
            Problem::Host => {
                "its host must be a DNS name in ASCII, an IPv4 address or an IPv6 address in brackets, its port 1 to 65535"
            }
            Problem::Prefix => "its path must be empty or plain segments, such as /webapps or /caf%C3%A9",
            Problem::Query => "it must have no query and no fragment",
        };
        write!(f, "public URL {:?} is refused: {problem}", self.text)
    }
}

impl std::error::Error for PublicUrlError {}

fn without_user_info(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            format!("{scheme}://...@{host}")
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn canonical() {
        for (text, expected) in [
            ("HTTPS://Example.COM.", "https://example.com"),
            ("https://example.com:443/", "https://example.com"),
            ("http://example.com:443", "http://example.com:443"),
            ("http://example.com:80/a/%62/", "http://example.com/a/b"),
            ("https://[2001:DB8:0::1]:8443/x", "https://[2001:db8::1]:8443/x"),
        ] {
            assert_eq!(PublicUrl::parse(text).map(|public| public.to_string()).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn errors_name_the_text_and_no_password() {
        for text in [
            "",
            "example.com",
            "//example.com",
            "https:example.com",
            "https:///x",
            "https://",
            "ftp://example.com",
            "wss://example.com",
            "https://example.com/?",
            "https://example.com#",
            "https://example.com//x",
            "https://example.com/a/../b",
            "https://example.com:0",
            "https://b\u{fc} cher.example",
            "https://example.com\\x",
            " https://example.com",
            "https://example.com ",
            "https://example.com/a\tb",
            "https://127.1",
        ] {
            let error = PublicUrl::parse(text).expect_err(text);
            assert_eq!(error.text(), text);
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
        for (text, what_to_do) in
            [("https://b\u{fc} cher.example", "ASCII"), ("https://example.com/caf\u{e9}", "/caf%C3%A9")]
        {
            let error = PublicUrl::parse(text).unwrap_err();
            assert!(error.to_string().contains(what_to_do), "{error}");
        }
        for text in
            ["https://u:secret@example.com", "u:secret@example.com", "secret@x", "https://a/x?secret@y"]
        {
            let error = PublicUrl::parse(text).expect_err(text);
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }

    #[test]
    fn with_prefix_keeps_the_origin() {
        let public = PublicUrl::from_static("https://example.com:8443/a");
        let below = public.with_prefix(PathPrefix::from_static("/b"));
        assert_eq!(below.to_string(), "https://example.com:8443/b");
        assert_eq!(below.origin(), public.origin());
    }

    #[test]
    fn current_is_the_original_path_where_it_is_kept() {
        let public = PublicUrl::from_static("https://example.com/app");
        let current = |target: &str, original: Option<&'static str>| {
            let (mut parts, ()) = Request::options(target).body(()).unwrap().into_parts();
            if let Some(path) = original {
                parts.extensions.insert(ScriptName::passed_by(PathAndQuery::from_static(path)));
            }
            public.current(&parts)
        };
        assert_eq!(current("/x?", None), "https://example.com/app/x?");
        assert_eq!(current("http://evil.example/x", None), "https://example.com/app/x");
        assert_eq!(current("http://evil.example?x", None), "https://example.com/app/?x");
        assert_eq!(current("*", None), "https://example.com/app");
        assert_eq!(current("db.example:5432", None), "https://example.com/app");
        assert_eq!(current("/x", Some("/%61pp//x")), "https://example.com/%61pp//x");
    }

    proptest! {
        #[test]
        fn what_is_parsed_reads_back(text in "(https?|HTTPS)://[a1A.:\\[\\]@%-]{1,10}(/[a.%2e]{0,4}){0,3}") {
            if let Ok(public) = PublicUrl::parse(&text) {
                prop_assert_eq!(PublicUrl::parse(&public.to_string()), Ok(public));
            }
        }
    }
}
