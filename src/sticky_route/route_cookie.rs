use std::time::Duration;

use http::{HeaderName, Method};

use super::attributes::{Attributes, SameSite, Secure};
use super::cookie::Cookie;
use super::token::{Key, Limits};
use super::{BuildError, Problem};
use crate::wire::cookie::{is_name, is_value};
use crate::wire::name::{is_forwarding, is_identity};
use crate::wire::parameter;

/// Where the route of a client is kept.
///
/// | | cookie of | the value is | a client can choose its member |
/// |---|---|---|---|
/// | [`opaque`](Self::opaque) | this layer | a token that only the keys tell | no |
/// | [`plain`](Self::plain) | this layer | the route | yes |
/// | [`managed_suffix`](Self::managed_suffix) | the application | extended by the route, here | yes |
/// | [`suffix`](Self::suffix) | the application | extended by the route, there | yes |
/// | [`whole_value`](Self::whole_value) | the application | the route | yes |
///
/// A client that can choose its member can aim all of its load at one of them. The attributes are for cookies of
/// this layer: the application sets its own.
///
/// All is checked where the pool is built, combinations that browsers silently drop included.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_proxied::sticky_route::{Member, RouteCookie, SameSite, Secure, StickyRoute};
///
/// let embedded = RouteCookie::opaque([[42; 32], [41; 32]])
///     .name("__Host-shop")
///     .same_site(SameSite::None)
///     .partitioned()
///     .max_idle(Duration::from_secs(30 * 60));
/// let pool = |cookie| StickyRoute::builder("shop").member(Member::new("http-1", ())).cookie(cookie).build();
/// let error = pool(embedded.clone()).unwrap_err().to_string();
/// assert_eq!(
///     error,
///     "cookie \"__Host-shop\" is refused: __Host- wants Secure::Always, the path `/` and no domain"
/// );
/// assert!(pool(embedded.secure(Secure::Always)).is_ok());
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RouteCookie {
    pub(super) kind: Kind,
    name: Option<Box<str>>,
    header: Option<Box<str>>,
    pub(super) url_parameter: Option<(Box<str>, Turn)>,
    max_idle: Option<Duration>,
    max_life: Option<Duration>,
    pub(super) other_routes: Vec<Box<str>>,
    pub(super) attributes: Attributes,
    pub(super) insert_on: Vec<Method>,
    pub(super) accepts_plain: bool,
    pub(super) keeps_ended: bool,
}

impl RouteCookie {
    /// A cookie of its own with a token of 128 bits: HMAC-SHA256 of pool and route, cut and in hexadecimal.
    ///
    /// The first key makes the tokens, all of them are accepted; a client with a token of another key gets a new one.
    /// Front ends that share keys, pool name and routes agree without talking. A key has 32 bytes at least, of a
    /// good source of randomness (RFC 2104, section 3).
    ///
    /// To rotate, put the new key behind the old one on all front ends, then before it, and take the old one out when
    /// the cookies of its time are gone. With [`max_idle`](Self::max_idle) or [`max_life`](Self::max_life) the token
    /// bears dates, and a seal over them.
    ///
    /// # Example
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::{ServiceExt, service_fn};
    /// use tower_proxied::sticky_route::{Decision, Member, Outcome, RequestBody, RouteCookie, StickyRoute};
    ///
    /// async fn hello(_: Request<RequestBody<()>>) -> Result<Response<()>, std::io::Error> {
    ///     Ok(Response::new(()))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let front_end = |keys: &[[u8; 32]]| {
    ///     let member = Member::new("http-1", service_fn(hello));
    ///     StickyRoute::builder("shop").member(member).cookie(RouteCookie::opaque(keys)).build()
    /// };
    /// let (old, new) = ([1; 32], [2; 32]);
    /// let response = front_end(&[old])?.oneshot(Request::new(())).await?;
    /// let line = response.headers()["set-cookie"].to_str()?;
    /// assert!(!line.contains("http-1"));
    ///
    /// let pin = line.split(';').next().unwrap_or_default();
    /// let request = || Request::builder().header("cookie", pin).body(());
    /// for (keys, outcome) in [
    ///     (&[old, new][..], Outcome::Hit),
    ///     (&[new, old], Outcome::HitReissue),
    ///     (&[new], Outcome::Unknown),
    /// ] {
    ///     let response = front_end(keys)?.oneshot(request()?).await?;
    ///     assert_eq!(response.extensions().get::<Decision>().map(Decision::outcome), Some(outcome));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn opaque<I>(keys: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        Self::of(Kind::Opaque(keys.into_iter().map(|key| Key::new(key.as_ref())).collect()), None)
    }

    /// A cookie of its own with the route as it is, for tests and for other front ends that read it.
    pub fn plain() -> Self {
        Self::of(Kind::Plain, None)
    }

    /// The application's own session cookie, which on its way out gets the separator and the route appended, and on
    /// its way in loses them again: HAProxy's `cookie … prefix`, for applications that know nothing of routes.
    ///
    /// The route is what follows the **last** separator, if it is a member's; nothing else is ever cut.
    /// A cookie that the application deletes is left alone. Where two pools are in front of one application, name each
    /// other's routes in [`other_routes`](Self::other_routes).
    ///
    /// # Example
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::{ServiceExt, service_fn};
    /// use tower_proxied::sticky_route::{Member, RequestBody, RouteCookie, StickyRoute};
    ///
    /// async fn application(request: Request<RequestBody<()>>) -> Result<Response<()>, http::Error> {
    ///     assert_eq!(request.headers()["cookie"], "sessionid=s.1; x=1");
    ///     Response::builder().header("set-cookie", "sessionid=s.2; HttpOnly").body(())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let sticky = StickyRoute::builder("http")
    ///     .member(Member::new("http-1", service_fn(application)))
    ///     .cookie(RouteCookie::managed_suffix("sessionid", '.').other_routes(["https-1"]))
    ///     .build()?;
    /// for cookie in ["sessionid=s.1.http-1; x=1", "sessionid=s.1.https-1; x=1"] {
    ///     let request = Request::builder().header("cookie", cookie).body(())?;
    ///     let response = sticky.clone().oneshot(request).await?;
    ///     assert_eq!(response.headers()["set-cookie"], "sessionid=s.2.http-1; HttpOnly");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn managed_suffix(name: &str, separator: char) -> Self {
        Self::of(Kind::ManagedSuffix(separator), Some(name))
    }

    /// The application's own session cookie, to which the application appends the route, as Tomcat's `jvmRoute` and
    /// [`RouteSuffixLayer`](super::RouteSuffixLayer) do: `stickysession=` of Apache. It is only read.
    ///
    /// The route is what follows the first separator, as Apache reads it, or else the last one.
    pub fn suffix(name: &str, separator: char) -> Self {
        Self::of(Kind::Suffix(separator), Some(name))
    }

    /// A cookie of the application whose value is the route: `stickysessionsep=Off` of Apache. It is only read.
    pub fn whole_value(name: &str) -> Self {
        Self::of(Kind::Whole, Some(name))
    }

    /// The name of the cookie. For a cookie of its own `<pool>-route` unless said, so that two pools never read each
    /// other's.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// `Path`, as it stands in a URL: `/a%20b` for a folder with a blank. `/` unless said. Requests for other paths are balanced and not pinned.
    pub fn path(mut self, path: &str) -> Self {
        self.attributes.path = path.into();
        self
    }

    /// `Domain`: a host, without scheme or port. None unless said: the cookie is for the asked host alone.
    pub fn domain(mut self, domain: &str) -> Self {
        self.attributes.domain = Some(domain.into());
        self
    }

    /// `SameSite`. [`SameSite::Lax`] unless said.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.attributes.same_site = same_site;
        self
    }

    /// `Secure`. [`Secure::Auto`] unless said.
    pub fn secure(mut self, secure: Secure) -> Self {
        self.attributes.secure = secure;
        self
    }

    /// `Partitioned`: one cookie jar for each embedding site (CHIPS). Wants [`Secure::Always`].
    pub fn partitioned(mut self) -> Self {
        self.attributes.is_partitioned = true;
        self
    }

    /// `Max-Age`, in seconds. Without it the cookie lives as long as the browser session.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.attributes.max_age = Some(max_age);
        self
    }

    /// The longest time between two requests of a pinned client; then it counts as a new one, with
    /// [`Outcome::Expired`](super::Outcome::Expired). In whole seconds; no limit unless said. For
    /// [`opaque`](Self::opaque) only: a client cannot change the dates of its cookie.
    ///
    /// The date is renewed with a response once a sixtieth of the limit is over, and not with each of them, so that a
    /// client may be let go that much too early. Dates are those of the [wall clock](super::Builder::wall_clock), since
    /// several front ends read them. A date more than a day ahead is void; void and missing dates exceed no limit and
    /// are renewed: neither a new limit nor a clock that is set right logs anybody out. So a client that kept a cookie
    /// from before the limit can come with it as long as its key is there.
    ///
    /// # Example
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    /// use std::time::{Duration, UNIX_EPOCH};
    /// use http::{Request, Response};
    /// use tower::{ServiceExt, service_fn};
    /// use tower_proxied::sticky_route::{Decision, Member, Outcome, RequestBody, RouteCookie, StickyRoute};
    ///
    /// async fn hello(_: Request<RequestBody<()>>) -> Result<Response<()>, std::io::Error> {
    ///     Ok(Response::new(()))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let clock = Arc::new(AtomicU64::new(1_700_000_000));
    /// let now = clock.clone();
    /// let sticky = StickyRoute::builder("shop")
    ///     .member(Member::new("http-1", service_fn(hello)))
    ///     .cookie(RouteCookie::opaque([[42; 32]]).max_idle(Duration::from_secs(1800)))
    ///     .wall_clock(move || UNIX_EPOCH + Duration::from_secs(now.load(Relaxed)))
    ///     .build()?;
    /// let first = sticky.clone().oneshot(Request::new(())).await?;
    /// let pin = first.headers()["set-cookie"].to_str()?.split(';').next().unwrap_or_default();
    /// for (seconds, outcome) in [(20, Outcome::Hit), (20, Outcome::HitReissue), (1800, Outcome::Expired)] {
    ///     clock.fetch_add(seconds, Relaxed);
    ///     let request = Request::builder().header("cookie", pin).body(())?;
    ///     let response = sticky.clone().oneshot(request).await?;
    ///     assert_eq!(response.extensions().get::<Decision>().map(Decision::outcome), Some(outcome));
    ///     assert_eq!(response.headers().contains_key("set-cookie"), outcome != Outcome::Hit);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_idle(mut self, max_idle: Duration) -> Self {
        self.max_idle = Some(max_idle);
        self
    }

    /// The longest time that a client stays pinned, however busy it is; else as [`max_idle`](Self::max_idle). It is
    /// counted from when the member was chosen: another one starts anew.
    pub fn max_life(mut self, max_life: Duration) -> Self {
        self.max_life = Some(max_life);
        self
    }

    /// Carried in this header instead of a cookie, for clients that keep none: a response tells the value, and the client
    /// sends it with its next requests. Of several lines the first usable one counts.
    ///
    /// For [`opaque`](Self::opaque) and [`plain`](Self::plain). All holds that is said of cookies, except for name and
    /// attributes: the member sees no such header, one that it sets is taken out, and with
    /// [`let_members_end_it`](Self::let_members_end_it) an empty one goes out.
    ///
    /// # Example
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::{ServiceExt, service_fn};
    /// use tower_proxied::sticky_route::{Member, RequestBody, RouteCookie, StickyRoute};
    ///
    /// async fn api(request: Request<RequestBody<()>>) -> Result<Response<()>, std::io::Error> {
    ///     assert!(!request.headers().contains_key("x-route"), "the pin is not for the application");
    ///     Ok(Response::new(()))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let sticky = StickyRoute::builder("api")
    ///     .member(Member::new("http-1", service_fn(api)))
    ///     .cookie(RouteCookie::opaque([[42; 32]]).in_header("x-route"))
    ///     .build()?;
    /// let first = sticky.clone().oneshot(Request::new(())).await?;
    /// assert!(!first.headers().contains_key("set-cookie"));
    /// let request = Request::builder().header("x-route", &first.headers()["x-route"]).body(())?;
    /// assert!(!sticky.oneshot(request).await?.headers().contains_key("x-route"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn in_header(mut self, name: &str) -> Self {
        self.header = Some(name.into());
        self
    }

    /// Reads the route also from this parameter of the URL, where no cookie names a member that takes the request:
    /// `/app;jsessionid=abc.http-1` and `/app?jsessionid=abc.http-1`, as applications write it for browsers without
    /// cookies. The name matches as a whole and to the letter; nothing is decoded, and the URL goes on as it is.
    ///
    /// Off unless said: a link chooses the member of whoever follows it. For [`suffix`](Self::suffix) and
    /// [`whole_value`](Self::whole_value).
    ///
    /// # Example
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::{ServiceExt, service_fn};
    /// use tower_proxied::sticky_route::{Decision, Member, Outcome, RequestBody, RouteCookie, StickyRoute};
    ///
    /// async fn hello(_: Request<RequestBody<()>>) -> Result<Response<()>, std::io::Error> {
    ///     Ok(Response::new(()))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let sticky = StickyRoute::builder("java")
    ///     .member(Member::new("http-1", service_fn(hello)))
    ///     .cookie(RouteCookie::suffix("JSESSIONID", '.').or_url_parameter("jsessionid"))
    ///     .build()?;
    /// for (uri, outcome) in [
    ///     ("/app;jsessionid=abc.http-1", Outcome::Hit),
    ///     ("/app?jsessionid=abc.http-1", Outcome::Hit),
    ///     ("/app?myjsessionid=abc.http-1", Outcome::Absent),
    /// ] {
    ///     let response = sticky.clone().oneshot(Request::get(uri).body(())?).await?;
    ///     assert_eq!(response.extensions().get::<Decision>().map(Decision::outcome), Some(outcome));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn or_url_parameter(mut self, name: &str) -> Self {
        self.url_parameter = Some((name.into(), Turn::AfterCookie));
        self
    }

    /// As [`or_url_parameter`](Self::or_url_parameter), but the URL goes before the cookie, as with Apache's
    /// `stickysession=JSESSIONID|jsessionid`.
    pub fn url_parameter_or_cookie(mut self, name: &str) -> Self {
        self.url_parameter = Some((name.into(), Turn::BeforeCookie));
        self
    }

    /// Routes that are no members, and that a [managed suffix](Self::managed_suffix) yet takes off its cookie: those of
    /// another pool in front of the same application, and of members that are gone. Otherwise the application gets its
    /// session with a route on it, and knows it not. They pin nobody.
    pub fn other_routes<I>(mut self, routes: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.other_routes = routes.into_iter().map(|route| route.as_ref().into()).collect();
        self
    }

    /// Pins only clients that come with one of these methods. All unless said. A pin is renewed with any.
    pub fn insert_on<I: IntoIterator<Item = Method>>(mut self, methods: I) -> Self {
        self.insert_on = methods.into_iter().collect();
        self
    }

    /// Accepts plain routes beside tokens, while clients still have them from before. They get a token.
    pub fn accept_plain(mut self) -> Self {
        self.accepts_plain = true;
        self
    }

    /// A member may end the affinity: its own deletion of this cookie goes out. Otherwise a member's `Set-Cookie` of
    /// this name is taken out.
    pub fn let_members_end_it(mut self) -> Self {
        self.keeps_ended = true;
        self
    }

    fn of(kind: Kind, name: Option<&str>) -> Self {
        Self {
            kind,
            name: name.map(Into::into),
            header: None,
            url_parameter: None,
            max_idle: None,
            max_life: None,
            other_routes: Vec::new(),
            attributes: Attributes::default(),
            insert_on: Vec::new(),
            accepts_plain: false,
            keeps_ended: false,
        }
    }

    pub(super) fn build(self, pool: &str) -> Result<Cookie, BuildError> {
        let name = self.name.clone().unwrap_or_else(|| format!("{pool}-route").into());
        if !is_name(name.as_bytes()) {
            return Err(Problem::CookieName.of(&name));
        }
        if let Kind::ManagedSuffix(separator) | Kind::Suffix(separator) = self.kind
            && (separator == '=' || !separator.is_ascii() || !is_value(&[separator as u8]))
        {
            return Err(Problem::Separator.of(&separator.to_string()));
        }
        self.attributes.check(&name)?;
        if let Kind::Opaque(keys) = &self.kind {
            if keys.is_empty() {
                return Err(Problem::NoKey.of(&name));
            }
            if keys.iter().any(Key::is_short) {
                return Err(Problem::ShortKey.of(&name));
            }
        }
        if let Some((parameter, _)) = &self.url_parameter
            && (!parameter::is_name(parameter.as_bytes())
                || !matches!(self.kind, Kind::Suffix(_) | Kind::Whole))
        {
            return Err(Problem::UrlParameter.of(parameter));
        }
        if !self.other_routes.is_empty() && !matches!(self.kind, Kind::ManagedSuffix(_)) {
            return Err(Problem::OtherRoutes.of(&name));
        }
        let limits = self.limits(&name)?;
        let carrier = match &self.header {
            None => Carrier::Cookie(name.as_bytes().into()),
            Some(header) => self.header_name(header).ok_or_else(|| Problem::Header.of(header))?,
        };
        Ok(Cookie::new(self, carrier, limits, pool))
    }

    fn limits(&self, name: &str) -> Result<Limits, BuildError> {
        let seconds = |limit: Option<Duration>| limit.map(|limit| limit.as_secs());
        let limits = Limits { max_idle: seconds(self.max_idle), max_life: seconds(self.max_life) };
        let is_wrong = if matches!(self.kind, Kind::Opaque(_)) {
            limits.max_idle == Some(0) || limits.max_life == Some(0)
        } else {
            !limits.are_none()
        };
        if is_wrong { Err(Problem::Limit.of(name)) } else { Ok(limits) }
    }

    fn header_name(&self, name: &str) -> Option<Carrier> {
        let header = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let is_free = matches!(self.kind, Kind::Opaque(_) | Kind::Plain)
            && !is_forwarding(&header)
            && !is_identity(&header)
            && !OF_HTTP.contains(&header.as_str());
        is_free.then_some(Carrier::Header(header))
    }
}

/// Whether a parameter of the URL is looked at before the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    BeforeCookie,
    AfterCookie,
}

/// What carries the pin.
#[derive(Debug)]
pub(super) enum Carrier {
    Cookie(Box<[u8]>),
    Header(HeaderName),
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Plain,
    Opaque(Vec<Key>),
    ManagedSuffix(char),
    Suffix(char),
    Whole,
}

/// Headers without which a message is another one.
const OF_HTTP: [&str; 20] = [
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "host",
    "keep-alive",
    "location",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_printed() {
        let cookie = RouteCookie::opaque([[65; 32]]);
        let text = format!("{cookie:?}");
        assert!(text.contains("Key(..)") && !text.contains("65"), "{text}");
    }

    #[test]
    fn combinations_that_no_browser_takes_are_refused() {
        let problem = |cookie: RouteCookie| cookie.build("shop").unwrap_err().to_string();
        for (cookie, names) in [
            (RouteCookie::plain().name("bad name"), "bad name"),
            (RouteCookie::plain().name(""), "\"\""),
            (RouteCookie::plain().name("__Host-r"), "__Host-"),
            (RouteCookie::plain().name("__host-r").secure(Secure::Always).domain("x"), "__Host-"),
            (RouteCookie::plain().name("__Secure-r"), "__Secure-"),
            (RouteCookie::plain().partitioned(), "Partitioned"),
            (RouteCookie::plain().same_site(SameSite::None), "SameSite=None"),
            (RouteCookie::plain().path("x"), "\"x\""),
            (RouteCookie::plain().path("/; Domain=x"), "cookie path"),
            (RouteCookie::plain().domain("x\r\n"), "domain"),
            (RouteCookie::suffix("s", ';'), "\";\""),
            (RouteCookie::suffix("s", 'é'), "é"),
            (RouteCookie::opaque([[0; 31]]), "32 bytes"),
            (RouteCookie::opaque(Vec::<Vec<u8>>::new()), "key"),
        ] {
            let text = problem(cookie);
            assert!(text.contains(names), "{text}");
        }
        assert!(
            RouteCookie::plain().name("__Host-r").secure(Secure::Always).partitioned().build("p").is_ok()
        );
    }

    #[test]
    fn what_does_not_fit_the_kind_is_refused() {
        let problem = |cookie: RouteCookie| cookie.build("shop").unwrap_err().to_string();
        let opaque = || RouteCookie::opaque([[1; 32]]);
        let suffix = || RouteCookie::suffix("s", '.');
        let hour = Duration::from_secs(3600);
        for (cookie, names) in [
            (opaque().max_idle(Duration::from_millis(999)), "\"shop-route\""),
            (opaque().max_life(Duration::ZERO), "a second"),
            (RouteCookie::plain().max_idle(hour), "opaque"),
            (suffix().max_life(hour), "opaque"),
            (suffix().in_header("x-route"), "\"x-route\""),
            (RouteCookie::managed_suffix("s", '.').in_header("x-route"), "\"x-route\""),
            (opaque().in_header("a b"), "\"a b\""),
            (opaque().in_header(""), "header \"\""),
            (opaque().in_header("Content-Length"), "\"Content-Length\""),
            (opaque().in_header("cookie"), "\"cookie\""),
            (opaque().in_header("X_Forwarded_For"), "\"X_Forwarded_For\""),
            (opaque().in_header("remote-user"), "\"remote-user\""),
            (opaque().or_url_parameter("r"), "\"r\""),
            (RouteCookie::plain().url_parameter_or_cookie("r"), "\"r\""),
            (RouteCookie::managed_suffix("s", '.').or_url_parameter("r"), "\"r\""),
            (suffix().or_url_parameter(""), "URL parameter \"\""),
            (suffix().or_url_parameter("a=b"), "\"a=b\""),
            (suffix().url_parameter_or_cookie("a&b"), "\"a&b\""),
            (suffix().other_routes(["a"]), "managed_suffix"),
        ] {
            let text = problem(cookie);
            assert!(text.contains(names), "{text}");
        }
        for cookie in [
            opaque().max_idle(hour).max_life(hour).in_header("X-Route"),
            suffix().or_url_parameter("jsessionid"),
            RouteCookie::whole_value("s").url_parameter_or_cookie("s"),
            RouteCookie::managed_suffix("s", '.').other_routes(["https-1"]),
        ] {
            assert!(cookie.build("shop").is_ok());
        }
    }
}
