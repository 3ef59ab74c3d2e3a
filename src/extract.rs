//! Extractors for axum.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header, request};

use crate::forced_host::PublicUrl;

/// The [`PublicUrl`] that [`ForcedHost`](crate::ForcedHost) leaves.
///
/// `Option<PublicUrl>` is for handlers that serve exempt paths too.
impl<S: Send + Sync> FromRequestParts<S> for PublicUrl {
    type Rejection = PublicUrlRejection;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Self>().cloned().ok_or(PublicUrlRejection)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for PublicUrl {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

/// A handler wants the [`PublicUrl`], and no [`ForcedHost`](crate::ForcedHost) left one: 500, with a text that says
/// so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicUrlRejection;

impl std::fmt::Display for PublicUrlRejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "layer missing: PublicUrl needs ForcedHostLayer around the router, and a path that is not exempt",
        )
    }
}

impl std::error::Error for PublicUrlRejection {}

impl IntoResponse for PublicUrlRejection {
    fn into_response(self) -> Response {
        let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
        (StatusCode::INTERNAL_SERVER_ERROR, no_store, self.to_string()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn public_url() {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        let rejection =
            <PublicUrl as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await.unwrap_err();
        assert!(rejection.to_string().contains("ForcedHostLayer"));
        assert_eq!(rejection.into_response().status(), 500);
        let none = <PublicUrl as OptionalFromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
        assert_eq!(none, Ok(None));

        let public = PublicUrl::from_static("https://example.com/app");
        parts.extensions.insert(public.clone());
        let found = <PublicUrl as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
        assert_eq!(found, Ok(public));
    }
}
