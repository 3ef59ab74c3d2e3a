use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, Response, Uri, Version};
use serde_json::Value;
use tower::{ServiceBuilder, ServiceExt};
use tower_proxied::forced_host::{AllowedHosts, AllowedHostsError, ForcedHostLayer, ReferenceError};
use tower_proxied::forwarded_for::{Claims, Written};
use tower_proxied::wire::host::HostPort;
use tower_proxied::{ForwardedForLayer, PeerAddr, PublicUrl, Scheme, TrustedProxies};

use crate::support::{self, Case, Verdict, equal};

pub(crate) fn run(case: &Case) -> Verdict {
    match case.given["kind"].as_str() {
        Some("host_syntax") => host_syntax(case),
        Some("host_allowed") => host_allowed(case),
        Some("effective") => effective(case),
        Some("resolve") => resolve(case),
        Some("absolute") => absolute(case),
        Some("current") => current(case),
        kind => Err(format!("the runner does not know the kind {kind:?}")),
    }
}

fn host_syntax(case: &Case) -> Verdict {
    support::only_keys(&case.given, &["kind", "host_header"])?;
    support::only_keys(&case.expect, &["valid", "host", "port"])?;
    let bytes = support::latin1(&case.given["host_header"]);
    let host = HostPort::parse(&bytes);
    equal("valid", host.is_some(), case.expect["valid"].as_bool().unwrap())?;
    if let Some(host) = host {
        equal("host", host.host().to_string().as_str(), text(&case.expect, "host"))?;
        equal("port", host.port().map(u64::from), case.expect["port"].as_u64())?;
    }
    Ok(())
}

fn host_allowed(case: &Case) -> Verdict {
    let given = &case.given;
    support::only_keys(given, &["kind", "patterns", "scheme", "ports", "host_header"])?;
    support::only_keys(&case.expect, &["status", "build_error"])?;
    let hosts = match allowed_hosts(&given["patterns"]) {
        Ok(hosts) => hosts,
        Err(_) => return equal("build_error", Some(true), case.expect["build_error"].as_bool()),
    };
    let hosts = match text(given, "ports") {
        "default" => hosts,
        "any" => hosts.any_port(),
        ports => return Err(format!("the runner does not know the ports {ports:?}")),
    };
    let layer = ForcedHostLayer::allowed(hosts).listener_scheme(scheme(&given["scheme"]));
    let mut request = Request::new(());
    request.headers_mut().insert("host", support::latin1(&given["host_header"]).try_into().unwrap());
    equal("status", Some(u64::from(serve(None, layer, request).0)), case.expect["status"].as_u64())
}

fn effective(case: &Case) -> Verdict {
    support::only_keys(&case.given, &["kind", "config", "request"])?;
    support::only_keys(&case.expect, &["scheme", "host", "port", "origin", "status", "build_error"])?;
    let config = &case.given["config"];
    support::only_keys(
        config,
        &[
            "mode",
            "origin",
            "allowed",
            "peer_trusted",
            "tls",
            "hops",
            "source",
            "use_port",
            "default_origin",
            "exempt",
        ],
    )?;
    let expects_build_error = case.expect["build_error"].as_bool();
    let (layer, without_request) = match text(config, "mode") {
        "forced" => match PublicUrl::parse(text(config, "origin")) {
            Ok(public) => (ForcedHostLayer::fixed(public.clone()), Some(public)),
            Err(_) => return equal("build_error", Some(true), expects_build_error),
        },
        "from_request" => match from_request(config) {
            Ok(layer) => (layer, None),
            Err(_) => return equal("build_error", Some(true), expects_build_error),
        },
        mode => return Err(format!("the runner does not know the mode {mode:?}")),
    };
    equal("build_error", None, expects_build_error)?;
    let request = &case.given["request"];
    if request.is_null() {
        return equal_public(&without_request.ok_or("no request, no public URL")?, &case.expect);
    }
    let (status, public) = serve(Some(forwarded_for(config)?), layer, self::request(request)?);
    equal("status", u64::from(status), case.expect["status"].as_u64().unwrap_or(200))?;
    match public {
        Some(public) => equal_public(&public, &case.expect),
        None => equal("origin", None, case.expect["origin"].as_str()),
    }
}

fn resolve(case: &Case) -> Verdict {
    support::only_keys(&case.given, &["kind", "base", "reference"])?;
    support::only_keys(&case.expect, &["uri"])?;
    let elsewhere = PublicUrl::from_static("https://elsewhere.example/mount");
    let uri = elsewhere.resolve_any(text(&case.given, "base"), text(&case.given, "reference"));
    equal("uri", uri, Ok(text(&case.expect, "uri").to_owned()))
}

fn absolute(case: &Case) -> Verdict {
    let given = &case.given;
    support::only_keys(given, &["kind", "origin", "prefix", "current_path", "reference"])?;
    support::only_keys(&case.expect, &["uri", "error"])?;
    let seen = public(given).absolute_from(text(given, "current_path"), text(given, "reference"));
    let expected = match case.expect["error"].as_str() {
        Some(error) => Err(error.to_owned()),
        None => Ok(text(&case.expect, "uri").to_owned()),
    };
    equal("uri", seen.map_err(kind), expected)
}

fn current(case: &Case) -> Verdict {
    let given = &case.given;
    support::only_keys(given, &["kind", "origin", "prefix", "inner_target"])?;
    support::only_keys(&case.expect, &["uri"])?;
    let mut request = Request::new(());
    *request.uri_mut() = PathAndQuery::try_from(text(given, "inner_target")).unwrap().into();
    equal("uri", public(given).current(&request.into_parts().0).as_str(), text(&case.expect, "uri"))
}

fn public(given: &Value) -> PublicUrl {
    PublicUrl::parse(&[text(given, "origin"), text(given, "prefix")].concat()).unwrap()
}

fn kind(error: ReferenceError) -> String {
    match error {
        ReferenceError::Control => "control",
        ReferenceError::Backslash => "backslash",
        ReferenceError::Scheme => "scheme",
        ReferenceError::Authority => "authority",
        ReferenceError::CrossOrigin => "cross_origin",
        ReferenceError::OutsidePrefix => "outside_prefix",
        _ => panic!("{error:?} has no name here"),
    }
    .to_owned()
}

fn allowed_hosts(patterns: &Value) -> Result<AllowedHosts, AllowedHostsError> {
    let patterns: Vec<&str> =
        patterns.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect();
    if patterns == ["*"] { Ok(AllowedHosts::any()) } else { AllowedHosts::parse(patterns) }
}

fn from_request(config: &Value) -> Result<ForcedHostLayer, AllowedHostsError> {
    let mut layer = ForcedHostLayer::allowed(allowed_hosts(&config["allowed"])?);
    if config["tls"].as_bool().unwrap() {
        layer = layer.listener_scheme(Scheme::Https);
    }
    if config.get("source").is_some() {
        layer = layer.use_proxied();
    }
    if config["use_port"].as_bool().unwrap_or_default() {
        layer = layer.use_proxied_port();
    }
    if let Some(origin) = config["default_origin"].as_str() {
        layer = layer.default_origin(PublicUrl::parse(origin).unwrap());
    }
    for path in config["exempt"].as_array().into_iter().flatten() {
        layer = layer.exempt_path(path.as_str().unwrap());
    }
    Ok(layer)
}

/// The peer is 127.0.0.1.
fn forwarded_for(config: &Value) -> Result<ForwardedForLayer, String> {
    let trusted = match config["peer_trusted"].as_bool() {
        Some(true) => TrustedProxies::loopback(),
        _ => TrustedProxies::none(),
    };
    let appended = || Written::Appended.optional();
    let mut layer = match config["source"].as_str() {
        None | Some("x-forwarded") => ForwardedForLayer::x_forwarded_for(trusted),
        Some("forwarded") => ForwardedForLayer::forwarded(trusted),
        Some(source) => return Err(format!("no such source: {source}")),
    };
    layer = layer.claims(Claims::none().scheme(appended()).host(appended()).port(appended()));
    if config["tls"].as_bool().unwrap_or_default() {
        layer = layer.listener_scheme(Scheme::Https);
    }
    if let Some(hops) = config["hops"].as_u64() {
        layer = layer.hops(hops as usize);
    }
    Ok(layer)
}

fn request(given: &Value) -> Result<Request<()>, String> {
    support::only_keys(given, &["version", "method", "target", "headers", "authority", "scheme"])?;
    let mut request = Request::new(());
    *request.headers_mut() = support::headers(&given["headers"]);
    *request.method_mut() = Method::from_bytes(text(given, "method").as_bytes()).unwrap();
    *request.version_mut() = match text(given, "version") {
        "1.0" => Version::HTTP_10,
        "1.1" => Version::HTTP_11,
        "2" => Version::HTTP_2,
        version => return Err(format!("the runner does not know the version {version:?}")),
    };
    let mut uri = text(given, "target").parse::<Uri>().unwrap().into_parts();
    if let Some(authority) = given["authority"].as_str() {
        uri.authority = Some(Authority::try_from(authority).unwrap());
        // As hyper does it.
        uri.scheme = Some(given["scheme"].as_str().unwrap_or("https").parse().unwrap());
    }
    *request.uri_mut() = Uri::from_parts(uri).unwrap();
    Ok(request)
}

fn serve(
    forwarded_for: Option<ForwardedForLayer>,
    layer: ForcedHostLayer,
    mut request: Request<()>,
) -> (u16, Option<PublicUrl>) {
    request.extensions_mut().insert(support::peer(&"127.0.0.1".into()).unwrap() as PeerAddr);
    let inner = Arc::new(Mutex::new(None));
    let service = ServiceBuilder::new()
        .layer(forwarded_for.unwrap_or_else(ForwardedForLayer::disabled))
        .layer(layer)
        .service_fn(|request: Request<()>| {
            *inner.lock().unwrap() = request.extensions().get::<PublicUrl>().cloned();
            std::future::ready(Ok::<_, Infallible>(Response::new(())))
        });
    let response = support::block_on(service.oneshot(request)).unwrap();
    let public = inner.lock().unwrap().take();
    (response.status().as_u16(), public)
}

fn equal_public(public: &PublicUrl, expect: &Value) -> Verdict {
    equal("scheme", public.scheme().as_str(), text(expect, "scheme"))?;
    equal("host", public.host().to_string().as_str(), text(expect, "host"))?;
    equal("port", Some(u64::from(public.port())), expect["port"].as_u64())?;
    equal("origin", public.origin().to_string().as_str(), text(expect, "origin"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is no text in {value}"))
}

fn scheme(value: &Value) -> Scheme {
    Scheme::parse(value.as_str().unwrap().as_bytes()).unwrap()
}
