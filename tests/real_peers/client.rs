//! One request on a connection of its own, from 127.0.0.2: no proxy that anybody here trusts.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

pub(crate) const HOST: &str = "www.example.com";

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To {
    Http(SocketAddr),
    Https(SocketAddr),
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_owned()
    }

    /// What `app_server` tells, or nothing where another one answered.
    pub(crate) fn told(&self, name: &str) -> Option<serde_json::Value> {
        let told: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        Some(told.get(name)?.clone())
    }

    /// The first pair of the cookie that is set.
    pub(crate) fn cookie(&self) -> Option<String> {
        Some(self.header("set-cookie")?.split(';').next()?.to_owned())
    }
}

pub(crate) async fn get(to: To, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = request("GET", path, headers).body(Full::default()).unwrap();
    send(to, request).await.unwrap_or_else(|error| panic!("GET {path} {headers:?} at {to:?}: {error}"))
}

/// A request to [`HOST`], unless the headers say another one.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> http::request::Builder {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header(header::HOST, HOST);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
}

pub(crate) async fn send(to: To, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    let exchange = async {
        let (parts, body) = open(to, request).await?.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    };
    tokio::time::timeout(Duration::from_secs(30), exchange)
        .await
        .map_err(|_| String::from("no answer in time"))?
}

/// The head of the response; its body comes as it is read.
pub(crate) async fn open(to: To, request: Request<Full<Bytes>>) -> Result<http::Response<Incoming>, String> {
    let (To::Http(address) | To::Https(address)) = to;
    let socket = connect(address).await.map_err(|error| error.to_string())?;
    match to {
        To::Http(_) => over(socket, request).await,
        To::Https(_) => {
            let name = ServerName::try_from(HOST).unwrap();
            let connector = TlsConnector::from(any_certificate(&[b"http/1.1"]));
            over(connector.connect(name, socket).await.map_err(|error| error.to_string())?, request).await
        }
    }
}

async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 2], 0)))?;
    socket.connect(address).await
}

async fn over<I>(socket: I, request: Request<Full<Bytes>>) -> Result<http::Response<Incoming>, String>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = http1::handshake(TokioIo::new(socket)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(|error| format!("{error:?}"))
}

/// The servers here sign for themselves.
fn any_certificate(protocols: &[&[u8]]) -> Arc<ClientConfig> {
    static CONFIG: OnceLock<ClientConfig> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate))
            .with_no_client_auth()
    });
    let mut config = config.clone();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
