use std::fmt;
use std::sync::Arc;

use http::{HeaderName, request};

use crate::future::Nothing;
use crate::header_map::{remove_where, unlist};
use crate::proxy_remote_user::fields::{Fields, put_once};
use crate::proxy_remote_user::{DetachedUser, Encoding, Groups, Identity, Secret};
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
    /// 2. Their names leave `Connection`, so that no proxy further in removes what is written here
    ///    (CVE-2024-45410, CVE-2022-31813).
    /// 3. The user's headers are written: the name, the groups, the name for display and the address for mail, as far
    ///    as the user has them. For nobody, none is written. What the reader on the other side would refuse or read
    ///    otherwise (a comma in the name, a separator in a group, a control character) is not written but refused with
    ///    500, [`RefusalKind::IdentityUnwritable`]; so is a header that was given two roles. Realm and extra attributes
    ///    have no header and stay here.
    /// 4. The secret is written, for nobody too: it proves who wrote, or did not write, the user.
    ///
    /// All written values are marked as sensitive. A [disabled](Self::disabled) layer removes the well-known headers
    /// and writes nothing.
    ///
    /// [`ProxyRemoteUser`](crate::ProxyRemoteUser) reads the same user on the other side when both have the same
    /// headers, encoding and separator.
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

    fn from_source(source: Source) -> Self {
        Config { source, fields: Fields::default(), secret: None, exempt: ExemptPaths::default() }.into()
    }

    /// Also writes this secret, which [`Proof::shared_secret`](crate::Proof::shared_secret) asks for on the other
    /// side.
    pub fn shared_secret(mut self, header: HeaderName, secret: Secret) -> Self {
        edit(&mut self.config, |config| config.secret = Some((header, secret)));
        self
    }

    /// The header for the user's name. `remote-user` unless said.
    pub fn user_header(mut self, header: HeaderName) -> Self {
        edit(&mut self.config, |config| config.fields.users = vec![header]);
        self
    }

    /// The header for the groups. `remote-groups` unless said; `None` writes none.
    pub fn groups_header(mut self, header: impl Into<Option<HeaderName>>) -> Self {
        edit(&mut self.config, |config| config.fields.groups = header.into());
        self
    }

    /// The header for the name for display. `remote-name` unless said; `None` writes none.
    pub fn name_header(mut self, header: impl Into<Option<HeaderName>>) -> Self {
        edit(&mut self.config, |config| config.fields.name = header.into());
        self
    }

    /// The header for the address for mail. `remote-email` unless said; `None` writes none.
    pub fn email_header(mut self, header: impl Into<Option<HeaderName>>) -> Self {
        edit(&mut self.config, |config| config.fields.email = header.into());
        self
    }

    /// The header for the id that stays when the name changes. None unless said.
    pub fn uid_header(mut self, header: impl Into<Option<HeaderName>>) -> Self {
        edit(&mut self.config, |config| config.fields.uid = header.into());
        self
    }

    /// How groups are written. [`Groups::Comma`] unless said.
    pub fn groups(mut self, groups: Groups) -> Self {
        edit(&mut self.config, |config| config.fields.grouping = groups);
        self
    }

    /// How text is written. [`Encoding::Utf8`] unless said.
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        edit(&mut self.config, |config| config.fields.encoding = encoding);
        self
    }

    /// A path that is never refused: a user who cannot be written is nobody there.
    pub fn exempt_path(mut self, path: &str) -> Self {
        edit(&mut self.config, |config| config.exempt.add(path));
        self
    }
}

#[derive(Clone, Debug)]
struct Config {
    source: Source,
    fields: Fields,
    secret: Option<(HeaderName, Secret)>,
    exempt: ExemptPaths,
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
        let folds =
            |own: &HeaderName| name::fold_together(own.as_str().as_bytes(), header.as_str().as_bytes());
        self.fields.holds(header) || self.secret.as_ref().is_some_and(|(own, _)| folds(own))
    }

    fn write(
        &self,
        user: Result<Option<DetachedUser>, RefusalKind>,
        parts: &mut request::Parts,
    ) -> Result<(), RefusalKind> {
        if let Some(user) = user? {
            self.fields.write(&user, &mut parts.headers).map_err(|_| RefusalKind::IdentityUnwritable)?;
        }
        Ok(())
    }
}

impl Unit for Config {
    type Owed = Nothing;

    fn on_request(&self, parts: &mut request::Parts) -> Result<Nothing, Refusal> {
        let user = self.user(parts);
        let goes = |header: &HeaderName| self.writes(header) || name::is_identity(header);
        remove_where(&mut parts.headers, goes);
        unlist(&mut parts.headers, goes);
        if let Err(refusal) = self.write(user, parts) {
            if !self.exempt.contains(parts) {
                return Err(refusal.into());
            }
            remove_where(&mut parts.headers, goes);
        }
        if let Some((header, secret)) = &self.secret {
            let value = secret.to_header().ok_or(RefusalKind::IdentityUnwritable)?;
            put_once(&mut parts.headers, header, value).map_err(|_| RefusalKind::IdentityUnwritable)?;
        }
        Ok(Nothing)
    }

    fn when_disabled(parts: &mut request::Parts) -> Nothing {
        remove_where(&mut parts.headers, name::is_identity);
        Nothing
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;
    use crate::proxy_remote_user::{Anonymous, RemoteUser};

    fn parts(user: Option<DetachedUser>) -> request::Parts {
        let mut request = Request::new(());
        for (name, value) in [
            ("remote-user", "admin"),
            ("remote_groups", "admins"),
            ("x-webauth-user", "admin"),
            ("x-secret", "guess"),
            ("connection", "close, Remote-User, x-secret"),
            ("accept", "*/*"),
        ] {
            request.headers_mut().append(name, HeaderValue::from_static(value));
        }
        if let Some(user) = user {
            request.extensions_mut().insert(user);
        }
        request.into_parts().0
    }

    fn secret() -> Secret {
        Secret::parse("correct-horse-battery").unwrap()
    }

    fn run(layer: SetRemoteUserLayer, mut parts: request::Parts) -> Result<Vec<String>, RefusalKind> {
        let config = layer.config.unwrap();
        config.on_request(&mut parts).map_err(|refusal| refusal.kind())?;
        let mut lines: Vec<String> = parts
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.as_bytes().escape_ascii()))
            .collect();
        lines.sort();
        Ok(lines)
    }

    #[test]
    fn replaces_what_the_client_sent() {
        let layer = SetRemoteUserLayer::from_detached_user()
            .shared_secret(HeaderName::from_static("x-secret"), secret());
        let user = DetachedUser::new("André").with_groups(["dev", "ops"]).with_display_name("A, B");
        assert_eq!(
            run(layer, parts(Some(user))).unwrap(),
            [
                "accept: */*",
                "connection: close",
                "remote-groups: dev,ops",
                "remote-name: A, B",
                "remote-user: Andr\\xc3\\xa9",
                "x-secret: correct-horse-battery",
            ]
        );
    }

    #[test]
    fn nobody_has_no_headers_but_the_secret() {
        for user in [None, Some(DetachedUser::new("").with_groups(["admins"]))] {
            let layer = SetRemoteUserLayer::from_detached_user()
                .shared_secret(HeaderName::from_static("x-secret"), secret());
            let lines = run(layer, parts(user)).unwrap();
            assert_eq!(lines, ["accept: */*", "connection: close", "x-secret: correct-horse-battery"]);
        }
    }

    #[test]
    fn what_cannot_be_carried_is_refused() {
        for user in [
            DetachedUser::new("a,b"),
            DetachedUser::new("a\nb"),
            DetachedUser::new(" a"),
            DetachedUser::new("(null)"),
            DetachedUser::new("a\u{200b}"),
            DetachedUser::new("a".repeat(257)),
            DetachedUser::new("a").with_groups(["x,y"]),
            DetachedUser::new("a").with_groups([""]),
            DetachedUser::new("a").with_email("a@x,b@x"),
        ] {
            let layer = SetRemoteUserLayer::from_detached_user();
            let text = format!("{user:?}");
            assert_eq!(run(layer, parts(Some(user))), Err(RefusalKind::IdentityUnwritable), "{text}");
        }
        let lines = DetachedUser::new("a").with_groups(["x,y"]);
        let layer = SetRemoteUserLayer::from_detached_user().groups(Groups::PerLine);
        assert!(run(layer, parts(Some(lines))).unwrap().contains(&"remote-groups: x,y".to_owned()));
    }

    #[test]
    fn a_header_with_two_roles_is_refused() {
        let header = || HeaderName::from_static("remote-user");
        let user = || DetachedUser::new("alice").with_email("root@x").with_groups(["dev"]);
        for layer in [
            SetRemoteUserLayer::from_detached_user().email_header(header()),
            SetRemoteUserLayer::from_detached_user().groups_header(header()),
            SetRemoteUserLayer::from_detached_user().shared_secret(header(), secret()),
        ] {
            assert_eq!(run(layer, parts(Some(user()))), Err(RefusalKind::IdentityUnwritable));
        }
    }

    #[test]
    fn on_an_exempt_path_nothing_is_half_written() {
        let mut parts = parts(Some(DetachedUser::new("a").with_groups(["x,y"])));
        parts.uri = "/healthz".parse().unwrap();
        let layer = SetRemoteUserLayer::from_detached_user().exempt_path("/healthz");
        let lines = run(layer, parts).unwrap();
        assert_eq!(lines, ["accept: */*", "connection: close, x-secret", "x-secret: guess"]);
    }

    #[test]
    fn an_identity_is_asked_for() {
        let run = |identity: Option<Identity>| {
            let mut parts = parts(None);
            identity.map(|identity| parts.extensions.insert(identity));
            run(SetRemoteUserLayer::from_identity(), parts)
        };
        assert_eq!(run(None), Err(RefusalKind::IdentityMissing));
        assert!(!format!("{:?}", run(Some(Identity::Anonymous(Anonymous::Absent)))).contains("remote-user"));
        let alice = Identity::User(RemoteUser::for_test(DetachedUser::new("alice")));
        assert!(run(Some(alice)).unwrap().contains(&"remote-user: alice".to_owned()));
    }

    #[test]
    fn a_disabled_writer_drains() {
        let mut parts = parts(Some(DetachedUser::new("alice")));
        Config::when_disabled(&mut parts);
        assert!(!parts.headers.keys().any(name::is_identity));
    }

    #[test]
    fn debug_shows_no_secret() {
        let layer = SetRemoteUserLayer::from_detached_user()
            .shared_secret(HeaderName::from_static("x-secret"), secret());
        assert!(!format!("{layer:?}").contains("horse"));
    }
}
