//! ScriptNamePrefix around an axum router, over a loopback socket.

use std::time::Duration;

use axum::Router;
use axum::extract::OriginalUri;
use axum::response::{AppendHeaders, IntoResponse, Redirect};
use axum::routing::get;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_proxied::script_name_prefix::{AlreadyPrefixed, Bare};
use tower_proxied::{PathPrefix, ScriptName, ScriptNamePrefixLayer};

fn app() -> Router {
    let shown = |script_name: ScriptName, OriginalUri(original): OriginalUri, uri: http::Uri| async move {
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
    // The outer router has set OriginalUri before the layer ran: to what arrived.
    assert_eq!(text(page).await, "/webapps /webapps/webapps/x /webapps/x /webapps/x");
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
async fn two_layers_of_one_prefix_lose_a_level_unless_told() {
    for (rule, location) in [(AlreadyPrefixed::Skip, "/a/home"), (AlreadyPrefixed::Always, "/a/a/home")] {
        let prefix =
            || ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/a")).already_prefixed(rule);
        let app = ServiceBuilder::new().layer(prefix()).layer(prefix()).service(app());
        let site = serve(Router::new().fallback_service(app)).await;
        assert_eq!(fetch("GET", format!("{site}/a/a/login")).await.headers()["location"], location);
    }
}
