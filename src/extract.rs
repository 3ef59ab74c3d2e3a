//! axum: extractors of what the layers leave, and the peer address of a connection for
//! `into_make_service_with_connect_info::<PeerAddr>()`.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::connect_info::Connected;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use http::request;

use crate::body::ResponseBody;
use crate::forced_host::PublicUrl;
use crate::forwarded_for::Proxied;
use crate::proxy_remote_user::{CHALLENGE, Identity, RemoteUser, refuse_nobody};
use crate::refusal::{Caller, Refusal, RefusalKind};
use crate::script_name_prefix::ScriptName;
use crate::trust::PeerAddr;

macro_rules! extract {
    ($($wanted:ident or $missing:ident;)+) => {$(
        /// 500 without the layer, with a text that names it.
        impl<S: Send + Sync> FromRequestParts<S> for $wanted {
            type Rejection = Refusal;

            async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Refusal> {
                parts.extensions.get::<Self>().cloned().ok_or_else(|| RefusalKind::$missing.into())
            }
        }

    )+};
}

extract! {
    Proxied or ProxiedMissing;
    Identity or IdentityMissing;
    PublicUrl or PublicUrlMissing;
    ScriptName or ScriptNameMissing;
}

macro_rules! extract_optional {
    ($($wanted:ident;)+) => {$(
        /// For handlers that serve exempt paths too.
        impl<S: Send + Sync> OptionalFromRequestParts<S> for $wanted {
            type Rejection = Infallible;

            async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Option<Self>, Infallible> {
                Ok(parts.extensions.get::<Self>().cloned())
            }
        }
    )+};
}

extract_optional! {
    Proxied;
    PublicUrl;
    ScriptName;
}

/// The client's address, as [`ForwardedFor`](crate::ForwardedFor) found it: [`Proxied::client`] for those who need
/// nothing else of it.
///
/// As an extractor of axum it wants a client: a request without one is refused with 400, and says in its [`Refusal`]
/// why there is none. `Option<ClientIp>` takes such requests, too. Without the layer both answer 500 with a text that
/// names it.
///
/// It needs the feature `axum`.
///
/// # Example
///
/// ```
/// use axum::{Router, body::Body, routing::get};
/// use http::Request;
/// use tower::ServiceExt;
/// use tower_proxied::{ClientIp, ForwardedForLayer, PeerAddr, TrustedProxies};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let app = Router::new()
///     .route("/", get(|ClientIp(client): ClientIp| async move { client.to_string() }))
///     .layer(ForwardedForLayer::x_forwarded_for(TrustedProxies::parse(["10.0.0.0/8"])?))
///     .layer(PeerAddr::layer(PeerAddr::Tcp(([10, 0, 0, 5], 4711).into())));
/// let ask = async |clients: &str| {
///     let request = Request::get("/").header("x-forwarded-for", clients).body(Body::empty());
///     app.clone().oneshot(request.expect("a request")).await
/// };
/// let response = ask("6.6.6.6, 192.0.2.7").await?;
/// assert_eq!(axum::body::to_bytes(response.into_body(), 1024).await?, "192.0.2.7");
/// assert_eq!(ask("unknown").await?.status(), 400, "the proxy hides the client");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientIp(pub IpAddr);

/// 500 without the layer; 400 where it found no client.
impl<S: Send + Sync> FromRequestParts<S> for ClientIp {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Refusal> {
        let proxied = proxied(parts)?;
        let why = || proxied.outcome().refusal().unwrap_or(RefusalKind::ClientMissing);
        proxied.client().map(Self).ok_or_else(|| why().into())
    }
}

/// 500 without the layer: `None` is a request without a client, for certain.
impl<S: Send + Sync> OptionalFromRequestParts<S> for ClientIp {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Option<Self>, Refusal> {
        Ok(proxied(parts)?.client().map(Self))
    }
}

fn proxied(parts: &request::Parts) -> Result<&Proxied, RefusalKind> {
    parts.extensions.get().ok_or(RefusalKind::ProxiedMissing)
}

/// 500 without the layer; 401 for nobody, as of a layer that is `required()`.
impl<S: Send + Sync> FromRequestParts<S> for RemoteUser {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut request::Parts, state: &S) -> Result<Self, Refusal> {
        match <Identity as FromRequestParts<S>>::from_request_parts(parts, state).await? {
            Identity::User(user) => Ok(user),
            Identity::Anonymous(why) => Err(refuse_nobody(why, &CHALLENGE)),
        }
    }
}

/// 500 without the layer: `None` is nobody, for certain.
impl<S: Send + Sync> OptionalFromRequestParts<S> for RemoteUser {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut request::Parts, state: &S) -> Result<Option<Self>, Refusal> {
        let identity = <Identity as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        Ok(identity.user().cloned())
    }
}

impl Connected<IncomingStream<'_, tokio::net::TcpListener>> for PeerAddr {
    fn connect_info(stream: IncomingStream<'_, tokio::net::TcpListener>) -> Self {
        Self::Tcp(*stream.remote_addr())
    }
}

#[cfg(unix)]
impl Connected<IncomingStream<'_, tokio::net::UnixListener>> for PeerAddr {
    fn connect_info(_: IncomingStream<'_, tokio::net::UnixListener>) -> Self {
        Self::Unix
    }
}

/// As the layers render it over plain HTTP.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let rendered: http::Response<ResponseBody<axum::body::Body>> =
            Self::into_response(self, Caller::Http);
        rendered.map(axum::body::Body::new)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::response::Response;
    use axum::routing::get;
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::proxy_remote_user::{Anonymous, DetachedUser};

    async fn ask(path: &str, identity: Option<Identity>) -> Response {
        let app = Router::new()
            .route("/user", get(|user: RemoteUser| async move { user.name().to_owned() }))
            .route("/maybe", get(|user: Option<RemoteUser>| async move { user.is_some().to_string() }))
            .route("/identity", get(|identity: Identity| async move { format!("{identity:?}") }));
        let mut request = Request::builder().uri(path).body(Body::empty()).unwrap();
        identity.map(|identity| request.extensions_mut().insert(identity));
        app.oneshot(request).await.unwrap()
    }

    async fn text(response: Response) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn without_the_layer_each_says_which_one() {
        for path in ["/user", "/maybe", "/identity"] {
            let response = ask(path, None).await;
            assert_eq!(response.status(), 500, "{path}");
            assert!(text(response).await.contains("ProxyRemoteUserLayer"), "{path}");
        }
    }

    #[tokio::test]
    async fn nobody() {
        let nobody = || Some(Identity::Anonymous(Anonymous::Absent));
        for (why, kind) in [
            (Anonymous::Absent, RefusalKind::NotAuthenticated),
            (Anonymous::Unproven, RefusalKind::NotProven),
            (Anonymous::NoPeer, RefusalKind::NotProven),
        ] {
            let response = ask("/user", Some(Identity::Anonymous(why))).await;
            assert_eq!(response.status(), 401);
            assert_eq!(response.headers()["www-authenticate"], "RemoteUser");
            assert_eq!(response.extensions().get::<Refusal>().unwrap().kind(), kind, "{why}");
        }
        assert_eq!(text(ask("/maybe", nobody()).await).await, "false");
        assert_eq!(text(ask("/identity", nobody()).await).await, "Anonymous(Absent)");
    }

    /// The proxy may have named a user: the refusal must not say that it did not.
    #[tokio::test]
    async fn nobody_for_want_of_a_proof() {
        for why in [Anonymous::Unproven, Anonymous::NoPeer] {
            let response = ask("/user", Some(Identity::Anonymous(why))).await;
            assert_eq!(response.status(), 401);
            assert_eq!(response.headers()["www-authenticate"], "RemoteUser");
            assert_eq!(response.extensions().get::<Refusal>().unwrap().kind(), RefusalKind::NotProven);
        }
    }

    #[tokio::test]
    async fn somebody() {
        let alice = || Some(Identity::User(RemoteUser::for_test(DetachedUser::new("alice"))));
        assert_eq!(text(ask("/user", alice()).await).await, "alice");
        assert_eq!(text(ask("/maybe", alice()).await).await, "true");
    }

    #[tokio::test]
    async fn what_a_layer_left_or_which_layer_is_missing() {
        let (mut parts, ()) = Request::new(()).into_parts();
        let missing = <PublicUrl as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
        let missing = missing.unwrap_err();
        assert!(missing.to_string().contains("ForcedHostLayer"), "{missing}");
        assert_eq!(missing.status(), 500);
        let none = <PublicUrl as OptionalFromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
        assert_eq!(none, Ok(None));

        let missing = <ScriptName as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
        assert!(missing.unwrap_err().to_string().contains("ScriptNamePrefixLayer"));
        let missing = <Proxied as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
        assert!(missing.unwrap_err().to_string().contains("ForwardedForLayer"));

        let public = PublicUrl::from_static("https://example.com/app");
        parts.extensions.insert(public.clone());
        let found = <PublicUrl as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
        assert_eq!(found, Ok(public));
    }
}
