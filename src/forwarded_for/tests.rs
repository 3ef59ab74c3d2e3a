use http::{HeaderValue, Request};
use proptest::prelude::*;

use super::*;

fn layer() -> ForwardedForLayer {
    ForwardedForLayer::x_forwarded_for(TrustedProxies::parse(["10.0.0.0/8"]).unwrap())
}

fn peer(ip: [u8; 4]) -> PeerAddr {
    PeerAddr::Tcp((ip, 4711).into())
}

const PROXY: [u8; 4] = [10, 0, 0, 1];
const STRANGER: [u8; 4] = [192, 0, 2, 66];

fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
    let line = |(name, value): &(&'static str, &[u8])| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())
    };
    lines.iter().map(line).collect()
}

/// What the inner service sees: the headers and the extension, or the refusal.
fn inner(
    layer: &ForwardedForLayer,
    peer: [u8; 4],
    headers: HeaderMap,
) -> Result<(HeaderMap, Proxied), RefusalKind> {
    let mut request = Request::new(());
    *request.headers_mut() = headers;
    request.extensions_mut().insert(self::peer(peer));
    let mut parts = request.into_parts().0;
    layer.config.as_ref().unwrap().on_request(&mut parts).map_err(|refusal| refusal.kind())?;
    Ok((parts.headers, parts.extensions.remove().unwrap()))
}

#[test]
fn policies_of_a_request_without_a_client() {
    let missing = HeaderMap::new();
    let obscured = headers(&[("x-forwarded-for", b"_hidden")]);
    let malformed = headers(&[("x-forwarded-for", b"203.0.113.5, localhost")]);
    let client = |layer: &ForwardedForLayer, headers: &HeaderMap| {
        inner(layer, PROXY, headers.clone()).map(|(_, proxied)| proxied.client())
    };
    assert_eq!(client(&layer(), &missing), Ok(None));
    assert_eq!(client(&layer(), &obscured), Ok(None));
    assert_eq!(client(&layer(), &malformed), Err(RefusalKind::ClientMalformed));

    let strict = layer().on_missing(OnNoClient::Refuse).on_obscured(OnNoClient::Refuse);
    assert_eq!(client(&strict, &missing), Err(RefusalKind::ClientMissing));
    assert_eq!(client(&strict, &obscured), Err(RefusalKind::ClientObscured));

    let with_peer = layer().on_missing(OnNoClient::UsePeer).on_malformed(OnMalformed::Anonymous);
    assert_eq!(client(&with_peer, &missing), Ok(Some(PROXY.into())));
    assert_eq!(client(&with_peer, &malformed), Ok(None));
    let (seen, _) = inner(&with_peer, PROXY, malformed).unwrap();
    assert!(seen.is_empty(), "what cannot be read attests nothing: {seen:?}");
}

#[test]
fn no_peer_information_is_refused_with_500() {
    let mut parts = Request::new(()).into_parts().0;
    let config = layer().config.unwrap();
    let refusal = config.on_request(&mut parts).unwrap_err();
    assert_eq!((refusal.kind(), refusal.status().as_u16()), (RefusalKind::NoPeer, 500));
}

#[test]
fn an_exempt_path_passes_without_a_client_and_without_headers() {
    let mut request =
        Request::builder().uri("/healthz").header("x-forwarded-for", "localhost").body(()).unwrap();
    request.extensions_mut().insert(peer(PROXY));
    let mut parts = request.into_parts().0;
    layer().exempt_path("/healthz").config.unwrap().on_request(&mut parts).unwrap();
    assert!(parts.headers.is_empty());
    assert_eq!(parts.extensions.get::<Proxied>().unwrap().client(), None);
}

#[test]
fn an_exempt_path_keeps_no_header_where_a_claim_is_what_is_wrong() {
    for proto in [&[][..], &["https", "http"]] {
        let mut request =
            Request::builder().uri("/healthz").header("x-forwarded-for", "6.6.6.6, 203.0.113.5");
        for value in proto {
            request = request.header("x-forwarded-proto", *value);
        }
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(peer(PROXY));
        let mut parts = request.into_parts().0;
        let layer = layer().claims(Claims::none().scheme(Written::Set)).exempt_path("/healthz");
        layer.config.unwrap().on_request(&mut parts).unwrap();
        assert!(parts.headers.is_empty(), "{:?}", parts.headers);
    }
}

#[test]
fn a_sensitive_line_stays_so_when_it_is_cut() {
    let mut lines = headers(&[("x-forwarded-for", b"6.6.6.6, 203.0.113.5")]);
    lines.get_mut("x-forwarded-for").unwrap().set_sensitive(true);
    let (seen, _) = inner(&layer(), PROXY, lines).unwrap();
    assert!(seen["x-forwarded-for"].is_sensitive());
    assert_eq!(seen["x-forwarded-for"], "203.0.113.5");
}

#[test]
fn the_peer_may_stand_elsewhere() {
    #[derive(Clone)]
    struct Socket([u8; 4]);
    let layer = layer().peer_from(|extensions| extensions.get::<Socket>().map(|socket| peer(socket.0)));
    let mut parts =
        Request::builder().header("x-forwarded-for", "203.0.113.5").body(()).unwrap().into_parts().0;
    // What PeerAddr would find is not asked.
    parts.extensions.insert(peer(STRANGER));
    parts.extensions.insert(Socket(PROXY));
    layer.config.unwrap().on_request(&mut parts).unwrap();
    assert_eq!(parts.extensions.get::<Proxied>().unwrap().client(), Some([203, 0, 113, 5].into()));
}

#[test]
fn keep_raw_headers_keeps_the_clients_inventions() {
    let lines = headers(&[("x-forwarded-for", b"6.6.6.6, 203.0.113.5"), ("x-real-ip", b"6.6.6.6")]);
    let (seen, proxied) = inner(&layer().keep_raw_headers(), PROXY, lines.clone()).unwrap();
    assert_eq!(seen, lines);
    assert_eq!(proxied.client(), Some([203, 0, 113, 5].into()));
}

#[test]
fn a_front_end_may_relay_the_clients_claims() {
    let relayed = headers(&[("x-forwarded-for", b"203.0.113.5"), ("x-forwarded-proto", b"https")]);
    let (seen, proxied) = inner(&layer(), PROXY, relayed.clone()).unwrap();
    assert!(!proxied.is_secure(), "nobody declared that the proxy writes it");
    assert!(!seen.contains_key("x-forwarded-proto"));

    let (_, proxied) = inner(&layer().front(Front::Nginx), PROXY, {
        let mut headers = relayed;
        headers.insert("x-forwarded-host", HeaderValue::from_static("Shop.Example:8443"));
        headers
    })
    .unwrap();
    assert!(proxied.is_secure());
    assert_eq!(proxied.host().unwrap().to_string(), "shop.example:8443");
}

#[test]
fn connection_x_forwarded_proto_does_not_downgrade() {
    // Apache httpd drops its own field when the client names it in Connection.
    let lines = headers(&[("x-forwarded-for", b"203.0.113.5"), ("x-forwarded-host", b"shop.example")]);
    assert_eq!(inner(&layer().front(Front::Apache), PROXY, lines).unwrap_err(), RefusalKind::ClaimMissing);
}

#[test]
fn explain_tells_each_hop_and_escapes() {
    let lines = headers(&[("x-forwarded-for", b"6.6.6.6, 203.0.113.5, 10.0.0.3")]);
    assert_eq!(
        layer().explain(Some(&peer(PROXY)), &lines),
        "peer 10.0.0.1:4711: a trusted proxy\n\
         element 1 from the right, \"10.0.0.3\": a trusted proxy\n\
         element 2 from the right, \"203.0.113.5\": the client\n\
         outcome Resolved: client 203.0.113.5, 2 trusted hops"
    );
    let hostile = layer().explain(Some(&peer(PROXY)), &headers(&[("x-forwarded-for", b"\xff<script>\t\"")]));
    assert!(hostile.contains(r#""\xff<script>\t\"": no address"#), "{hostile}");
    assert!(hostile.ends_with("outcome Malformed: no client\nrefused"), "{hostile}");
    assert!(layer().explain(Some(&peer(STRANGER)), &lines).contains("not in the trusted set"));
    assert_eq!(
        layer().explain(None, &lines),
        "no peer information: the service is wired wrongly\noutcome NoPeer: no client\nrefused"
    );
    let claims = headers(&[("x-forwarded-for", b"203.0.113.5"), ("x-forwarded-proto", b"https")]);
    let told = layer().claims(Claims::none().scheme(Written::Set)).explain(Some(&peer(PROXY)), &claims);
    assert!(told.ends_with("\nattested scheme https"), "{told}");
}

fn forwarding_lines() -> impl Strategy<Value = Vec<(HeaderName, HeaderValue)>> {
    let name = prop_oneof![
        Just("x-forwarded-for"),
        Just("x_forwarded_for"),
        Just("forwarded"),
        Just("x-real-ip"),
        Just("x-forwarded-proto"),
        Just("x.forwarded-host"),
        Just("x-forwarded-prefix"),
        Just("x-original-url"),
    ]
    .prop_map(HeaderName::from_static);
    let value = prop::collection::vec(prop_oneof![0x20..=0x7e_u8, 0x80..=0xff_u8, Just(b',')], 0..40)
        .prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap());
    prop::collection::vec((name, value), 0..6)
}

proptest! {
    #[test]
    fn nothing_a_stranger_says_changes_the_request(lines in forwarding_lines()) {
        let mut added: HeaderMap = lines.into_iter().collect();
        added.insert("accept", HeaderValue::from_static("*/*"));
        let with = inner(&layer().front(Front::Nginx), STRANGER, added);
        prop_assert_eq!(with, inner(&layer().front(Front::Nginx), STRANGER, headers(&[("accept", b"*/*")])));
    }

    #[test]
    fn nothing_left_of_the_attested_tail_changes_the_request(
        lines in forwarding_lines(),
        same_line in prop::collection::vec(0x20..=0x7e_u8, 0..40),
    ) {
        let attested: [(&str, &[u8]); 3] =
            [("x-forwarded-for", b"203.0.113.5, 10.0.0.3"), ("x-forwarded-proto", b"https"), ("accept", b"*/*")];
        let layer = layer().claims(Claims::none().scheme(Written::AppendedByNearest));
        let mut with: HeaderMap = lines.into_iter().collect();
        for (name, value) in attested {
            with.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        }
        // The same again with the client's bytes in front of the attested ones, in one line.
        let joined = [&same_line[..], b",", attested[0].1].concat();
        let mut in_one_line = headers(&attested);
        in_one_line.insert("x-forwarded-for", HeaderValue::from_bytes(&joined).unwrap());
        let without = inner(&layer, PROXY, headers(&attested));
        prop_assert_eq!(inner(&layer, PROXY, with), without.clone());
        prop_assert_eq!(inner(&layer, PROXY, in_one_line), without);
    }
}
