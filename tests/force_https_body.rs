//! ForceHttpsBody over a real connection: lengths, chunks, trailers and validators as a client sees them.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceBuilder;
use tower_http::compression::CompressionLayer;
use tower_http::trace::TraceLayer;
use tower_proxied::forwarded_for::{Claims, Written};
use tower_proxied::{ForceHttpsBodyLayer, ForwardedForLayer, PeerAddr, TrustedProxies};

const PAGE: &str = r#"<base href="http://www.example.com/"><a href="http://h/">a</a><img src="http://h:80/x">"#;
const UPGRADED: &str =
    r#"<base href="https://www.example.com/"><a href="http://h/">a</a><img src="https://h/x">"#;
const CLEAN: &str = r#"<img src="/x">"#;

fn page(page: &'static str) -> Response<Body> {
    Response::builder()
        .header(header::CONTENT_TYPE, "text/html; charset=utf-8")
        .header(header::CONTENT_LENGTH, page.len())
        .header(header::ETAG, "\"v1\"")
        .body(page.into())
        .unwrap()
}

/// Three bytes at a time, and then a checksum and something else.
fn stream() -> Response<Body> {
    let frames = PAGE.as_bytes().chunks(3).map(|piece| Frame::data(Bytes::from_static(piece)));
    let trailers = ["repr-digest", "x-rows"]
        .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("sha-256=:AA==:")));
    let frames = frames.chain([Frame::trailers(HeaderMap::from_iter(trailers))]);
    let (send, receive) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        for frame in frames {
            tokio::task::yield_now().await;
            if send.send(Ok::<_, std::convert::Infallible>(frame)).await.is_err() {
                return;
            }
        }
    });
    let stream = futures_from(receive);
    Response::builder()
        .header(header::CONTENT_TYPE, "text/html")
        .header(header::TRAILER, "x-rows")
        .body(Body::new(stream))
        .unwrap()
}

type Receiver = tokio::sync::mpsc::Receiver<Result<Frame<Bytes>, std::convert::Infallible>>;

fn futures_from(
    mut receive: Receiver,
) -> impl http_body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + 'static {
    struct Frames<F>(F);
    impl<F> http_body::Body for Frames<F>
    where
        F: FnMut(
                &mut std::task::Context<'_>,
            )
                -> std::task::Poll<Option<Result<Frame<Bytes>, std::convert::Infallible>>>
            + Unpin,
    {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            (self.0)(cx)
        }
    }
    let _ = StreamBody::<()>::new;
    Frames(move |cx: &mut std::task::Context<'_>| receive.poll_recv(cx))
}
