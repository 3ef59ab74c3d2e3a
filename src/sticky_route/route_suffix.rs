use std::sync::Arc;
use std::time::SystemTime;

use http::{Response, request};

use super::builder::{BuildError, Problem};
use super::pool::Route;
use crate::future::{Owed, sealed};
use crate::refusal::Refusal;
use crate::shell::{Unit, shell};
use crate::wire;
use crate::wire::cookie::Change;

shell! {
    /// Layer of [`RouteSuffix`].
    layer RouteSuffixLayer;
    /// Appends the route of this application server to its session cookie: what `stickysession=` of Apache's
    /// mod_proxy_balancer wants of the application, and Tomcat does with `jvmRoute`.
    ///
    /// On the way out `sessionid=abc` becomes `sessionid=abc.http-1`, and the attributes stay as they are; a cookie that the
    /// application deletes is left alone. On the way in the route goes, whichever it is, so that the application sees what
    /// it set.
    ///
    /// Apache reads the route after the **first** dot, and a value only up to a comma. Dots of the session's own value go
    /// out as `~1`, commas as `~2`, and `~` as `~0`. So a value of this layer has exactly one dot, and not at its start; any
    /// other value passes as it is. A session from before with exactly one dot within loses what follows it, and ends.
    ///
    /// Two pools of one front end, for http and for https, may have different routes on one session cookie: the
    /// application sees its session through either. But the cookie holds one route, that of the server which set it last,
    /// and the other pool balances such a request. For clients that stay on one machine through both, name its two members
    /// alike.
    ///
    /// The front end must share no cookie of this name with another application. A client can choose its member.
    ///
    /// # Example
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::{ServiceBuilder, ServiceExt};
    /// use tower_proxied::sticky_route::RouteSuffixLayer;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let service = ServiceBuilder::new()
    ///     .layer(RouteSuffixLayer::new("sessionid", "http-1")?)
    ///     .service_fn(|request: Request<String>| async move {
    ///         assert_eq!(request.headers()["cookie"], "sessionid=a.b; x=1");
    ///         Response::builder().header("set-cookie", "sessionid=c.d; HttpOnly").body(String::new())
    ///     });
    /// let request = Request::builder().header("cookie", "sessionid=a~1b.http-2; x=1").body(String::new())?;
    /// let response = service.oneshot(request).await?;
    /// assert_eq!(response.headers()["set-cookie"], "sessionid=c~1d.http-1; HttpOnly");
    /// # Ok(())
    /// # }
    /// ```
    service RouteSuffix;
    unit Arc<Config>, owes Suffix;
}

impl RouteSuffixLayer {
    /// The session cookie of the application, and the route that the front end gave this server.
    ///
    /// # Errors
    ///
    /// A name that is no token; a route that is no cookie value or holds a dot.
    pub fn new(cookie_name: &str, route: &str) -> Result<Self, BuildError> {
        if !wire::cookie::is_name(cookie_name.as_bytes()) {
            return Err(Problem::CookieName.of(cookie_name));
        }
        if route.contains('.') {
            return Err(Problem::SeparatorInRoute.of(route));
        }
        let route = Route::parse(route)?;
        Ok(Arc::new(Config { cookie: cookie_name.as_bytes().into(), route }).into())
    }
}

/// What [`RouteSuffix`] owes a response: the route on its session cookie.
#[derive(Clone, Debug)]
pub struct Suffix(Option<Arc<Config>>);

#[derive(Debug)]
struct Config {
    cookie: Box<[u8]>,
    route: Route,
}

impl Unit for Arc<Config> {
    type Owed = Suffix;

    fn on_request(&self, parts: &mut request::Parts) -> Result<Suffix, Refusal> {
        wire::cookie::change_all(&mut parts.headers, &self.cookie, |value| match restored(value) {
            Some(session) => Change::Value(session),
            None => Change::Keep,
        });
        Ok(Suffix(Some(self.clone())))
    }

    fn when_disabled(_: &mut request::Parts) -> Suffix {
        Suffix(None)
    }
}

impl sealed::Sealed for Suffix {}

impl<R> Owed<R> for Suffix {
    type Body = R;

    fn settle(self, mut response: Response<R>) -> Response<R> {
        if let Some(config) = self.0 {
            let now = SystemTime::now();
            wire::cookie::change_set_cookies(response.headers_mut(), |cookie| {
                if cookie.name != &*config.cookie || cookie.is_deletion(now) {
                    return None;
                }
                Some(cookie.with_value(&suffixed(cookie.value, &config.route)))
            });
        }
        response
    }
}

fn suffixed(session: &[u8], route: &Route) -> Vec<u8> {
    let mut value = Vec::with_capacity(session.len().saturating_add(route.as_str().len()).saturating_add(1));
    for byte in session {
        match byte {
            b'~' => value.extend_from_slice(b"~0"),
            b'.' => value.extend_from_slice(b"~1"),
            b',' => value.extend_from_slice(b"~2"),
            byte => value.push(*byte),
        }
    }
    value.push(b'.');
    value.extend_from_slice(route.as_str().as_bytes());
    value
}

/// `None` for a value that [`suffixed`] does not make.
fn restored(value: &[u8]) -> Option<Vec<u8>> {
    let mut parts = value.split(|byte| *byte == b'.');
    let (escaped, route, None) = (parts.next()?, parts.next()?, parts.next()) else { return None };
    if escaped.is_empty() || route.is_empty() {
        return None;
    }
    let mut session = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(byte) = bytes.next() {
        session.push(match byte {
            b'~' => match bytes.next()? {
                b'0' => b'~',
                b'1' => b'.',
                b'2' => b',',
                _ => return None,
            },
            byte => *byte,
        });
    }
    Some(session)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_of_others_pass() {
        for value in ["", "abc", "a~b", ".eJx:1s:sig", "a.b.c", "abc.", ".", "a~3b.http-1", "a~.http-1"] {
            assert_eq!(restored(value.as_bytes()), None, "{value}");
        }
        assert_eq!(restored(b"\"a b\".http-1").unwrap(), b"\"a b\"");
    }

    /// A route on a logout would be a session that the application never gave.
    #[test]
    fn only_the_session_gets_the_route() {
        let layer = RouteSuffixLayer::new("sessionid", "http-1").unwrap();
        for (line, expected) in [
            ("sessionid=a; Path=/", "sessionid=a.http-1; Path=/"),
            ("sessionid=\"\"; Max-Age=0", "sessionid=\"\"; Max-Age=0"),
            ("sessionid=a; Max-Age=0", "sessionid=a; Max-Age=0"),
            ("sessionid=; Path=/", "sessionid=; Path=/"),
            ("SessionId=a", "SessionId=a"),
            ("sessionid2=a", "sessionid2=a"),
            ("x=1; sessionid=a", "x=1; sessionid=a"),
        ] {
            let response = Response::builder().header("set-cookie", line).body(()).unwrap();
            let suffix = Suffix(Some(layer.config.as_deref().unwrap().clone()));
            assert_eq!(suffix.settle(response).headers()["set-cookie"], expected, "{line}");
        }
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(RouteSuffixLayer::new("a b", "r").unwrap_err().item(), "a b");
        assert_eq!(RouteSuffixLayer::new("s", "http.1").unwrap_err().item(), "http.1");
        assert_eq!(RouteSuffixLayer::new("s", "a;b").unwrap_err().item(), "a;b");
    }

    fn through(layer: &RouteSuffixLayer, cookie: &str, answered: Option<&str>) -> (String, Option<String>) {
        let unit: &Arc<Config> = layer.config.as_deref().unwrap();
        let (mut parts, ()) =
            http::Request::builder().header("cookie", cookie).body(()).unwrap().into_parts();
        let suffix = unit.on_request(&mut parts).unwrap();
        let mut response = Response::builder();
        if let Some(line) = answered {
            response = response.header("set-cookie", line);
        }
        let response = suffix.settle(response.body(()).unwrap());
        let text = |headers: &http::HeaderMap, name: &str| {
            headers.get(name).map(|value| String::from_utf8(value.as_bytes().to_vec()).unwrap())
        };
        (text(&parts.headers, "cookie").unwrap(), text(response.headers(), "set-cookie"))
    }

    /// The session outlives the walk between the pools, and its cookie does not grow.
    #[test]
    fn two_pools_share_one_session_cookie() {
        let servers = ["http-1", "https-2", "http-2", "https-1", "http-1"]
            .map(|route| (route, RouteSuffixLayer::new("sessionid", route).unwrap()));
        let mut cookie = "sessionid=.eJx:1.sig".to_owned();
        for (route, server) in &servers {
            // A server of the other pool only reads the session.
            assert_eq!(through(server, &cookie, None), ("sessionid=.eJx:1.sig".to_owned(), None));
            let (seen, set) = through(server, &cookie, Some("sessionid=.eJx:1.sig; Path=/"));
            assert_eq!(seen, "sessionid=.eJx:1.sig");
            assert_eq!(set.unwrap(), format!("sessionid=~1eJx:1~1sig.{route}; Path=/"));
            cookie = format!("sessionid=~1eJx:1~1sig.{route}");
        }
    }

    /// What httpd's mod_proxy_balancer takes for the route: `get_cookie_param` and `find_session_route`, told anew.
    fn route_that_apache_reads<'a>(cookies: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
        let is_space = |byte: &u8| b" \t\n\x0b\x0c\r".contains(byte);
        for start in 0..cookies.len() {
            let begins = start == 0 || b";,".contains(&cookies[start - 1]) || is_space(&cookies[start - 1]);
            let Some(rest) = cookies[start..].strip_prefix(name).filter(|_| begins) else { continue };
            let blanks = rest.iter().take_while(|byte| is_space(byte)).count();
            let Some(value) = rest[blanks..].strip_prefix(b"=").filter(|value| !value.is_empty()) else {
                continue;
            };
            let value = value.split(|byte| b";,".contains(byte)).next().unwrap();
            let dot = value.iter().position(|byte| *byte == b'.')?;
            return Some(&value[dot + 1..]);
        }
        None
    }

    #[test]
    fn the_model_of_apache_reads_as_its_manual_says() {
        let read = |cookies: &'static str| route_that_apache_reads(cookies.as_bytes(), b"JSESSIONID");
        assert_eq!(read("JSESSIONID=abc.http-1; x=1"), Some(&b"http-1"[..]));
        assert_eq!(read("x=.2; JSESSIONID = abc.http-1"), Some(&b"http-1"[..]));
        assert_eq!(read("JSESSIONID=a.b.http-1"), Some(&b"b.http-1"[..]));
        assert_eq!(read("JSESSIONID=.1"), Some(&b"1"[..]));
        assert_eq!(read("JSESSIONID=a,b.http-1"), None);
        assert_eq!(read("JSESSIONID=http-1"), None);
        assert_eq!(read("MYJSESSIONID=a.http-1; JSESSIONID2=b.http-2"), None);
    }

    proptest! {
        #[test]
        fn what_goes_out_comes_in(session in prop::collection::vec(any::<u8>(), 1..20), route in "[a-z0-9-]{1,8}") {
            let value = suffixed(&session, &Route::parse(&route).unwrap());
            let first_dot = value.iter().position(|byte| *byte == b'.').unwrap();
            prop_assert_eq!(&value[first_dot + 1..], route.as_bytes());
            prop_assert_eq!(restored(&value), Some(session));
        }

        /// The browser sends back what it got, among its other cookies; Apache reads this server's route, and the
        /// application the session that it set.
        #[test]
        fn apache_reads_the_route_and_the_application_its_session(
            session in "[!#-+--:<-~]{1,24}|[.~,]{1,6}|\"[a-z ,.]{0,8}x\"",
            route in "[!#-+/-:<=>-Z^-}-]{1,12}",
            before in "(|x=1; |y=[.]2; |xsessionid=z[.]no; )",
            after in "(|; z=\"a[.]b\"|; sessionid2=z[.]no)",
        ) {
            let layer = RouteSuffixLayer::new("sessionid", &route).unwrap();
            let (_, set) = through(&layer, "x=1", Some(&format!("sessionid={session}; Path=/; HttpOnly")));
            let set = set.unwrap();
            let pair = set.strip_suffix("; Path=/; HttpOnly").unwrap();
            let sent = format!("{before}{pair}{after}");
            prop_assert_eq!(route_that_apache_reads(sent.as_bytes(), b"sessionid"), Some(route.as_bytes()));
            let (seen, _) = through(&layer, &sent, None);
            prop_assert_eq!(seen, format!("{before}sessionid={session}{after}"));
        }
    }
}
