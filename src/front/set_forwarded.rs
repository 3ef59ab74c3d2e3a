use http::{HeaderMap, HeaderName, HeaderValue, header, request};

use crate::asked_host::asked_host;
use crate::future::Nothing;
use crate::header_map::{remove_where, unlist};
use crate::refusal::{Refusal, RefusalKind};
use crate::shell::{ExemptPaths, Unit, edit, report_no_peer, shell};
use crate::trust::PeerAddr;
use crate::wire::forwarded::{push_pair, quotes_close};
use crate::wire::host::Scheme;
use crate::wire::list;
use crate::wire::name::{
    self, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PREFIX, X_FORWARDED_PROTO,
};
use crate::wire::path::PathPrefix;

shell! {
    /// Layer of [`SetForwarded`].
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::{ServiceBuilder, ServiceExt};
    /// use tower_proxied::PeerAddr;
    /// use tower_proxied::front::SetForwardedLayer;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let service = ServiceBuilder::new()
    ///     .layer(PeerAddr::layer("203.0.113.5:4711".parse::<std::net::SocketAddr>()?))
    ///     .layer(SetForwardedLayer::edge())
    ///     .service_fn(|request: Request<String>| async move {
    ///         assert_eq!(request.headers()["x-forwarded-for"], "203.0.113.5");
    ///         assert_eq!(request.headers()["x-forwarded-host"], "shop.example");
    ///         assert_eq!(request.headers()["x-forwarded-proto"], "http");
    ///         assert!(!request.headers().contains_key("x_forwarded_for"));
    ///         Ok::<_, std::convert::Infallible>(Response::new(String::new()))
    ///     });
    /// let request = Request::builder()
    ///     .header("host", "shop.example")
    ///     .header("x-forwarded-for", "6.6.6.6")
    ///     .header("x_forwarded_for", "6.6.6.6")
    ///     .body(String::new())?;
    /// assert_eq!(service.oneshot(request).await?.status(), 200);
    /// # Ok(())
    /// # }
    /// ```
    layer SetForwardedLayer;
    /// Tells the application who the client is and what it asked for.
    ///
    /// # What it decides, in order
    ///
    /// 1. No [`PeerAddr`]: refused with 500, since the service is wired wrongly.
    /// 2. The host that the request asks for: `:authority` or an absolute target, else Host. None, two, one that no
    ///    grammar admits, or in HTTP/2 two different ones: refused with 400 (RFC 9112, section 3.2).
    /// 3. [`edge`](SetForwardedLayer::edge): all forwarding headers of the request go, in every spelling that folds
    ///    together with one (`X_Forwarded_For`, CVE-2025-64484), and this layer's take their place.
    ///    [`appending`](SetForwardedLayer::appending): this layer's values are put to the right of what is there, in
    ///    one line; other spellings of the fields that it writes go.
    /// 4. Forwarding headers leave `Connection`, so that no proxy further in removes what is written here
    ///    (CVE-2024-45410, CVE-2022-31813).
    ///
    /// | claim | field | parameter of `Forwarded` |
    /// |---|---|---|
    /// | the peer's address, `unknown` for a unix socket | `X-Forwarded-For` | `for` |
    /// | the host, canonical, with its port as written | `X-Forwarded-Host` | `host` |
    /// | the listener's scheme | `X-Forwarded-Proto` | `proto` |
    /// | the listener's port, where it is said | `X-Forwarded-Port` | none |
    /// | the prefix, where it is said | `X-Forwarded-Prefix` | none |
    ///
    /// Each of them is one value per request, so that a reader may declare them as `Written::Set` behind an edge and
    /// as `Written::Appended` behind further hops.
    ///
    /// # Deployment caveat
    ///
    /// An appending layer believes nothing and removes nothing that an earlier hop might have written: it belongs
    /// behind another front end, and where clients reach it directly the application must count hops or know the
    /// earlier hop's address.
    ///
    /// # Cost
    ///
    /// One small allocation per field written; the names of the request's headers are compared with 33 others.
    service SetForwarded;
    unit Config, owes Nothing;
}

impl SetForwardedLayer {
    /// The first front end: what the client says about forwarding goes, and `X-Forwarded-For`, `-Host` and `-Proto`
    /// are set.
    pub fn edge() -> Self {
        Config::new(Mode::Edge, Field::XForwarded).into()
    }

    /// A further hop: `X-Forwarded-For`, `-Host` and `-Proto` get one element more each.
    pub fn appending() -> Self {
        Config::new(Mode::Appending, Field::XForwarded).into()
    }

    /// The first front end, writing `Forwarded` (RFC 7239).
    pub fn forwarded_edge() -> Self {
        Config::new(Mode::Edge, Field::Forwarded).into()
    }

    /// A further hop, writing `Forwarded` (RFC 7239). A list whose quotes do not close goes: readers from the left
    /// would take this hop's element for a part of the string.
    pub fn forwarded_appending() -> Self {
        Config::new(Mode::Appending, Field::Forwarded).into()
    }

    /// The scheme of the listener on which the requests come. `http` unless said.
    pub fn listener_scheme(mut self, scheme: Scheme) -> Self {
        edit(&mut self.config, |config| config.listener_scheme = scheme);
        self
    }

    /// The port that clients connect to: writes `X-Forwarded-Port`. `Forwarded` has no parameter for it.
    pub fn listener_port(mut self, port: u16) -> Self {
        edit(&mut self.config, |config| config.listener_port = Some(port));
        self
    }

    /// The prefix that this hop takes off the path: writes `X-Forwarded-Prefix`, unless it is the root. `Forwarded`
    /// has no parameter for it.
    pub fn prefix(mut self, prefix: PathPrefix) -> Self {
        edit(&mut self.config, |config| config.prefix = Some(prefix).filter(|prefix| !prefix.is_root()));
        self
    }

    /// Writes the client's port behind its address (`192.0.2.1:4711`). Not all applications can read that.
    pub fn client_port(mut self) -> Self {
        edit(&mut self.config, |config| config.tells_client_port = true);
        self
    }

    /// A path that is never refused: where its requests have no peer or no readable host, they pass without any
    /// forwarding headers.
    pub fn exempt_path(mut self, path: &str) -> Self {
        edit(&mut self.config, |config| config.exempt.add(path));
        self
    }
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Edge,
    Appending,
}

#[derive(Clone, Copy, Debug)]
enum Field {
    XForwarded,
    Forwarded,
}

#[derive(Clone, Debug)]
struct Config {
    mode: Mode,
    field: Field,
    listener_scheme: Scheme,
    listener_port: Option<u16>,
    prefix: Option<PathPrefix>,
    tells_client_port: bool,
    exempt: ExemptPaths,
}

impl Unit for Config {
    type Owed = Nothing;

    fn on_request(&self, parts: &mut request::Parts) -> Result<Nothing, Refusal> {
        match self.claims(parts) {
            Ok(claims) => self.write(claims, &mut parts.headers),
            Err(_) if self.exempt.contains(parts) => remove_forwarding(&mut parts.headers),
            Err(kind) => {
                if kind == RefusalKind::NoPeer {
                    report_no_peer();
                }
                return Err(kind.into());
            }
        }
        Ok(Nothing)
    }

    fn when_disabled(_: &mut request::Parts) -> Nothing {
        Nothing
    }
}

/// The fields that this hop writes.
type Written = [Option<(HeaderName, HeaderValue)>; 5];

impl Config {
    fn new(mode: Mode, field: Field) -> Self {
        Self {
            mode,
            field,
            listener_scheme: Scheme::Http,
            listener_port: None,
            prefix: None,
            tells_client_port: false,
            exempt: ExemptPaths::default(),
        }
    }

    fn claims(&self, parts: &request::Parts) -> Result<Written, RefusalKind> {
        let peer = PeerAddr::of(&parts.extensions).ok_or(RefusalKind::NoPeer)?;
        let host = asked_host(parts)?.ok_or(RefusalKind::HostMissing)?.to_string();
        let proto = self.listener_scheme.as_str();
        let text = |text: String| HeaderValue::try_from(text).map_err(|_| RefusalKind::HostMalformed);
        Ok(match self.field {
            Field::XForwarded => [
                Some((X_FORWARDED_FOR, text(self.node(peer, Brackets::WithPort))?)),
                Some((X_FORWARDED_HOST, text(host)?)),
                Some((X_FORWARDED_PROTO, HeaderValue::from_static(proto))),
                self.listener_port.map(|port| (X_FORWARDED_PORT, port.into())),
                match &self.prefix {
                    Some(prefix) => Some((X_FORWARDED_PREFIX, text(prefix.to_string())?)),
                    None => None,
                },
            ],
            Field::Forwarded => {
                let mut element = String::new();
                push_pair(&mut element, "for", &self.node(peer, Brackets::Always));
                push_pair(&mut element, "host", &host);
                push_pair(&mut element, "proto", proto);
                [Some((header::FORWARDED, text(element)?)), None, None, None, None]
            }
        })
    }

    /// RFC 7239, section 6; X-Forwarded-For has IPv6 without brackets.
    fn node(&self, peer: PeerAddr, brackets: Brackets) -> String {
        let Some(ip) = peer.ip() else { return String::from("unknown") };
        let port = match peer {
            PeerAddr::Tcp(address) if self.tells_client_port => Some(address.port()),
            _ => None,
        };
        match (port, brackets) {
            (Some(port), _) => std::net::SocketAddr::new(ip, port).to_string(),
            (None, Brackets::Always) if ip.is_ipv6() => format!("[{ip}]"),
            (None, _) => ip.to_string(),
        }
    }

    fn write(&self, written: Written, headers: &mut HeaderMap) {
        match self.mode {
            Mode::Edge => remove_forwarding(headers),
            Mode::Appending => remove_where(headers, |name| is_other_spelling(name, &written)),
        }
        unlist(headers, is_forwarding);
        for (name, value) in written.into_iter().flatten() {
            let value = match self.mode {
                Mode::Edge => value,
                Mode::Appending => appended(headers, &name, value),
            };
            headers.insert(name, value);
        }
    }
}

/// Where the brackets of IPv6 stand.
#[derive(Clone, Copy)]
enum Brackets {
    Always,
    WithPort,
}

fn remove_forwarding(headers: &mut HeaderMap) {
    remove_where(headers, is_forwarding);
}

fn is_forwarding(name: &HeaderName) -> bool {
    name::is_any_of(name, name::FORWARDING)
}

fn is_other_spelling(name: &HeaderName, written: &Written) -> bool {
    written
        .iter()
        .flatten()
        .any(|(own, _)| own != name && name::fold_together(own.as_str().as_bytes(), name.as_str().as_bytes()))
}

/// All lines of the field and the value, in one line: some readers know one line only.
fn appended(headers: &HeaderMap, name: &HeaderName, value: HeaderValue) -> HeaderValue {
    let mut joined = Vec::new();
    for line in list::lines(headers, name).map(list::trim).filter(|line| !line.is_empty()) {
        joined.extend_from_slice(line);
        joined.extend_from_slice(b", ");
    }
    if joined.is_empty() || (*name == header::FORWARDED && !quotes_close(&joined)) {
        return value;
    }
    joined.extend_from_slice(value.as_bytes());
    HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use http::{Request, Version};
    use proptest::prelude::*;

    use super::*;
    use crate::forwarded_for::{Claims, ForwardedForLayer, Outcome, Written as Told};
    use crate::trust::TrustedProxies;
    use crate::wire::host::HostPort;

    const LOOPBACK: PeerAddr = PeerAddr::Tcp(SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9));

    fn request(peer: Option<PeerAddr>, host: &str, lines: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::get("/page").header(header::HOST, host);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        peer.map(|peer| parts.extensions.insert(peer));
        parts
    }

    fn tell(layer: SetForwardedLayer, mut parts: request::Parts) -> Result<HeaderMap, RefusalKind> {
        layer.config.unwrap().on_request(&mut parts).map_err(|refusal| refusal.kind())?;
        Ok(parts.headers)
    }

    fn written(layer: SetForwardedLayer, peer: &str, lines: &[(&str, &str)]) -> Vec<String> {
        let peer = if peer == "unix" { PeerAddr::Unix } else { PeerAddr::Tcp(peer.parse().unwrap()) };
        let headers = tell(layer, request(Some(peer), "Shop.Example:8443", lines)).unwrap();
        let mut written: Vec<String> = headers
            .iter()
            .filter(|(name, _)| *name != header::HOST)
            .map(|(name, value)| format!("{name}: {}", value.as_bytes().escape_ascii()))
            .collect();
        written.sort();
        written
    }

    #[test]
    fn an_edge_takes_the_place_of_what_the_client_says() {
        let spoofed = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "7.7.7.7"),
            ("x_forwarded_for", "6.6.6.6"),
            ("X.Forwarded.Host", "evil.example"),
            ("forwarded", "for=6.6.6.6"),
            ("true-client-ip", "6.6.6.6"),
            ("x-forwarded-prefix", "/evil"),
            ("x-page", "1"),
            ("connection", "x-forwarded-for, X_Forwarded_Host, x-page"),
        ];
        assert_eq!(
            written(SetForwardedLayer::edge().listener_scheme(Scheme::Https), "203.0.113.5:4711", &spoofed),
            [
                "connection: x-page",
                "x-forwarded-for: 203.0.113.5",
                "x-forwarded-host: shop.example:8443",
                "x-forwarded-proto: https",
                "x-page: 1",
            ]
        );
        assert_eq!(
            written(SetForwardedLayer::forwarded_edge(), "[2001:db8::1]:4711", &spoofed),
            [
                "connection: x-page",
                r#"forwarded: for=\"[2001:db8::1]\";host=\"shop.example:8443\";proto=http"#,
                "x-page: 1"
            ]
        );
    }

    #[test]
    fn all_options() {
        let layer = SetForwardedLayer::edge()
            .listener_port(8443)
            .prefix(PathPrefix::from_static("/webapps"))
            .client_port();
        assert_eq!(
            written(layer, "[::ffff:192.0.2.1]:80", &[]),
            [
                "x-forwarded-for: 192.0.2.1:80",
                "x-forwarded-host: shop.example:8443",
                "x-forwarded-port: 8443",
                "x-forwarded-prefix: /webapps",
                "x-forwarded-proto: http",
            ]
        );
        let node = |layer, peer| written(layer, peer, &[]).remove(0);
        let (edge, forwarded) = (SetForwardedLayer::edge, SetForwardedLayer::forwarded_edge);
        assert_eq!(node(edge(), "[2001:db8::1]:80"), "x-forwarded-for: 2001:db8::1");
        assert_eq!(node(edge().client_port(), "[2001:db8::1]:80"), "x-forwarded-for: [2001:db8::1]:80");
        assert_eq!(node(edge(), "unix"), "x-forwarded-for: unknown");
        assert!(node(forwarded(), "unix").starts_with("forwarded: for=unknown;"));
        assert!(node(forwarded(), "192.0.2.1:80").starts_with("forwarded: for=192.0.2.1;"));
        let with_port = node(forwarded().client_port(), "192.0.2.1:80");
        assert!(with_port.starts_with(r#"forwarded: for=\"192.0.2.1:80\";"#), "{with_port}");
        assert_eq!(written(edge().prefix(PathPrefix::root()), "192.0.2.1:80", &[]).len(), 3);
    }

    #[test]
    fn a_further_hop_appends_in_one_line() {
        let earlier = [
            ("x-forwarded-for", "203.0.113.5"),
            ("x-forwarded-for", ""),
            ("x-forwarded-for", "10.0.0.1"),
            ("x_forwarded_for", "6.6.6.6"),
            ("x-forwarded-proto", "https"),
            ("x-real-ip", "203.0.113.5"),
        ];
        assert_eq!(
            written(SetForwardedLayer::appending(), "10.0.0.2:4711", &earlier),
            [
                "x-forwarded-for: 203.0.113.5, 10.0.0.1, 10.0.0.2",
                "x-forwarded-host: shop.example:8443",
                "x-forwarded-proto: https, http",
                "x-real-ip: 203.0.113.5",
            ]
        );
        let forwarded = |line| {
            written(SetForwardedLayer::forwarded_appending(), "10.0.0.2:1", &[("forwarded", line)]).remove(0)
        };
        let own = r#"for=10.0.0.2;host=\"shop.example:8443\";proto=http"#;
        assert_eq!(forwarded("for=192.0.2.1"), format!("forwarded: for=192.0.2.1, {own}"));
        assert_eq!(forwarded(r#"for=192.0.2.1, for=""#), format!("forwarded: {own}"), "an open quote");
    }

    #[test]
    fn refusals() {
        let peer = Some(LOOPBACK);
        let refused = |parts| tell(SetForwardedLayer::edge(), parts).unwrap_err();
        assert_eq!(refused(request(None, "a", &[])), RefusalKind::NoPeer);
        assert_eq!(refused(request(peer, "a@b", &[])), RefusalKind::HostMalformed);
        assert_eq!(refused(request(peer, "a", &[("host", "a")])), RefusalKind::HostDuplicate);
        let mut parts = request(peer, "a", &[]);
        parts.headers.clear();
        assert_eq!(refused(parts), RefusalKind::HostMissing);
        let mut parts = request(peer, "a", &[]);
        (parts.version, parts.uri) = (Version::HTTP_2, "https://b/".parse().unwrap());
        assert_eq!(refused(parts), RefusalKind::HostMismatch);
    }

    #[test]
    fn an_exempt_path_passes_without_any_claim() {
        let spoofed = [("x-forwarded-for", "6.6.6.6"), ("x_real_ip", "6.6.6.6")];
        for layer in [SetForwardedLayer::edge(), SetForwardedLayer::appending()] {
            let headers = tell(layer.exempt_path("/page"), request(None, "a", &spoofed)).unwrap();
            assert_eq!(headers.keys().collect::<Vec<_>>(), [header::HOST]);
        }
    }

    /// The element at the right end, read from the left: for lists without a quote left open.
    fn last_element(list: &str) -> Vec<(String, String)> {
        let (mut pairs, mut text, mut is_quoted) = (Vec::new(), String::new(), false);
        for char in list.chars().chain([';']) {
            match char {
                '"' => is_quoted = !is_quoted,
                ',' if !is_quoted => (pairs, text) = (Vec::new(), String::new()),
                ';' if !is_quoted => {
                    let (name, value) = text.trim().split_once('=').unwrap();
                    pairs.push((name.into(), value.into()));
                    text.clear();
                }
                char => text.push(char),
            }
        }
        pairs
    }

    fn peer() -> impl Strategy<Value = SocketAddr> {
        let ip = prop_oneof![
            any::<std::net::Ipv4Addr>().prop_map(IpAddr::V4),
            any::<std::net::Ipv6Addr>().prop_map(IpAddr::V6)
        ];
        (ip, any::<u16>())
            .prop_map(|(ip, port)| SocketAddr::new(ip, port))
            .prop_filter("no peer has it", |peer| !peer.ip().to_canonical().is_unspecified())
    }

    fn host() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-zA-Z][a-z0-9-]{0,8}(\\.[a-z]{2,5}){0,3}\\.?(:[1-9][0-9]{0,3})?",
            any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
            (any::<std::net::Ipv6Addr>(), 1_u16..).prop_map(|(ip, port)| format!("[{ip}]:{port}")),
        ]
    }

    fn scheme() -> impl Strategy<Value = Scheme> {
        prop_oneof![Just(Scheme::Http), Just(Scheme::Https)]
    }

    fn client_lines() -> impl Strategy<Value = Vec<(String, String)>> {
        let name = prop_oneof![
            prop::sample::select(name::FORWARDING).prop_map(String::from),
            prop::sample::select(name::FORWARDING).prop_map(|name| name.replace('-', "_")),
        ];
        prop::collection::vec((name, "[ -~]{0,20}"), 0..6)
    }

    proptest! {
        #[test]
        fn the_reader_reads_what_an_edge_writes(
            peer in peer(),
            host in host(),
            scheme in scheme(),
            port in prop::option::of(1_u16..),
            tells_port: bool,
            lines in client_lines(),
        ) {
            let mut layer = SetForwardedLayer::edge().listener_scheme(scheme).prefix(PathPrefix::from_static("/a"));
            let mut claims = Claims::none().scheme(Told::Set).host(Told::Set).prefix(Told::Set);
            if let Some(port) = port {
                (layer, claims) = (layer.listener_port(port), claims.port(Told::Set));
            }
            if tells_port {
                layer = layer.client_port();
            }
            let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let headers = tell(layer, request(Some(peer.into()), &host, &lines)).unwrap();
            let reader = ForwardedForLayer::x_forwarded_for(TrustedProxies::loopback()).claims(claims);
            let proxied = reader.resolve(Some(&LOOPBACK), &headers).unwrap();
            let is_loopback = peer.ip().to_canonical().is_loopback();
            prop_assert_eq!(
                proxied.outcome(),
                if is_loopback { Outcome::AllTrusted } else { Outcome::Resolved }
            );
            prop_assert_eq!(proxied.client(), Some(peer.ip().to_canonical()));
            prop_assert_eq!(proxied.client_port(), tells_port.then_some(peer.port()));
            prop_assert_eq!(proxied.scheme(), Some(scheme));
            prop_assert_eq!(proxied.host().cloned(), HostPort::parse(host.as_bytes()).map(HostPort::into_owned));
            prop_assert_eq!(proxied.port(), port);
            prop_assert_eq!(proxied.prefix().unwrap().as_str(), "/a");
        }

        /// What a client says about forwarding changes nothing behind an edge.
        #[test]
        fn non_interference(lines in client_lines(), is_rfc_7239: bool) {
            let layer =
                || if is_rfc_7239 { SetForwardedLayer::forwarded_edge() } else { SetForwardedLayer::edge() };
            let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            prop_assert_eq!(
                tell(layer(), request(Some(LOOPBACK), "a", &lines)).unwrap(),
                tell(layer(), request(Some(LOOPBACK), "a", &[])).unwrap()
            );
        }

        /// Two hops, and any list from a client: the reader walks over the second hop's element to the first's.
        #[test]
        fn the_reader_walks_over_appended_elements(peer in peer(), host in host(), list in "[ -~]{0,20}") {
            prop_assume!(!peer.ip().to_canonical().is_loopback());
            let spoofed = [("x-forwarded-for", list.as_str()), ("x-forwarded-proto", list.as_str())];
            let mut parts = request(Some(peer.into()), &host, &spoofed);
            let hop = SetForwardedLayer::appending().listener_scheme(Scheme::Https).config.unwrap();
            hop.on_request(&mut parts).unwrap();
            parts.extensions.insert(LOOPBACK);
            SetForwardedLayer::appending().config.unwrap().on_request(&mut parts).unwrap();
            let reader = ForwardedForLayer::x_forwarded_for(TrustedProxies::loopback())
                .claims(Claims::none().scheme(Told::Appended).host(Told::Appended));
            let proxied = reader.resolve(Some(&LOOPBACK), &parts.headers).unwrap();
            prop_assert_eq!(proxied.client(), Some(peer.ip().to_canonical()));
            prop_assert_eq!((proxied.trusted_hops(), proxied.scheme()), (2, Some(Scheme::Https)));
            prop_assert_eq!(proxied.host().cloned(), HostPort::parse(host.as_bytes()).map(HostPort::into_owned));
        }

        #[test]
        fn a_forwarded_element_reads_as_it_was_meant(
            peer in peer(),
            host in host(),
            scheme in scheme(),
            list in "[ -~]{0,20}",
        ) {
            let layer = SetForwardedLayer::forwarded_appending().listener_scheme(scheme).client_port();
            let headers = tell(layer, request(Some(peer.into()), &host, &[("forwarded", &list)])).unwrap();
            let line = std::str::from_utf8(headers[header::FORWARDED].as_bytes()).unwrap();
            let own = &line[line.rfind("for=").unwrap()..];
            let node = SocketAddr::new(peer.ip().to_canonical(), peer.port()).to_string();
            let host = HostPort::parse(host.as_bytes()).unwrap().to_string();
            let expected = [("for", node), ("host", host), ("proto", scheme.to_string())];
            prop_assert_eq!(last_element(own), expected.map(|(name, value)| (name.into(), value)).to_vec());
            prop_assert!(quotes_close(line.as_bytes()));
        }
    }
}
