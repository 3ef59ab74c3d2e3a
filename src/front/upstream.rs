use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header, request};

use super::{Target, hop_by_hop};
use crate::asked_host::asked_host;
use crate::body::ResponseBody;
use crate::future::{Owed, sealed};
use crate::refusal::{Caller, Refusal, RefusalKind};
use crate::shell::{Unit, edit, shell};
use crate::wire::list;

shell! {
    /// Layer of [`Upstream`].
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::{ServiceBuilder, ServiceExt};
    /// use tower_proxied::front::{Target, UpstreamLayer};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = tower::service_fn(|request: Request<String>| async move {
    ///     assert_eq!(request.uri(), "http://127.0.0.1:8001/a%2Fb?q=1");
    ///     assert_eq!(request.headers()["host"], "shop.example");
    ///     assert_eq!(request.headers()["x-forwarded-for"], "203.0.113.5");
    ///     assert!(!request.headers().contains_key("x-of-this-connection"));
    ///     Ok::<_, std::convert::Infallible>(Response::new(String::new()))
    /// });
    /// let upstream = ServiceBuilder::new()
    ///     .layer(UpstreamLayer::new(Target::parse("http://127.0.0.1:8001")?))
    ///     .service(client);
    /// let request = Request::builder()
    ///     .uri("/a%2Fb?q=1")
    ///     .header("host", "shop.example")
    ///     .header("x-forwarded-for", "203.0.113.5")
    ///     .header("x-of-this-connection", "1")
    ///     .header("connection", "X-Of-This-Connection, X-Forwarded-For")
    ///     .body(String::new())?;
    /// assert_eq!(upstream.oneshot(request).await?.status(), 200);
    /// # Ok(())
    /// # }
    /// ```
    layer UpstreamLayer;
    /// Points a request at one application server, and takes out of both messages what belongs to one connection.
    ///
    /// # What it does, in order
    ///
    /// 1. `CONNECT` is refused with 501: it asks for a tunnel. So is a transfer coding other than `chunked` (RFC 9112,
    ///    section 6.1).
    /// 2. The host that the request asks for: `:authority` or an absolute target, else Host (RFC 9112, section 3.2.2;
    ///    RFC 9113, section 8.3.1). Two, one that no grammar admits, or none in HTTP/1.1 and later: refused with 400.
    ///    It goes on as Host, with its bytes as they came. HTTP/1.0 without a host gets the target's.
    /// 3. Hop-by-hop fields go (RFC 9110, section 7.6.1): Connection and what it names, Keep-Alive, Proxy-Connection,
    ///    Transfer-Encoding, Upgrade, TE but for `trailers`. **Never** does a client's Connection remove what a front
    ///    end claims: forwarding and identity headers, in every spelling, stay (CVE-2022-31813, CVE-2024-45410).
    /// 4. Several Cookie lines, as HTTP/2 clients send them, become one (RFC 9113, section 8.2.3).
    /// 5. Scheme and authority become the target's, path and query stay byte for byte, the version becomes HTTP/1.1.
    /// 6. A response that cannot be handed on is refused with 502: a switch of protocols that nobody asked for (RFC 9110,
    ///    section 15.2.2), and a transfer coding other than `chunked`.
    /// 7. In the response hop-by-hop fields go, too, and the version becomes HTTP/1.1.
    ///
    /// The body is handed on as it is, trailers included, whatever its type.
    ///
    /// # Over an HTTP client
    ///
    /// hyper-util's `Client` is a service that fits below. Give it a connector with TLS where the target is `https`.
    ///
    /// # Cost
    ///
    /// The target's name, the path and the Host line are shared, not copied. One allocation per field that the client's
    /// Connection names, one for a host that stood in the target, and one for cookies in several lines.
    service Upstream;
    unit Config, owes HopByHopRemoval;
}

impl UpstreamLayer {
    /// Sends requests to `target` by HTTP/1.1.
    pub fn new(target: Target) -> Self {
        Config {
            target,
            version: Version::HTTP_11,
            host: HostPolicy::Client,
            websockets: false,
            kept: Vec::new(),
        }
        .into()
    }

    /// Sends requests to `target` by HTTP/2, over a client that speaks nothing else (gRPC). `:authority` is the
    /// target's then, and there is no Host line: the client's host is told by [`SetForwarded`](super::SetForwarded).
    pub fn http2(target: Target) -> Self {
        Config {
            target,
            version: Version::HTTP_2,
            host: HostPolicy::Target,
            websockets: false,
            kept: Vec::new(),
        }
        .into()
    }

    /// Sends the target's own host, for application servers that answer for no other one.
    pub fn host_of_target(mut self) -> Self {
        edit(&mut self.config, |config| config.host = HostPolicy::Target);
        self
    }

    /// Lets WebSocket handshakes through (RFC 6455, HTTP/1.1 only). The server must then join both connections
    /// once the answer is 101: hyper's `upgrade::on` of the request and of the response. Other upgrades, `h2c`
    /// above all, never go on.
    pub fn websockets(mut self) -> Self {
        edit(&mut self.config, |config| config.websockets = config.version == Version::HTTP_11);
        self
    }

    /// A further field that a client's Connection cannot remove, such as the one of a shared secret.
    pub fn keep(mut self, name: HeaderName) -> Self {
        edit(&mut self.config, |config| config.kept.push(name));
        self
    }
}

/// What [`Upstream`] owes the response: the fields of its connection go.
#[derive(Clone, Copy, Debug)]
pub struct HopByHopRemoval(Removal);

#[derive(Clone, Copy, Debug)]
enum Removal {
    Nothing,
    Usual { caller: Caller, asked_for_websocket: bool },
}

impl sealed::Sealed for HopByHopRemoval {}

impl<R> Owed<R> for HopByHopRemoval {
    type Body = ResponseBody<R>;

    fn settle(self, mut response: Response<R>) -> Response<ResponseBody<R>> {
        let Removal::Usual { caller, asked_for_websocket } = self.0 else {
            return response.map(ResponseBody::inner);
        };
        let is_switch = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let is_agreed = asked_for_websocket && hop_by_hop::asks_for_websocket(response.headers());
        if (is_switch && !is_agreed) || !hop_by_hop::is_only_chunked(response.headers()) {
            return Refusal::from(RefusalKind::AnswerUnusable).into_response(caller);
        }
        hop_by_hop::remove(response.headers_mut(), &[]);
        if is_switch {
            hop_by_hop::set_websocket(response.headers_mut());
        }
        *response.version_mut() = Version::HTTP_11;
        response.map(ResponseBody::inner)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostPolicy {
    Client,
    Target,
}

#[derive(Clone, Debug)]
struct Config {
    target: Target,
    version: Version,
    host: HostPolicy,
    websockets: bool,
    kept: Vec<HeaderName>,
}

impl Unit for Config {
    type Owed = HopByHopRemoval;

    fn on_request(&self, parts: &mut request::Parts) -> Result<HopByHopRemoval, Refusal> {
        if parts.method == Method::CONNECT {
            return Err(RefusalKind::TunnelRefused.into());
        }
        if !hop_by_hop::is_only_chunked(&parts.headers) {
            return Err(RefusalKind::TransferCodingUnknown.into());
        }
        let caller = Caller::of(parts);
        let host = self.host(parts)?;
        let takes_trailers = hop_by_hop::takes_trailers(&parts.headers);
        let is_websocket = self.websockets
            && parts.version == Version::HTTP_11
            && hop_by_hop::asks_for_websocket(&parts.headers);
        hop_by_hop::remove(&mut parts.headers, &self.kept);
        if takes_trailers {
            parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        if is_websocket {
            hop_by_hop::set_websocket(&mut parts.headers);
        } else if takes_trailers && self.version == Version::HTTP_11 {
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
        match host {
            Some(host) => parts.headers.insert(header::HOST, host),
            None => parts.headers.remove(header::HOST),
        };
        join_cookies(&mut parts.headers);
        parts.uri = self.target.uri(&parts.uri);
        parts.version = self.version;
        Ok(HopByHopRemoval(Removal::Usual { caller, asked_for_websocket: is_websocket }))
    }

    fn when_disabled(_: &mut request::Parts) -> HopByHopRemoval {
        HopByHopRemoval(Removal::Nothing)
    }
}

impl Config {
    /// The Host line to send. HTTP/2 has none: `:authority` is the target's.
    fn host(&self, parts: &request::Parts) -> Result<Option<HeaderValue>, RefusalKind> {
        let asked = asked_host(parts)?;
        let of_target = || Some(self.target.host_line());
        Ok(match (self.host, asked) {
            (HostPolicy::Target, _) if self.version == Version::HTTP_2 => None,
            (HostPolicy::Target, _) => of_target(),
            (HostPolicy::Client, Some(_)) => match parts.uri.authority() {
                Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
                None => parts.headers.get_all(header::HOST).iter().next().cloned(),
            },
            (HostPolicy::Client, None) if parts.version <= Version::HTTP_10 => of_target(),
            (HostPolicy::Client, None) => return Err(RefusalKind::HostMissing),
        })
    }
}

/// RFC 9113, section 8.2.3.
fn join_cookies(headers: &mut HeaderMap) {
    if list::lines(headers, &header::COOKIE).nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = list::lines(headers, &header::COOKIE).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn config(layer: UpstreamLayer) -> Config {
        (*layer.config.unwrap()).clone()
    }

    fn to(target: &'static str) -> UpstreamLayer {
        UpstreamLayer::new(Target::from_static(target))
    }

    fn sent(layer: UpstreamLayer, request: request::Builder) -> Result<request::Parts, RefusalKind> {
        let mut parts = request.body(()).unwrap().into_parts().0;
        config(layer).on_request(&mut parts).map(|_| ()).map_err(|refusal| refusal.kind())?;
        Ok(parts)
    }

    fn settled(
        layer: UpstreamLayer,
        request: request::Builder,
        response: Response<()>,
    ) -> Response<ResponseBody<()>> {
        let mut parts = request.body(()).unwrap().into_parts().0;
        config(layer).on_request(&mut parts).unwrap().settle(response)
    }

    fn get(uri: &str) -> request::Builder {
        Request::get(uri).header("host", "shop.example")
    }

    #[test]
    fn path_and_query_stay_byte_for_byte() {
        for (asked, sent_to) in [
            ("/", "http://app:8001/"),
            ("//x/../y", "http://app:8001//x/../y"),
            ("/a%2fb%zz?q=%00&r", "http://app:8001/a%2fb%zz?q=%00&r"),
            ("http://other.example/x?y", "http://app:8001/x?y"),
            ("http://other.example", "http://app:8001/"),
        ] {
            assert_eq!(sent(to("http://app:8001"), get(asked)).unwrap().uri.to_string(), sent_to);
        }
        let options = Request::options("*").header("host", "a");
        assert_eq!(sent(to("http://app:8001"), options).unwrap().uri.path(), "*");
    }

    #[test]
    fn host_policy() {
        let host = |parts: &request::Parts| {
            list::lines(&parts.headers, &header::HOST).map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        let two = |uri| Request::get(uri).version(Version::HTTP_2);
        let parts = sent(to("http://app:8001"), Request::get("/").header("host", "Shop.Example.")).unwrap();
        assert_eq!(host(&parts), [b"Shop.Example."]);
        let parts = sent(to("http://app:8001"), two("https://shop.example/")).unwrap();
        assert_eq!((host(&parts), parts.version), (vec![b"shop.example".to_vec()], Version::HTTP_11));
        let parts = sent(to("http://app:8001"), get("http://other.example/")).unwrap();
        assert_eq!(host(&parts), [b"other.example"], "an absolute target wins");
        let parts = sent(to("http://app:8001").host_of_target(), get("/")).unwrap();
        assert_eq!(host(&parts), [b"app:8001"]);
        let parts = sent(to("http://app:8001"), Request::get("/").version(Version::HTTP_10)).unwrap();
        assert_eq!((host(&parts), parts.version), (vec![b"app:8001".to_vec()], Version::HTTP_11));
        let parts = sent(UpstreamLayer::http2(Target::from_static("http://app")), get("/")).unwrap();
        assert_eq!((host(&parts).len(), parts.version), (0, Version::HTTP_2));
        let refused = |request| sent(to("http://app:8001"), request).unwrap_err();
        assert_eq!(refused(Request::get("/")), RefusalKind::HostMissing);
        assert_eq!(refused(get("/").header("host", "shop.example")), RefusalKind::HostDuplicate);
        assert_eq!(refused(Request::get("/").header("host", "a@b")), RefusalKind::HostMalformed);
        assert_eq!(refused(two("http://a/").header("host", "b")), RefusalKind::HostMismatch);
    }

    #[test]
    fn hop_by_hop_fields_go_and_claims_stay() {
        let request = get("/")
            .header("connection", "close, X-A, Keep-Alive, Host")
            .header("connection", "X-Forwarded-For ,, X_FORWARDED_PROTO, Forwarded, Remote-User, X-Secret")
            .header("x-a", "1")
            .header("keep-alive", "timeout=5")
            .header("proxy-connection", "keep-alive")
            .header("te", "gzip, Trailers;q=0.5, trailers")
            .header("transfer-encoding", "chunked")
            .header("content-length", "5")
            .header("upgrade", "h2c")
            .header("trailer", "x-checksum")
            .header("x-forwarded-for", "203.0.113.5")
            .header("x_forwarded_proto", "https")
            .header("forwarded", "for=203.0.113.5")
            .header("remote-user", "alice")
            .header("x-secret", "s");
        let layer = to("http://app:8001").keep(HeaderName::from_static("x-secret"));
        let mut names: Vec<String> =
            sent(layer, request).unwrap().headers.keys().map(|name| name.to_string()).collect();
        names.sort();
        assert_eq!(
            names,
            [
                "connection",
                "forwarded",
                "host",
                "remote-user",
                "te",
                "trailer",
                "x-forwarded-for",
                "x-secret",
                "x_forwarded_proto",
            ]
        );
    }

    #[test]
    fn te_goes_on_as_trailers_only() {
        let te = |layer, value| {
            let parts = sent(layer, get("/").header("te", value)).unwrap();
            let text = |name: HeaderName| list::lines(&parts.headers, &name).map(<[u8]>::to_vec).next();
            (text(header::TE), text(header::CONNECTION))
        };
        let trailers = || Some(b"trailers".to_vec());
        assert_eq!(te(to("http://app"), "trailers"), (trailers(), Some(b"te".to_vec())));
        assert_eq!(te(to("http://app"), "gzip"), (None, None));
        assert_eq!(
            te(UpstreamLayer::http2(Target::from_static("http://app")), "trailers"),
            (trailers(), None)
        );
    }

    #[test]
    fn cookie_crumbs_are_joined() {
        let request = get("/").header("cookie", "a=1").header("cookie", "b=2; c=3").header("cookie", "d=4");
        let parts = sent(to("http://app"), request).unwrap();
        let lines: Vec<_> = list::lines(&parts.headers, &header::COOKIE).collect();
        assert_eq!(lines, [b"a=1; b=2; c=3; d=4"]);
    }

    #[test]
    fn tunnels_and_unknown_codings_are_refused() {
        let connect = Request::connect("other.example:443").header("host", "other.example:443");
        assert_eq!(sent(to("http://app"), connect).unwrap_err(), RefusalKind::TunnelRefused);
        let coded = get("/").header("transfer-encoding", "gzip, chunked");
        assert_eq!(sent(to("http://app"), coded).unwrap_err(), RefusalKind::TransferCodingUnknown);
    }

    #[test]
    fn only_websocket_handshakes_go_on() {
        let handshake =
            |protocol| get("/").header("connection", "keep-alive, Upgrade").header("upgrade", protocol);
        let upgrade = |layer, request| {
            let parts = sent(layer, request).unwrap();
            (parts.headers.contains_key("upgrade"), parts.headers.contains_key("connection"))
        };
        assert_eq!(upgrade(to("http://app").websockets(), handshake("WebSocket")), (true, true));
        assert_eq!(upgrade(to("http://app"), handshake("websocket")), (false, false));
        for other in ["h2c", "websocket, h2c", ""] {
            assert_eq!(upgrade(to("http://app").websockets(), handshake(other)), (false, false), "{other}");
        }
        let unasked = get("/").header("upgrade", "websocket");
        assert_eq!(upgrade(to("http://app").websockets(), unasked), (false, false));

        let switched = || {
            let response = Response::builder().status(101).header("connection", "Upgrade");
            response.header("upgrade", "websocket").header("sec-websocket-accept", "x").body(()).unwrap()
        };
        let response = settled(to("http://app").websockets(), handshake("websocket"), switched());
        assert_eq!(response.headers()["upgrade"], "websocket");
    }

    #[test]
    fn a_switch_that_nobody_asked_for_is_a_502() {
        let handshake = || get("/").header("connection", "upgrade").header("upgrade", "websocket");
        let switched = |protocol| {
            let response = Response::builder().status(101).header("connection", "upgrade");
            response.header("upgrade", protocol).body(()).unwrap()
        };
        for (layer, request, response) in [
            (to("http://app"), get("/"), switched("websocket")),
            (to("http://app"), handshake(), switched("websocket")),
            (to("http://app").websockets(), get("/"), switched("websocket")),
            (to("http://app").websockets(), handshake(), switched("h2c")),
            (to("http://app").websockets(), handshake(), Response::builder().status(101).body(()).unwrap()),
        ] {
            let response = settled(layer, request, response);
            assert_eq!(response.status(), 502);
            assert!(!response.headers().contains_key("upgrade"));
            let refusal = response.extensions().get::<Refusal>().unwrap();
            assert_eq!(refusal.kind(), RefusalKind::AnswerUnusable);
        }
    }

    #[test]
    fn a_response_of_another_transfer_coding_is_a_502() {
        for (coding, status) in [("chunked", 200), ("gzip, chunked", 502), ("gzip", 502)] {
            let response = Response::builder().header("transfer-encoding", coding).body(()).unwrap();
            assert_eq!(settled(to("http://app"), get("/"), response).status(), status, "{coding}");
        }
    }

    #[test]
    fn hop_by_hop_fields_of_the_response_go() {
        let response = Response::builder()
            .version(Version::HTTP_10)
            .header("connection", "X-A, close")
            .header("x-a", "1")
            .header("keep-alive", "timeout=5")
            .header("transfer-encoding", "chunked")
            .header("content-length", "7")
            .header("set-cookie", "a=1")
            .header("set-cookie", "b=2");
        let response = settled(to("http://app"), get("/"), response.body(()).unwrap());
        assert_eq!(response.version(), Version::HTTP_11);
        assert!(response.headers().keys().all(|name| name == "set-cookie"));
        assert_eq!(response.headers().len(), 2);
    }

    #[test]
    fn disabled_touches_nothing() {
        let mut parts =
            get("/x").header("connection", "x-a").header("x-a", "1").body(()).unwrap().into_parts().0;
        let response = Response::builder().header("connection", "close").body(()).unwrap();
        let response = Config::when_disabled(&mut parts).settle(response);
        assert_eq!((parts.headers.len(), response.headers().len()), (3, 1));
        assert_eq!(parts.uri, "/x");
    }

    proptest! {
        /// Whatever a client writes into Connection, what the front end claims arrives.
        #[test]
        fn connection_removes_no_claim(lines in prop::collection::vec(
            "([ ,;]|close|x-forwarded-for|X-Forwarded-Host|x_forwarded_for|forwarded|remote-user|host|\"){0,8}", 0..4
        )) {
            let mut request = get("/")
                .header("x-forwarded-for", "203.0.113.5")
                .header("x-forwarded-host", "shop.example")
                .header("forwarded", "for=203.0.113.5")
                .header("remote-user", "alice");
            for line in lines {
                request = request.header("connection", line);
            }
            let parts = sent(to("http://app"), request).unwrap();
            prop_assert_eq!(parts.headers.len(), 5, "{:?}", parts.headers);
        }
    }
}
