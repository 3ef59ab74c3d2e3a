//! Apache httpd, nginx, HAProxy, Django, gRPC and a browser: other people's servers and clients at the layers.
//!
//! ```sh
//! REAL_PEERS=require cargo test --test real_peers -- --ignored --nocapture
//! ```
//!
//! Without `REAL_PEERS=require` a test is skipped where a server is not installed. `REAL_PEERS_WRITE=1` writes
//! docs/real_peers.md anew.

#[path = "real_peers/balancing.rs"]
mod balancing;
#[path = "real_peers/browser.rs"]
mod browser;
#[path = "real_peers/chromium.rs"]
mod chromium;
#[path = "real_peers/client.rs"]
mod client;
#[path = "real_peers/django.rs"]
mod django;
#[path = "real_peers/fixture.rs"]
mod fixture;
#[path = "real_peers/fronts.rs"]
mod fronts;
#[path = "real_peers/grpc.rs"]
mod grpc;
#[path = "real_peers/scenarios.rs"]
mod scenarios;
#[path = "../examples/support/serve.rs"]
mod serve;
#[path = "real_peers/table.rs"]
mod table;
#[path = "../examples/support/tls.rs"]
mod tls;

/// Runs what the tests of this file do one after the other.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
