//! Extractors for axum: what the layers leave in a request, as arguments of handlers.

/// `RemoteUser`, `Option<RemoteUser>` and `Identity`.
mod identity {
    use axum::extract::{FromRequestParts, OptionalFromRequestParts};
    use http::{header, request};

    use crate::proxy_remote_user::{CHALLENGE, Identity, RemoteUser};
    use crate::refusal::{Refusal, RefusalKind};

    /// 500 without the layer.
    impl<S: Sync> FromRequestParts<S> for Identity {
        type Rejection = Refusal;

        async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Refusal> {
            parts.extensions.get::<Self>().cloned().ok_or_else(|| RefusalKind::IdentityMissing.into())
        }
    }

    /// 500 without the layer, 401 for nobody.
    impl<S: Sync> FromRequestParts<S> for RemoteUser {
        type Rejection = Refusal;

        async fn from_request_parts(parts: &mut request::Parts, state: &S) -> Result<Self, Refusal> {
            let user = <Self as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await?;
            user.ok_or_else(|| {
                Refusal::from(RefusalKind::NotAuthenticated).with_header(header::WWW_AUTHENTICATE, CHALLENGE)
            })
        }
    }

    /// 500 without the layer: `None` is nobody, for certain.
    impl<S: Sync> OptionalFromRequestParts<S> for RemoteUser {
        type Rejection = Refusal;

        async fn from_request_parts(parts: &mut request::Parts, state: &S) -> Result<Option<Self>, Refusal> {
            let identity = <Identity as FromRequestParts<S>>::from_request_parts(parts, state).await?;
            Ok(identity.user().cloned())
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
            let response = ask("/user", nobody()).await;
            assert_eq!(response.status(), 401);
            assert_eq!(response.headers()["www-authenticate"], "RemoteUser");
            assert_eq!(response.extensions().get::<Refusal>().unwrap().kind(), RefusalKind::NotAuthenticated);
            assert_eq!(text(ask("/maybe", nobody()).await).await, "false");
            assert_eq!(text(ask("/identity", nobody()).await).await, "Anonymous(Absent)");
        }

        #[tokio::test]
        async fn somebody() {
            let alice = || Some(Identity::User(RemoteUser::for_test(DetachedUser::new("alice"))));
            assert_eq!(text(ask("/user", alice()).await).await, "alice");
            assert_eq!(text(ask("/maybe", alice()).await).await, "true");
        }
    }
}

/// As the layers render it over plain HTTP.
impl axum::response::IntoResponse for crate::Refusal {
    fn into_response(self) -> axum::response::Response {
        let rendered: http::Response<crate::body::ResponseBody<axum::body::Body>> =
            Self::into_response(self, crate::refusal::Caller::Http);
        rendered.map(axum::body::Body::new)
    }
}
