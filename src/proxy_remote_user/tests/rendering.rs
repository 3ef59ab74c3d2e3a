//! What the outer world sees: statuses, gRPC, trailers, and which headers are protected.

use std::convert::Infallible;

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::*;

type Body = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, Infallible>;

/// Reads the body, and answers with the user and the trailers that came.
async fn seen(request: Request<Body>) -> Result<Response<String>, Infallible> {
    let (parts, body) = request.into_parts();
    let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or_default();
    let identity = parts.extensions.get::<Identity>().unwrap();
    let names = trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>().join(" ");
    Ok(Response::new(format!("{identity}; {names}")))
}

async fn ask(
    layer: &ProxyRemoteUserLayer,
    peer: &str,
    lines: &[(&str, &[u8])],
    body: Body,
) -> Response<String> {
    let request = Request::from_parts(parts(peer, lines), body);
    let response = layer.layer(service_fn(seen)).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response::from_parts(parts, String::from_utf8(body.to_vec()).unwrap())
}

fn empty() -> Body {
    Full::default().boxed_unsync()
}

#[tokio::test]
async fn each_refusal_in_http_and_in_grpc() {
    let lenient =
        builder().require_realm(["CORP"]).on_forged(OnForged::Refuse).map_user(|user| match user.name() {
            "down" => Err(Denied::Unavailable),
            "mallory" => Err(Denied::Forbidden),
            _ => Ok(()),
        });
    let layer = lenient.clone().build().unwrap();
    let strict = lenient.on_forged(OnForged::Strip).required().build().unwrap();
    for (layer, peer, user, status, grpc_status) in [
        (&strict, PROXY, "", 401, "16"),
        (&strict, STRANGER, "alice@CORP", 401, "16"),
        (&layer, PROXY, "a,b", 400, "3"),
        (&layer, STRANGER, "alice@CORP", 403, "7"),
        (&layer, PROXY, "alice@EVIL", 403, "7"),
        (&layer, PROXY, "mallory@CORP", 403, "7"),
        (&layer, PROXY, "down@CORP", 503, "14"),
    ] {
        let lines: &[(&str, &[u8])] = &[("remote-user", user.as_bytes())];
        let http = ask(layer, peer, lines, empty()).await;
        assert_eq!(http.status(), status, "{user}");
        assert_eq!(http.headers().contains_key("www-authenticate"), status == 401, "{user}");
        assert_eq!(http.headers()["cache-control"], "no-store");
        assert!(user.is_empty() || !http.body().contains(user), "{}", http.body());

        let mut request = Request::from_parts(parts(peer, lines), empty());
        *request.method_mut() = http::Method::POST;
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc+proto"));
        let grpc = layer.layer(service_fn(seen)).oneshot(request).await.unwrap();
        assert_eq!(
            (grpc.status(), grpc.headers()["grpc-status"].to_str().unwrap()),
            (http::StatusCode::OK, grpc_status),
            "{user}"
        );
        assert_eq!(grpc.headers()["grpc-message"], http.body(), "{user}");
        assert!(grpc.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
}

#[tokio::test]
async fn the_body_names_role_and_rule() {
    let layer = builder().build().unwrap();
    let response = ask(&layer, PROXY, &[("remote-user", b"a"), ("remote-groups", b"\xff")], empty()).await;
    assert_eq!(
        response.body(),
        "identity malformed: groups: bytes that the configured encoding does not allow"
    );
}

/// Trailers are the application's business, and name nobody.
#[tokio::test]
async fn an_identity_in_trailers_is_nobodys() {
    let trailers = || {
        let mut trailers = HeaderMap::new();
        trailers.insert("remote-user", HeaderValue::from_static("admin"));
        trailers.insert("remote_user", HeaderValue::from_static("admin"));
        let body = Full::from("body").with_trailers(std::future::ready(Some(Ok(trailers))));
        body.boxed_unsync()
    };
    let layer = builder().build().unwrap();
    let announced: &[(&str, &[u8])] = &[("trailer", b"remote-user")];
    let response = ask(&layer, PROXY, announced, trailers()).await;
    assert_eq!(response.body(), "anonymous: absent; remote-user remote_user");
    let response = ask(&layer, PROXY, &[("remote-user", b"alice")], trailers()).await;
    assert_eq!(response.body(), "user \"alice\"; remote-user remote_user");
    let strict = builder().required().build().unwrap();
    assert_eq!(ask(&strict, PROXY, announced, trailers()).await.status(), 401);
}

#[test]
fn protected_headers_hold_what_is_configured_known_and_secret() {
    let secret = HeaderName::from_static("x-secret");
    let login = HeaderName::from_static("x-acme-login");
    let proof = Proof::shared_secret(secret.clone(), [Secret::parse("correct-horse-battery").unwrap()]);
    let layer = ProxyRemoteUserLayer::new(proof).user_headers([USER, login.clone()]).build().unwrap();
    let headers = layer.protected_headers();
    for header in [&USER, &login, &secret, &HeaderName::from_static("x-webauth-user")] {
        assert_eq!(headers.iter().filter(|own| *own == header).count(), 1, "{header}");
    }
    assert!(
        headers
            .iter()
            .all(|header| config(builder()).protects(header) || [&login, &secret].contains(&header))
    );
    let disabled = ProxyRemoteUserLayer::disabled().protected_headers();
    assert!(disabled.contains(&USER) && !disabled.contains(&secret));
}

#[test]
fn well_known_headers_pass_only_where_that_is_said() {
    let lines: &[(&str, &[u8])] = &[
        ("remote-user", b"alice"),
        ("remote_user", b"eve"),
        ("x-webauth-user", b"w"),
        ("client-cert", b"c"),
    ];
    for peer in [PROXY, STRANGER] {
        let mut strip = parts(peer, lines);
        outcome(&config(builder()), &mut strip);
        assert!(strip.headers.is_empty());
        let mut pass = parts(peer, lines);
        outcome(&config(builder().on_well_known(OnWellKnown::Pass)), &mut pass);
        let mut names: Vec<_> = pass.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["client-cert", "x-webauth-user"], "{peer}");
    }
    let forged = builder().on_well_known(OnWellKnown::Pass).on_forged(OnForged::Refuse);
    assert_eq!(outcome(&config(forged.clone()), &mut parts(STRANGER, &lines[2..])), "Unproven");
    assert_eq!(outcome(&config(forged), &mut parts(STRANGER, &lines[1..])), "IdentityForged");
}

#[test]
fn the_secret_goes_whatever_passes() {
    let proof = Proof::shared_secret(
        HeaderName::from_static("x-secret"),
        [Secret::parse("correct-horse-battery").unwrap()],
    );
    let config = config(ProxyRemoteUserLayer::new(proof).on_well_known(OnWellKnown::Pass));
    for (sent, expected) in [(&b"correct-horse-battery"[..], "Absent"), (b"guess", "Unproven")] {
        let mut parts = parts(STRANGER, &[("x-secret", sent), ("x-webauth-user", b"w")]);
        assert_eq!(outcome(&config, &mut parts), expected);
        assert_eq!(parts.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-webauth-user"]);
    }
}
