use std::net::SocketAddr;
use std::task::{Context, Poll};

use http::{Extensions, Request};
use tower_layer::Layer;
use tower_service::Service;

use crate::shell::accessors;

/// The other end of the socket: what the kernel says, not what a header says.
///
/// Layers read it from the request's extensions, the first that is there of
///
/// 1. `PeerAddr` itself, as [`PeerAddr::layer`] puts it there,
/// 2. axum's `ConnectInfo<PeerAddr>`, `ConnectInfo<SocketAddr>`, `MockConnectInfo<PeerAddr>` and
///    `MockConnectInfo<SocketAddr>` (feature `axum`),
/// 3. tonic's `TcpConnectInfo`, `UdsConnectInfo` (feature `tonic`) and `TlsConnectInfo` of either
///    (feature `tonic-tls`).
///
/// Nothing of it is ever overwritten by this crate, so that it stays the truth for everything further in.
///
/// # Example
///
/// axum: serve with `into_make_service_with_connect_info::<PeerAddr>()`, over TCP as over a unix socket.
/// hyper, or a test in process:
///
/// ```
/// use http::Request;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_proxied::PeerAddr;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let service = ServiceBuilder::new()
///     .layer(PeerAddr::layer("192.0.2.7:4711".parse::<std::net::SocketAddr>().unwrap()))
///     .service_fn(|request: Request<()>| async move { PeerAddr::of(request.extensions()).ok_or("no peer") });
/// let peer = service.oneshot(Request::new(())).await.unwrap();
/// assert_eq!(peer.to_string(), "192.0.2.7:4711");
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerAddr {
    /// A TCP (or QUIC) socket.
    Tcp(SocketAddr),
    /// A unix socket; its peers have no address.
    Unix,
}

impl PeerAddr {
    /// The peer of the connection on which this request came, if the server said so.
    pub fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Self>().copied().or_else(|| of_axum(extensions)).or_else(|| of_tonic(extensions))
    }

    /// Puts the peer of one connection into its requests: for hyper (one service per connection), and for
    /// tests in process.
    pub fn layer(peer: impl Into<Self>) -> PeerAddrLayer {
        PeerAddrLayer { peer: peer.into() }
    }

    /// The address, canonical: IPv4-mapped IPv6 is IPv4. A unix socket has none.
    pub fn ip(&self) -> Option<std::net::IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip().to_canonical()),
            Self::Unix => None,
        }
    }
}

impl From<SocketAddr> for PeerAddr {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl std::fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix:"),
        }
    }
}

/// Layer of [`WithPeerAddr`], see [`PeerAddr::layer`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct PeerAddrLayer {
    peer: PeerAddr,
}

impl<S> Layer<S> for PeerAddrLayer {
    type Service = WithPeerAddr<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WithPeerAddr { inner, peer: self.peer }
    }
}

/// Puts a [`PeerAddr`] into the extensions of each request.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct WithPeerAddr<S> {
    inner: S,
    peer: PeerAddr,
}

accessors! { WithPeerAddr }

impl<S, B> Service<Request<B>> for WithPeerAddr<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        self.inner.call(request)
    }
}

#[cfg(feature = "axum")]
fn of_axum(extensions: &Extensions) -> Option<PeerAddr> {
    use axum::extract::connect_info::{ConnectInfo, MockConnectInfo};

    let ours = || extensions.get::<ConnectInfo<PeerAddr>>().map(|info| info.0);
    let tcp = || extensions.get::<ConnectInfo<SocketAddr>>().map(|info| PeerAddr::Tcp(info.0));
    let mock = || extensions.get::<MockConnectInfo<PeerAddr>>().map(|info| info.0);
    let mock_tcp = || extensions.get::<MockConnectInfo<SocketAddr>>().map(|info| PeerAddr::Tcp(info.0));
    ours().or_else(tcp).or_else(mock).or_else(mock_tcp)
}

#[cfg(not(feature = "axum"))]
fn of_axum(_: &Extensions) -> Option<PeerAddr> {
    None
}

#[cfg(feature = "tonic")]
fn of_tonic(extensions: &Extensions) -> Option<PeerAddr> {
    use tonic::transport::server::TcpConnectInfo;
    #[cfg(unix)]
    use tonic::transport::server::UdsConnectInfo;

    let tcp = || extensions.get::<TcpConnectInfo>()?.remote_addr().map(PeerAddr::Tcp);
    #[cfg(unix)]
    let unix = || extensions.get::<UdsConnectInfo>().map(|_| PeerAddr::Unix);
    #[cfg(not(unix))]
    let unix = || None;
    tcp().or_else(unix).or_else(|| of_tonic_tls(extensions))
}

#[cfg(not(feature = "tonic"))]
fn of_tonic(_: &Extensions) -> Option<PeerAddr> {
    None
}

#[cfg(feature = "tonic-tls")]
fn of_tonic_tls(extensions: &Extensions) -> Option<PeerAddr> {
    #[cfg(unix)]
    use tonic::transport::server::UdsConnectInfo;
    use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

    let tcp =
        || extensions.get::<TlsConnectInfo<TcpConnectInfo>>()?.get_ref().remote_addr().map(PeerAddr::Tcp);
    #[cfg(unix)]
    let unix = || extensions.get::<TlsConnectInfo<UdsConnectInfo>>().map(|_| PeerAddr::Unix);
    #[cfg(not(unix))]
    let unix = || None;
    tcp().or_else(unix)
}

#[cfg(all(feature = "tonic", not(feature = "tonic-tls")))]
fn of_tonic_tls(_: &Extensions) -> Option<PeerAddr> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_peer_information_is_none() {
        assert_eq!(PeerAddr::of(&Extensions::new()), None);
    }

    #[cfg(feature = "axum")]
    #[test]
    fn ours_comes_before_axum_and_mock_comes_last() {
        use axum::extract::connect_info::{ConnectInfo, MockConnectInfo};

        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut extensions = Extensions::new();
        extensions.insert(MockConnectInfo(address(4)));
        assert_eq!(PeerAddr::of(&extensions), Some(PeerAddr::Tcp(address(4))));
        extensions.insert(ConnectInfo(address(3)));
        assert_eq!(PeerAddr::of(&extensions), Some(PeerAddr::Tcp(address(3))));
        extensions.insert(ConnectInfo(PeerAddr::Unix));
        assert_eq!(PeerAddr::of(&extensions), Some(PeerAddr::Unix));
        extensions.insert(PeerAddr::Tcp(address(1)));
        assert_eq!(PeerAddr::of(&extensions), Some(PeerAddr::Tcp(address(1))));
    }

    #[cfg(feature = "tonic")]
    #[test]
    fn tonic_connect_info() {
        use tonic::transport::server::TcpConnectInfo;

        let address = SocketAddr::from(([127, 0, 0, 1], 7));
        let mut extensions = Extensions::new();
        extensions.insert(TcpConnectInfo { local_addr: None, remote_addr: Some(address) });
        assert_eq!(PeerAddr::of(&extensions), Some(PeerAddr::Tcp(address)));
    }

    #[cfg(all(feature = "tonic", unix))]
    #[test]
    fn tonic_over_a_unix_socket() {
        use tonic::transport::server::UdsConnectInfo;

        let mut extensions = Extensions::new();
        extensions.insert(UdsConnectInfo { peer_addr: None, peer_cred: None });
        assert_eq!(PeerAddr::of(&extensions), Some(PeerAddr::Unix));
    }
}
