//! What clients write.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tower_proxied::wire::name::FORWARDING;

pub(crate) fn added() -> impl Strategy<Value = Vec<u8>> {
    let structure = [",", ";", "\"", "\\", "\\\"", "=", " ", "\t", ", "].to_vec();
    let word = [
        "6.6.6.6",
        "10.0.0.7",
        "[fd00::7]:1",
        "unknown",
        "_x",
        "for=",
        "for=6.6.6.6",
        "host=\"",
        "for=\"10.0.0.7",
        "proto=https",
        "/evil",
        "localhost",
    ]
    .to_vec();
    let piece = prop_oneof![
        3 => select(structure).prop_map(|text| text.as_bytes().to_vec()),
        2 => select(word).prop_map(|text| text.as_bytes().to_vec()),
        2 => prop_oneof![0x20..=0x7e_u8, 0x80..=0xff_u8].prop_map(|byte| vec![byte]),
    ];
    vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

/// Lines of forwarding headers, in any spelling.
pub(crate) fn client_lines() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let known = [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-prefix",
    ];
    let name =
        (prop_oneof![select(FORWARDING), select(known.to_vec())], select(&["-", "-", "_", ".", "~"][..]));
    vec((name.prop_map(|(name, hyphen)| name.replace('-', hyphen)), added()), 0..8)
}

/// Lines of the client, the first ones of the given names.
pub(crate) fn client_headers(lines: &[(String, Vec<u8>)], names: &[&str], value: &[u8]) -> HeaderMap {
    let own = names.iter().map(|name| (String::from(*name), value.to_vec()));
    own.chain(lines.iter().cloned())
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(&value).unwrap()))
        .collect()
}
