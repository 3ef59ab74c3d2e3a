//! ForwardedFor beside the crates that answer the same question, on the same inputs in the same run.
//!
//! `cargo bench --bench forwarded_for`. All contenders are timed in turn, many times; the table shows medians, and how
//! many times as long as ours each takes. Not all of them give the right answer: a wrong one is marked.

mod support;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use ipnet::IpNet;
use tower_proxied::forwarded_for::Proxied;
use tower_proxied::{ForwardedForLayer, PeerAddr, TrustedProxies};

use self::support::{interleaved, is_wanted};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const CLIENT: &str = "203.0.113.5";

fn main() {
    if !is_wanted() {
        return;
    }
    println!("X-Forwarded-For: ns per request (times ours)");
    head();
    for networks in [6, 22, 1_000, 10_000] {
        for elements in [2, 4] {
            let value = list(elements);
            row(&format!("{networks} networks, {elements} elements"), networks, false, &value);
        }
    }
    println!("\n22 networks, 2 elements, behind what a client wrote to the left");
    head();
    for size in [0, 8, 60] {
        let hostile = "6.6.6.6, ".repeat(size * 1024 / 9);
        row(&format!("{size} KB"), 22, false, &(hostile + &list(2)));
    }
    growth();
    println!("\nForwarded");
    head();
    row(
        "22 networks, 2 elements",
        22,
        true,
        "for=203.0.113.5;proto=https;host=shop.example, for=10.0.0.3;proto=http",
    );
}

/// Ours against itself, in turn: what is left of the attested tail must not cost.
fn growth() {
    let trusted = TrustedProxies::from_networks(networks(22)).unwrap();
    let layer = ForwardedForLayer::x_forwarded_for(trusted);
    let peer = PeerAddr::Tcp((PEER, 40000).into());
    let headers = [0, 60].map(|size| {
        let value = "6.6.6.6, ".repeat(size * 1024 / 9) + &list(2);
        HeaderMap::from_iter([(
            HeaderName::from_static("x-forwarded-for"),
            HeaderValue::from_str(&value).unwrap(),
        )])
    });
    let [without, with] =
        interleaved([&|| _ = black_box(layer.resolve(Some(&peer), black_box(&headers[0]))), &|| {
            _ = black_box(layer.resolve(Some(&peer), black_box(&headers[1])))
        }]);
    println!("ours, 60 KB beside none in the same rounds: {with:.0} / {without:.0} = {:.3}", with / without);
}

/// The client and then proxies.
fn list(elements: usize) -> String {
    let proxies = (1..elements).map(|number| format!(", 10.0.0.{number}"));
    std::iter::once(CLIENT.to_owned()).chain(proxies).collect()
}

/// `10.0.0.0/24`, which the proxies are in, comes last; the others are spread over 11.0.0.0/8 and following.
fn networks(count: usize) -> Vec<IpNet> {
    let others = (1..count).map(|number| {
        let bits = (11_u32 << 24) + (u32::try_from(number).unwrap() << 9);
        IpNet::new(Ipv4Addr::from(bits).into(), 24).unwrap()
    });
    others.chain(["10.0.0.0/24".parse().unwrap()]).collect()
}

fn head() {
    println!("{:28} {:>12} {:>22} {:>22} {:>22}", "", "ours", "trusted-proxies", "real-ip", "client-ip");
}

fn row(name: &str, count: usize, is_forwarded: bool, value: &str) {
    let field = if is_forwarded { header::FORWARDED } else { HeaderName::from_static("x-forwarded-for") };
    let mut request = Request::new(());
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("app"));
    request.headers_mut().insert(&field, HeaderValue::from_str(value).unwrap());

    let networks = networks(count);
    let trusted = TrustedProxies::from_networks(networks.iter().copied()).unwrap();
    let layer = if is_forwarded {
        ForwardedForLayer::forwarded(trusted)
    } else {
        ForwardedForLayer::x_forwarded_for(trusted)
    };
    let peer = PeerAddr::Tcp((PEER, 40000).into());
    let ours = |headers: &HeaderMap| layer.resolve(Some(&peer), headers).as_ref().and_then(Proxied::client);

    let mut config = trusted_proxies::Config::new();
    networks.iter().for_each(|network| config.add_trusted_ip(&network.to_string()).unwrap());
    config.trust_forwarded();
    config.trust_x_forwarded_for();
    let theirs =
        |request: &http::request::Parts| Some(trusted_proxies::Trusted::from(PEER, request, &config).ip());
    let real_ip = |headers: &HeaderMap| real_ip::real_ip(headers, PEER, &networks);
    let client_ip = |headers: &HeaderMap| {
        if is_forwarded {
            client_ip::rightmost_forwarded(headers)
        } else {
            client_ip::rightmost_x_forwarded_for(headers)
        }
        .ok()
    };

    let (parts, ()) = request.into_parts();
    let client: Option<IpAddr> = CLIENT.parse().ok();
    assert_eq!(ours(&parts.headers), client);
    let is_right = [
        true,
        theirs(&parts) == client,
        real_ip(&parts.headers) == client,
        client_ip(&parts.headers) == client,
    ];
    let medians = interleaved([
        &|| _ = black_box(ours(black_box(&parts.headers))),
        &|| _ = black_box(theirs(black_box(&parts))),
        &|| _ = black_box(real_ip(black_box(&parts.headers))),
        &|| _ = black_box(client_ip(black_box(&parts.headers))),
    ]);
    let cells: Vec<String> = (1..4)
        .map(|at| {
            let wrong = if is_right[at] { "" } else { " wrong" };
            format!("{:.0} ({:.1}x){wrong}", medians[at], medians[at] / medians[0])
        })
        .collect();
    println!("{name:28} {:>12.0} {:>22} {:>22} {:>22}", medians[0], cells[0], cells[1], cells[2]);
}
