//! ScriptNamePrefix around an axum router, over a loopback socket.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, OriginalUri};
use axum::response::{AppendHeaders, IntoResponse, Redirect};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::{ServiceBuilder, ServiceExt};
use tower_proxied::script_name_prefix::{AlreadyPrefixed, Bare};
use tower_proxied::{PathPrefix, Refusal, RefusalKind, ScriptName, ScriptNamePrefixLayer};

fn app() -> Router {
    let shown = |script_name: ScriptName, OriginalUri(original): OriginalUri, uri: Uri| async move {
        format!("{} {} {original} {uri}", script_name.prefix(), script_name.public_path())
    };
    let login = get(async || {
        let cookies =
            AppendHeaders([("set-cookie", "a=1; Path=/"), ("set-cookie", "__Host-b=2; Secure; Path=/")]);
        (cookies, Redirect::to("/home")).into_response()
    });
    Router::new().route("/login", login).route("/{*rest}", get(shown)).route("/", get(shown))
}

async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await });
    format!("http://{address}")
}

async fn fetch(method: &str, url: String) -> Response<Incoming> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::builder().method(method).uri(url).body(Empty::<Bytes>::new()).unwrap();
    tokio::time::timeout(Duration::from_secs(10), client.request(request)).await.unwrap().unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let body = tokio::time::timeout(Duration::from_secs(10), response.into_body().collect()).await;
    String::from_utf8(body.unwrap().unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn mounted_from_outside_of_the_router() {
    let prefix =
        ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/webapps")).bare(Bare::Redirect308);
    let site =
        serve(Router::new().fallback_service(ServiceBuilder::new().layer(prefix).service(app()))).await;

    let page = fetch("GET", format!("{site}/webapps//a%2Fb?c")).await;
    assert_eq!(text(page).await, "/webapps /webapps//a%2Fb?c /webapps//a%2Fb?c /a%2Fb?c");

    let redirect = fetch("POST", format!("{site}/webapps?c")).await;
    assert_eq!(
        (redirect.status(), &redirect.headers()["location"]),
        (StatusCode::PERMANENT_REDIRECT, &"/webapps/?c".parse().unwrap())
    );

    let login = fetch("GET", format!("{site}/webapps/login")).await;
    assert_eq!(login.headers()["location"], "/webapps/home");
    let cookies: Vec<_> = login.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1; Path=/webapps", "__Host-b=2; Secure; Path=/"]);

    for (path, status) in [("/webappsX", 404), ("/webapps/%2e%2e/admin", 400), ("/", 404)] {
        let refused = fetch("GET", format!("{site}{path}")).await;
        assert_eq!(refused.status().as_u16(), status, "{path}");
        assert_eq!(refused.headers()["cache-control"], "no-store");
        let body = text(refused).await;
        assert!(body.contains("mounted") && !body.contains("webappsX") && !body.contains("admin"), "{body}");
    }
}

#[tokio::test]
async fn behind_a_proxy_that_strips() {
    let prefix = ScriptNamePrefixLayer::proxy_strips(PathPrefix::from_static("/webapps"));
    let site =
        serve(Router::new().fallback_service(ServiceBuilder::new().layer(prefix).service(app()))).await;

    let page = fetch("GET", format!("{site}/webapps/x")).await;
    assert_eq!(text(page).await, "/webapps /webapps/webapps/x /webapps/webapps/x /webapps/x");
}

/// `Router::layer` runs once the router has chosen a route, by the path that still has the prefix.
#[tokio::test]
async fn inside_of_the_router_it_comes_too_late() {
    let prefix = || ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/webapps"));
    let matched = async |route: MatchedPath, uri: Uri| format!("{} {uri}", route.as_str());

    let inside = serve(Router::new().route("/login", get(matched)).layer(prefix())).await;
    // No route is of this path: axum's own 404, through the layer.
    let with_prefix = fetch("GET", format!("{inside}/webapps/login")).await;
    assert_eq!((with_prefix.status().as_u16(), text(with_prefix).await.as_str()), (404, ""));
    // The route is found, and then the layer refuses: no path reaches the handler.
    let without_prefix = fetch("GET", format!("{inside}/login")).await;
    assert_eq!(without_prefix.status(), 404);
    assert!(text(without_prefix).await.starts_with("not found: the path is outside of the prefix "));

    // Routes that have the prefix are found, and the handler sees the path that is cut.
    let spelled_out = serve(Router::new().route("/webapps/login", get(matched)).layer(prefix())).await;
    let page = fetch("GET", format!("{spelled_out}/webapps/login")).await;
    assert_eq!(text(page).await, "/webapps/login /login");

    // Around a router without routes of its own, nothing is chosen before: this is wrapping from outside.
    let login = || Router::new().route("/login", get(matched));
    for outside in [
        Router::new().fallback_service(login()).layer(prefix()),
        Router::new().fallback_service(ServiceBuilder::new().layer(prefix()).service(login())),
    ] {
        let site = serve(outside).await;
        assert_eq!(text(fetch("GET", format!("{site}/webapps/login")).await).await, "/login /login");
    }
}

#[tokio::test]
async fn below_and_above_a_nested_router() {
    let prefix = PathPrefix::from_static("/webapps");
    let strips = || ScriptNamePrefixLayer::proxy_strips(prefix.clone());
    let keeps = || ScriptNamePrefixLayer::proxy_keeps(prefix.clone());
    let around = |layer: ScriptNamePrefixLayer| ServiceBuilder::new().layer(layer).service(app());

    // `nest` takes the prefix away, as a proxy would.
    for nested in [
        Router::new().nest_service("/webapps", around(strips())),
        Router::new().nest("/webapps", app().layer(strips())),
    ] {
        let site = serve(nested).await;
        let page = text(fetch("GET", format!("{site}/webapps/a?b")).await).await;
        assert_eq!(page, "/webapps /webapps/a?b /webapps/a?b /a?b");
        let login = fetch("GET", format!("{site}/webapps/login")).await;
        assert_eq!(login.headers()["location"], "/webapps/home");
    }
    let twice = serve(Router::new().nest_service("/webapps", around(keeps()))).await;
    let refused = fetch("GET", format!("{twice}/webapps/login")).await;
    assert!(text(refused).await.starts_with("not found: the path is outside of the prefix "));

    // A router that nests further in keeps what the browser asked for.
    let shop = Router::new().nest("/shop", app());
    for layer in [keeps(), strips()] {
        let target = if format!("{layer:?}").contains("Keeps") { "/webapps/shop/a" } else { "/shop/a" };
        let site =
            serve(Router::new().fallback_service(ServiceBuilder::new().layer(layer).service(shop.clone())))
                .await;
        let page = text(fetch("GET", format!("{site}{target}")).await).await;
        assert_eq!(page, "/webapps /webapps/shop/a /webapps/shop/a /a");
    }
}

#[tokio::test]
async fn interim_answers_and_trailers_are_untouched() {
    let answer = async |_: Bytes| {
        let trailers = HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_static("/home"))]);
        let frames = [Ok::<_, Infallible>(Frame::data(Bytes::from("x"))), Ok(Frame::trailers(trailers))];
        let body = axum::body::Body::new(StreamBody::new(tokio_stream::iter(frames)));
        ([("trailer", "location"), ("link", "</style.css>")], body)
    };
    let prefix = ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/webapps"));
    let app = Router::new().route("/upload", post(answer));
    let site = serve(Router::new().fallback_service(ServiceBuilder::new().layer(prefix).service(app))).await;
    let mut socket = TcpStream::connect(site.strip_prefix("http://").unwrap()).await.unwrap();
    let head = "POST /webapps/upload HTTP/1.1\r\nhost: x\r\nte: trailers\r\nconnection: close, te\r\n\
                content-length: 1\r\nexpect: 100-continue\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    let limit = Duration::from_secs(10);
    tokio::time::timeout(limit, socket.read_exact(&mut interim)).await.unwrap().unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"x").await.unwrap();
    let mut answered = String::new();
    tokio::time::timeout(limit, socket.read_to_string(&mut answered)).await.unwrap().unwrap();
    assert!(answered.contains("\r\nlink: </webapps/style.css>\r\n"), "{answered}");
    assert!(answered.ends_with("\r\n0\r\nlocation: /home\r\n\r\n"), "{answered}");
}

/// Around a client, as a front end has it: early hints never pass through the layer.
#[tokio::test]
async fn early_hints_are_untouched() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = [0; 1024];
        let _ = socket.read(&mut head).await.unwrap();
        let answer = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n\
                      HTTP/1.1 200 OK\r\nlink: </a.css>\r\ncontent-length: 0\r\n\r\n";
        socket.write_all(answer.as_bytes()).await.unwrap();
    });
    let hints = Arc::new(Mutex::new(Vec::new()));
    let mut request =
        Request::get(format!("http://{address}/webapps/x")).body(Empty::<Bytes>::new()).unwrap();
    hyper::ext::on_informational(&mut request, {
        let hints = Arc::clone(&hints);
        move |hint| hints.lock().unwrap().push((hint.status().as_u16(), hint.headers()["link"].clone()))
    });
    let service = ServiceBuilder::new()
        .layer(ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/webapps")))
        .service(Client::builder(TokioExecutor::new()).build_http());
    let answered = tokio::time::timeout(Duration::from_secs(10), service.oneshot(request)).await;
    assert_eq!(answered.unwrap().unwrap().headers()["link"], "</webapps/a.css>");
    assert_eq!(*hints.lock().unwrap(), [(103, HeaderValue::from_static("</a.css>"))]);
}

#[tokio::test]
async fn each_refusal_is_typed_and_echoes_nothing() {
    let service = ServiceBuilder::new()
        .layer(
            ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/webapps")).bare(Bare::Redirect308),
        )
        .service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())));
    for (target, status, kind) in [
        ("/secret", 404, RefusalKind::OutsidePrefix),
        ("/webappssecret", 404, RefusalKind::OutsidePrefix),
        ("/webapps%2Fsecret", 404, RefusalKind::OutsidePrefix),
        ("/webapps\\secret", 404, RefusalKind::OutsidePrefix),
        ("/webapps;secret/x", 404, RefusalKind::OutsidePrefix),
        ("//webapps/secret", 404, RefusalKind::OutsidePrefix),
        ("/Webapps/secret", 404, RefusalKind::OutsidePrefix),
        ("/webapps/../secret", 400, RefusalKind::EscapesPrefix),
        ("/webapps/%2e%2E/secret", 400, RefusalKind::EscapesPrefix),
        ("/webapps/..\\secret", 400, RefusalKind::EscapesPrefix),
        ("/webapps//..//secret", 400, RefusalKind::EscapesPrefix),
        ("/webapps", 308, RefusalKind::BarePrefix),
    ] {
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(target.parse().unwrap());
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from_parts(parts).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{target}");
        let refusal = response.extensions().get::<Refusal>().unwrap();
        assert_eq!(refusal.kind(), kind, "{target}");
        assert!(!format!("{response:?} {refusal}").contains("secret"), "{target}");
        let location = response.headers().get("location").map(HeaderValue::as_bytes);
        assert_eq!(location, (status == 308).then_some(&b"/webapps/"[..]));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(!body.is_empty() && !body.windows(6).any(|text| text == b"secret"), "{target}");
    }
}

#[tokio::test]
async fn the_extractor_names_the_missing_layer() {
    let site = serve(app()).await;
    let page = fetch("GET", format!("{site}/x")).await;
    assert_eq!(page.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text(page).await.contains("ScriptNamePrefixLayer"));
}

#[tokio::test]
async fn whose_a_404_is_shows_in_its_body() {
    let prefix = || ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/webapps"));
    let login = || Router::new().route("/login", get(async || "in"));
    let outside = Router::new().fallback_service(ServiceBuilder::new().layer(prefix()).service(login()));
    let inside = login().layer(prefix());
    let twice = Router::new().fallback_service(
        ServiceBuilder::new().layer(prefix()).service(Router::new().nest("/webapps", login())),
    );
    let (outside, inside, twice) = (serve(outside).await, serve(inside).await, serve(twice).await);

    assert_eq!(text(fetch("GET", format!("{outside}/webapps/login")).await).await, "in");
    for of_axum in [&inside, &twice] {
        let response = fetch("GET", format!("{of_axum}/webapps/login")).await;
        assert_eq!(response.status(), 404);
        assert_eq!(text(response).await, "");
    }
    let of_the_layer = fetch("GET", format!("{outside}/login")).await;
    assert_eq!(of_the_layer.status(), 404);
    assert!(text(of_the_layer).await.starts_with("not found: the path is outside of the prefix "));
}

#[tokio::test]
async fn two_layers_of_one_prefix_keep_both_levels() {
    for rule in [AlreadyPrefixed::Skip, AlreadyPrefixed::Always] {
        let prefix =
            || ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/a")).already_prefixed(rule);
        let app = ServiceBuilder::new().layer(prefix()).layer(prefix()).service(app());
        let site = serve(Router::new().fallback_service(app)).await;
        let login = fetch("GET", format!("{site}/a/a/login")).await;
        assert_eq!(login.headers()["location"], "/a/a/home");
        assert_eq!(login.headers()["set-cookie"], "a=1; Path=/a/a");
        let page = text(fetch("GET", format!("{site}/a/a/x")).await).await;
        assert_eq!(page, "/a/a /a/a/x /a/a/x /x");
    }
}
