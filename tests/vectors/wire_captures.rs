//! What Apache httpd, nginx and HAProxy really send, replayed: no panic, and no spoof where the front attests.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tower_proxied::forwarded_for::Front;
use tower_proxied::{ForwardedForLayer, PeerAddr, Proxied, TrustedProxies};

use crate::forwarded_for::{Seen, serve_parts};
use crate::support::{self, Case, Verdict, equal};

/// Addresses that clients of the captures invent.
const SPOOFED: [&str; 2] = ["6.6.6.6", "7.7.7.7"];

pub(crate) fn run(case: &Case) -> Verdict {
    support::only_keys(
        &case.json,
        &[
            "id",
            "front",
            "version",
            "config",
            "why",
            "transport",
            "request",
            "reached_backend",
            "request_line_at_backend",
            "headers_at_backend",
            "status_to_client",
            "response_headers_to_client",
            "backend_route",
            "routes_of_repeats",
            "body_at_backend",
            "requests_at_backend",
            "all_heads",
            "backend_error",
        ],
    )?;
    let (name, config) = (case.json["front"].as_str().unwrap(), case.json["config"].as_str().unwrap());
    let front = match name {
        "apache" => Front::Apache,
        "nginx" => Front::Nginx,
        "haproxy" => Front::HaProxy,
        other => return Err(format!("no such front: {other}")),
    };
    let Some(headers) = replayed(&case.json["headers_at_backend"]) else { return Ok(()) };
    let peer = PeerAddr::Tcp(([127, 0, 0, 1], 40000).into());
    // The client of the captures has a proxy's address: only the count tells them apart.
    let trusted = || ForwardedForLayer::x_forwarded_for(TrustedProxies::loopback()).hops(1);
    // nginx alone, without any recipe, attests nothing at all.
    let attests = (name, config) != ("nginx", "default");

    for (layer, is_declared) in [(trusted(), false), (trusted().front(front), true)] {
        let seen = serve_parts(&layer, Some(peer), headers.clone())?;
        let Some(proxied) = &seen.proxied else {
            equal("status of a refusal", seen.status.as_u16(), 400)?;
            // A front as its recipe sets it is refused only where the client had a field of it removed.
            let lacks_a_field =
                ["x-forwarded-proto", "x-forwarded-host"].iter().any(|name| !headers.contains_key(*name));
            if matches!(config, "hardened" | "tls") && !(is_declared && lacks_a_field) {
                return Err(format!(
                    "a request of a hardened front is refused: {:?}",
                    seen.resolved.outcome()
                ));
            }
            continue;
        };
        if attests {
            equal("client", proxied.client().map(|client| client.to_string()), Some("127.0.0.1".to_owned()))?;
            no_spoof_within(&seen)?;
        }
        if matches!(config, "hardened" | "tls") {
            host_is_the_clients_own(proxied, &case.json["request"])?;
            // The front's own word, whatever X-Forwarded-Proto the client sent; undeclared, it is nobody's.
            let is_secure = is_declared && case.json["transport"].as_str().unwrap().ends_with("tls");
            equal("secure", proxied.is_secure(), is_secure)?;
        }
    }
    let stranger = ForwardedForLayer::x_forwarded_for(TrustedProxies::none());
    let seen = serve_parts(&stranger, Some(peer), headers)?;
    no_spoof_within(&seen)
}

fn no_spoof_within(seen: &Seen) -> Verdict {
    let spoofed = support::lines(&seen.headers).into_iter().find(|(name, value)| {
        let is_forwarding = name.contains("forward") || name.ends_with("-ip");
        is_forwarding && SPOOFED.iter().any(|address| value.contains(address))
    });
    spoofed.map_or(Ok(()), |line| Err(format!("a spoofed line reaches the application: {line:?}")))
}

/// A host that the front attests is one that the client asked for, not one that it invented in a header.
fn host_is_the_clients_own(proxied: &Proxied, request: &Value) -> Verdict {
    let Some(host) = proxied.host().map(ToString::to_string) else { return Ok(()) };
    let Some(text) = request.as_str().map(str::to_ascii_lowercase) else { return Ok(()) };
    let asked = text.lines().any(|line| {
        line.strip_prefix("host:").is_some_and(|value| value.trim() == host)
            || line.contains(&format!("//{host}/"))
    });
    if asked { Ok(()) } else { Err(format!("host {host} is attested, but nobody asked for it")) }
}

/// `None` where nothing reached the application, or nothing that hyper would hand on.
fn replayed(lines: &Value) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines.as_array()? {
        // A line break that nginx let through left a line without a colon: its name alone.
        let value = if line[1].is_null() { Vec::new() } else { support::latin1(&line[1]) };
        headers.append(
            HeaderName::from_bytes(&support::latin1(&line[0])).ok()?,
            HeaderValue::from_bytes(&value).ok()?,
        );
    }
    Some(headers)
}
