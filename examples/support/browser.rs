//! A browser as far as the examples need one: a connection per request, and a jar of cookies.
#![allow(dead_code, reason = "each example takes what it needs")]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Default)]
pub(crate) struct Browser {
    tls: Option<Arc<ClientConfig>>,
    jar: BTreeMap<String, String>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Browser {
    pub(crate) fn plain() -> Self {
        Self::default()
    }

    pub(crate) fn secure(trusting: Arc<ClientConfig>) -> Self {
        Self { tls: Some(trusting), jar: BTreeMap::new() }
    }

    /// The value of a cookie in the jar.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.jar.get(name).map(String::as_str)
    }

    /// Puts a cookie in the jar that no server gave.
    pub(crate) fn set_cookie(&mut self, name: &str, value: &str) {
        self.jar.insert(name.to_owned(), value.to_owned());
    }

    /// `GET target` with these lines, from that source address.
    pub(crate) async fn get(
        &mut self,
        to: SocketAddr,
        from: Option<IpAddr>,
        target: &str,
        lines: &[(&str, &str)],
    ) -> Result<Answer, String> {
        self.ask(Method::GET, to, from, target, lines, String::new()).await
    }

    /// Sends a form.
    pub(crate) async fn post(
        &mut self,
        to: SocketAddr,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Result<Answer, String> {
        let form = serde_urlencoded::to_string(fields).map_err(|error| error.to_string())?;
        let lines = [("content-type", "application/x-www-form-urlencoded")];
        self.ask(Method::POST, to, None, target, &lines, form).await
    }

    async fn ask(
        &mut self,
        method: Method,
        to: SocketAddr,
        from: Option<IpAddr>,
        target: &str,
        lines: &[(&str, &str)],
        body: String,
    ) -> Result<Answer, String> {
        let text = |error: &dyn std::fmt::Display| format!("{target} at {to}: {error}");
        let socket = TcpSocket::new_v4().map_err(|error| text(&error))?;
        if let Some(from) = from {
            socket.bind((from, 0).into()).map_err(|error| text(&error))?;
        }
        let stream = socket.connect(to).await.map_err(|error| text(&error))?;
        let mut request = Request::builder().method(method).uri(target).header(header::HOST, to.to_string());
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        if !self.jar.is_empty() {
            let pairs: Vec<_> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(header::COOKIE, pairs.join("; "));
        }
        let request = request.body(Full::from(body)).map_err(|error| text(&error))?;
        let answer = async {
            match &self.tls {
                None => exchange(stream, request).await.map_err(|error| text(&error)),
                Some(config) => {
                    let name = ServerName::from(to.ip());
                    let stream = TlsConnector::from(config.clone()).connect(name, stream).await;
                    exchange(stream.map_err(|error| text(&error))?, request)
                        .await
                        .map_err(|error| text(&error))
                }
            }
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await.map_err(|error| text(&error))??;
        self.keep_cookies(&answer.headers);
        Ok(answer)
    }

    fn keep_cookies(&mut self, headers: &HeaderMap) {
        for line in headers.get_all(header::SET_COOKIE).iter().filter_map(|line| line.to_str().ok()) {
            let mut fields = line.split(';').map(str::trim);
            let Some((name, value)) = fields.next().and_then(|pair| pair.split_once('=')) else { continue };
            if fields.any(|field| field.eq_ignore_ascii_case("max-age=0")) {
                self.jar.remove(name);
            } else {
                self.set_cookie(name, value);
            }
        }
    }
}

async fn exchange<I>(stream: I, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = String::from_utf8_lossy(&body.collect().await?.to_bytes()).into_owned();
    connection.abort();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}
