//! How to do things, what is what for those who know it from elsewhere, and what is held off: each with a proof that runs.

/// Three programs that are complete: each compiles with the dependencies above it and nothing else.
///
/// All read one configuration, [`BehindProxyConfig`](crate::BehindProxyConfig), here key by key.
/// [`from_env`](crate::BehindProxyConfig::from_env) reads it from the environment, serde from a file (feature `serde`), and
/// [`BehindProxyLayer`](crate::BehindProxyLayer) is built of typed layers instead.
///
/// To see one without a proxy, be the proxy yourself, as it must be listed in `trusted-proxies`:
///
/// ```text
/// curl --noproxy '*' -H 'X-Forwarded-For: 203.0.113.5' -H 'X-Forwarded-Proto: https' \
///     -H 'X-Forwarded-Host: www.example.org' -H 'Remote-User: alice' http://127.0.0.1:8000/webapps/
/// ```
///
/// # In axum
///
/// The layer stands around a router whose fallback is the application: routes are found in the path without the prefix.
/// `into_make_service_with_connect_info` tells who the peer is; without it each request gets 500 with a text that says so.
/// Without the feature `axum` the handler is no `Handler`, and `PeerAddr` no `Connected`.
///
/// A client on the proxy's own machine has a trusted address, and what it forges counts. Where exactly one proxy stands in
/// front, `.set("hops", "1")?` ends the walk at the address that it saw.
///
/// ```toml
#[doc = include_str!("../docs/start/axum.toml")]
/// ```
///
/// ```no_run
#[doc = include_str!("../docs/start/axum.rs")]
/// ```
///
/// # In tonic
///
/// tonic's server tells the peer by itself; over TLS that takes the feature `tonic-tls`.
///
/// ```toml
#[doc = include_str!("../docs/start/tonic.toml")]
/// ```
///
/// ```no_run
#[doc = include_str!("../docs/start/tonic.rs")]
/// ```
///
/// # In hyper
///
/// One [`PeerAddr::layer`](crate::PeerAddr::layer) for each connection tells the peer.
///
/// ```toml
#[doc = include_str!("../docs/start/hyper.toml")]
/// ```
///
/// ```no_run
#[doc = include_str!("../docs/start/hyper.rs")]
/// ```
pub mod start {}

#[doc = include_str!("../docs/how_do_i.md")]
pub mod how_do_i {}

#[doc = include_str!("../docs/axum_extra.md")]
pub mod axum_extra {}

#[doc = include_str!("../docs/axum_client_ip.md")]
pub mod axum_client_ip {}

#[doc = include_str!("../docs/django.md")]
pub mod django {}

#[doc = include_str!("../docs/apache.md")]
pub mod apache {}

#[doc = include_str!("../docs/attacks.md")]
pub mod attacks {}

#[doc = include_str!("../docs/real_peers.md")]
pub mod real_peers {}
