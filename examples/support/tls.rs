//! TLS for examples: a certificate that this process signs for itself, and a client that trusts it.
#![allow(dead_code, reason = "each example takes the side that it needs")]

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A certificate for some names, and the acceptor that shows it.
pub(crate) struct SelfSigned {
    acceptor: TlsAcceptor,
    certificate: CertificateDer<'static>,
}

impl SelfSigned {
    /// For these names or addresses; HTTP/2 and HTTP/1.1 by ALPN.
    pub(crate) fn new(names: &[&str]) -> Result<Self, Error> {
        let names = names.iter().map(|name| String::from(*name)).collect::<Vec<_>>();
        let signed = rcgen::generate_simple_self_signed(names)?;
        let certificate = signed.cert.der().clone();
        let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der())?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// A client that trusts this certificate and nothing else, and offers these protocols (`h2`, `http/1.1`).
    pub(crate) fn client_config(&self, protocols: &[&str]) -> Result<ClientConfig, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Ok(config)
    }
}
