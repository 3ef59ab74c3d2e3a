//! `ProxyRemoteUser` in a tonic server: interceptors and handlers see who it is, refusals are statuses to the client.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataValue;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Extensions, Request, Response, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower_proxied::proxy_remote_user::{OnForged, ProxyRemoteUserBuilder};
use tower_proxied::{Identity, Proof, ProxyRemoteUserLayer, RefusalKind, RemoteUser, Secret, TrustedProxies};

const SECRET: &str = "correct-horse-battery-staple-1";

fn user(extensions: &Extensions) -> Option<&RemoteUser> {
    extensions.get::<Identity>().expect("an Identity is always there").user()
}

/// What the interceptor saw.
#[derive(Clone)]
struct Intercepted(String);

fn intercept(mut request: Request<()>) -> Result<Request<()>, Status> {
    let name = user(request.extensions()).map_or("nobody", |user| user.name()).to_owned();
    if name == "mallory" {
        return Err(Status::permission_denied("mallory"));
    }
    request.extensions_mut().insert(Intercepted(name));
    Ok(request)
}

/// Answers with what it sees, in the response's metadata.
struct Seen;

fn seen<T>(request: &Request<T>) -> MetadataValue<tonic::metadata::Ascii> {
    let Intercepted(intercepted) = request.extensions().get().expect("the interceptor ran");
    let handled = user(request.extensions())
        .map(|user| format!("{user} of {}", user.groups().collect::<Vec<_>>().join("+")));
    let headers = request.metadata().clone().into_headers();
    let mut names: Vec<_> =
        headers.keys().map(HeaderName::as_str).filter(|name| name.contains("remote")).collect();
    names.extend(headers.contains_key("x-proxy-secret").then_some("x-proxy-secret"));
    format!("{intercepted}; {handled:?}; {names:?}").parse().unwrap()
}

#[tonic::async_trait]
impl Health for Seen {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let mut response = Response::new(HealthCheckResponse { status: 1 });
        response.metadata_mut().insert("seen", seen(&request));
        Ok(response)
    }

    type WatchStream = tokio_stream::Once<Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let mut response = Response::new(tokio_stream::once(Ok(HealthCheckResponse { status: 1 })));
        response.metadata_mut().insert("seen", seen(&request));
        Ok(response)
    }
}

fn builder() -> ProxyRemoteUserBuilder {
    let secret =
        Proof::shared_secret(HeaderName::from_static("x-proxy-secret"), [Secret::parse(SECRET).unwrap()]);
    ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::loopback()) & secret)
}

async fn client(builder: ProxyRemoteUserBuilder) -> HealthClient<Channel> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = Endpoint::try_from(format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let server = Server::builder()
        .layer(builder.build().unwrap())
        .add_service(HealthServer::with_interceptor(Seen, intercept));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    HealthClient::new(endpoint.timeout(Duration::from_secs(10)).connect().await.unwrap())
}

fn request(metadata: &[(&'static str, &'static str)]) -> Request<HealthCheckRequest> {
    let mut request = Request::new(HealthCheckRequest { service: String::new() });
    for (name, value) in metadata {
        request.metadata_mut().append(*name, MetadataValue::from_static(value));
    }
    request
}

const PROVEN: (&str, &str) = ("x-proxy-secret", SECRET);

#[tokio::test]
async fn interceptors_and_handlers_see_who_it_is() {
    let mut client = client(builder()).await;
    for (lines, expected) in [
        (
            &[PROVEN, ("remote-user", "alice"), ("remote-groups", "dev,ops"), ("remote_user", "admin")][..],
            "alice; Some(\"alice of dev+ops\"); []",
        ),
        (&[PROVEN], "nobody; None; []"),
        (
            &[("remote-user", "admin"), ("remote.user", "admin"), ("x-remote-extra-scopes", "all")],
            "nobody; None; []",
        ),
        (&[("x-proxy-secret", "guess-guess-guess"), ("remote-user", "mallory")], "nobody; None; []"),
    ] {
        let response = client.check(request(lines)).await.unwrap();
        assert_eq!(response.metadata().get("seen").unwrap(), expected, "{lines:?}");
        let response = client.watch(request(lines)).await.unwrap();
        assert_eq!(response.metadata().get("seen").unwrap(), expected, "{lines:?}");
    }
    let refused = client.check(request(&[PROVEN, ("remote-user", "mallory")])).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, "mallory"));
}

#[tokio::test]
async fn refusals_are_statuses() {
    let duplicate = &[PROVEN, ("remote-user", "alice"), ("remote-user", "admin")][..];
    let foreign = &[PROVEN, ("remote-user", "alice@EVIL")][..];
    let forged = &[("remote_user", "admin")][..];
    for (builder, lines, code, number, kind) in [
        (builder().required(), &[PROVEN][..], Code::Unauthenticated, 16, RefusalKind::NotAuthenticated),
        (builder().required(), forged, Code::Unauthenticated, 16, RefusalKind::NotProven),
        (builder(), duplicate, Code::InvalidArgument, 3, RefusalKind::IdentityMalformed),
        (
            builder().on_forged(OnForged::Refuse),
            forged,
            Code::PermissionDenied,
            7,
            RefusalKind::IdentityForged,
        ),
        (builder().require_realm(["CORP"]), foreign, Code::PermissionDenied, 7, RefusalKind::ForeignRealm),
    ] {
        let mut client = client(builder).await;
        for status in
            [client.check(request(lines)).await.unwrap_err(), client.watch(request(lines)).await.unwrap_err()]
        {
            assert_eq!((status.code(), i32::from(status.code())), (code, number), "{lines:?}: {status}");
            assert_eq!(status.message(), sentence(kind), "{lines:?}");
            assert!(!format!("{status:?}").contains("admin"), "{status:?}");
        }
    }
}

/// A fault says which of its rules was broken.
fn sentence(kind: RefusalKind) -> String {
    match kind {
        RefusalKind::IdentityMalformed => {
            "identity malformed: user: several lines; the proxy must replace what the client sent".to_owned()
        }

        kind => kind.to_string(),
    }
}

/// A certificate that this authority signs for this name, and its key.
fn signed(name: &str, authority: &Issuer<'_, KeyPair>) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}

/// The same authority signed both certificates, so that the handshake succeeds with either.
#[tokio::test]
async fn the_proxys_certificate_proves_and_another_customers_does_not() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut roots = RootCertStore::empty();
    roots.add(params.self_signed(&key).unwrap().der().clone()).unwrap();
    let (roots, authority) = (Arc::new(roots), Issuer::new(params, key));
    let (proxy, other) = (signed("proxy", &authority), signed("other", &authority));
    let (certificate, key) = signed("127.0.0.1", &authority);

    let provider = Arc::new(ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));

    let of_the_proxy = proxy.0.clone();
    let proof = Proof::client_cert(move |extensions| {
        let shown = extensions.get::<TlsConnectInfo<TcpConnectInfo>>().and_then(TlsConnectInfo::peer_certs);
        shown.is_some_and(|chain| chain.first() == Some(&of_the_proxy))
    });
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = TcpListenerStream::new(listener).then(move |accepted| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(accepted?).await }
    });
    let server = Server::builder()
        .layer(ProxyRemoteUserLayer::new(proof).build().unwrap())
        .add_service(HealthServer::with_interceptor(Seen, intercept));
    tokio::spawn(server.serve_with_incoming(incoming));

    for ((certificate, key), seen) in [(proxy, "alice; Some(\"alice of \"); []"), (other, "nobody; None; []")]
    {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(Arc::clone(&roots))
            .with_client_auth_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let connect = tower::service_fn(move |_: http::Uri| {
            let connector = connector.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                let stream = connector.connect(ServerName::from(address.ip()), stream).await?;
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        let endpoint =
            Endpoint::try_from(format!("http://{address}")).unwrap().timeout(Duration::from_secs(10));
        let mut client = HealthClient::new(endpoint.connect_with_connector(connect).await.unwrap());
        let response = client.check(request(&[("remote-user", "alice")])).await.unwrap();
        assert_eq!(response.metadata().get("seen").unwrap(), seen);
    }
}
