//! axum: extractors of what the layers leave, and the peer address of a connection for
//! `into_make_service_with_connect_info::<PeerAddr>()`.

use std::convert::Infallible;
use std::fmt;

use axum::extract::connect_info::Connected;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use http::{HeaderValue, StatusCode, header, request};

use crate::forced_host::PublicUrl;
use crate::forwarded_for::Proxied;
use crate::script_name_prefix::ScriptName;
use crate::trust::PeerAddr;

/// A handler wants what no layer has left: 500, with a text that names the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerMissing {
    wanted: &'static str,
    layer: &'static str,
}

impl fmt::Display for LayerMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted, layer } = self;
        write!(f, "layer missing: {wanted} needs {layer} around the router, and a path that is not exempt")
    }
}

impl std::error::Error for LayerMissing {}

impl IntoResponse for LayerMissing {
    fn into_response(self) -> Response {
        let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
        (StatusCode::INTERNAL_SERVER_ERROR, no_store, self.to_string()).into_response()
    }
}

macro_rules! extract {
    ($($wanted:ident by $layer:ident;)+) => {$(
        #[doc = concat!("What [`", stringify!($layer), "`](crate::", stringify!($layer), ") leaves; 500 where it did not run.")]
        impl<S: Send + Sync> FromRequestParts<S> for $wanted {
            type Rejection = LayerMissing;

            async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, LayerMissing> {
                let missing = LayerMissing { wanted: stringify!($wanted), layer: stringify!($layer) };
                parts.extensions.get::<Self>().cloned().ok_or(missing)
            }
        }

        /// For handlers that serve exempt paths too.
        impl<S: Send + Sync> OptionalFromRequestParts<S> for $wanted {
            type Rejection = Infallible;

            async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Option<Self>, Infallible> {
                Ok(parts.extensions.get::<Self>().cloned())
            }
        }
    )+};
}

extract! {
    Proxied by ForwardedForLayer;
    PublicUrl by ForcedHostLayer;
    ScriptName by ScriptNamePrefixLayer;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_layer_left_or_which_layer_is_missing() {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        let missing = <PublicUrl as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await.unwrap_err();
        assert_eq!(
            missing.to_string(),
            "layer missing: PublicUrl needs ForcedHostLayer around the router, and a path that is not exempt"
        );
        assert_eq!(missing.into_response().status(), 500);
        let none = <PublicUrl as OptionalFromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
        assert_eq!(none, Ok(None));

        let public = PublicUrl::from_static("https://example.com/app");
        parts.extensions.insert(public.clone());
        let found = <PublicUrl as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
        assert_eq!(found, Ok(public));
    }
}
