//! The fields of spans, on tower-http's `TraceLayer`. One test, alone in its process: who meets a span for the first time
//! while another thread sets its subscriber may miss it.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::trace::TraceLayer;
use tower_proxied::forced_host::AllowedHosts;
use tower_proxied::forwarded_for::{Claims, Written};
use tower_proxied::sticky_route::{Member, RequestBody, RouteCookie, StickyRoute};
use tower_proxied::{
    BehindProxyLayer, ForcedHostLayer, ForwardedForLayer, PathPrefix, PeerAddr, Proof, ProxyRemoteUserLayer,
    ScriptNamePrefixLayer, Secret, TrustedProxies, trace,
};

const SECRET: &str = "correct-horse-battery-staple";

/// What a subscriber writes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The one line since the last call, without its time.
    fn line(&self) -> String {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains(SECRET) && !text.contains("private") && !text.contains("cookie"), "{text}");
        text.split_once(" latency=").unwrap().0.trim().to_owned()
    }
}

fn behind_proxy() -> BehindProxyLayer {
    let trusted = || TrustedProxies::parse(["10.0.0.5", "unix:"]).unwrap();
    let secret = [Secret::parse(SECRET).unwrap()];
    let proof = Proof::peer(trusted()) & Proof::shared_secret("x-proxy-secret".parse().unwrap(), secret);
    let forwarded_for = ForwardedForLayer::x_forwarded_for(trusted());
    BehindProxyLayer::new(forwarded_for.claims(Claims::none().scheme(Written::Set)))
        .proxy_remote_user(ProxyRemoteUserLayer::new(proof).build().unwrap())
        .forced_host(ForcedHostLayer::allowed(AllowedHosts::from_static(&["www.example.org"])).use_proxied())
        .script_name_prefix(ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/webapps")))
}

/// Of a type of its own for each body.
macro_rules! traced {
    () => {
        TraceLayer::new_for_http()
            .make_span_with(trace::request_span)
            .on_request(())
            .on_response(trace::record_response)
            .on_failure(())
    };
}

async fn application<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("home")))
}

async fn ask<S, R>(service: S, peer: PeerAddr, host: &str)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<R>, Error = Infallible>,
{
    let request = Request::get("/webapps/page?token=private")
        .extension(peer)
        .header("host", host)
        .header("x-forwarded-for", "6.6.6.6, 192.0.2.7")
        .header("x-forwarded-proto", "https")
        .header("remote-user", "alice \"admin\"")
        .header("x-proxy-secret", SECRET)
        .header("cookie", "sessionid=private");
    service.oneshot(request.body(Empty::new()).unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_line_tells_what_the_layers_found() {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(lines.finish());
    let proxy = PeerAddr::Tcp(([10, 0, 0, 5], 4711).into());
    let found = "client.outcome=Resolved client.address=192.0.2.7 \
        url.full=\"https://www.example.org/webapps/page\" enduser.id=\"alice \\\"admin\\\"\"";

    let inside = || ServiceBuilder::new().layer(behind_proxy()).layer(traced!()).service_fn(application);
    ask(inside(), proxy, "www.example.org").await;
    let told = format!(
        "INFO request{{http.request.method=\"GET\" network.peer.address=10.0.0.5 {found} \
         http.response.status_code=200}}: tower_proxied::trace: response"
    );
    assert_eq!(log.line(), told);

    let outside = || {
        let within = ServiceBuilder::new().layer(behind_proxy()).map_request(trace::record_request);
        ServiceBuilder::new().layer(traced!()).layer(within.into_inner()).service_fn(application)
    };
    ask(outside(), PeerAddr::Unix, "www.example.org").await;
    let told = format!(
        "INFO request{{http.request.method=\"GET\" network.peer.address=unix: {found} \
         http.response.status_code=200}}: tower_proxied::trace: response"
    );
    assert_eq!(log.line(), told);

    ask(outside(), proxy, "evil.example").await;
    assert_eq!(
        log.line(),
        "INFO request{http.request.method=\"GET\" network.peer.address=10.0.0.5 \
         http.response.status_code=421 refusal=HostNotAllowed}: tower_proxied::trace: response"
    );

    let stranger = PeerAddr::Tcp("[::ffff:198.51.100.9]:4711".parse().unwrap());
    ask(inside(), stranger, "www.example.org").await;
    assert_eq!(
        log.line(),
        "INFO request{http.request.method=\"GET\" network.peer.address=198.51.100.9 client.outcome=Direct \
         client.address=198.51.100.9 url.full=\"http://www.example.org/webapps/page\" \
         http.response.status_code=200}: tower_proxied::trace: response"
    );

    let pool = StickyRoute::builder("shop")
        .member(Member::new("http-1", service_fn(application::<RequestBody<Empty<Bytes>>>)))
        .cookie(RouteCookie::plain());
    let front_end = ServiceBuilder::new().layer(traced!()).service(pool.build().unwrap());
    ask(front_end, stranger, "www.example.org").await;
    assert_eq!(
        log.line(),
        "INFO request{http.request.method=\"GET\" network.peer.address=198.51.100.9 \
         http.response.status_code=200 route=\"http-1\" outcome=new}: tower_proxied::trace: response"
    );
}
