//! The stack around a bare hyper service, over HTTP/1.1 and HTTP/2 sockets.

mod common;

use std::convert::Infallible;

use bytes::Bytes;
use common::{exchange, serve, stack};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::{ServiceBuilder, service_fn};
use tower_proxied::{Identity, Proxied};

async fn seen(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let client = request.extensions().get::<Proxied>().and_then(Proxied::client);
    let user =
        request.extensions().get::<Identity>().and_then(Identity::user).map(|user| user.name().to_owned());
    Ok(Response::new(Full::from(format!("{client:?} {user:?} {}", request.uri().path()))))
}

#[tokio::test]
async fn over_http_1() {
    let address = serve(ServiceBuilder::new().layer(stack()).service_fn(seen)).await;
    let answer = exchange(
        address,
        &["GET /webapps/x HTTP/1.1", "Host: app", "X-Forwarded-For: 203.0.113.5", "Remote-User: alice"],
    )
    .await;
    assert!(answer.ends_with("Some(203.0.113.5) Some(\"alice\") /x"), "{answer}");
}

#[tokio::test]
async fn over_http_2() {
    let address = serve(ServiceBuilder::new().layer(stack()).service_fn(seen)).await;
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let request = Request::builder()
        .uri(format!("http://{address}/webapps/x"))
        .header("x-forwarded-for", "203.0.113.5")
        .header("remote-user", "alice")
        .body(Empty::new())
        .unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    let text = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(text, "Some(203.0.113.5) Some(\"alice\") /x");
}

#[tokio::test]
async fn a_refusal_is_a_response() {
    let address = serve(ServiceBuilder::new().layer(stack()).service(service_fn(seen))).await;
    let answer = exchange(
        address,
        &[
            "GET /webapps/x HTTP/1.1",
            "Host: app",
            "X-Forwarded-For: 203.0.113.5",
            "Remote-User: alice",
            "Remote-User: admin",
        ],
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(!answer.contains("alice") && !answer.contains("admin"), "{answer}");
}
