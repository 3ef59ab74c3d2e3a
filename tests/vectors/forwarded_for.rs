use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use serde_json::{Map, Value, json};
use tower::{ServiceBuilder, ServiceExt};
use tower_proxied::forwarded_for::{Claims, Declared, Outcome, Proxied, SchemeSource, Written};
use tower_proxied::{ForwardedForLayer, PeerAddr, Scheme, TrustedProxies};

use crate::support::{self, Case, Verdict, equal};

pub(crate) fn run(case: &Case) -> Verdict {
    if case.given.get("config").is_some() {
        return run_config(case);
    }
    support::only_keys(
        &case.given,
        &[
            "peer",
            "trusted",
            "headers",
            "source",
            "max_elements",
            "dangerous",
            "keep",
            "claims",
            "own_scheme",
            "own_host",
        ],
    )?;
    support::only_keys(
        &case.expect,
        &["client", "rejected", "status", "trusted_hops", "port", "claims", "inner_headers"],
    )?;
    let headers = support::headers(&case.given["headers"]);
    let seen = serve_parts(&layer(&case.given)?, support::peer(&case.given["peer"]), headers)?;
    let expect = &case.expect;
    if let Some(client) = expect.get("client") {
        let client = client.as_str().map(|text| text.parse().expect("an address"));
        equal("client", seen.proxied.as_ref().and_then(Proxied::client), client)?;
    }
    if let Some(port) = expect.get("port").and_then(Value::as_u64) {
        equal("port", seen.proxied.as_ref().and_then(Proxied::client_port).map(u64::from), Some(port))?;
    }
    if let Some(hops) = expect.get("trusted_hops").and_then(Value::as_u64) {
        equal("trusted_hops", seen.resolved.trusted_hops() as u64, hops)?;
    }
    if let Some(status) = expect.get("status").and_then(Value::as_str) {
        equal("outcome", snake_case(seen.resolved.outcome()), status.to_owned())?;
    }
    if let Some(rejected) = expect.get("rejected").and_then(Value::as_bool) {
        let refused = if expect["status"] == "no_peer" { 500 } else { 400 };
        equal("status", seen.status.as_u16(), if rejected { refused } else { 200 })?;
    }
    if let Some(claims) = expect.get("claims") {
        equal("claims", seen_claims(&seen, case)?, claims.clone())?;
    }
    if let Some(lines) = expect.get("inner_headers") {
        let mut expected: Vec<(String, String)> = lines
            .as_array()
            .unwrap()
            .iter()
            .map(|line| (line[0].as_str().unwrap().to_owned(), line[1].as_str().unwrap().to_owned()))
            .collect();
        let mut lines = support::lines(&seen.headers);
        // The order of lines of one name counts, the order of names does not.
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        lines.sort_by(|a, b| a.0.cmp(&b.0));
        equal("inner headers", lines, expected)?;
    }
    Ok(())
}

pub(crate) struct Seen {
    pub(crate) status: StatusCode,
    pub(crate) resolved: Proxied,
    /// `None` where the request was refused.
    pub(crate) proxied: Option<Proxied>,
    pub(crate) headers: HeaderMap,
}

/// What the layer makes of a request, as the inner service sees it.
pub(crate) fn serve_parts(
    layer: &ForwardedForLayer,
    peer: Option<PeerAddr>,
    headers: HeaderMap,
) -> Result<Seen, String> {
    let mut request = Request::new(());
    *request.headers_mut() = headers;
    let resolved = layer.resolve(peer.as_ref(), request.headers()).ok_or("disabled")?;
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    let inner = Arc::new(Mutex::new(None));
    let service = ServiceBuilder::new().layer(layer).service_fn(|request: Request<()>| {
        let (parts, ()) = request.into_parts();
        *inner.lock().unwrap() = Some((parts.extensions.get::<Proxied>().cloned(), parts.headers));
        std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(())))
    });
    let response = support::block_on(service.oneshot(request)).unwrap();
    let (proxied, headers) = inner.lock().unwrap().take().unwrap_or_default();
    if proxied.as_ref().is_some_and(|proxied| *proxied != resolved) {
        return Err("resolve() and the service differ".to_owned());
    }
    Ok(Seen { status: response.status(), resolved, proxied, headers })
}

pub(crate) fn layer(given: &Value) -> Result<ForwardedForLayer, String> {
    let trusted = &given["trusted"];
    let set = match (trusted.get("hops"), trusted.get("cidrs"), given["dangerous"].as_bool()) {
        (None, _, Some(true)) => {
            let items: Vec<&str> = trusted.as_array().unwrap().iter().filter_map(Value::as_str).collect();
            TrustedProxies::parse_dangerously(items).unwrap()
        }
        (None, _, _) => support::trusted(trusted),
        (Some(_), Some(cidrs), _) => support::trusted(cidrs),
        (Some(_), None, _) => TrustedProxies::none(),
    };
    let mut layer = match given.get("source").and_then(Value::as_str) {
        None | Some("x-forwarded-for") => ForwardedForLayer::x_forwarded_for(set),
        Some("forwarded") => ForwardedForLayer::forwarded(set),
        Some("cloudfront-viewer-address") => ForwardedForLayer::cloudfront(set),
        Some(name) => ForwardedForLayer::single(HeaderName::from_bytes(name.as_bytes()).unwrap(), set),
    };
    if let Some(hops) = trusted.get("hops").and_then(Value::as_u64) {
        let hops = hops as usize;
        layer = if trusted.get("cidrs").is_some() { layer.hops(hops) } else { layer.unchecked_hops(hops) };
    }
    if let Some(max) = given.get("max_elements").and_then(Value::as_u64) {
        layer = layer.max_elements(max as usize);
    }
    for name in given["keep"].as_array().into_iter().flatten() {
        layer = layer.keep(HeaderName::from_bytes(&support::latin1(name)).unwrap());
    }
    if let Some(scheme) = given.get("own_scheme").and_then(Value::as_str) {
        let appended = || Written::Appended.optional();
        layer = layer
            .listener_scheme(Scheme::parse(scheme.as_bytes()).unwrap())
            .claims(Claims::none().scheme(appended()).host(appended()).port(appended()));
    }
    if let Some(claims) = given.get("claims") {
        layer = layer.claims(declared_claims(claims)?);
    }
    Ok(layer)
}

fn declared_claims(given: &Value) -> Result<Claims, String> {
    given.as_object().unwrap().iter().try_fold(Claims::none(), |claims, (claim, how)| {
        let how = how.as_str().unwrap();
        let written = match how.split(' ').next().unwrap() {
            "set" => Written::Set,
            "appended" => Written::Appended,
            "appended_by_nearest" => Written::AppendedByNearest,
            other => return Err(format!("no way to write a claim: {other}")),
        };
        let declared: Declared = if how.ends_with(" optional") { written.optional() } else { written.into() };
        Ok(match claim.as_str() {
            "scheme" => claims.scheme(declared),
            "host" => claims.host(declared),
            "port" => claims.port(declared),
            "prefix" => claims.prefix(declared),
            other => return Err(format!("no such claim: {other}")),
        })
    })
}

/// With `own_scheme`: the effective values of the keys that are expected. Without: what is attested.
fn seen_claims(seen: &Seen, case: &Case) -> Result<Value, String> {
    let proxied = seen.proxied.as_ref().ok_or("refused")?;
    let mut claims = Map::new();
    if let Some(own_scheme) = case.given.get("own_scheme") {
        for key in case.expect["claims"].as_object().unwrap().keys() {
            let value = match key.as_str() {
                "scheme" => proxied.scheme().map_or(own_scheme.clone(), |scheme| json!(scheme.as_str())),
                "host" => {
                    proxied.host().map_or(case.given["own_host"].clone(), |host| json!(host.to_string()))
                }
                "port" => json!(proxied.port()),
                other => return Err(format!("no such claim: {other}")),
            };
            claims.insert(key.clone(), value);
        }
        return Ok(Value::Object(claims));
    }
    if let SchemeSource::Field(name) = proxied.scheme_source() {
        let stands = case.given["headers"]
            .as_array()
            .unwrap()
            .iter()
            .any(|line| line[0].as_str().unwrap().eq_ignore_ascii_case(name.as_str()));
        if stands {
            claims.insert("scheme".to_owned(), json!(proxied.scheme().map_or("malformed", Scheme::as_str)));
        }
    }
    if let Some(host) = proxied.host() {
        claims.insert("host".to_owned(), json!(host.to_string()));
    }
    if let Some(port) = proxied.port() {
        claims.insert("port".to_owned(), json!(port));
    }
    if let Some(prefix) = proxied.prefix() {
        claims.insert("prefix".to_owned(), json!(prefix.as_str()));
    }
    Ok(Value::Object(claims))
}

fn snake_case(outcome: Outcome) -> String {
    let mut text = String::new();
    for char in format!("{outcome:?}").chars() {
        if char.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(char.to_ascii_lowercase());
    }
    text
}

fn run_config(case: &Case) -> Verdict {
    support::only_keys(&case.given, &["config"])?;
    support::only_keys(&case.expect, &["config_error", "equals", "contains"])?;
    let items: Vec<&str> =
        case.given["config"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let parsed = TrustedProxies::parse(&items);
    equal("error", parsed.is_err(), case.expect["config_error"].as_bool().unwrap())?;
    match parsed {
        Err(error) => equal("item", items.contains(&error.item()), true),
        Ok(set) => {
            if let Some(networks) = case.expect.get("equals") {
                equal("set", &set, &support::trusted(networks))?;
            }
            for (address, is_in) in case.expect["contains"].as_object().into_iter().flatten() {
                equal(address, set.contains(address.parse().unwrap()), is_in.as_bool().unwrap())?;
            }
            Ok(())
        }
    }
}
