//! What the layers know, in the spans of `tracing`.
//!
//! These are plain functions in the shapes that `tower_http::trace::TraceLayer` takes, and this crate does not depend on
//! it: any other middleware that opens a span can call them. The feature is `tracing`.
//!
//! | field | is | from |
//! |---|---|---|
//! | `http.request.method` | the method | the request |
//! | `network.peer.address` | the other end of the socket, without its port | [`PeerAddr`] |
//! | `client.address` | the client | [`Proxied`] |
//! | `client.outcome` | how the walk to the client ended, such as `Resolved` | [`Proxied`] |
//! | `url.full` | origin, prefix and path as the browser sees them, **without the query** | [`PublicUrl`], [`ScriptName`] |
//! | `enduser.id` | the user's name | [`Identity`] |
//! | `http.response.status_code` | the status | the response |
//! | `refusal` | why a layer answered itself, such as `HostNotAllowed` | [`Refusal`] |
//! | `route`, `outcome` | the member that answered, and what became of the pin (feature `sticky-route`) | `sticky_route::Decision` |
//!
//! Those with a dot are OpenTelemetry's, but for `client.outcome`. What is not known stays empty.
//!
//! # Where the layer stands
//!
//! A span is opened before the layers within have run.
//!
//! - **Inside** of the layers ([`request_span`] alone), all fields are there from the start. A request that one of them
//!   refuses opens no span.
//! - **Outside**, each request has a span, refused ones too, and [`record_request`] inside of the layers fills in what they
//!   found. It is made for `tower`'s `map_request`.
//!
//! Either way the server, or [`PeerAddr::layer`] outside, must have said who the peer is.
//!
//! # Cost and limits
//!
//! `url.full` is a text of its own for each request, and only where a subscriber wants the span. Nothing is recorded of
//! headers, cookies, secrets and the query. A *path* that holds a secret, such as one that resets a password, is recorded
//! as it is: filter those routes, or open a span of your own and call [`record_request`] for none of it.
//!
//! Of a user the name is recorded, and nothing else: where that is personal data which logs must not have, drop the field
//! in the subscriber.
//!
//! # Example
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use http::Request;
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_http::trace::TraceLayer;
//! use tower_proxied::{ForwardedForLayer, PeerAddr, TrustedProxies, trace};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app = Router::new().route("/", get(async || "home")).layer(
//!     ServiceBuilder::new()
//!         .layer(PeerAddr::layer("10.0.0.5:4711".parse::<std::net::SocketAddr>()?))
//!         .layer(
//!             TraceLayer::new_for_http()
//!                 .make_span_with(trace::request_span)
//!                 .on_response(trace::record_response),
//!         )
//!         .layer(ForwardedForLayer::x_forwarded_for(TrustedProxies::parse(["10.0.0.0/8"])?))
//!         .map_request(trace::record_request),
//! );
//! // With the subscriber of tracing-subscriber, `GET /` logs
//! // INFO request{http.request.method="GET" network.peer.address=10.0.0.5 client.outcome=Resolved
//! //     client.address=192.0.2.7 http.response.status_code=200}: tower_proxied::trace: response latency=49.4µs
//! let request = Request::get("/").header("x-forwarded-for", "192.0.2.7").body(Body::empty())?;
//! assert_eq!(app.oneshot(request).await?.status(), 200);
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use http::{Extensions, Request, Response, Uri};
use tracing::Span;
use tracing::field::{Empty, debug, display};

use crate::forced_host::PublicUrl;
use crate::forwarded_for::Proxied;
use crate::proxy_remote_user::Identity;
use crate::refusal::Refusal;
use crate::script_name_prefix::ScriptName;
use crate::trust::PeerAddr;

/// A span of the level `INFO`, with all [fields](crate::trace) of which something is known: for
/// `TraceLayer::make_span_with`.
pub fn request_span<B>(request: &Request<B>) -> Span {
    let span = tracing::info_span!(
        "request",
        http.request.method = request.method().as_str(),
        network.peer.address = Empty,
        client.address = Empty,
        client.outcome = Empty,
        url.full = Empty,
        enduser.id = Empty,
        http.response.status_code = Empty,
        refusal = Empty,
        route = Empty,
        outcome = Empty,
    );
    if span.is_disabled() {
        return span;
    }
    match PeerAddr::of(request.extensions()) {
        Some(PeerAddr::Tcp(address)) => {
            span.record("network.peer.address", display(address.ip().to_canonical()));
        }
        Some(peer) => drop(span.record("network.peer.address", display(peer))),
        None => {}
    }
    record(&span, request.uri(), request.extensions());
    span
}

/// Fills in, in the current span, what the layers outside of this function found: for `ServiceBuilder::map_request`
/// inside of them, where [`request_span`] stands outside and knew nothing of it. The request is handed on as it is.
pub fn record_request<B>(request: Request<B>) -> Request<B> {
    record(&Span::current(), request.uri(), request.extensions());
    request
}

/// Fills in what became of the request, and emits an event of the level `INFO`: for `TraceLayer::on_response`.
pub fn record_response<B>(response: &Response<B>, latency: Duration, span: &Span) {
    span.record("http.response.status_code", response.status().as_u16());
    if let Some(refusal) = response.extensions().get::<Refusal>() {
        span.record("refusal", debug(refusal.kind()));
    }
    #[cfg(feature = "sticky-route")]
    if let Some(decision) = response.extensions().get::<crate::sticky_route::Decision>() {
        if let Some(route) = decision.route() {
            span.record("route", route.as_str());
        }
        span.record("outcome", display(decision.outcome()));
    }
    tracing::info!(parent: span, ?latency, "response");
}

fn record(span: &Span, uri: &Uri, extensions: &Extensions) {
    if span.is_disabled() {
        return;
    }
    if let Some(proxied) = extensions.get::<Proxied>() {
        span.record("client.outcome", debug(proxied.outcome()));
        if let Some(client) = proxied.client() {
            span.record("client.address", display(client));
        }
    }
    if let Some(public) = extensions.get::<PublicUrl>() {
        span.record("url.full", full(public, uri, extensions.get()).as_str());
    }
    if let Some(user) = extensions.get::<Identity>().and_then(Identity::user) {
        span.record("enduser.id", user.name());
    }
}

/// A query may hold what nobody should read in a log.
fn full(public: &PublicUrl, uri: &Uri, script_name: Option<&ScriptName>) -> String {
    let public_path = script_name.map(ScriptName::public_path);
    match &public_path {
        Some(path) => {
            format!("{}{}", public.origin(), path.split_once('?').map_or(&**path, |(path, _)| path))
        }
        None if uri.path().starts_with('/') => format!("{public}{}", uri.path()),
        None => public.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use http::request;

    use super::*;

    fn parts(target: &str) -> request::Parts {
        Request::builder().uri(target).body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_url_is_that_of_the_browser_without_its_query() {
        let public = PublicUrl::from_static("https://www.example.org/webapps");
        for (target, url) in [
            ("/a//b?token=secret", "https://www.example.org/webapps/a//b"),
            ("/", "https://www.example.org/webapps/"),
            ("http://app?token=secret", "https://www.example.org/webapps/"),
            ("*", "https://www.example.org/webapps"),
        ] {
            assert_eq!(full(&public, &parts(target).uri, None), url, "{target}");
        }
        let arrived = ScriptName::passed_by("/webapps/a?token=secret".parse().unwrap());
        let uri = parts("/a?token=secret").uri;
        assert_eq!(full(&public, &uri, Some(&arrived)), "https://www.example.org/webapps/a");
    }
}
