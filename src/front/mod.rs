//! The front end's side: what is written for the application servers, and how requests get there.
//!
//! | unit | what it does |
//! |---|---|
//! | [`SetForwarded`] | writes `X-Forwarded-For`, `-Host`, `-Proto` or `Forwarded` |
//! | [`SetRemoteUser`] | writes `Remote-User` and what proves it, and drops every spelling that a client sent |
//! | [`Upstream`] | points a request at one application server, and takes out what belongs to one connection only |
//!
//! Order, outermost first: [`SetForwarded`], the front end's own authentication, [`SetRemoteUser`], a balancer,
//! [`Upstream`], the HTTP client. No order of them lets a client's `Connection` remove what they write. `SetForwarded` needs the request as the client sent it, and [`Upstream`] replaces the
//! target.
//!
//! # Example
//!
//! The whole way over hyper-util's client:
//!
//! ```
//! use http_body_util::{BodyExt, Empty};
//! use hyper_util::client::legacy::Client;
//! use hyper_util::rt::TokioExecutor;
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_proxied::PeerAddr;
//! use tower_proxied::errors_to_502::ErrorsTo502Layer;
//! use tower_proxied::front::{SetForwardedLayer, Target, UpstreamLayer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let application = axum::Router::new().fallback(|headers: axum::http::HeaderMap| async move {
//!     format!("{:?} for {:?}", headers["x-forwarded-for"], headers["host"])
//! });
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let target = Target::parse(&format!("http://{}", listener.local_addr()?))?;
//! tokio::spawn(async move { axum::serve(listener, application).await });
//!
//! let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
//! let front_end = ServiceBuilder::new()
//!     .layer(PeerAddr::layer("203.0.113.5:4711".parse::<std::net::SocketAddr>()?))
//!     .layer(SetForwardedLayer::edge())
//!     .layer(ErrorsTo502Layer::new())
//!     .layer(UpstreamLayer::new(target))
//!     .service(client);
//!
//! let request = http::Request::get("/page").header("host", "shop.example").body(Empty::new())?;
//! let response = front_end.oneshot(request).await?;
//! let text = response.into_body().collect().await?.to_bytes();
//! assert_eq!(text, r#""203.0.113.5" for "shop.example""#);
//! # Ok(())
//! # }
//! ```

mod hop_by_hop;
mod set_forwarded;
mod set_remote_user;
mod target;
mod upstream;

pub use self::set_forwarded::{SetForwarded, SetForwardedLayer};
pub use self::set_remote_user::{SetRemoteUser, SetRemoteUserLayer};
pub use self::target::{Target, TargetError};
pub use self::upstream::{HopByHopRemoval, Upstream, UpstreamLayer};
