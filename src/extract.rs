//! axum: the peer address of a connection, for `into_make_service_with_connect_info::<PeerAddr>()`.

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;

use crate::trust::PeerAddr;

impl Connected<IncomingStream<'_, tokio::net::TcpListener>> for PeerAddr {
    fn connect_info(stream: IncomingStream<'_, tokio::net::TcpListener>) -> Self {
        Self::Tcp(*stream.remote_addr())
    }
}

#[cfg(unix)]
impl Connected<IncomingStream<'_, tokio::net::UnixListener>> for PeerAddr {
    fn connect_info(_: IncomingStream<'_, tokio::net::UnixListener>) -> Self {
        Self::Unix
    }
}
