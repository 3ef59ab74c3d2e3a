use http::{HeaderValue, request};

use super::identity::{Identity, RemoteUser};
use super::{CHALLENGE, refuse_nobody};
use crate::future::Nothing;
use crate::refusal::{Refusal, RefusalKind};
use crate::shell::{ExemptPaths, Unit, edit, shell};

shell! {
    /// Layer of [`RequireGroup`]: only users of some groups come in.
    ///
    /// # What it decides, in order
    ///
    /// 1. An [exempt path](Self::exempt_path) passes.
    /// 2. No [`Identity`] in the extensions: 500, [`RefusalKind::IdentityMissing`]. A
    ///    [`ProxyRemoteUserLayer`](crate::ProxyRemoteUserLayer) must stand outside of this one.
    /// 3. Nobody: 401 with `WWW-Authenticate`, [`RefusalKind::NotAuthenticated`] or [`RefusalKind::NotProven`]; gRPC 16.
    /// 4. A user who is not in the groups: 403, [`RefusalKind::NotInGroup`]; gRPC 7.
    ///
    /// Case counts. A [disabled](Self::disabled) layer lets everybody through.
    ///
    /// # Cost
    ///
    /// Each group that is asked for is compared with each of the user's. It allocates nothing.
    ///
    /// # Example
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use http::Request;
    /// use tower::ServiceExt;
    /// use tower_proxied::proxy_remote_user::RequireGroupLayer;
    /// use tower_proxied::{PeerAddr, Proof, ProxyRemoteUserLayer, TrustedProxies};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let app = Router::new()
    ///     .route("/admin", get(|| async { "hello" }))
    ///     .route_layer(RequireGroupLayer::group("ops"))
    ///     .route("/", get(|| async { "welcome" }))
    ///     .layer(ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::parse(["10.0.0.5"])?)).build()?)
    ///     .layer(PeerAddr::layer(PeerAddr::Tcp(([10, 0, 0, 5], 4711).into())));
    /// let status = async |path: &str, groups: &str| {
    ///     let request = Request::get(path).header("remote-user", "alice").header("remote-groups", groups);
    ///     let request = request.body(axum::body::Body::empty()).expect("a request");
    ///     app.clone().oneshot(request).await.expect("infallible").status()
    /// };
    /// assert_eq!(status("/admin", "dev,ops").await, 200);
    /// assert_eq!(status("/admin", "dev").await, 403);
    /// assert_eq!(status("/", "dev").await, 200);
    /// # Ok(())
    /// # }
    /// ```
    layer RequireGroupLayer;
    /// Lets only users of some groups in; see [`RequireGroupLayer`].
    service RequireGroup;
    unit Config, owes Nothing;
}

impl RequireGroupLayer {
    /// Users of this group.
    pub fn group(group: impl Into<Box<str>>) -> Self {
        Self::any_of([group])
    }

    /// Users who are in at least one of these groups. Of none, that is nobody.
    pub fn any_of<I>(groups: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Box<str>>,
    {
        Self::asking(Groups::AnyOf(groups.into_iter().map(Into::into).collect()))
    }

    /// Users who are in all of these groups. Of none, that is nobody too: an empty list is a mistake, and opens
    /// nothing.
    pub fn all_of<I>(groups: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Box<str>>,
    {
        Self::asking(Groups::AllOf(groups.into_iter().map(Into::into).collect()))
    }

    /// What `WWW-Authenticate` of the 401 says. `RemoteUser` unless said.
    pub fn challenge(mut self, challenge: HeaderValue) -> Self {
        edit(&mut self.config, |config| config.challenge = challenge);
        self
    }

    /// A path that is never refused, compared with the path as this layer sees it: axum's `nest` takes the prefix off.
    pub fn exempt_path(mut self, path: &str) -> Self {
        edit(&mut self.config, |config| config.exempt.add(path));
        self
    }

    fn asking(groups: Groups) -> Self {
        Config { groups, challenge: CHALLENGE, exempt: ExemptPaths::default() }.into()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Config {
    groups: Groups,
    challenge: HeaderValue,
    exempt: ExemptPaths,
}

#[derive(Clone, Debug)]
enum Groups {
    AnyOf(Vec<Box<str>>),
    AllOf(Vec<Box<str>>),
}

impl Groups {
    fn admit(&self, user: &RemoteUser) -> bool {
        match self {
            Self::AnyOf(groups) => groups.iter().any(|group| user.in_group(group)),
            Self::AllOf(groups) => !groups.is_empty() && groups.iter().all(|group| user.in_group(group)),
        }
    }
}

impl Unit for Config {
    type Owed = Nothing;

    fn on_request(&self, parts: &mut request::Parts) -> Result<Nothing, Refusal> {
        if self.exempt.contains(parts) {
            return Ok(Nothing);
        }
        match parts.extensions.get::<Identity>() {
            None => Err(RefusalKind::IdentityMissing.into()),
            Some(Identity::Anonymous(why)) => Err(refuse_nobody(*why, &self.challenge)),
            Some(Identity::User(user)) if self.groups.admit(user) => Ok(Nothing),
            Some(Identity::User(_)) => Err(RefusalKind::NotInGroup.into()),
        }
    }

    fn when_disabled(_: &mut request::Parts) -> Nothing {
        Nothing
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};

    use super::*;
    use crate::proxy_remote_user::{Anonymous, DetachedUser};

    /// Status, `grpc-status` and challenge.
    async fn ask(
        layer: &RequireGroupLayer,
        identity: Option<Identity>,
        request: request::Builder,
    ) -> (u16, String, String) {
        let mut request = request.body(()).unwrap();
        request.extensions_mut().extend(
            identity
                .map(|identity| {
                    let mut extensions = http::Extensions::new();
                    extensions.insert(identity);
                    extensions
                })
                .unwrap_or_default(),
        );
        let inner = service_fn(async |_: Request<()>| Ok::<_, std::convert::Infallible>(Response::new(())));
        let mut service = layer.layer(inner);
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        let header = |name| {
            let value = response.headers().get(name).map(|value| value.to_str().unwrap());
            value.unwrap_or_default().to_owned()
        };
        (response.status().as_u16(), header("grpc-status"), header("www-authenticate"))
    }

    fn user(groups: &[&str]) -> Option<Identity> {
        let user = DetachedUser::new("alice").with_groups(groups.iter().copied());
        Some(Identity::User(RemoteUser::for_test(user)))
    }

    #[tokio::test]
    async fn any_all_or_none_of_the_groups() {
        let any = RequireGroupLayer::any_of(["ops", "dev"]);
        let all = RequireGroupLayer::all_of(["ops", "dev"]);
        let one = RequireGroupLayer::group("ops");
        for (groups, of_any, of_all, of_one) in [
            (&["ops", "dev"][..], 200, 200, 200),
            (&["ops"], 200, 403, 200),
            (&["x", "dev"], 200, 403, 403),
            (&["OPS", "Dev", "ops "], 403, 403, 403),
            (&[], 403, 403, 403),
        ] {
            for (layer, expected) in [(&any, of_any), (&all, of_all), (&one, of_one)] {
                let seen = ask(layer, user(groups), Request::builder()).await;
                assert_eq!(seen.0, expected, "{groups:?} {layer:?}");
            }
        }
        for empty in [RequireGroupLayer::any_of([""; 0]), RequireGroupLayer::all_of([""; 0])] {
            assert_eq!(ask(&empty, user(&["ops"]), Request::builder()).await.0, 403);
        }
    }

    #[tokio::test]
    async fn nobody_is_asked_who_he_is_and_a_missing_layer_is_named() {
        let layer = RequireGroupLayer::group("ops").challenge(HeaderValue::from_static("Negotiate"));
        for why in [Anonymous::Absent, Anonymous::Unproven, Anonymous::Disabled, Anonymous::Exempt] {
            let seen = ask(&layer, Some(Identity::Anonymous(why)), Request::builder()).await;
            assert_eq!(seen, (401, String::new(), "Negotiate".to_owned()), "{why:?}");
        }
        assert_eq!(ask(&layer, None, Request::builder()).await.0, 500);
        assert!(RefusalKind::IdentityMissing.to_string().contains("ProxyRemoteUserLayer"));
    }

    #[tokio::test]
    async fn in_the_protocol_of_grpc() {
        let layer = RequireGroupLayer::group("ops");
        let nobody = Some(Identity::Anonymous(Anonymous::Absent));
        for (identity, status) in [(nobody, "16"), (user(&["dev"]), "7"), (None, "13"), (user(&["ops"]), "")]
        {
            let request = Request::post("/").header("content-type", "application/grpc");
            let seen = ask(&layer, identity, request).await;
            assert_eq!((seen.0, &*seen.1), (200, status));
        }
    }

    #[tokio::test]
    async fn exempt_paths_and_a_disabled_layer_pass_everybody() {
        let layer = RequireGroupLayer::group("ops").exempt_path("/healthz");
        assert_eq!(ask(&layer, None, Request::get("/healthz?full")).await.0, 200);
        assert_eq!(ask(&layer, None, Request::get("/healthz/x")).await.0, 500);
        assert_eq!(ask(&RequireGroupLayer::disabled(), None, Request::builder()).await.0, 200);
    }
}
