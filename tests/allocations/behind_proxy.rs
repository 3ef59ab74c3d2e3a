//! What the composite takes from the heap: what the stack made by hand takes, to the byte.

mod counting;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, header};
use http_body::{Body, Frame};
use tower::{Layer, Service, ServiceBuilder};
use tower_proxied::forced_host::AllowedHosts;
use tower_proxied::forwarded_for::Front;
use tower_proxied::wire::name;
use tower_proxied::{
    BehindProxyLayer, ForceHttpsBodyLayer, ForcedHostLayer, ForwardedForLayer, PathPrefix, PeerAddr, Proof,
    ProxyRemoteUserLayer, PublicUrl, ScriptNamePrefixLayer, TrustedProxies,
};

use self::counting::{Taken, taken};

/// A page in one piece.
struct Page(Option<Bytes>);

impl Body for Page {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|page| Ok(Frame::data(page))))
    }
}

#[derive(Clone)]
struct Application;

impl Service<Request<()>> for Application {
    type Response = Response<Page>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Page>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        black_box(request.headers());
        let page = "<img src=http://static.example/logo.png><a href=/home>home</a>";
        let mut response = Response::new(Page(Some(Bytes::from_static(page.as_bytes()))));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(header::LOCATION, HeaderValue::from_static("/login"));
        headers.insert(header::SET_COOKIE, HeaderValue::from_static("sid=1; Path=/"));
        ready(Ok(response))
    }
}

/// From the call to the last byte of the answer.
fn serve<R>(
    service: impl Service<Request<()>, Response = Response<R>, Error = Infallible>,
    peer: PeerAddr,
    lines: &[(&str, &str)],
) -> (Taken, u16)
where
    R: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let mut request = Request::get("/webapps/page?a=b").body(()).unwrap();
    request.extensions_mut().insert(peer);
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    }
    let mut service = service;
    let (taken, status) = taken(|| {
        let mut context = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut context).is_ready());
        let Poll::Ready(Ok(answer)) = pin!(service.call(request)).poll(&mut context) else {
            panic!("no answer")
        };
        let (parts, body) = answer.into_parts();
        let mut body = pin!(body);
        while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut context) {
            drop(black_box(frame.unwrap()));
        }
        parts.status.as_u16()
    });
    (taken, status)
}

#[test]
fn the_composite_takes_what_the_stack_made_by_hand_takes() {
    // What is compiled once in a process is compiled.
    let _ = (name::is_identity(&header::HOST), name::is_forwarding(&header::HOST));
    let trusted = TrustedProxies::parse(["10.0.0.5"]).unwrap();
    let forwarded_for = ForwardedForLayer::x_forwarded_for(trusted.clone()).front(Front::Nginx);
    let user = ProxyRemoteUserLayer::new(Proof::peer(trusted)).build().unwrap();
    let prefix = ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/webapps"));
    let (proxy, stranger) =
        (PeerAddr::Tcp(([10, 0, 0, 5], 4711).into()), PeerAddr::Tcp(([192, 0, 2, 66], 4711).into()));
    let host = ("host", "www.example.org");
    let proxied = [
        host,
        ("x-forwarded-for", "6.6.6.6, 192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "www.example.org"),
        ("remote-user", "alice"),
        ("remote-groups", "dev,ops"),
    ];
    for forced_host in [
        ForcedHostLayer::fixed(PublicUrl::from_static("https://www.example.org")),
        ForcedHostLayer::allowed(AllowedHosts::from_static(&["www.example.org"])).use_proxied(),
    ] {
        let composite = BehindProxyLayer::new(forwarded_for.clone())
            .proxy_remote_user(user.clone())
            .forced_host(forced_host.clone())
            .script_name_prefix(prefix.clone())
            .force_https_body(ForceHttpsBodyLayer::new());
        let by_hand = ServiceBuilder::new()
            .layer(forwarded_for.clone())
            .layer(user.clone())
            .layer(forced_host)
            .layer(prefix.clone())
            .layer(ForceHttpsBodyLayer::new());
        for (peer, lines, status) in [
            (proxy, &proxied[..], 200),
            (stranger, &proxied[..], 200),
            (stranger, &[host][..], 200),
            // The declared claims are not there.
            (proxy, &proxied[..2], 400),
        ] {
            let ask = || {
                let flat = serve(composite.layer(Application), peer, lines);
                (flat, serve(by_hand.service(Application), peer, lines))
            };
            // What a process makes once is made.
            ask();
            let (flat, stacked) = ask();
            assert_eq!(flat, stacked, "{peer} {lines:?}");
            assert_eq!(flat.1, status, "{peer} {lines:?}");
        }
        // A page by https is rewritten, and the answer's paths are: there is something to compare.
        assert!(serve(composite.layer(Application), proxy, &proxied).0.allocations > 5);
    }
}

#[test]
fn a_composite_of_little_takes_nothing_for_what_it_has_not() {
    let trusted = TrustedProxies::parse(["10.0.0.5"]).unwrap();
    let forwarded_for = ForwardedForLayer::x_forwarded_for(trusted);
    let lines = [("x-forwarded-for", "192.0.2.7")];
    let peer = PeerAddr::Tcp(([10, 0, 0, 5], 4711).into());
    let ask = || {
        let by_hand =
            ServiceBuilder::new().layer(forwarded_for.clone()).layer(ProxyRemoteUserLayer::disabled());
        let composite = BehindProxyLayer::new(forwarded_for.clone());
        let flat = serve(composite.layer(Application), peer, &lines);
        (flat, serve(by_hand.service(Application), peer, &lines))
    };
    ask();
    let (flat, stacked) = ask();
    assert_eq!(flat, stacked);
}
