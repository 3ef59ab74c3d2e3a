use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::failover::{Failover, Phase};
use super::pool::{Balance, Member, Snapshot};
use super::route_cookie::RouteCookie;
use super::service::{Clock, Shared, StickyRoute};

impl<S> StickyRoute<S> {
    /// A pool of this name. The name is part of tokens and of the cookie's default name: give each pool its own.
    pub fn builder(pool: &str) -> Builder<S> {
        Builder {
            pool: pool.into(),
            members: Vec::new(),
            cookie: None,
            balance: Balance::default(),
            stickiness: Stickiness::Soft,
            failover: Failover::default(),
            classify: None,
            clock: Box::new(Instant::now),
        }
    }
}

/// Builds a [`StickyRoute`].
#[must_use]
pub struct Builder<S> {
    pool: Box<str>,
    members: Vec<Member<S>>,
    cookie: Option<RouteCookie>,
    balance: Balance,
    stickiness: Stickiness,
    failover: Failover,
    classify: Option<fn(&dyn Any) -> Phase>,
    clock: Box<dyn Fn() -> Instant + Send + Sync>,
}

impl<S> Builder<S> {
    /// Adds a member.
    pub fn member(mut self, member: Member<S>) -> Self {
        self.members.push(member);
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
    /// member is ejected but for its readiness.
    ///
    /// The error is given as `S::Error`; for a boxed error downcast to the box first.
    pub fn classify(mut self, classify: fn(&dyn Any) -> Phase) -> Self {
        self.classify = Some(classify);
        self
    }

    /// The clock of ejections and drains, for tests. `Instant::now` unless said.
    pub fn clock(mut self, now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        self.clock = Box::new(now);
        self
    }

    /// # Errors
    ///
    /// No cookie; a name, separator, path, domain or combination of attributes that browsers refuse; a key that is missing
    /// or too short; a route that is no cookie value, holds the separator of a managed suffix, or stands twice.
    pub fn build(self) -> Result<StickyRoute<S>, BuildError> {
        if !crate::wire::cookie::is_name(self.pool.as_bytes()) {
            return Err(Problem::Pool.of(&self.pool));
        }
        let cookie = self.cookie.ok_or_else(|| Problem::NoCookie.of(&self.pool))?.build(&self.pool)?;
        let snapshot = Snapshot::build(self.members, &cookie)?;
        Ok(StickyRoute::new(Shared {
            snapshot: ArcSwap::new(Arc::new(snapshot)),
            changes: Mutex::new(()),
            turns: Mutex::new(()),
            cookie,
            balance: self.balance,
            stickiness: self.stickiness,
            failover: self.failover,
            classify: self.classify,
            clock: Clock::new(self.clock),
        }))
    }
}

impl<S> fmt::Debug for Builder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("pool", &self.pool)
            .field("cookie", &self.cookie)
            .field("balance", &self.balance)
            .field("stickiness", &self.stickiness)
            .field("failover", &self.failover)
            .finish_non_exhaustive()
    }
}

/// What becomes of clients whose member takes nothing.
///
/// A member that was given up locks nobody out, however hard: one that is not in the pool any more, is
/// [`State::Stopped`](super::State::Stopped), or whose drain is over.
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
        write!(f, "{:?} is refused: {}", self.item, self.problem.text())
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
}

impl Problem {
    pub(super) fn of(self, item: &str) -> BuildError {
        BuildError { item: item.into(), problem: self }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Pool => "the name of a pool is a token, and not empty",
            Self::NoCookie => "the pool has no cookie; say which, such as RouteCookie::opaque(keys)",
            Self::CookieName => "the name of a cookie is a token, and not empty",
            Self::CookiePath => {
                "a cookie's Path starts with a slash, and holds neither semicolon nor control character"
            }
            Self::CookieDomain => {
                "a cookie's Domain is not empty, and holds neither semicolon nor control character"
            }
            Self::Separator => {
                "the separator is one character that may stand in a cookie's value, and not `=`"
            }
            Self::HostPrefix => "__Host- wants Secure::Always, the path `/` and no domain",
            Self::SecurePrefix => "__Secure- wants Secure::Always",
            Self::Partitioned => "Partitioned wants Secure::Always",
            Self::SameSiteNone => "SameSite=None wants Secure::Always",
            Self::NoKey => "the cookie has no key",
            Self::ShortKey => "a key of the cookie has fewer than 32 bytes",
            Self::Route => "a route is 1 to 95 bytes that may stand in a cookie's value",
            Self::DuplicateRoute => "two members have this route",
            Self::SeparatorInRoute => "the route holds the separator of the cookie",
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
        assert_eq!(item("shop", Some(RouteCookie::managed_suffix("sid", '.')), &["a.b"]), "a.b");
        assert_eq!(item("shop", Some(RouteCookie::plain().name("__Host-x")), &["a"]), "__Host-x");
    }
}
