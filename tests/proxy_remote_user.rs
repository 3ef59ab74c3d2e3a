//! Over loopback sockets: a front end that asks for HTTP Basic authentication and tells an application who came.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, serve};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};
use tower_proxied::front::SetRemoteUserLayer;
use tower_proxied::{
    DetachedUser, Identity, Proof, ProxyRemoteUserLayer, RemoteUser, Secret, TrustedProxies,
};

const SECRET_HEADER: HeaderName = HeaderName::from_static("x-proxy-secret");

fn secret() -> Secret {
    Secret::parse("correct-horse-battery-staple").unwrap()
}

async fn spawn(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(
        async move { serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await },
    );
    address
}

/// Says who came, and shows the header names that reached it.
async fn application() -> SocketAddr {
    let proof = Proof::peer(TrustedProxies::loopback()) & Proof::shared_secret(SECRET_HEADER, [secret()]);
    let inner = Router::new()
        .route(
            "/",
            get(|identity: Identity, headers: HeaderMap| async move {
                let who = identity.user().map_or("nobody".to_owned(), |user| {
                    format!("{user} of {}", user.groups().collect::<Vec<_>>().join("+"))
                });
                let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
                names.sort_unstable();
                format!("{who}; {}", names.join(" "))
            }),
        )
        .route("/me", get(|user: RemoteUser| async move { user.name().to_owned() }));
    let layer = ProxyRemoteUserLayer::new(proof).build().unwrap();
    spawn(Router::new().fallback_service(inner).layer(layer)).await
}

/// Lets in anybody whose password is the name backwards.
fn authenticated(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let pair = String::from_utf8(STANDARD.decode(value.strip_prefix("Basic ")?).ok()?).ok()?;
    let (name, password) = pair.split_once(':')?;
    password.chars().rev().eq(name.chars()).then(|| name.to_owned())
}

async fn basic_authentication(mut request: Request, next: Next) -> Response {
    let Some(name) = authenticated(request.headers()) else {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"test\"")];
        return (StatusCode::UNAUTHORIZED, challenge).into_response();
    };
    request.headers_mut().remove(header::AUTHORIZATION);
    request.extensions_mut().insert(DetachedUser::new(name).with_groups(["dev", "ops"]));
    next.run(request).await
}

async fn front_end(application: SocketAddr) -> SocketAddr {
    let client = client();
    let upstream = ServiceBuilder::new()
        .layer(SetRemoteUserLayer::from_detached_user().shared_secret(SECRET_HEADER, secret()))
        .service(service_fn(move |mut request: Request| {
            let path = request.uri().path().to_owned();
            *request.uri_mut() = format!("http://{application}{path}").parse().unwrap();
            let response = client.request(request);
            async move { Ok::<_, std::convert::Infallible>(response.await.unwrap()) }
        }));
    spawn(Router::new().fallback_service(upstream).layer(from_fn(basic_authentication))).await
}

fn client() -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).build_http()
}

async fn ask(
    client: &Client<HttpConnector, Body>,
    uri: String,
    lines: &[(&str, &str)],
) -> (StatusCode, String) {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri.parse::<Uri>().unwrap();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    }
    let exchange = async {
        let response = client.request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    tokio::time::timeout(Duration::from_secs(10), exchange).await.expect("within ten seconds")
}

/// What a client invents, all of it in vain.
const FORGED: &[(&str, &str)] = &[
    ("remote-user", "admin"),
    ("remote_user", "admin"),
    ("remote.groups", "admins"),
    ("x-webauth-user", "admin"),
    ("x-proxy-secret", "guess-guess-guess"),
];

#[tokio::test]
async fn the_front_end_names_the_user() {
    let front_end = front_end(application().await).await;
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    let alice = basic("alice:ecila");
    let mut lines = vec![("authorization", &*alice), ("connection", "remote-user, x-proxy-secret")];
    let honest = ask(&client(), format!("http://{front_end}/"), &lines[..1]).await;
    assert_eq!(honest, (StatusCode::OK, "alice of dev+ops; host".to_owned()));
    lines.extend_from_slice(FORGED);
    assert_eq!(ask(&client(), format!("http://{front_end}/"), &lines).await, honest);
    assert_eq!(ask(&client(), format!("http://{front_end}/me"), &lines).await.1, "alice");

    let wrong = basic("alice:guess");
    let refused = ask(&client(), format!("http://{front_end}/"), &[("authorization", &wrong)]).await;
    assert_eq!(refused.0, StatusCode::UNAUTHORIZED);

    let merged = basic("a,b:b,a");
    let refused = ask(&client(), format!("http://{front_end}/"), &[("authorization", &merged)]).await;
    assert_eq!(refused.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(refused.1.starts_with("identity unwritable"), "{}", refused.1);
}

#[tokio::test]
async fn past_the_front_end_a_client_is_nobody() {
    let application = application().await;
    let http2 = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    for client in [&client(), &http2] {
        let (status, text) = ask(client, format!("http://{application}/"), FORGED).await;
        assert_eq!(status, StatusCode::OK);
        assert!(text == "nobody; host" || text == "nobody; ", "{text}");
        let (status, _) = ask(client, format!("http://{application}/me"), FORGED).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn http_2_names_the_same_user_as_http_1() {
    let application = application().await;
    let http2 = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let proven =
        |user: &'static str| [("x-proxy-secret", "correct-horse-battery-staple"), ("remote-user", user)];
    for client in [&client(), &http2] {
        let me = format!("http://{application}/me");
        assert_eq!(ask(client, me.clone(), &proven(" alice ")).await, (StatusCode::OK, "alice".to_owned()));
        assert_eq!(ask(client, me, &proven("alice,admin")).await.0, StatusCode::BAD_REQUEST);
    }
}
