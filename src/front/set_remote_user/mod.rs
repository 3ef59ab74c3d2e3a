#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, request};

use crate::future::Nothing;
use crate::header_map::{remove_where, unlist};
use crate::proxy_remote_user::fields::{Fields, folds};
use crate::proxy_remote_user::{
    BuildError, DetachedUser, Encoding, Groups, Identity, Preset, RealmForm, Secret, Unwritable,
};
use crate::refusal::{Refusal, RefusalKind};
use crate::shell::{ExemptPaths, Unit, edit, shell};
use crate::wire::name;

shell! {
    /// Layer of [`SetRemoteUser`]: tells the application servers who is logged in.
    ///
    /// # What it does, in order
    ///
    /// 1. All identity headers that the client sent go, in every spelling: those that this layer writes, the secret,
    ///    and the well-known ones (see [`proxy_remote_user`](crate::proxy_remote_user)).
    /// 2. Their names leave `Connection` and `Proxy-Connection`, so that no proxy further in removes what is written
    ///    here (CVE-2024-45410, CVE-2022-31813), and `Trailer`. So does what is no name there.
    /// 3. The user's headers are written: the name, the groups, the name for display and the address for mail, as far
    ///    as the user has them, and the id, the realm and extra attributes where that is asked for. For nobody, none
    ///    is written. What the reader on the other side would refuse or read otherwise (a comma in the name, a
    ///    separator in a group, a control character) is not written but refused with 500,
    ///    [`RefusalKind::IdentityUnwritable`]; [`can_write`](Self::can_write) tells what it is, at the login already.
    /// 4. The secret is written, for nobody too: it proves who wrote, or did not write, the user.
    ///
    /// There is one line per header, with [`Groups::PerLine`] one per group, and one per value of an extra attribute.
    /// All written values are marked as sensitive: HTTP/2 does not index them, and Debug does not show them. A
    /// [disabled](Self::disabled) layer removes the well-known headers and writes nothing.
    ///
    /// # The other side
    ///
    /// [`ProxyRemoteUser`](crate::ProxyRemoteUser) reads the same user when both take one [`Preset`].
    /// [`Preset::SetRemoteUser`] is what this layer writes unless told otherwise. Unless told otherwise, the reader
    /// takes lines for UTF-8.
    ///
    /// Text is written in [`Encoding::Rfc2047`]: ASCII as it is, other names as encoded words (`=?utf-8?q?Andr=C3=A9?=`)
    /// of visible ASCII, however long in one line. No two users are written alike, so that a reader that does not decode
    /// takes nobody for somebody else. Which [`encoding`](Self::encoding) a foreign application reads:
    ///
    /// | application | encoding |
    /// |---|---|
    /// | Django, Flask and others over WSGI or ASGI, Java servlets, Node | [`Encoding::Latin1`] |
    /// | PHP, Rack, Go: bytes as they come | [`Encoding::Utf8`] |
    /// | those that decode themselves: `email.header` in Python, `iconv_mime_decode` in PHP, `mime.WordDecoder` in Go | [`Encoding::Rfc2047`] |
    /// | those that call `unquote`, `rawurldecode`, `decodeURIComponent` | [`Encoding::Percent`] |
    ///
    /// # Caveats
    ///
    /// - A realm that is not [written](Self::realm) is lost: two people of one name in two realms are then one. So is
    ///   an attribute without a header.
    /// - Trailers of the body pass on. Their names leave `Trailer`, and hyper's HTTP/1.1 client sends no others; over
    ///   HTTP/2 they reach the application, which must not read an identity from trailers.
    ///
    /// # Example
    ///
    /// The front end's own authentication leaves a [`DetachedUser`]:
    ///
    /// ```
    /// use http::{HeaderName, Request, Response};
    /// use tower::{ServiceBuilder, ServiceExt};
    /// use tower_proxied::front::SetRemoteUserLayer;
    /// use tower_proxied::{DetachedUser, Secret};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let upstream = ServiceBuilder::new()
    ///     .map_request(|mut request: Request<()>| {
    ///         request.extensions_mut().insert(DetachedUser::new("alice").with_groups(["ops", "dev"]));
    ///         request
    ///     })
    ///     .layer(SetRemoteUserLayer::from_detached_user().shared_secret(
    ///         HeaderName::from_static("x-proxy-secret"),
    ///         Secret::parse("correct-horse-battery-staple")?,
    ///     ))
    ///     .service_fn(|request: Request<()>| async move {
    ///         assert_eq!(request.headers()["remote-user"], "alice");
    ///         assert_eq!(request.headers()["remote-groups"], "ops,dev");
    ///         assert!(request.headers()["x-proxy-secret"].is_sensitive());
    ///         assert!(!request.headers().contains_key("remote_user"));
    ///         Ok::<_, std::convert::Infallible>(Response::new(()))
    ///     });
    /// let request = Request::builder().header("remote-user", "admin").header("remote_user", "admin").body(())?;
    /// assert_eq!(upstream.oneshot(request).await?.status(), 200);
    /// # Ok(())
    /// # }
    /// ```
    layer SetRemoteUserLayer;
    /// Tells the application servers who is logged in; see [`SetRemoteUserLayer`].
    service SetRemoteUser;
    unit Config, owes Nothing;
}

impl SetRemoteUserLayer {
    /// Writes the [`DetachedUser`] that the front end's own authentication left in the request's extensions. None
    /// there is nobody.
    pub fn from_detached_user() -> Self {
        Self::from_fn(|parts| parts.extensions.get::<DetachedUser>().cloned())
    }

    /// Writes the user of the [`Identity`] that [`ProxyRemoteUser`](crate::ProxyRemoteUser) left: for a proxy between
    /// proxies. Without that layer outside of this one, requests are refused with 500.
    pub fn from_identity() -> Self {
        Self::from_source(Source::Identity)
    }

    /// Writes the user whom this function finds. It sees the request as it came, the client's identity headers
    /// included: never read the user from those.
    pub fn from_fn(user: impl Fn(&request::Parts) -> Option<DetachedUser> + Send + Sync + 'static) -> Self {
        Self::from_source(Source::Function(Arc::new(user)))
    }

    /// The headers and the notation that this preset reads, all at once: call it before the setters of single ones.
    /// [`Preset::SetRemoteUser`] unless said.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::{ServiceBuilder, ServiceExt};
    /// use tower_proxied::front::SetRemoteUserLayer;
    /// use tower_proxied::proxy_remote_user::Preset;
    /// use tower_proxied::{DetachedUser, Identity, PeerAddr, Proof, ProxyRemoteUserLayer, TrustedProxies};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// const SHARED: Preset = Preset::SetRemoteUser;
    ///
    /// let application = ServiceBuilder::new()
    ///     .layer(PeerAddr::layer("10.0.0.5:4711".parse::<std::net::SocketAddr>()?))
    ///     .layer(ProxyRemoteUserLayer::new(Proof::peer("10.0.0.5".parse()?)).preset(SHARED).build()?)
    ///     .service_fn(|request: Request<()>| async move {
    ///         let identity = request.extensions().get::<Identity>().expect("always there");
    ///         Ok::<_, std::convert::Infallible>(Response::new(identity.to_string()))
    ///     });
    /// let front_end = ServiceBuilder::new()
    ///     .layer(SetRemoteUserLayer::from_fn(|_| Some(DetachedUser::new("André"))).preset(SHARED))
    ///     .map_request(|request: Request<()>| {
    ///         assert_eq!(request.headers()["remote-user"], "=?utf-8?q?Andr=C3=A9?=");
    ///         request
    ///     })
    ///     .service(application);
    /// let response = front_end.oneshot(Request::new(())).await?;
    /// # use http_body_util::BodyExt;
    /// assert_eq!(response.into_body().collect().await?.to_bytes(), "user \"André\"");
    /// # Ok(())
    /// # }
    /// ```
    pub fn preset(self, preset: Preset) -> Self {
        self.set(|config| preset.apply(&mut config.fields))
    }

    /// Also writes this secret, which [`Proof::shared_secret`](crate::Proof::shared_secret) asks for on the other
    /// side.
    pub fn shared_secret(self, header: HeaderName, secret: Secret) -> Self {
        self.set(|config| config.secret = Some((header, secret)))
    }

    /// The header for the user's name. `remote-user` unless said.
    pub fn user_header(self, header: HeaderName) -> Self {
        self.set(|config| config.fields.users = vec![header])
    }

    /// The header for the groups. `remote-groups` unless said; `None` writes none.
    pub fn groups_header(self, header: impl Into<Option<HeaderName>>) -> Self {
        self.set(|config| config.fields.groups = header.into())
    }

    /// The header for the name for display. `remote-name` unless said; `None` writes none.
    pub fn name_header(self, header: impl Into<Option<HeaderName>>) -> Self {
        self.set(|config| config.fields.name = header.into())
    }

    /// The header for the address for mail. `remote-email` unless said; `None` writes none.
    pub fn email_header(self, header: impl Into<Option<HeaderName>>) -> Self {
        self.set(|config| config.fields.email = header.into())
    }

    /// The header for the id that stays when the name changes. None unless said.
    pub fn uid_header(self, header: impl Into<Option<HeaderName>>) -> Self {
        self.set(|config| config.fields.uid = header.into())
    }

    /// Extra attributes are written, in headers of this start and the key (Kubernetes: `x-remote-extra-`), one line
    /// per value. They are not unless said; `None` writes none.
    ///
    /// In a key everything but lower-case letters, digits, `-` and `.` is a percent triplet, as Kubernetes reads it:
    /// a field name has no upper case, and many servers drop `_`.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::{ServiceBuilder, ServiceExt};
    /// use tower_proxied::DetachedUser;
    /// use tower_proxied::front::SetRemoteUserLayer;
    /// use tower_proxied::proxy_remote_user::RealmForm;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let alice = DetachedUser::new("alice").with_realm("CORP").with_extra("example.org/Scopes", "read");
    /// let upstream = ServiceBuilder::new()
    ///     .layer(
    ///         SetRemoteUserLayer::from_fn(move |_| Some(alice.clone()))
    ///             .extra_prefix("x-remote-extra-")
    ///             .realm(RealmForm::AfterAt)
    ///             .checked()?,
    ///     )
    ///     .service_fn(|request: Request<()>| async move {
    ///         assert_eq!(request.headers()["remote-user"], "alice@CORP");
    ///         assert_eq!(request.headers()["x-remote-extra-example.org%2f%53copes"], "read");
    ///         Ok::<_, std::convert::Infallible>(Response::new(()))
    ///     });
    /// assert_eq!(upstream.oneshot(Request::new(())).await?.status(), 200);
    /// # Ok(())
    /// # }
    /// ```
    pub fn extra_prefix<'a>(self, prefix: impl Into<Option<&'a str>>) -> Self {
        let prefix = prefix.into().map(|prefix| prefix.to_ascii_lowercase().into());
        self.set(|config| config.fields.extra_prefixes = prefix.into_iter().collect())
    }

    /// The realm is written with the name. It is not unless said. A user without a realm, and one in whose name or
    /// realm `@` or `\` stands, is then refused with 500.
    pub fn realm(self, form: RealmForm) -> Self {
        self.set(|config| config.fields.realm_form = Some(form))
    }

    /// How groups are written. [`Groups::Comma`] unless said.
    pub fn groups(self, groups: Groups) -> Self {
        self.set(|config| config.fields.grouping = groups)
    }

    /// How text is written. [`Encoding::Rfc2047`] unless said.
    pub fn encoding(self, encoding: Encoding) -> Self {
        self.set(|config| config.fields.encoding = encoding)
    }

    /// The layer, when its headers fit together. Call it last: a layer that it would refuse refuses every request with
    /// 500, but for those of exempt paths, which are nobody's and carry no secret.
    ///
    /// # Errors
    ///
    /// Two roles, or a role and the secret, whose headers are the same in some spelling; a header that HTTP or another
    /// layer needs; a prefix that covers one of these. The error names the item.
    ///
    /// ```
    /// use http::HeaderName;
    /// use tower_proxied::front::SetRemoteUserLayer;
    ///
    /// let layer = SetRemoteUserLayer::from_detached_user().email_header(HeaderName::from_static("remote_user"));
    /// assert_eq!(layer.checked().unwrap_err().item(), "remote_user");
    /// ```
    pub fn checked(self) -> Result<Self, BuildError> {
        match self.config.as_ref().and_then(|config| config.problem.clone()) {
            Some(problem) => Err(problem),
            None => Ok(self),
        }
    }

    /// Whether this user can be written: for a login, which can tell people better than a 500 later. A disabled layer
    /// writes nobody, and refuses nobody.
    ///
    /// # Errors
    ///
    /// What of the user the headers cannot carry.
    pub fn can_write(&self, user: &DetachedUser) -> Result<(), Unwritable> {
        self.config.as_ref().map_or(Ok(()), |config| config.write(Some(user), &mut HeaderMap::new()))
    }

    /// A path that is never refused: a user who cannot be written is nobody there.
    pub fn exempt_path(mut self, path: &str) -> Self {
        edit(&mut self.config, |config| config.exempt.add(path));
        self
    }

    fn from_source(source: Source) -> Self {
        let mut fields = Fields::default();
        Preset::SetRemoteUser.apply(&mut fields);
        Config { source, fields, secret: None, exempt: ExemptPaths::default(), problem: None }.into()
    }

    fn set(mut self, change: impl FnOnce(&mut Config)) -> Self {
        edit(&mut self.config, |config| {
            change(config);
            config.problem = config.fields.check(config.secret.iter().map(|(header, _)| header)).err();
        });
        self
    }
}

#[derive(Clone, Debug)]
struct Config {
    source: Source,
    fields: Fields,
    secret: Option<(HeaderName, Secret)>,
    exempt: ExemptPaths,
    /// Why no request can be served.
    problem: Option<BuildError>,
}

#[derive(Clone)]
enum Source {
    Identity,
    Function(Arc<FindUser>),
}

type FindUser = dyn Fn(&request::Parts) -> Option<DetachedUser> + Send + Sync;

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "Identity",
            Self::Function(_) => "Function(..)",
        })
    }
}

impl Config {
    fn user(&self, parts: &request::Parts) -> Result<Option<DetachedUser>, RefusalKind> {
        let user = match &self.source {
            Source::Identity => {
                let identity = parts.extensions.get::<Identity>().ok_or(RefusalKind::IdentityMissing)?;
                identity.user().map(|user| DetachedUser::clone(user))
            }
            Source::Function(user) => user(parts),
        };
        Ok(user.filter(DetachedUser::is_authenticated))
    }

    fn writes(&self, header: &HeaderName) -> bool {
        self.fields.holds(header) || self.secret.as_ref().is_some_and(|(own, _)| folds(own, header))
    }

    fn write(&self, user: Option<&DetachedUser>, headers: &mut HeaderMap) -> Result<(), Unwritable> {
        if self.problem.is_some() {
            return Err(Unwritable::Configuration);
        }
        user.map_or(Ok(()), |user| self.fields.write(user, headers))
    }
}

impl Unit for Config {
    type Owed = Nothing;

    fn on_request(&self, parts: &mut request::Parts) -> Result<Nothing, Refusal> {
        let user = self.user(parts);
        let goes = |header: &HeaderName| self.writes(header) || name::is_identity(header);
        remove_where(&mut parts.headers, goes);
        unlist(&mut parts.headers, goes);
        let written = user.and_then(|user| {
            self.write(user.as_ref(), &mut parts.headers).map_err(|_| RefusalKind::IdentityUnwritable)
        });
        if let Err(refusal) = written {
            if !self.exempt.contains(parts) {
                return Err(refusal.into());
            }
            remove_where(&mut parts.headers, goes);
        }
        if let (Some((header, secret)), None) = (&self.secret, &self.problem) {
            let value = secret.to_header().ok_or(RefusalKind::IdentityUnwritable)?;
            parts.headers.try_insert(header, value).map_err(|_| RefusalKind::IdentityUnwritable)?;
        }
        Ok(Nothing)
    }

    fn when_disabled(parts: &mut request::Parts) -> Nothing {
        remove_where(&mut parts.headers, name::is_identity);
        Nothing
    }
}
