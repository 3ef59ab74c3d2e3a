use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::extract::OriginalUri;
use http::uri::{Authority, Parts, PathAndQuery};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use serde_json::Value;
use tower::{ServiceBuilder, ServiceExt};
use tower_proxied::forwarded_for::{Claims, Written};
use tower_proxied::script_name_prefix::{AlreadyPrefixed, Bare, InternalAuthorities, Mounts, Unmatched};
use tower_proxied::{
    ForwardedForLayer, PathPrefix, PeerAddr, PublicUrl, ScriptName, ScriptNamePrefixLayer, TrustedProxies,
};

use crate::support::{self, Case, Verdict, equal};

pub(crate) fn run(case: &Case) -> Verdict {
    match case.given["kind"].as_str() {
        Some("request") => run_request(case),
        Some("header_prefix") => run_header_prefix(case),
        Some("response") => run_response(case),
        Some("set_cookie") => run_set_cookie(case),
        Some("response_headers") => run_response_headers(case),
        other => Err(format!("no such kind: {other:?}")),
    }
}

fn run_request(case: &Case) -> Verdict {
    let (given, expect) = (&case.given, &case.expect);
    only_keys_besides_layer(given, &["method", "target", "outer_script_name"])?;
    support::only_keys(
        expect,
        &[
            "action",
            "status",
            "location",
            "script_name",
            "inner_target",
            "inner_target_changed",
            "public_path",
            "public_path_len",
            "public_uri",
            "panics",
        ],
    )?;
    let method = Method::from_bytes(given["method"].as_str().unwrap().as_bytes()).unwrap();
    let target = target(&method, &given["target"]);
    // A panic fails any case.
    equal("panics", expect.get("panics").and_then(Value::as_bool).unwrap_or(false), false)?;
    let seen = serve(given, method, target.clone(), &HeaderMap::new())?;
    match expect["action"].as_str().unwrap() {
        "call" | "pass_through" => {
            let inner = seen.inner.ok_or_else(|| format!("refused with {}", seen.status))?;
            match expect.get("inner_target_changed") {
                Some(changed) => {
                    equal("changed", inner.target != target.to_string(), changed.as_bool().unwrap())?;
                }
                None => {
                    equal("inner target", inner.target.as_str(), expect["inner_target"].as_str().unwrap())?
                }
            }
            let script_name = inner.script_name.as_ref();
            if let Some(prefix) = expect.get("script_name") {
                equal("prefix", script_name.map(|name| name.prefix().as_str()), prefix.as_str())?;
            }
            if let Some(path) = expect.get("public_path") {
                let public_path = script_name.map(ScriptName::public_path);
                equal("public path", public_path.as_deref(), path.as_str())?;
            }
            if let Some(length) = expect.get("public_path_len") {
                let public_path = script_name.map(|name| name.public_path().len() as u64);
                equal("length of the public path", public_path, length.as_u64())?;
            }
            if let Some(uri) = expect.get("public_uri") {
                equal("public URI", inner.original_uri.as_deref(), uri.as_str())?;
            }
            Ok(())
        }
        "reject" | "respond" => {
            equal("calls the inner service", seen.inner.is_some(), false)?;
            equal("status", u64::from(seen.status.as_u16()), expect["status"].as_u64().unwrap())?;
            let location = seen.headers.get("location").map(|value| value.to_str().unwrap());
            equal("location", location, expect.get("location").and_then(Value::as_str))
        }
        other => Err(format!("no such action: {other}")),
    }
}

fn run_header_prefix(case: &Case) -> Verdict {
    let (given, expect) = (&case.given, &case.expect);
    support::only_keys(given, &["kind", "header", "values", "trusted_hops", "peer_trusted"])?;
    support::only_keys(expect, &["prefix", "status"])?;
    equal("header", given["header"].as_str(), Some("x-forwarded-prefix"))?;
    let values: Vec<Vec<u8>> = given["values"].as_array().unwrap().iter().map(support::latin1).collect();
    if values.iter().flatten().any(|byte| matches!(byte, b'\r' | b'\n')) {
        // No header value holds it.
        let text = given["values"][0].as_str().unwrap();
        equal("is a prefix", PathPrefix::parse(text).is_ok(), false)?;
        return equal("prefix", &expect["prefix"], &Value::Null);
    }
    let mut request = Request::new(());
    for value in values {
        request.headers_mut().append("x-forwarded-prefix", value.try_into().unwrap());
    }
    let trusted = match given.get("peer_trusted").and_then(Value::as_bool) {
        Some(false) => TrustedProxies::none(),
        _ => TrustedProxies::loopback(),
    };
    let inner = Arc::new(Mutex::new(None));
    let service = ServiceBuilder::new()
        .layer(PeerAddr::layer(support::peer(&Value::from("127.0.0.1")).unwrap()))
        .layer(
            ForwardedForLayer::x_forwarded_for(trusted)
                .hops(given["trusted_hops"].as_u64().unwrap() as usize)
                .claims(Claims::none().prefix(Written::Appended.optional())),
        )
        .layer(ScriptNamePrefixLayer::from_proxied())
        .service_fn(|request: Request<()>| {
            *inner.lock().unwrap() = request.extensions().get::<ScriptName>().cloned();
            std::future::ready(Ok::<_, Infallible>(Response::new(())))
        });
    let response = support::block_on(service.oneshot(request)).unwrap();
    let script_name = inner.lock().unwrap().take();
    equal("prefix", script_name.as_ref().map(|name| name.prefix().as_str()), expect["prefix"].as_str())?;
    let status = expect.get("status").and_then(Value::as_u64).unwrap_or(200);
    equal("status", u64::from(response.status().as_u16()), status)
}

fn run_response(case: &Case) -> Verdict {
    let name = case.given["header"].as_str().unwrap();
    run_header(case, name, &["header", "value"])
}

fn run_set_cookie(case: &Case) -> Verdict {
    run_header(case, "set-cookie", &["value"])
}

fn run_header(case: &Case, name: &str, keys: &[&str]) -> Verdict {
    support::only_keys(&case.expect, &["value"])?;
    let line = |value: &Value| Value::from(vec![Value::from(vec![Value::from(name), value.clone()])]);
    run_lines(case, &line(&case.given["value"]), &line(&case.expect["value"]), keys)
}

fn run_response_headers(case: &Case) -> Verdict {
    support::only_keys(&case.expect, &["headers"])?;
    run_lines(case, &case.given["headers"], &case.expect["headers"], &["headers", "encoding"])
}

/// What the inner service answers, and what goes out.
fn run_lines(case: &Case, answered: &Value, expected: &Value, keys: &[&str]) -> Verdict {
    let given = &case.given;
    only_keys_besides_layer(given, &[keys, &["inner_target", "public_path"]].concat())?;
    let received = given.get("received").unwrap_or(&given["prefix"]).as_str().unwrap();
    let inner_target = given.get("inner_target").map_or("/x", |target| target.as_str().unwrap());
    let arrives = match given.get("public_path") {
        Some(path) => path.as_str().unwrap().to_owned(),
        None => format!("{received}{inner_target}"),
    };
    let seen = serve(given, Method::GET, arrives.parse().unwrap(), &support::headers(answered))?;
    let inner = seen.inner.ok_or_else(|| format!("refused with {}", seen.status))?;
    equal("inner target", inner.target.as_str(), inner_target)?;
    equal("response", support::lines(&seen.headers), support::lines(&support::headers(expected)))
}

struct Seen {
    status: StatusCode,
    headers: HeaderMap,
    inner: Option<Inner>,
}

struct Inner {
    target: String,
    script_name: Option<ScriptName>,
    original_uri: Option<String>,
}

fn serve(given: &Value, method: Method, target: Uri, answered: &HeaderMap) -> Result<Seen, String> {
    let mut request = Request::new(());
    (*request.method_mut(), *request.uri_mut()) = (method, target);
    if let Some(origin) = given.get("public_origin") {
        request.extensions_mut().insert(PublicUrl::parse(origin.as_str().unwrap()).unwrap());
    }
    // A layer outside, behind a proxy that strips, knows its prefix and changes no target.
    let outer = match given.get("outer_script_name") {
        Some(prefix) => ScriptNamePrefixLayer::proxy_strips(self::prefix(prefix)),
        None => ScriptNamePrefixLayer::disabled(),
    };
    let inner = Arc::new(Mutex::new(None));
    let service =
        ServiceBuilder::new().layer(outer).layer(layer(given)?).service_fn(|request: Request<()>| {
            let script_name = request.extensions().get::<ScriptName>().cloned();
            let original_uri = request.extensions().get().map(|OriginalUri(uri)| uri.to_string());
            *inner.lock().unwrap() =
                Some(Inner { target: request.uri().to_string(), script_name, original_uri });
            let mut response = Response::new(());
            *response.headers_mut() = answered.clone();
            std::future::ready(Ok::<_, Infallible>(response))
        });
    let response = support::block_on(service.oneshot(request)).unwrap();
    let inner = inner.lock().unwrap().take();
    Ok(Seen { status: response.status(), headers: response.headers().clone(), inner })
}

const LAYER_KEYS: &[&str] = &[
    "kind",
    "mode",
    "prefix",
    "received",
    "unmatched",
    "bare",
    "policy",
    "own_authorities",
    "public_origin",
];

fn only_keys_besides_layer(given: &Value, keys: &[&str]) -> Verdict {
    support::only_keys(given, &[LAYER_KEYS, keys].concat())
}

fn layer(given: &Value) -> Result<ScriptNamePrefixLayer, String> {
    let prefix = prefix(&given["prefix"]);
    let mut layer = match given.get("mode").and_then(Value::as_str) {
        None | Some("proxy_keeps") => ScriptNamePrefixLayer::proxy_keeps(prefix),
        Some("proxy_strips") => ScriptNamePrefixLayer::proxy_strips(prefix),
        Some("either") => ScriptNamePrefixLayer::either(prefix),
        Some("proxy_maps") => {
            let received = self::prefix(&given["received"]);
            ScriptNamePrefixLayer::proxy_maps(Mounts { public: prefix, received })
        }
        Some(other) => return Err(format!("no such mode: {other}")),
    };
    match given.get("unmatched").and_then(Value::as_str) {
        None => {}
        Some("not_found") => layer = layer.unmatched(Unmatched::NotFound),
        Some("pass_through") => layer = layer.unmatched(Unmatched::PassThrough),
        Some(other) => return Err(format!("no such policy: {other}")),
    }
    match given.get("bare").and_then(Value::as_str) {
        None => {}
        Some("serve") => layer = layer.bare(Bare::Serve),
        Some("redirect") => layer = layer.bare(Bare::Redirect308),
        Some(other) => return Err(format!("no such policy: {other}")),
    }
    match given.get("policy").and_then(Value::as_str) {
        None => {}
        Some("skip") => layer = layer.already_prefixed(AlreadyPrefixed::Skip),
        Some("always") => layer = layer.already_prefixed(AlreadyPrefixed::Always),
        Some(other) => return Err(format!("no such policy: {other}")),
    }
    if let Some(authorities) = given.get("own_authorities") {
        let items: Vec<&str> = authorities.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        layer = layer.internal_authorities(InternalAuthorities::parse(items).unwrap());
    }
    Ok(layer)
}

fn prefix(text: &Value) -> PathPrefix {
    PathPrefix::parse(text.as_str().unwrap()).unwrap_or_else(|error| panic!("{error}"))
}

/// A target as HTTP/1 writes it. `//a/b` is a path there. `<5 times a>` is short for `aaaaa`.
fn target(method: &Method, target: &Value) -> Uri {
    let mut bytes = support::latin1(target);
    if let Some((start, rest)) = target.as_str().and_then(|text| text.split_once('<')) {
        let (times, repeated) = rest.strip_suffix('>').and_then(|rest| rest.split_once(" times ")).unwrap();
        bytes = (start.to_owned() + &repeated.repeat(times.parse().unwrap())).into_bytes();
    }
    let mut parts = Parts::default();
    match bytes[0] {
        b'/' | b'*' => parts.path_and_query = Some(PathAndQuery::try_from(&bytes[..]).unwrap()),
        _ if *method == Method::CONNECT => parts.authority = Some(Authority::try_from(&bytes[..]).unwrap()),
        _ => return Uri::try_from(&bytes[..]).unwrap(),
    }
    Uri::from_parts(parts).unwrap()
}
