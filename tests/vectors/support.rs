//! What the runners of all areas share.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tower_proxied::{PeerAddr, TrustedProxies};

pub(crate) type Verdict = Result<(), String>;

pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) given: Value,
    pub(crate) expect: Value,
    pub(crate) json: Value,
}

impl Case {
    /// A case without `given` and `expect` (captures) is its own `given`.
    pub(crate) fn new(json: Value) -> Self {
        Self {
            id: json["id"].as_str().expect("a case has an id").to_owned(),
            given: json.get("given").unwrap_or(&json).clone(),
            expect: json.get("expect").cloned().unwrap_or(Value::Null),
            json,
        }
    }
}

/// Fails on a key that the runner does not know: it would otherwise go untested.
pub(crate) fn only_keys(value: &Value, known: &[&str]) -> Verdict {
    let Some(object) = value.as_object() else { return Ok(()) };
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("the runner does not know the key {key:?}")),
        None => Ok(()),
    }
}

pub(crate) fn equal<T: PartialEq + std::fmt::Debug>(what: &str, seen: T, expected: T) -> Verdict {
    if seen == expected { Ok(()) } else { Err(format!("{what}: seen {seen:?}, expected {expected:?}")) }
}

/// Each character of a text is one byte; `{"hex"}` is raw bytes.
pub(crate) fn latin1(value: &Value) -> Vec<u8> {
    if let Some(hex) = value.get("hex").and_then(Value::as_str) {
        return (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
    }
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no text"));
    text.chars().map(|char| u8::try_from(u32::from(char)).expect("Latin-1")).collect()
}

/// Ordered lines `[[name, value], …]`.
pub(crate) fn headers(lines: &Value) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.as_array().into_iter().flatten() {
        let name = HeaderName::from_bytes(&latin1(&line[0])).expect("a header name");
        headers.append(name, HeaderValue::from_bytes(&latin1(&line[1])).expect("a header value"));
    }
    headers
}

/// Back to lines of lower-case names and Latin-1 text.
pub(crate) fn lines(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// An address with or without a port, `"unix"`, or null.
pub(crate) fn peer(value: &Value) -> Option<PeerAddr> {
    match value.as_str()? {
        "unix" => Some(PeerAddr::Unix),
        text => {
            // A zone is a number in a socket address, and a name in the cases.
            let (start, end) = text.split_once('%').unwrap_or((text, ""));
            let text = format!("{start}{}", end.find(']').map_or("", |at| &end[at..]));
            let address = text.parse().or_else(|_| text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 40000)));
            let mut address = address.unwrap_or_else(|_| panic!("peer {text}"));
            if let (SocketAddr::V6(address), true) = (&mut address, text.starts_with("[fe80:")) {
                address.set_scope_id(2);
            }
            Some(PeerAddr::Tcp(address))
        }
    }
}

pub(crate) fn trusted(list: &Value) -> TrustedProxies {
    let items: Vec<&str> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if items.is_empty() {
        return TrustedProxies::none();
    }
    TrustedProxies::parse(items).unwrap_or_else(|error| panic!("{error}"))
}

/// Polls a future that is ready without ever waiting for a socket or a timer.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}
