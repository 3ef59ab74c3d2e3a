//! The same over loopback sockets, by HTTP/1.1 and by HTTP/2.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use proptest::test_runner::TestRunner;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tower::{Layer, ServiceExt};
use tower_proxied::Refusal;

use super::*;

#[test]
fn who_is_written_is_read_over_http_1() {
    over_sockets(UpstreamLayer::new, false);
}

#[test]
fn who_is_written_is_read_over_http_2() {
    over_sockets(UpstreamLayer::http2, true);
}

fn over_sockets(upstream: fn(Target) -> UpstreamLayer, is_http2: bool) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (address, received) = runtime.block_on(server());
    let received = RefCell::new(received);
    let target: Target = format!("http://{address}").parse().unwrap();
    let client = runtime.block_on(async {
        Client::builder(TokioExecutor::new()).http2_only(is_http2).build_http::<Empty<Bytes>>()
    });
    let config = ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() };
    let written = Cell::new(0);
    let outcome = TestRunner::new(config).run(&(any_user(), shape()), |(user, shape)| {
        let front_end = shape.writer(&user).layer(upstream(target.clone()).layer(client.clone()));
        let request = Request::get("/").header(header::HOST, "shop.example").body(Empty::new()).unwrap();
        let response = runtime
            .block_on(async { timeout(Duration::from_secs(10), front_end.oneshot(request)).await })
            .expect("in time")
            .expect("an answer");
        if let Some(refusal) = response.extensions().get::<Refusal>() {
            prop_assert_eq!(refusal.kind(), RefusalKind::IdentityUnwritable);
            prop_assert!(!is_writable(&user, &shape));
            return Ok(());
        }
        prop_assert_eq!(response.status(), 204);
        let headers = received.borrow_mut().try_recv().expect("the server got it before it answered");
        written.set(written.get() + 1);
        prop_assert_eq!(read(shape.reader(&user), headers)?, shape.carried(&user));
        Ok(())
    });
    outcome.unwrap();
    assert!(written.get() >= 64, "{} of 128 were written", written.get());
}

/// Half of them are written for sure.
fn any_user() -> impl Strategy<Value = DetachedUser> {
    prop_oneof![1 => user().prop_filter("somebody", DetachedUser::is_authenticated), 2 => plain_user()]
}

/// Hands over the headers of each request, and then answers.
async fn server() -> (SocketAddr, mpsc::UnboundedReceiver<HeaderMap>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let sender = sender.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                sender.send(request.into_parts().0.headers).unwrap();
                async {
                    Ok::<_, Infallible>(Response::builder().status(204).body(Empty::<Bytes>::new()).unwrap())
                }
            });
            tokio::spawn(async move {
                let mut server = auto::Builder::new(TokioExecutor::new());
                // Groups may take a line each, and there may be 128 of them.
                server.http1().max_headers(256);
                server.serve_connection(TokioIo::new(socket), service).await
            });
        }
    });
    (address, receiver)
}
