//! What a newcomer does wrong is answered by a text that says what to do.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_proxied::forced_host::AllowedHosts;
use tower_proxied::{
    BehindProxyConfig, ClientIp, ForceHttpsBodyLayer, ForcedHostLayer, ForwardedForLayer, Identity,
    PathPrefix, PeerAddr, Proof, Proxied, ProxyRemoteUserLayer, PublicUrl, RemoteUser, ScriptName,
    ScriptNamePrefixLayer, TrustedProxies,
};

const PROXY: PeerAddr = PeerAddr::Tcp(std::net::SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 5)),
    4711,
));

fn forwarded_for() -> ForwardedForLayer {
    ForwardedForLayer::x_forwarded_for(TrustedProxies::parse(["10.0.0.5"]).unwrap())
}

fn forced_host() -> ForcedHostLayer {
    ForcedHostLayer::allowed(AllowedHosts::from_static(&["www.example.org"])).use_proxied()
}

fn prefix() -> ScriptNamePrefixLayer {
    ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/webapps"))
}

/// A route for each extractor.
fn application() -> Router {
    Router::new()
        .route("/client", get(async |ClientIp(client): ClientIp| client.to_string()))
        .route("/client-if-any", get(async |client: Option<ClientIp>| format!("{client:?}")))
        .route("/proxied", get(async |proxied: Proxied| format!("{proxied:?}")))
        .route("/user", get(async |user: RemoteUser| user.to_string()))
        .route("/identity", get(async |identity: Identity| format!("{identity:?}")))
        .route("/url", get(async |url: PublicUrl| url.to_string()))
        .route("/name", get(async |name: ScriptName| name.public_path().to_string()))
}

async fn ask(app: Router, peer: Option<PeerAddr>, path: &str) -> (u16, String) {
    let mut request =
        Request::get(path).header("host", "www.example.org").header("x-forwarded-for", "192.0.2.7");
    if let Some(peer) = peer {
        request = request.extension(peer);
    }
    let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let text = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
    (status, String::from_utf8(text.to_vec()).unwrap())
}

#[track_caller]
fn says((status, text): (u16, String), expected: u16, fixes: &[&str]) {
    assert_eq!(status, expected, "{text}");
    for fix in fixes {
        assert!(text.contains(fix), "{fix:?} is not in {text:?}");
    }
}

#[tokio::test]
async fn no_connection_information() {
    let app = application().layer(forwarded_for());
    let fixes = ["into_make_service_with_connect_info::<PeerAddr>()", "PeerAddr::layer(..)", "feature tonic"];
    says(ask(app, None, "/client").await, 500, &fixes);
    // A proof by the peer cannot be met: nobody is known, and the 401 says where to look.
    let required = ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::loopback())).required();
    let app = application().layer(required.build().unwrap());
    says(ask(app, None, "/user").await, 401, &["PeerAddr", "does the server say who the peer is?"]);
}

#[tokio::test]
async fn a_layer_is_forgotten() {
    for (path, layer) in [
        ("/client", "ForwardedForLayer"),
        ("/client-if-any", "ForwardedForLayer"),
        ("/proxied", "ForwardedForLayer"),
        ("/user", "ProxyRemoteUserLayer"),
        ("/identity", "ProxyRemoteUserLayer"),
        ("/url", "ForcedHostLayer"),
        ("/name", "ScriptNamePrefixLayer"),
    ] {
        let missing = ask(application(), Some(PROXY), path).await;
        says(missing, 500, &["layer missing: ", layer, "must stand outside", "axum: "]);
    }
}

#[tokio::test]
async fn a_route_is_added_after_the_layer() {
    let app = Router::new().layer(forwarded_for()).merge(application());
    let fix = "Router::layer wraps only what was added before it";
    says(ask(app, Some(PROXY), "/client").await, 500, &["ForwardedForLayer", fix]);
}

#[tokio::test]
async fn the_order_is_wrong() {
    let stack = ServiceBuilder::new().layer(forced_host()).layer(forwarded_for());
    let fixes = ["ForwardedForLayer must stand outside", "ServiceBuilder: name it first"];
    says(ask(application().layer(stack), Some(PROXY), "/url").await, 500, &fixes);
    let stack = ServiceBuilder::new().layer(ForceHttpsBodyLayer::new()).layer(forwarded_for());
    says(ask(application().layer(stack), Some(PROXY), "/client").await, 500, &fixes);
    // axum's own order is the other way round.
    let app = application().layer(forwarded_for()).layer(forced_host());
    says(ask(app, Some(PROXY), "/url").await, 500, &fixes);
    let app = application().layer(forced_host()).layer(forwarded_for());
    says(ask(app, Some(PROXY), "/url").await, 200, &["http://www.example.org"]);
}

#[tokio::test]
async fn the_prefix_stands_inside_of_the_router() {
    let inside = || application().layer(forwarded_for()).layer(prefix());
    let fixes = ["outside of the prefix", "around the Router, never Router::layer", "proxy_strips"];
    says(ask(inside(), Some(PROXY), "/client").await, 404, &fixes);
    // axum found no route before the layer was asked: its 404 has no text.
    assert_eq!(ask(inside(), Some(PROXY), "/webapps/client").await, (404, String::new()));
    let around = Router::new().fallback_service(prefix().layer(application().layer(forwarded_for())));
    says(ask(around, Some(PROXY), "/webapps/client").await, 200, &["192.0.2.7"]);
}

#[test]
fn the_list_of_proxies_is_empty() {
    let empty = TrustedProxies::parse(Vec::<String>::new()).unwrap_err().to_string();
    assert!(empty.contains("no trusted proxy at all") && empty.contains("TrustedProxies::none()"), "{empty}");
    let empty = "".parse::<TrustedProxies>().unwrap_err().to_string();
    assert!(empty.contains("it is empty; write an address"), "{empty}");
    let empty = BehindProxyConfig::from_vars("PROXY_", [("PROXY_TRUSTED_PROXIES", "")]).unwrap_err();
    let empty = empty.to_string();
    assert!(empty.contains("PROXY_TRUSTED_PROXIES") && empty.contains("say `none`"), "{empty}");
    let empty = ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::none())).build().unwrap_err();
    let empty = empty.to_string();
    assert!(empty.contains("an empty set of trusted proxies") && empty.contains("fill it"), "{empty}");
}

#[test]
fn everyone_is_trusted() {
    for everyone in ["0.0.0.0/0", "::/0", "*"] {
        let refused = TrustedProxies::parse([everyone]).unwrap_err().to_string();
        assert!(refused.contains(everyone) && refused.contains("everyone_dangerously()"), "{refused}");
        let variable = [("PROXY_TRUSTED_PROXIES", everyone)];
        let refused = BehindProxyConfig::from_vars("PROXY_", variable).unwrap_err().to_string();
        assert!(refused.contains("PROXY_TRUSTED_PROXIES") && refused.contains(everyone), "{refused}");
    }
}

#[tokio::test]
async fn the_proxy_writes_another_header() {
    let app =
        application().layer(forwarded_for().on_missing(tower_proxied::forwarded_for::OnNoClient::Refuse));
    let request = Request::get("/client").extension(PROXY).body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    let text = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
    assert!(
        text.ends_with(b"let it write the configured header; a proxy on a unix socket is trusted by unix:")
    );
}

/// Where the layers stand, middleware of axum reads by extractors what handlers do.
#[tokio::test]
async fn middleware_reads_the_client_as_handlers_do() {
    async fn told(ClientIp(client): ClientIp, url: PublicUrl, request: Request, next: Next) -> Response {
        let mut response = next.run(request).await;
        let told = format!("{client} at {url}").parse().unwrap();
        response.headers_mut().insert("told", told);
        response
    }
    let app = |stands: bool| {
        let app = application().layer(from_fn(told));
        if stands { app.layer(forced_host()).layer(forwarded_for()) } else { app }
    };
    let request = || {
        Request::get("/client-if-any")
            .header("host", "www.example.org")
            .header("x-forwarded-for", "6.6.6.6, 192.0.2.7")
            .extension(PROXY)
            .body(Body::empty())
            .unwrap()
    };
    let response = app(true).oneshot(request()).await.unwrap();
    assert_eq!(response.headers()["told"], "192.0.2.7 at http://www.example.org");
    let text = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
    assert_eq!(text, "Some(ClientIp(192.0.2.7))");
    says(ask(app(false), Some(PROXY), "/client").await, 500, &["ForwardedForLayer"]);
}

#[tokio::test]
async fn where_there_is_no_client_its_extractor_says_why() {
    let app = || application().layer(forwarded_for());
    let ask = async |path: &str, peer: PeerAddr, clients: Option<&str>| {
        let mut request = Request::get(path).extension(peer);
        if let Some(clients) = clients {
            request = request.header("x-forwarded-for", clients);
        }
        let response = app().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let text = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        (status, String::from_utf8(text.to_vec()).unwrap())
    };
    says(ask("/client", PROXY, Some("unknown")).await, 400, &["client address obscured"]);
    says(ask("/client", PROXY, None).await, 400, &["client address missing"]);
    says(ask("/client", PeerAddr::Unix, None).await, 400, &["client address missing", "unix:"]);
    for (peer, clients) in [(PROXY, Some("unknown")), (PROXY, None), (PeerAddr::Unix, Some("192.0.2.7"))] {
        says(ask("/client-if-any", peer, clients).await, 200, &["None"]);
    }
}
