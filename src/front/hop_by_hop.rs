//! Fields that belong to one connection (RFC 9110, section 7.6.1).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::header_map::PROXY_CONNECTION;
use crate::wire::list;
use crate::wire::name::{is_forwarding, is_identity};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Removes what belongs to the connection on which the message came, and what `Connection` names, save what a front
/// end itself claims and what is in `kept`.
pub(super) fn remove(headers: &mut HeaderMap, kept: &[HeaderName]) {
    let named: Vec<HeaderName> = connection_options(headers)
        .filter(|option| !HOP_BY_HOP.iter().any(|name| option.eq_ignore_ascii_case(name.as_str().as_bytes())))
        .filter(|option| !option.eq_ignore_ascii_case(b"close"))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| !is_claim(name) && !kept.contains(name))
        .collect();
    // Content-Length does not count beside Transfer-Encoding (RFC 9112, section 6.3).
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// Whether every transfer coding is `chunked`, the only one that the server has taken off.
pub(super) fn is_only_chunked(headers: &HeaderMap) -> bool {
    elements(headers, &header::TRANSFER_ENCODING).all(|coding| coding.eq_ignore_ascii_case(b"chunked"))
}

/// Whether the client takes trailers (RFC 9110, section 10.1.4).
pub(super) fn takes_trailers(headers: &HeaderMap) -> bool {
    elements(headers, &header::TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// Whether the client asks for a WebSocket and for nothing else (RFC 6455, section 4.1): `h2c` would be a tunnel past
/// all layers.
pub(super) fn asks_for_websocket(headers: &HeaderMap) -> bool {
    connection_options(headers).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
        && list::only_line(headers, &header::UPGRADE)
            .is_ok_and(|upgrade| upgrade.is_some_and(|name| name.eq_ignore_ascii_case(b"websocket")))
}

pub(super) fn set_websocket(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    elements(headers, &header::CONNECTION)
}

fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    list::from_right(list::lines(headers, name))
        .map(|element| element.bytes)
        .filter(|element| !element.is_empty())
}

fn is_claim(name: &HeaderName) -> bool {
    is_forwarding(name) || is_identity(name)
}
