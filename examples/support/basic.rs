//! What a browser sends once its user has typed a name and a password.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, header};
use tower_proxied::wire::list;

/// `name:password` of RFC 7617, section 2.
pub(crate) fn credentials(headers: &HeaderMap) -> Option<Vec<u8>> {
    let line = list::only_line(headers, &header::AUTHORIZATION).ok()??;
    let (scheme, encoded) = line.split_at_checked("basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    BASE64_STANDARD.decode(list::trim(encoded)).ok()
}
