//! An origin server by the book (RFC 9110, sections 13 and 14), for one resource, with `ForceHttpsBody` in front of it.

use std::convert::Infallible;
use std::future::ready;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use tower::{ServiceBuilder, ServiceExt};
use tower_proxied::force_https_body::{UpgradePolicy, upgrade_fragment};
use tower_proxied::forwarded_for::{Claims, Written};
use tower_proxied::{ForceHttpsBodyLayer, ForwardedForLayer, PeerAddr, Scheme, TrustedProxies};

/// A page that is published anew from time to time.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) tags: Tags,
    pub(crate) has_dates: bool,
    pub(crate) streams: bool,
    /// Whether a 304 says more than it must.
    pub(crate) tells_304: bool,
    pub(crate) is_dirty: bool,
    pub(crate) version: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    Strong,
    Weak,
    Absent,
}

/// A response that is there as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn field(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn varies(&self) -> bool {
        self.headers.get_all(header::VARY).iter().any(|line| line == "x-forwarded-proto")
    }

    /// Where the part begins, and how long the whole is.
    pub(crate) fn range(&self) -> Option<(usize, usize)> {
        let (range, whole) = self.field(header::CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
        Some((range.split_once('-')?.0.parse().ok()?, whole.parse().ok()?))
    }
}

pub(crate) fn is_strong(tag: &str) -> bool {
    !tag.starts_with("W/")
}

pub(crate) fn weakly_equal(one: &str, other: &str) -> bool {
    one.trim_start_matches("W/") == other.trim_start_matches("W/")
}

impl Origin {
    pub(crate) fn page(&self) -> String {
        let image = if self.is_dirty { "http://h:80/x" } else { "//h/x" };
        format!("<p>{}<img src=\"{image}\"><p>and so on and on", self.version)
    }

    /// What a secure client must get.
    pub(crate) fn upgraded(&self) -> String {
        upgrade_fragment(&self.page(), &UpgradePolicy::new()).into_owned()
    }

    pub(crate) fn tag(&self) -> Option<String> {
        match self.tags {
            Tags::Strong => Some(format!("\"v{}\"", self.version)),
            Tags::Weak => Some(format!("W/\"v{}\"", self.version)),
            Tags::Absent => None,
        }
    }

    pub(crate) fn date(&self) -> Option<String> {
        self.has_dates.then(|| date(self.version))
    }

    /// Asks through the layers, over https or not.
    pub(crate) fn ask(&self, scheme: Scheme, mut request: Request<()>) -> Answer {
        request.headers_mut().insert("x-forwarded-for", "203.0.113.5".parse().unwrap());
        request.headers_mut().insert("x-forwarded-proto", scheme.as_str().parse().unwrap());
        request.extensions_mut().insert(PeerAddr::Unix);
        let proxy = ForwardedForLayer::x_forwarded_for(TrustedProxies::unix())
            .claims(Claims::none().scheme(Written::Set));
        let service = ServiceBuilder::new()
            .layer(proxy)
            .layer(ForceHttpsBodyLayer::new())
            .service_fn(|request: Request<()>| ready(Ok::<_, Infallible>(self.answer(&request))));
        let answer = async {
            let (parts, body) = service.oneshot(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Answer { status: parts.status, headers: parts.headers, body }
        };
        let Poll::Ready(answer) = pin!(answer).poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("nothing waits here")
        };
        answer
    }

    fn answer(&self, request: &Request<()>) -> Response<Body> {
        let asked = |name: HeaderName| request.headers().get(name).map(|value| value.to_str().unwrap());
        let page = self.page();
        let mut response = Response::builder();
        if let Some(tag) = self.tag() {
            response = response.header(header::ETAG, tag);
        }
        if let Some(date) = self.date() {
            response = response.header(header::LAST_MODIFIED, date);
        }
        let digest = format!("sha-256=:{page}:");
        let is_held = match (asked(header::IF_NONE_MATCH), asked(header::IF_MODIFIED_SINCE), self.date()) {
            (Some("*"), ..) => true,
            (Some(tags), ..) => {
                self.tag().is_some_and(|tag| tags.split(", ").any(|held| weakly_equal(held, &tag)))
            }
            (None, Some(since), Some(date)) => since >= date.as_str(),
            _ => false,
        };
        if is_held {
            if self.tells_304 {
                response = response.header(header::CONTENT_TYPE, "text/html").header("repr-digest", digest);
            }
            return response.status(304).body(Body::empty()).unwrap();
        }
        response = response
            .header(header::CONTENT_TYPE, "text/html")
            .header(header::ACCEPT_RANGES, "bytes")
            .header("repr-digest", digest);
        let is_same = match asked(header::IF_RANGE) {
            None => true,
            Some(tag) if tag.ends_with('"') => is_strong(tag) && self.tag().as_deref() == Some(tag),
            Some(date) => self.date().as_deref() == Some(date),
        };
        let start = asked(header::RANGE)
            .filter(|_| is_same && request.method() == Method::GET)
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        let (response, sent) = match start.and_then(|start| page.get(start..).map(|part| (start, part))) {
            None => (response, page.clone()),
            Some((start, part)) => {
                let range = format!("bytes {start}-{}/{}", page.len() - 1, page.len());
                (response.status(206).header(header::CONTENT_RANGE, range), part.to_owned())
            }
        };
        if request.method() == Method::HEAD {
            return response.header(header::CONTENT_LENGTH, sent.len()).body(Body::empty()).unwrap();
        }
        if self.streams {
            let pieces: Vec<_> =
                sent.as_bytes().chunks(7).map(Bytes::copy_from_slice).map(Ok::<_, Infallible>).collect();
            return response.body(Body::from_stream(tokio_stream::iter(pieces))).unwrap();
        }
        response.header(header::CONTENT_LENGTH, sent.len()).body(sent.into()).unwrap()
    }
}

/// These sort as they follow each other.
pub(crate) fn date(version: usize) -> String {
    format!("Tue, 01 Jan 2030 00:00:{version:02} GMT")
}
