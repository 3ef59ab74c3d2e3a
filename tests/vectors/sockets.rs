//! One request over one connection, as raw bytes where the protocol lets them be raw.

use std::convert::Infallible;
use std::error::Error;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tower::Service;

use crate::support;

/// Starting one per case would take most of the time.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
});

/// What the client gets back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
}

/// The lines as they are: order, case, duplicates and bytes.
pub(crate) fn over_http_1<S, R>(service: S, method: &Method, lines: &Value) -> Result<Answer, String>
where
    S: Service<Request<Incoming>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut request = format!("{method} / HTTP/1.1\r\n").into_bytes();
    for line in lines.as_array().into_iter().flatten() {
        request.extend([&support::latin1(&line[0])[..], b": ", &support::latin1(&line[1]), b"\r\n"].concat());
    }
    request.extend(b"Host: app\r\n");
    if method == Method::POST {
        request.extend(b"Content-Length: 0\r\n");
    }
    request.extend(b"\r\n");
    let answer = bounded(async move {
        let (mut client, server) = connection().await;
        let service = TowerToHyperService::new(service);
        let mut server_side = hyper::server::conn::http1::Builder::new();
        server_side.keep_alive(false);
        tokio::spawn(async move { server_side.serve_connection(TokioIo::new(server), service).await });
        client.write_all(&request).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        answer
    })?;
    let text = String::from_utf8(answer).map_err(|error| error.to_string())?;
    let (head, _) = text.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {text:?}"))?;
    let mut head = head.split("\r\n");
    let status = head.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).and_then(|line| line.get(..3));
    let headers = head
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()));
    Ok(Answer {
        status: status.and_then(|status| status.parse().ok()).ok_or("no status")?,
        headers: headers.collect(),
    })
}

/// With prior knowledge, names in lower case, values as they are.
pub(crate) fn over_http_2<S, R>(service: S, method: &Method, lines: &Value) -> Result<Answer, String>
where
    S: Service<Request<Incoming>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = method.clone();
    *request.uri_mut() = "http://app/".parse().unwrap();
    *request.headers_mut() = support::headers(lines);
    bounded(async move {
        let client = serve_http_2(service).await;
        let (mut client, connection) = h2::client::handshake(client).await.unwrap();
        tokio::spawn(connection);
        let (response, _) = client.send_request(request, true).map_err(|error| error.to_string())?;
        let (parts, _) = response.await.map_err(|error| error.to_string())?.into_parts();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers })
    })?
}

/// The error code with which the server resets a request that the `h2` client would not send.
pub(crate) fn reset_by_http_2<S, R>(service: S, method: &Method, lines: &Value) -> Result<u32, String>
where
    S: Service<Request<Incoming>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const RST_STREAM: u8 = 3;
    const END_STREAM_AND_HEADERS: u8 = 5;
    let mut fields = Vec::new();
    // A literal without indexing and without Huffman coding (RFC 7541, section 6.2.2).
    let mut field = |name: &[u8], value: &[u8]| {
        assert!(name.len() < 127 && value.len() < 127, "a length of one byte");
        fields.extend([&[0, name.len() as u8], name, &[value.len() as u8], value].concat());
    };
    field(b":method", method.as_str().as_bytes());
    field(b":scheme", b"http");
    field(b":authority", b"app");
    field(b":path", b"/");
    for line in lines.as_array().into_iter().flatten() {
        field(&support::latin1(&line[0]).to_ascii_lowercase(), &support::latin1(&line[1]));
    }
    let mut request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    request.extend(SETTINGS);
    request.extend(&u32::try_from(fields.len()).unwrap().to_be_bytes()[1..]);
    request.extend([1, END_STREAM_AND_HEADERS, 0, 0, 0, 1]);
    request.extend(fields);
    bounded(async move {
        let mut client = serve_http_2(service).await;
        client.write_all(&request).await.unwrap();
        loop {
            let mut head = [0; 9];
            client.read_exact(&mut head).await.map_err(|error| error.to_string())?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            client.read_exact(&mut payload).await.map_err(|error| error.to_string())?;
            match (head[3], head[8]) {
                (RST_STREAM, 1) => return Ok(u32::from_be_bytes(payload.try_into().unwrap())),
                (_, 1) => return Err(format!("frame {} instead of a reset", head[3])),
                _ => {}
            }
        }
    })?
}

async fn serve_http_2<S, R>(service: S) -> TcpStream
where
    S: Service<Request<Incoming>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (client, server) = connection().await;
    tokio::spawn(async move {
        let server_side = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        server_side.serve_connection(TokioIo::new(server), TowerToHyperService::new(service)).await
    });
    client
}

async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

fn bounded<F: Future>(exchange: F) -> Result<F::Output, String> {
    RUNTIME
        .block_on(async { tokio::time::timeout(Duration::from_secs(10), exchange).await })
        .map_err(|_| "no answer within ten seconds".to_owned())
}
