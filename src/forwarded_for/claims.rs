use std::fmt;
use std::str::FromStr;

use http::{HeaderMap, HeaderName};

use super::proxied::{Claim, Outcome, Proxied};
use crate::wire::forwarded::{ForwardedElement, Value};
use crate::wire::host::{HostPort, Scheme};
use crate::wire::list::{self, Element};
pub(super) use crate::wire::name::{
    X_FORWARDED_HOST as HOST, X_FORWARDED_PORT as PORT, X_FORWARDED_PREFIX as PREFIX,
    X_FORWARDED_PROTO as SCHEME,
};
use crate::wire::path::PathPrefix;

/// How the trusted proxies write a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The proxy replaces whatever the client sent: exactly one value.
    Set,
    /// Every trusted hop appends exactly one value: the one of the hop that named the client counts.
    Appended,
    /// Only the nearest hop appends: the rightmost value counts.
    AppendedByNearest,
}

impl Written {
    /// The claim may be absent: the connection's own value holds then.
    pub fn optional(self) -> Declared {
        Declared { written: self, optional: true }
    }
}

/// [`Written`], and whether it may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    written: Written,
    optional: bool,
}

impl From<Written> for Declared {
    fn from(written: Written) -> Self {
        Self { written, optional: false }
    }
}

/// Which claims the trusted proxies make, and how they write them.
///
/// A proxy relays what the client sent unless its configuration replaces or appends to it: a claim that is not
/// declared is therefore never believed, and never reaches the application.
///
/// | claim | field |
/// |---|---|
/// | scheme | `X-Forwarded-Proto` |
/// | host | `X-Forwarded-Host` |
/// | port | `X-Forwarded-Port` |
/// | prefix | `X-Forwarded-Prefix`: the values of all trusted hops, outermost first |
///
/// # Example
///
/// ```
/// use tower_proxied::forwarded_for::{Claims, Written};
///
/// let claims = Claims::none().scheme(Written::Set).host(Written::Appended).prefix(Written::Set.optional());
/// # let _ = claims;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Claims {
    scheme: Option<Declared>,
    host: Option<Declared>,
    port: Option<Declared>,
    prefix: Option<Declared>,
}

impl Claims {
    /// Nothing but addresses is believed.
    pub fn none() -> Self {
        Self::default()
    }

    /// How `X-Forwarded-Proto` is written.
    pub fn scheme(mut self, declared: impl Into<Declared>) -> Self {
        self.scheme = Some(declared.into());
        self
    }

    /// How `X-Forwarded-Host` is written.
    pub fn host(mut self, declared: impl Into<Declared>) -> Self {
        self.host = Some(declared.into());
        self
    }

    /// How `X-Forwarded-Port` is written.
    pub fn port(mut self, declared: impl Into<Declared>) -> Self {
        self.port = Some(declared.into());
        self
    }

    /// How `X-Forwarded-Prefix` is written.
    pub fn prefix(mut self, declared: impl Into<Declared>) -> Self {
        self.prefix = Some(declared.into());
        self
    }

    /// Reads all declared claims into `proxied`. `position` is the element, from the right and from 1, at which
    /// the walk stopped; `None` where there is no address list at all. Gives the attested part of each field.
    pub(super) fn read(
        &self,
        headers: &HeaderMap,
        position: Option<usize>,
        nearest: usize,
        proxied: &mut Proxied,
    ) -> Result<Attested, Outcome> {
        if *self == Self::none() {
            return Ok(Attested::default());
        }
        let at = position.unwrap_or(nearest);
        let mut attested = Attested::default();
        proxied.scheme = read_one(self.scheme, headers, &SCHEME, at, Scheme::parse, &mut attested.scheme)?;
        let host = |bytes: &[u8]| HostPort::parse(bytes).map(HostPort::into_owned);
        proxied.host = read_one(self.host, headers, &HOST, at, host, &mut attested.host)?;
        let port = |bytes: &[u8]| std::str::from_utf8(bytes).ok().and_then(crate::wire::node::port);
        proxied.port = read_one(self.port, headers, &PORT, at, port, &mut attested.port)?;
        proxied.prefix = match self.prefix {
            Some(Declared { written: Written::Appended, .. }) => {
                read_prefixes(headers, at, &mut attested.prefix)
            }
            declared => read_one(declared, headers, &PREFIX, at, prefix, &mut attested.prefix)?,
        };
        let is_missing = settle(self.scheme, &mut proxied.scheme)
            | settle(self.host, &mut proxied.host)
            | settle(self.port, &mut proxied.port)
            | settle(self.prefix, &mut proxied.prefix);
        // Where the proxy wrote nothing at all, it is a probe of the proxy itself.
        if is_missing && (position.is_some() || self.any_value(headers)) {
            return Err(Outcome::ClaimMissing);
        }
        Ok(attested)
    }

    fn any_value(&self, headers: &HeaderMap) -> bool {
        [(self.scheme, SCHEME), (self.host, HOST), (self.port, PORT), (self.prefix, PREFIX)]
            .iter()
            .any(|(declared, name)| declared.is_some() && values(headers, name).next().is_some())
    }
}

/// The claims of an element of `Forwarded`: they stand beside the address that they belong to.
pub(super) fn read_element(element: &ForwardedElement<'_>, proxied: &mut Proxied) {
    proxied.claims_stand_in_forwarded = true;
    proxied.scheme = read_value(element.proto(), Scheme::parse);
    proxied.host = read_value(element.host(), |bytes| HostPort::parse(bytes).map(HostPort::into_owned));
}

fn read_value<T>(value: Option<Value<'_>>, parse: impl Fn(&[u8]) -> Option<T>) -> Claim<T> {
    // A host of 253 bytes and a port fit; what is longer is none.
    let mut buffer = [0; 264];
    match value.map(|value| value.text(&mut buffer)) {
        None | Some(Some(b"")) => Claim::Absent,
        Some(text) => text.and_then(parse).map_or(Claim::Malformed, Claim::Attested),
    }
}

/// The front end whose usual recipe writes the claims.
///
/// Those of Apache httpd (2.4.71), nginx (1.22.1) and HAProxy (2.6.12) are tested with these servers; the whole configurations
/// stand in `examples/conf`, and what comes of them in [the guide](crate::guide::real_peers). Those of the others stand in
/// their manuals, and were **not tested** against them. Each writes `X-Forwarded-For` too, but for what is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Front {
    /// Apache httpd, which writes `X-Forwarded-For` by itself, and appends to the client's `X-Forwarded-Host`:
    ///
    /// ```text
    /// RequestHeader set X-Forwarded-Proto expr=%{REQUEST_SCHEME}
    /// ```
    Apache,
    /// nginx:
    ///
    /// ```text
    /// proxy_set_header X-Forwarded-For   $proxy_add_x_forwarded_for;
    /// proxy_set_header X-Forwarded-Proto $scheme;
    /// proxy_set_header X-Forwarded-Host  $http_host;
    /// ```
    Nginx,
    /// HAProxy:
    ///
    /// ```text
    /// option forwardfor
    /// http-request set-header X-Forwarded-Proto https if { ssl_fc }
    /// http-request set-header X-Forwarded-Proto http if !{ ssl_fc }
    /// http-request set-header X-Forwarded-Host %[req.fhdr(host)]
    /// ```
    HaProxy,
    /// Traefik, which removes the client's `X-Forwarded-*` and sets its own (`wss` for `https` on upgrades, which is read as
    /// `https`), unless an entry point's `forwardedHeaders.insecure`, or `trustedIPs` with clients among them, says
    /// otherwise. Leave `notAppendXForwardedFor` off. Untested.
    Traefik,
    /// Caddy's `reverse_proxy`, which since 2.5 ignores the client's values unless `trusted_proxies` holds clients. Untested.
    Caddy,
    /// Envoy as an edge proxy, with `use_remote_address: true`, and `xff_num_trusted_hops` (0) and `skip_xff_append` (off) as
    /// they are: it sets `X-Forwarded-Proto`, and hands `Host` through unless a route rewrites it. Otherwise it believes
    /// the scheme that the client sent. Untested.
    Envoy,
    /// An Application Load Balancer of AWS, with `routing.http.xff_header_processing.mode` as it is (`append`): scheme and
    /// port. `Host` comes through as the client sent it with `routing.http.preserve_host_header.enabled`; without it, the
    /// port of the listener may stand behind it. The manual does not say what becomes of a scheme or port that the client
    /// wrote; two of one are refused here. Untested.
    AwsAlb,
    /// Cloudflare: the scheme, over the client's; `Host` comes through. It appends to `X-Forwarded-For`, and sets
    /// `CF-Connecting-IP`, which [`single`](crate::ForwardedForLayer::single) reads. The trusted networks are the ones that
    /// it publishes; they change, and **everybody's** zones and Workers ask from them: let Authenticated Origin Pulls, or a
    /// tunnel, prove that it is yours. Untested.
    Cloudflare,
}

impl From<Front> for Claims {
    fn from(front: Front) -> Self {
        let claims = Self::none().scheme(Written::Set);
        match front {
            Front::Apache => claims.host(Written::Appended),
            Front::Nginx | Front::HaProxy | Front::Traefik | Front::Caddy => claims.host(Written::Set),
            Front::AwsAlb => claims.port(Written::Set),
            Front::Envoy | Front::Cloudflare => claims,
        }
    }
}

/// As text: `scheme`, `host`, `port` and `prefix`, each with `=set`, `=appended` or `=appended-by-nearest`, and a `?` behind
/// it where the claim may be absent; blanks or commas between them.
///
/// ```
/// use tower_proxied::forwarded_for::{Claims, Written};
///
/// let claims: Claims = "scheme=set, host=appended?".parse()?;
/// assert_eq!(claims, Claims::none().scheme(Written::Set).host(Written::Appended.optional()));
/// assert_eq!("scheme=sat".parse::<Claims>().unwrap_err().item(), "scheme=sat");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl FromStr for Claims {
    type Err = ClaimsError;

    fn from_str(text: &str) -> Result<Self, ClaimsError> {
        let items = text.split([',', ' ', '\t', '\n']).filter(|item| !item.is_empty());
        items.into_iter().try_fold(Self::none(), Self::with)
    }
}

impl Claims {
    fn with(mut self, item: &str) -> Result<Self, ClaimsError> {
        let refused = || ClaimsError { item: item.into() };
        let (claim, written) = item.split_once('=').ok_or_else(refused)?;
        let (written, optional) = match written.strip_suffix('?') {
            Some(written) => (written, true),
            None => (written, false),
        };
        let written = match written {
            "set" => Written::Set,
            "appended" => Written::Appended,
            "appended-by-nearest" => Written::AppendedByNearest,
            _ => return Err(refused()),
        };
        let claim = match claim {
            "scheme" => &mut self.scheme,
            "host" => &mut self.host,
            "port" => &mut self.port,
            "prefix" => &mut self.prefix,
            _ => return Err(refused()),
        };
        match claim.replace(Declared { written, optional }) {
            Some(_) => Err(refused()),
            None => Ok(self),
        }
    }
}

/// A text that declares no [`Claims`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimsError {
    item: Box<str>,
}

impl ClaimsError {
    /// The offending item, as written.
    pub fn item(&self) -> &str {
        &self.item
    }
}

impl fmt::Display for ClaimsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "claim {:?} is refused: it must be scheme, host, port or prefix, each once, with =set, =appended or \
             =appended-by-nearest, and a ? behind it where it may be absent",
            self.item
        )
    }
}

impl std::error::Error for ClaimsError {}

/// Where the attested part of each declared field starts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attested {
    pub(super) scheme: Option<Span>,
    pub(super) host: Option<Span>,
    pub(super) port: Option<Span>,
    pub(super) prefix: Option<Span>,
}

/// A place in a field: its line, counted from the last one, and the byte in that line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) line: usize,
    pub(super) start: usize,
}

impl From<Element<'_>> for Span {
    fn from(element: Element<'_>) -> Self {
        Self { line: element.line, start: element.start }
    }
}

/// An optional claim that is missing is absent; whether a required one is missing.
fn settle<T>(declared: Option<Declared>, claim: &mut Claim<T>) -> bool {
    if !matches!(claim, Claim::Missing) {
        return false;
    }
    let is_required = declared.is_some_and(|declared| !declared.optional);
    if !is_required {
        *claim = Claim::Absent;
    }
    is_required
}

fn read_one<T>(
    declared: Option<Declared>,
    headers: &HeaderMap,
    name: &HeaderName,
    position: usize,
    parse: impl Fn(&[u8]) -> Option<T>,
    span: &mut Option<Span>,
) -> Result<Claim<T>, Outcome> {
    let Some(declared) = declared else { return Ok(Claim::Undeclared) };
    let mut values = values(headers, name);
    let value = match declared.written {
        Written::Set => match (values.next(), values.next()) {
            (_, Some(_)) => return Err(Outcome::Duplicate),
            (value, None) => value,
        },
        Written::Appended => values.nth(position.saturating_sub(1)),
        Written::AppendedByNearest => values.next(),
    };
    *span = value.map(Span::from);
    Ok(value.map_or(Claim::Missing, |value| parse(value.bytes).map_or(Claim::Malformed, Claim::Attested)))
}

/// The values of all trusted hops, outermost first: all or none.
fn read_prefixes(headers: &HeaderMap, hops: usize, span: &mut Option<Span>) -> Claim<PathPrefix> {
    if values(headers, &PREFIX).take(hops).count() < hops {
        return Claim::Missing;
    }
    let mut joined = PathPrefix::root();
    for value in values(headers, &PREFIX).take(hops) {
        *span = Some(value.into());
        match prefix(value.bytes) {
            Some(outer) => joined = outer.join(&joined),
            None => return Claim::Malformed,
        }
    }
    if joined.as_str().len() > PathPrefix::MAX_LEN { Claim::Malformed } else { Claim::Attested(joined) }
}

fn prefix(bytes: &[u8]) -> Option<PathPrefix> {
    PathPrefix::parse(std::str::from_utf8(bytes).ok()?).ok()
}

fn values<'a>(headers: &'a HeaderMap, name: &'a HeaderName) -> impl Iterator<Item = Element<'a>> {
    list::from_right(list::lines(headers, name)).filter(|element| !element.bytes.is_empty())
}
