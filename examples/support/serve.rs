//! Serves HTTP/1.1 and HTTP/2 on plain and TLS sockets, for the examples.
#![allow(dead_code, reason = "each example takes what it needs")]

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Handle};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::Service;
use tower_proxied::Scheme;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long open requests may take once a server is told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// A socket to serve, with TLS or without.
pub(crate) struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    workers: Option<Workers>,
}

impl Listener {
    pub(crate) fn http(socket: TcpListener) -> Self {
        Self { socket, tls: None, workers: None }
    }

    pub(crate) fn https(socket: TcpListener, tls: TlsAcceptor) -> Self {
        Self { socket, tls: Some(tls), workers: None }
    }

    /// Its connections are dealt out to these threads.
    pub(crate) fn dealt_to(self, workers: &Workers) -> Self {
        Self { workers: Some(workers.clone()), ..self }
    }

    pub(crate) fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Threads with a runtime each. All of a connection stays in one thread: no request wakes another one, and none waits
/// for a lock that another one holds.
#[derive(Clone)]
pub(crate) struct Workers(Arc<[Handle]>);

impl Workers {
    /// One per core unless said. They run until the process ends.
    pub(crate) fn start(number: Option<NonZero<usize>>) -> io::Result<Self> {
        let number = number.map_or_else(thread::available_parallelism, Ok)?;
        let worker = |number: usize| {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let handle = runtime.handle().clone();
            let thread = thread::Builder::new().name(format!("worker-{number}"));
            thread.spawn(move || runtime.block_on(std::future::pending::<()>()))?;
            Ok(handle)
        };
        (1..=number.get()).map(worker).collect::<io::Result<_>>().map(Self)
    }
}

/// What answers a request.
pub(crate) trait Answer:
    Service<
        Request<Incoming>,
        Response = Response<Self::Body>,
        Error = Infallible,
        Future: Future<Output = Result<Response<Self::Body>, Infallible>> + Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
    type Body: http_body::Body<Data = Bytes, Error: Into<Error>> + Send + 'static;
}

impl<S, R> Answer for S
where
    S: Service<Request<Incoming>, Response = Response<R>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
    R: http_body::Body<Data = Bytes, Error: Into<Error>> + Send + 'static,
{
    type Body = R;
}

/// A socket at this address, or a line that says why there is none.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}").into())
}

/// Ready at Ctrl-C.
pub(crate) async fn interrupted() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        eprintln!("Ctrl-C will not be heard: {error}");
        std::future::pending::<()>().await;
    }
}

/// Serves each listener with what its function makes for a peer, until `stop` is ready; and then for as long as open
/// requests take, ten seconds at most.
pub(crate) async fn serve<S, F>(
    listeners: Vec<(Listener, F)>,
    stop: impl Future<Output = ()>,
) -> Result<(), Error>
where
    S: Answer,
    F: Fn(SocketAddr) -> S + Send + 'static,
{
    let (stopping, _) = watch::channel(());
    let mut serving = JoinSet::new();
    for (listener, stack) in listeners {
        serving.spawn(accept(listener, stopping.subscribe(), stack));
    }
    stop.await;
    drop(stopping);
    while let Some(served) = serving.join_next().await {
        served?;
    }
    Ok(())
}

/// Serves one listener until `stopping` is closed.
async fn accept<S, F>(listener: Listener, mut stopping: watch::Receiver<()>, stack: F)
where
    S: Answer,
    F: Fn(SocketAddr) -> S + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let here: &[Handle] = &[Handle::current()];
    let mut turns = listener.workers.as_ref().map_or(here, |workers| &workers.0).iter().cycle();
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stopping.changed() => break,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            // Out of file descriptors, say: those in use come back.
            Err(error) => {
                eprintln!("cannot accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = socket.set_nodelay(true);
        let (service, watcher, tls) = (stack(peer), graceful.watcher(), listener.tls.clone());
        // A socket belongs to the runtime in which it was made.
        let (Ok(socket), Some(worker)) = (socket.into_std(), turns.next()) else { continue };
        let connection = async move {
            let Ok(socket) = TcpStream::from_std(socket) else { return };
            match tls {
                None => connection(socket, service, watcher).await,
                Some(tls) => {
                    if let Ok(Ok(socket)) = tokio::time::timeout(GRACE, tls.accept(socket)).await {
                        connection(socket, service, watcher).await;
                    }
                }
            }
        };
        connections.spawn_on(connection, worker);
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        eprintln!("requests that took longer than {GRACE:?} were cut off");
    }
}

/// HTTP/1.1 or HTTP/2, by ALPN or by the first bytes. An error is the end of this connection and of nothing else.
async fn connection<I, S>(socket: I, service: S, watcher: Watcher)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Answer,
{
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new());
    let connection =
        server.serve_connection_with_upgrades(TokioIo::new(socket), TowerToHyperService::new(service));
    let _ = watcher.watch(connection.into_owned()).await;
}
