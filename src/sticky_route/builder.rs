use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::failover::Failover;
use super::layer::StickyRouteLayer;
use super::observer::{Observer, Reporter};
use super::phase::Phase;
use super::pool::{Balance, Member, Picker, Snapshot};
use super::reach::Direct;
use super::retry_budget::RetryBudget;
use super::route_cookie::RouteCookie;
use super::service::StickyRoute;
use super::shared::{Clock, Shared};
use super::token::WallClock;
use crate::front::{Target, UpstreamLayer};

impl<S> StickyRoute<S> {
    /// A pool of this name. The name is part of tokens and of the cookie's default name: give each pool its own.
    ///
    /// A pool can be built without a member: that is for [`membership`](Self::membership), which adds them later. Until
    /// then all requests get 503.
    pub fn builder(pool: &str) -> Builder<S> {
        Builder {
            pool: pool.into(),
            members: Vec::new(),
            successors: Vec::new(),
            cookie: None,
            balance: Balance::default(),
            slow_start: Duration::ZERO,
            stickiness: Stickiness::Soft,
            failover: Failover::default(),
            classify: None,
            clock: Box::new(Instant::now),
            wall_clock: WallClock::default(),
            observer: None,
            refused: None,
        }
    }
}

/// Builds a [`StickyRoute`], or a [`StickyRouteLayer`] where members are layers.
#[must_use]
pub struct Builder<S> {
    pool: Box<str>,
    members: Vec<Member<S>>,
    successors: Vec<(Box<str>, Box<str>)>,
    cookie: Option<RouteCookie>,
    balance: Balance,
    slow_start: Duration,
    stickiness: Stickiness,
    failover: Failover,
    classify: Option<fn(&dyn Any) -> Phase>,
    clock: Box<dyn Fn() -> Instant + Send + Sync>,
    wall_clock: WallClock,
    observer: Option<Arc<dyn Observer>>,
    /// The first item that was wrong when it was given.
    refused: Option<BuildError>,
}

impl<S> Builder<S> {
    /// Adds a member.
    pub fn member(mut self, member: Member<S>) -> Self {
        self.members.push(member);
        self
    }

    /// Who gets the clients of a route that is no member any more; see [`Member::successor`] for one that is.
    pub fn successor(mut self, gone: &str, successor: &str) -> Self {
        self.successors.push((gone.into(), successor.into()));
        self
    }

    /// Where the route of a client is kept. There is no default.
    pub fn cookie(mut self, cookie: RouteCookie) -> Self {
        self.cookie = Some(cookie);
        self
    }

    /// Who gets a new session. [`Balance::PowerOfTwo`] unless said.
    pub fn balance(mut self, balance: Balance) -> Self {
        self.balance = balance;
        self
    }

    /// For so long a member that joins, or comes back from an ejection or a stop, gets fewer new sessions: a tenth of its
    /// weight at first, and then more in a straight line. Members that are there when the pool is built, and those that
    /// were drained, have their whole weight. Not at all unless said.
    pub fn slow_start(mut self, window: Duration) -> Self {
        self.slow_start = window;
        self
    }

    /// What becomes of clients whose member takes nothing. [`Stickiness::Soft`] unless said.
    pub fn stickiness(mut self, stickiness: Stickiness) -> Self {
        self.stickiness = stickiness;
        self
    }

    /// What happens when a member fails.
    pub fn failover(mut self, failover: Failover) -> Self {
        self.failover = failover;
        self
    }

    /// How far a request had come, by the error of the member. Without it each error counts as [`Phase::Sent`], and no
    /// member is ejected for a failed connect but by [`Failover::eject_below`].
    ///
    /// For hyper-util's client it is [`Phase::of_hyper_util`](Phase#method.of_hyper_util), with the feature `client`.
    /// Another one gets the error as `S::Error`; for a boxed error downcast to the box first.
    pub fn classify(mut self, classify: fn(&dyn Any) -> Phase) -> Self {
        self.classify = Some(classify);
        self
    }

    /// The clock of ejections, drains and [`Ended::took`](super::Ended::took), for tests. `Instant::now` unless said.
    pub fn clock(mut self, now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        self.clock = Box::new(now);
        self
    }

    /// The clock of what stands in cookies, for tests: [`RouteCookie::max_idle`], and whether a member's cookie is
    /// `Expires`d. `SystemTime::now` unless said.
    pub fn wall_clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.wall_clock = WallClock::new(now);
        self
    }

    /// Who is told what becomes of requests and members, for metrics. Nobody unless said, which costs nothing; with one, a
    /// request takes one allocation more, and two looks at the [`clock`](Self::clock).
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// A pool without a member is built too: see [`StickyRoute::builder`].
    ///
    /// # Errors
    ///
    /// No cookie; a name, separator, path, domain or combination of attributes that browsers refuse; a key that is missing
    /// or too short; a limit, header, URL parameter or other route that does not fit the kind of cookie; a route or successor
    /// that is no cookie value; a route that holds the separator of a managed suffix, or stands twice; a target of
    /// [`upstream`](Self::upstream) that is none.
    pub fn build(self) -> Result<StickyRoute<S>, BuildError> {
        Ok(StickyRoute { shared: Arc::new(self.shared()?), reach: Direct(()) })
    }

    /// The same pool as a layer, over a client that all members share: they are layers themselves, such as
    /// [`UpstreamLayer`].
    ///
    /// # Errors
    ///
    /// As of [`build`](Self::build).
    pub fn into_layer(self) -> Result<StickyRouteLayer<S>, BuildError> {
        Ok(StickyRouteLayer::new(self.shared()?))
    }

    fn shared(self) -> Result<Shared<S>, BuildError> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        if !crate::wire::cookie::is_name(self.pool.as_bytes()) {
            return Err(Problem::Pool.of(&self.pool));
        }
        let cookie = self
            .cookie
            .ok_or_else(|| Problem::NoCookie.of(&self.pool))?
            .build(&self.pool)?
            .with_wall_clock(self.wall_clock);
        let snapshot = Snapshot::build(self.members, &self.successors, &cookie)?;
        let picker = Picker::new(self.balance, self.slow_start);
        picker.prepare(&snapshot);
        Ok(Shared {
            snapshot: ArcSwap::new(Arc::new(snapshot)),
            changes: Mutex::new(0),
            revision: watch::Sender::new(0),
            picker,
            cookie,
            stickiness: self.stickiness,
            retry_budget: self.failover.budget.map(RetryBudget::new),
            failover: self.failover,
            classify: self.classify,
            clock: Clock::new(self.clock),
            reporter: Reporter {
                #[cfg(feature = "tracing")]
                pool: self.pool,
                observer: self.observer,
            },
        })
    }
}

impl Builder<UpstreamLayer> {
    /// Adds an application server by its origin, `http://host:port`: for [`into_layer`](Builder::into_layer).
    ///
    /// Short for [`UpstreamLayer::new`] in [`Member::new`]. What else there is to say of a member, such as its weight or
    /// which Host it gets, is said there.
    pub fn upstream(mut self, route: &str, target: &str) -> Self {
        match Target::parse(target) {
            Ok(target) => self.member(Member::new(route, UpstreamLayer::new(target))),
            Err(_) => {
                self.refused.get_or_insert(Problem::Target.of(target));
                self
            }
        }
    }
}

impl<S> fmt::Debug for Builder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("pool", &self.pool)
            .field("cookie", &self.cookie)
            .field("balance", &self.balance)
            .field("slow_start", &self.slow_start)
            .field("stickiness", &self.stickiness)
            .field("failover", &self.failover)
            .finish_non_exhaustive()
    }
}

/// What becomes of clients whose member takes nothing.
///
/// Its successor is asked first, if it has one ([`Member::successor`]). A member that was given up locks nobody out but with
/// [`Strict`](Self::Strict): one that is not in the pool any more, is [`State::Stopped`](super::State::Stopped), or whose
/// drain is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stickiness {
    /// They get another member.
    Soft,
    /// They are refused with 503 while their member has been ejected or disabled for less than this time; then they get another
    /// one.
    HardFor(Duration),
    /// They are refused with 503 until it takes requests again.
    Hard,
    /// They are refused with 503 even where their member was given up, and so are clients whose cookie names no member:
    /// nobody changes the member but by a successor. Who has such a cookie stays out until it is gone.
    Strict,
}

/// Why a pool cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    item: Box<str>,
    problem: Problem,
}

impl BuildError {
    /// The offending item, as written.
    pub fn item(&self) -> &str {
        &self.item
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} is refused: {}", self.problem.role(), self.item, self.problem.text())
    }
}

impl std::error::Error for BuildError {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Pool,
    NoCookie,
    CookieName,
    CookiePath,
    CookieDomain,
    Separator,
    HostPrefix,
    SecurePrefix,
    Partitioned,
    SameSiteNone,
    NoKey,
    ShortKey,
    Route,
    DuplicateRoute,
    SeparatorInRoute,
    Balance,
    SameSite,
    Limit,
    Header,
    UrlParameter,
    OtherRoutes,
    Target,
}

impl Problem {
    pub(super) fn of(self, item: &str) -> BuildError {
        BuildError { item: item.into(), problem: self }
    }

    /// What the item is.
    fn role(self) -> &'static str {
        match self {
            Self::Pool => "pool name",
            Self::NoCookie => "pool",
            Self::CookieName => "cookie name",
            Self::CookiePath => "cookie path",
            Self::CookieDomain => "domain",
            Self::Separator => "separator",
            Self::HostPrefix
            | Self::SecurePrefix
            | Self::Partitioned
            | Self::SameSiteNone
            | Self::NoKey
            | Self::ShortKey
            | Self::Limit
            | Self::OtherRoutes => "cookie",
            Self::Header => "header",
            Self::UrlParameter => "URL parameter",
            Self::Route | Self::DuplicateRoute | Self::SeparatorInRoute => "route",
            Self::Balance => "balance",
            Self::SameSite => "SameSite",
            Self::Target => "target",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Pool | Self::CookieName => {
                "it must be a token: letters, digits and !#$%&'*+-.^_`|~, and not empty"
            }
            Self::NoCookie => "it has no cookie; say which, such as RouteCookie::opaque(keys)",
            Self::CookiePath => "it must be the path of a URL, with a slash at its start and no query",
            Self::CookieDomain => "it must be a host, without scheme, port or path",
            Self::Separator => "it must be one character that may stand in a cookie's value, and not `=`",
            Self::HostPrefix => "__Host- wants Secure::Always, the path `/` and no domain",
            Self::SecurePrefix => "__Secure- wants Secure::Always",
            Self::Partitioned => "Partitioned wants Secure::Always",
            Self::SameSiteNone => "SameSite=None wants Secure::Always",
            Self::NoKey => "it has no key",
            Self::ShortKey => "one of its keys has fewer than 32 bytes",
            Self::Route => "it must be 1 to 95 bytes that may stand in a cookie's value",
            Self::DuplicateRoute => "two members have it",
            Self::SeparatorInRoute => "it holds the separator of the cookie",
            Self::Balance => {
                "it must be power-of-two, smooth-weighted, by-requests, least-busy or rendezvous"
            }
            Self::SameSite => "it must be strict, lax or none",
            Self::Limit => "max_idle and max_life are for opaque cookies, and a second at least",
            Self::Header => {
                "it must be a header of its own, which neither HTTP nor proxies use, for an opaque or plain pin"
            }
            Self::UrlParameter => {
                "it must be a name without `=`, `&`, `;`, `/` and blanks, for suffix or whole_value"
            }
            Self::OtherRoutes => "only managed_suffix has other routes",
            Self::Target => "it must be http:// or https://, a host and perhaps a port, no path",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_not_built() {
        let item = |pool: &str, cookie: Option<RouteCookie>, routes: &[&str]| {
            let mut builder = StickyRoute::builder(pool);
            builder.cookie = cookie;
            let builder =
                routes.iter().fold(builder, |builder, route| builder.member(Member::new(route, ())));
            builder.build().unwrap_err().item().to_owned()
        };
        let plain = || Some(RouteCookie::plain());
        assert_eq!(item("a b", plain(), &[]), "a b");
        assert_eq!(item("shop", None, &[]), "shop");
        assert_eq!(item("shop", plain(), &["a", "b", "a"]), "a");
        assert_eq!(item("shop", plain(), &["a\r\nSet-Cookie: x=1"]), "a\r\nSet-Cookie: x=1");
        let successors = |of_member: &str, gone: &str, of_gone: &str| {
            let member = Member::new("a", ()).successor(of_member);
            let builder = StickyRoute::builder("shop").cookie(RouteCookie::plain()).member(member);
            builder.successor(gone, of_gone).build().unwrap_err().item().to_owned()
        };
        assert_eq!(successors("b c", "old", "a"), "b c");
        assert_eq!(successors("a", "o d", "a"), "o d");
        assert_eq!(successors("a", "old", "a;"), "a;");
        assert_eq!(successors("a", "a", "b"), "a", "it is a member");
        assert_eq!(item("shop", Some(RouteCookie::managed_suffix("sid", '.')), &["a.b"]), "a.b");
        assert_eq!(item("shop", Some(RouteCookie::plain().name("__Host-x")), &["a"]), "__Host-x");
    }

    #[test]
    fn a_target_that_is_none_is_named() {
        let build = |target: &str| {
            let builder = StickyRoute::builder("shop").cookie(RouteCookie::plain());
            builder.upstream("a", "http://10.0.0.1:8001").upstream("b", target).upstream("c", "ftp://c")
        };
        for target in ["10.0.0.2:8001", "http://10.0.0.2/app", "http://u:secret@b", ""] {
            let error = build(target).into_layer().unwrap_err();
            assert_eq!(error.item(), target, "the first that is wrong");
            assert!(error.to_string().starts_with(&format!("target {target:?} is refused: ")), "{error}");
            assert_eq!(build(target).build().unwrap_err(), error);
        }
        let twice = StickyRoute::builder("shop").cookie(RouteCookie::plain());
        let twice = twice.upstream("a", "http://one").upstream("a", "http://two").into_layer();
        assert_eq!(twice.unwrap_err().item(), "a");
    }

    #[test]
    fn errors_say_what_the_item_is() {
        let text = |pool: &str, cookie: RouteCookie, route: &str| {
            let builder = StickyRoute::builder(pool).cookie(cookie).member(Member::new(route, ()));
            builder.build().unwrap_err().to_string()
        };
        let plain = RouteCookie::plain;
        for (text, start) in [
            (text("a b", plain(), "a"), "pool name \"a b\" is refused: "),
            (text("shop", plain(), "a b"), "route \"a b\" is refused: "),
            (text("shop", plain().name("a b"), "a"), "cookie name \"a b\" is refused: "),
            (text("shop", plain().path("a"), "a"), "cookie path \"a\" is refused: "),
            (text("shop", plain().domain("a b"), "a"), "domain \"a b\" is refused: "),
            (text("shop", RouteCookie::suffix("s", '='), "a"), "separator \"=\" is refused: "),
            (text("shop", plain().partitioned(), "a"), "cookie \"shop-route\" is refused: "),
        ] {
            assert!(text.starts_with(start), "{text}");
        }
        let no_cookie = StickyRoute::<()>::builder("shop").build().unwrap_err().to_string();
        assert!(no_cookie.starts_with("pool \"shop\" is refused: "), "{no_cookie}");
    }
}
