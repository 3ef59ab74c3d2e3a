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

    /// The prefix that this hop takes off the path: writes `X-Forwarded-Prefix`, the root as `/`. In a chain of hops
    /// each must say its own, also one that takes nothing off: a reader counts one value per hop. `Forwarded` has no
    /// parameter for it.
    pub fn prefix(mut self, prefix: PathPrefix) -> Self {
        edit(&mut self.config, |config| config.prefix = Some(prefix));
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
                    Some(prefix) if prefix.is_root() => {
                        Some((X_FORWARDED_PREFIX, HeaderValue::from_static("/")))
                    }
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
        unlist(headers, name::is_forwarding);
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
    remove_where(headers, name::is_forwarding);
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
mod tests;
