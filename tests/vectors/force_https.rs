use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::{ServiceBuilder, ServiceExt};
use tower_proxied::force_https_body::{Hosts, Ports, Targets, UpgradePolicy, Upgrader};
use tower_proxied::forwarded_for::{Claims, Written};
use tower_proxied::{ForceHttpsBodyLayer, ForwardedForLayer, PeerAddr, Scheme, TrustedProxies};

use crate::support::{self, Case, Verdict, equal};

pub(crate) fn run(case: &Case) -> Verdict {
    support::only_keys(
        &case.given,
        &[
            "secure",
            "content_type",
            "headers",
            "body",
            "body_b64",
            "chunks",
            "split",
            "method",
            "status",
            "host",
            "request_headers",
            "secure_from",
            "trailers",
            "options",
        ],
    )?;
    support::only_keys(&case.expect, &["body", "body_b64", "body_accept", "headers", "min_emitted"])?;
    let policy = policy(&case.given["options"])?;
    let body = bytes_of(&case.given)?;
    let accepted = accepted(&case.expect)?;

    let seen = serve(&case.given, &policy, delivery(&case.given, &body)?)?;
    check_body("as delivered", &seen.body, &accepted)?;
    equal("error", seen.error.as_deref(), expected_error(&case.given))?;
    check_headers(&case.expect["headers"], &seen)?;
    if let Some(least) = case.expect.get("min_emitted") {
        check_emitted(&case.given, policy.clone(), least)?;
    }
    if expected_error(&case.given).is_some() {
        return Ok(());
    }
    // The cuts must agree with each other, not only with what is accepted.
    let cut = |cut: Vec<Bytes>| serve(&case.given, &policy, Delivery::streamed(cut)).map(|seen| seen.body);
    let whole = cut(vec![body.clone()])?;
    check_body("in one streamed piece", &whole, &accepted)?;
    for at in 0..=body.len() {
        equal(&format!("cut at {at}"), &cut(vec![body.slice(..at), body.slice(at..)])?, &whole)?;
    }
    equal("byte by byte", cut(body.chunks(1).map(Bytes::copy_from_slice).collect())?, whole)
}

fn policy(options: &Value) -> Result<UpgradePolicy, String> {
    support::only_keys(options, &["targets", "hosts", "ports"])?;
    let mut policy = UpgradePolicy::new();
    let mut targets = Targets::DEFAULT;
    for target in options["targets"].as_array().into_iter().flatten() {
        targets = targets
            | match target.as_str().unwrap_or_default() {
                "+form_action" => Targets::FORM_ACTION,
                "+link_any_rel" => Targets::LINK_ANY_REL,
                "+meta_refresh" => Targets::META_REFRESH,
                "+data_attributes" => Targets::DATA_ATTRIBUTES,
                other => return Err(format!("no such target: {other}")),
            };
    }
    policy = policy.targets(targets);
    if let Some(hosts) = options.get("hosts") {
        support::only_keys(hosts, &["only", "allow", "deny"])?;
        let list = |key: &str| -> Vec<&str> {
            hosts[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
        };
        let rule = match (hosts.as_str(), hosts.get("only")) {
            (Some("same"), _) => Hosts::same(),
            (Some(other), _) => return Err(format!("no such hosts: {other}")),
            (None, Some(_)) => Hosts::only(list("only")).map_err(|error| error.to_string())?,
            (None, None) => Hosts::upgradable(),
        };
        let rule = rule.allow(list("allow")).and_then(|rule| rule.deny(list("deny")));
        policy = policy.hosts(rule.map_err(|error| error.to_string())?);
    }
    policy = match options["ports"].as_str() {
        None => policy,
        Some("keep") => policy.ports(Ports::Keep),
        Some("skip_explicit") => policy.ports(Ports::SkipExplicit),
        Some(other) => return Err(format!("no such ports: {other}")),
    };
    Ok(policy)
}

fn bytes_of(value: &Value) -> Result<Bytes, String> {
    match (value["body"].as_str(), value["body_b64"].as_str()) {
        (Some(text), None) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        (None, Some(text)) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map(Bytes::from)
            .map_err(|error| error.to_string()),
        _ => Err("one of body and body_b64".to_owned()),
    }
}

fn accepted(expect: &Value) -> Result<Vec<Bytes>, String> {
    let more = expect["body_accept"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut accepted = vec![bytes_of(expect)?];
    accepted.extend(more.map(|text| Bytes::copy_from_slice(text.as_bytes())));
    Ok(accepted)
}

fn check_body(how: &str, seen: &Bytes, accepted: &[Bytes]) -> Verdict {
    if accepted.contains(seen) { Ok(()) } else { equal(how, seen, &accepted[0]) }
}

fn expected_error(given: &Value) -> Option<&str> {
    given["chunks"].as_array().into_iter().flatten().find_map(|chunk| chunk["error"].as_str())
}

fn check_headers(expected: &Value, seen: &Seen) -> Verdict {
    for (name, value) in expected.as_object().into_iter().flatten() {
        let (headers, field) = match name.strip_prefix("trailer:") {
            Some(field) => (&seen.trailers, field),
            None => (&seen.headers, name.as_str()),
        };
        let values: Vec<String> = headers
            .get_all(field)
            .iter()
            .map(|value| value.as_bytes().iter().map(|byte| char::from(*byte)).collect())
            .collect();
        let expected: Vec<String> = match value {
            Value::Null => Vec::new(),
            Value::String(text) => {
                match text.strip_prefix('@').and_then(|text| text.strip_suffix("-or-absent")) {
                    Some(_) if values.is_empty() => Vec::new(),
                    Some(text) => vec![text.to_owned()],
                    None => vec![text.clone()],
                }
            }
            Value::Array(all) => all.iter().map(|value| value.as_str().unwrap().to_owned()).collect(),
            other => return Err(format!("{other} is no header value")),
        };
        let joined = |values: &[String]| values.join(", ");
        equal(name, joined(&values), joined(&expected))?;
    }
    Ok(())
}

/// After each chunk at least so many bytes must be out.
fn check_emitted(given: &Value, policy: UpgradePolicy, least: &Value) -> Verdict {
    let mut upgrader = Upgrader::new(Arc::new(policy));
    let (chunks, least) = (given["chunks"].as_array().unwrap(), least.as_array().unwrap());
    equal("length of min_emitted", least.len(), chunks.len())?;
    let mut emitted = 0;
    for (chunk, least) in chunks.iter().zip(least) {
        emitted += upgrader.push(Bytes::copy_from_slice(chunk.as_str().unwrap().as_bytes())).len() as u64;
        if emitted < least.as_u64().unwrap() {
            return Err(format!("{emitted} bytes are out, at least {least} must be"));
        }
    }
    Ok(())
}

struct Seen {
    headers: HeaderMap,
    body: Bytes,
    trailers: HeaderMap,
    error: Option<String>,
}

fn serve(given: &Value, policy: &UpgradePolicy, mut body: Delivery) -> Result<Seen, String> {
    let layer = ForceHttpsBodyLayer::with_policy(policy.clone());
    let layer = match given["secure"].as_bool() {
        Some(true) => layer.secure_when(|_| true),
        Some(false) => layer.secure_when(|_| false),
        None => return Err("secure?".to_owned()),
    };
    let mut request = Request::new(());
    *request.method_mut() = match given["method"].as_str() {
        Some(method) => Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?,
        None => Method::GET,
    };
    *request.headers_mut() = support::headers(&given["request_headers"]);
    request.extensions_mut().insert(PeerAddr::Unix);

    let mut head = Response::new(());
    *head.headers_mut() = support::headers(&given["headers"]);
    if let Some(content_type) = given["content_type"].as_str() {
        head.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().unwrap());
    }
    if let Some(status) = given["status"].as_u64() {
        *head.status_mut() = u16::try_from(status).unwrap().try_into().unwrap();
    }
    if let Some(trailers) = given.get("trailers") {
        body.frames.push_back(Ok(Frame::trailers(support::headers(trailers))));
    }
    let mut response = Some(head.map(|()| body));
    let service = ServiceBuilder::new()
        .layer(proxied(given, request.headers_mut())?)
        .layer(layer)
        .service_fn(|_: Request<()>| std::future::ready(Ok::<_, Infallible>(response.take().unwrap())));
    support::block_on(async {
        let response = service.oneshot(request).await.map_err(|error| error.to_string())?;
        let (parts, mut body) = response.into_parts();
        let mut seen =
            Seen { headers: parts.headers, body: Bytes::new(), trailers: HeaderMap::new(), error: None };
        let mut data = Vec::new();
        let hint = body.size_hint().exact();
        while !body.is_end_stream() {
            match body.frame().await {
                None => break,
                Some(Err(error)) => {
                    seen.error = Some(error.to_string());
                    break;
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => data.extend_from_slice(&piece),
                    Err(frame) => seen.trailers = frame.into_trailers().unwrap(),
                },
            }
        }
        if hint.is_some_and(|hint| hint != data.len() as u64) {
            return Err(format!("the size hint is {hint:?}, the body has {} bytes", data.len()));
        }
        seen.body = data.into();
        Ok(seen)
    })
}

/// Where the case says how the scheme or the host became known: the layer that attests it.
fn proxied(given: &Value, headers: &mut HeaderMap) -> Result<ForwardedForLayer, String> {
    let is_secure = given["secure"] == true;
    if given.get("secure_from").is_none() && given.get("host").is_none() {
        return Ok(ForwardedForLayer::disabled());
    }
    let mut layer = ForwardedForLayer::x_forwarded_for(TrustedProxies::unix());
    let mut claims = Claims::none();
    headers.insert("x-forwarded-for", "203.0.113.5".parse().unwrap());
    match given["secure_from"].as_str() {
        Some("x-forwarded-proto") => {
            claims = claims.scheme(Written::Set);
            let scheme = if is_secure { "https" } else { "http" };
            headers.insert("x-forwarded-proto", scheme.parse().unwrap());
        }
        Some("connection") | None => {
            layer = layer.listener_scheme(if is_secure { Scheme::Https } else { Scheme::Http });
        }
        Some(other) => return Err(format!("the scheme from {other}?")),
    }
    if let Some(host) = given["host"].as_str() {
        claims = claims.host(Written::Set);
        headers.insert(HeaderName::from_static("x-forwarded-host"), host.parse().unwrap());
    }
    Ok(layer.claims(claims))
}

/// An inner body that gives one frame after the other, and pends before each of a stream.
struct Delivery {
    frames: VecDeque<Result<Frame<Bytes>, String>>,
    len: Option<u64>,
    pends: bool,
}

impl Delivery {
    fn streamed(pieces: Vec<Bytes>) -> Self {
        Self {
            frames: pieces.into_iter().map(|piece| Ok(Frame::data(piece))).collect(),
            len: None,
            pends: true,
        }
    }
}

/// As the case says: its chunks, or the whole body with its length.
fn delivery(given: &Value, body: &Bytes) -> Result<Delivery, String> {
    let Some(chunks) = given["chunks"].as_array() else {
        let frames = (!body.is_empty()).then(|| Ok(Frame::data(body.clone())));
        return Ok(Delivery {
            frames: frames.into_iter().collect(),
            len: Some(body.len() as u64),
            pends: false,
        });
    };
    let mut delivery = Delivery::streamed(Vec::new());
    for chunk in chunks {
        delivery.frames.push_back(match (chunk.as_str(), chunk["error"].as_str()) {
            (Some(text), _) => Ok(Frame::data(Bytes::copy_from_slice(text.as_bytes()))),
            (None, Some(error)) => Err(error.to_owned()),
            (None, None) => return Err(format!("{chunk} is no chunk")),
        });
    }
    Ok(delivery)
}

impl Body for Delivery {
    type Data = Bytes;
    type Error = String;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, String>>> {
        if self.len.is_none() && std::mem::replace(&mut self.pends, false) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.pends = true;
        let frame = self.frames.pop_front();
        if let (Some(len), Some(Ok(frame))) = (&mut self.len, &frame) {
            *len -= frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.len.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
