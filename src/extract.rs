//! Extractors for axum.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::{HeaderName, StatusCode, header, request};

use crate::script_name_prefix::ScriptName;

/// The [`ScriptName`] that [`ScriptNamePrefix`](crate::ScriptNamePrefix) leaves; 500 naming the layer where it did
/// not run.
impl<S: Send + Sync> FromRequestParts<S> for ScriptName {
    type Rejection = (StatusCode, [(HeaderName, &'static str); 1], &'static str);

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Self::Rejection> {
        const MISSING: &str = "layer missing: ScriptName needs ScriptNamePrefixLayer around the router";
        let no_store = [(header::CACHE_CONTROL, "no-store")];
        let script_name = parts.extensions.get::<Self>().cloned();
        script_name.ok_or((StatusCode::INTERNAL_SERVER_ERROR, no_store, MISSING))
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for ScriptName {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn script_name() {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        let rejection = <ScriptName as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
        let (status, _, text) = rejection.unwrap_err();
        assert_eq!(status, 500);
        assert!(text.contains("ScriptNamePrefixLayer"));
        let none = <ScriptName as OptionalFromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
        assert_eq!(none, Ok(None));
    }
}
