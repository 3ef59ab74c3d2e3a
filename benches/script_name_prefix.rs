//! ScriptNamePrefix beside axum's `nest` and a header layer of tower-http, on the same requests in the same run.
//!
//! `cargo bench --bench script_name_prefix`. All contenders are timed in turn, many times; the table shows medians. None
//! of the others does the same: `nest` cuts the path and leaves the original URI, and touches no response;
//! `SetResponseHeader` writes one header, whatever the application says. `bare` is the service without a layer.

mod support;

use std::convert::Infallible;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, Uri, header};
use tower::{Service, ServiceBuilder, service_fn};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_proxied::{PathPrefix, PublicUrl, ScriptNamePrefixLayer};

use self::support::{interleaved, is_wanted};

type Lines = &'static [(HeaderName, &'static str)];

fn main() {
    if !is_wanted() {
        return;
    }
    println!("ns per exchange; a router: axum's, with one fallback, alone / `nest` / this layer around it");
    println!(
        "{:34} {:>8} {:>8} {:>8} {:>11} {:>8} {:>8} {:>8}",
        "", "bare", "kept", "stripped", "SetHeader", "router", "nest", "kept"
    );
    const HTML: &[(HeaderName, &str)] =
        &[(header::CONTENT_TYPE, "text/html"), (header::CACHE_CONTROL, "no-cache"), (header::VARY, "accept")];
    row("a page", "/webapps/a/page?x=1", HTML);
    row("a long path (4 KB)", &format!("/webapps/{}", "a/".repeat(2048)), HTML);
    row("a redirect", "/webapps/a/page?x=1", &[(header::LOCATION, "/home")]);
    row("a redirect, public already", "/webapps/a/page?x=1", &[(header::LOCATION, "/webapps/home")]);
    row("a redirect to another host", "/webapps/a/page", &[(header::LOCATION, "https://idp.example/")]);
    row("a relative redirect", "/webapps/a/page", &[(header::LOCATION, "../home")]);
    row("an internal redirect", "/webapps/a/page", &[(header::LOCATION, "http://http-1:8000/home")]);
    row(
        "a redirect and two cookies",
        "/webapps/a/page",
        &[
            (header::LOCATION, "/home"),
            (header::SET_COOKIE, "sid=1; Path=/; HttpOnly; Secure"),
            (header::SET_COOKIE, "lang=en; Path=/; Max-Age=31536000"),
        ],
    );
    println!("\n1,000 links that climb: each must cost the same, however deep the page stands");
    let links: &'static str = vec!["<../x>"; 1000].join(", ").leak();
    for depth in [1, 100, 10_000] {
        let lines = vec![(header::LINK, links)].leak();
        row(&format!("{depth} folders deep"), &format!("/webapps/{}", "a/".repeat(depth)), lines);
    }
}

fn row(name: &str, target: &str, lines: Lines) {
    // A slice of a shared buffer, as hyper gives it.
    let head = Bytes::from(format!("GET {target} HTTP/1.1\r\n"));
    let uri = Uri::from_maybe_shared(head.slice(4..4 + target.len())).unwrap();
    let url = PublicUrl::from_static("https://example.com");
    let request = || {
        let mut request = Request::new(Body::empty());
        request.uri_mut().clone_from(&uri);
        request.extensions_mut().insert(url.clone());
        request
    };
    let answer = move |request: Request<Body>| {
        black_box(request.uri());
        let mut response = Response::new(Body::empty());
        for (name, value) in lines {
            response.headers_mut().append(name, HeaderValue::from_static(value));
        }
        std::future::ready(Ok::<_, Infallible>(response))
    };
    let prefix = || PathPrefix::from_static("/webapps");
    let internal = tower_proxied::script_name_prefix::InternalAuthorities::from_static(&["http-1:8000"]);
    let keeps = ScriptNamePrefixLayer::proxy_keeps(prefix()).internal_authorities(internal.clone());
    let strips = ScriptNamePrefixLayer::proxy_strips(prefix()).internal_authorities(internal);
    let header =
        SetResponseHeaderLayer::overriding(header::LOCATION, HeaderValue::from_static("/webapps/home"));

    let bare = service_fn(answer);
    let kept = ServiceBuilder::new().layer(&keeps).service_fn(answer);
    let stripped = ServiceBuilder::new().layer(&strips).service_fn(answer);
    let written = ServiceBuilder::new().layer(header).service_fn(answer);
    let routed = || Router::new().fallback_service(service_fn(answer));
    let (alone, nested) = (routed(), Router::new().nest_service("/webapps", service_fn(answer)));
    let around = ServiceBuilder::new().layer(&keeps).service(routed());
    let medians = interleaved([
        &|| exchange(bare, request()),
        &|| exchange(kept.clone(), request()),
        &|| exchange(stripped.clone(), request()),
        &|| exchange(written.clone(), request()),
        &|| exchange(alone.clone(), request()),
        &|| exchange(nested.clone(), request()),
        &|| exchange(around.clone(), request()),
    ]);
    print!("{name:34}");
    for (at, median) in medians.iter().enumerate() {
        print!(" {median:>width$.0}", width = if at == 3 { 11 } else { 8 });
    }
    println!();
}

fn exchange<S, B>(mut service: S, request: Request<Body>)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
{
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(&mut context) else {
        unreachable!("nothing here waits")
    };
    black_box(response);
}
