//! `transition()` in a real application: the one of the example `session_login`, over HTTP, with tower-sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use serde_json::Value;
use tokio::task::JoinSet;
use tower_proxied::proxy_remote_user::{Mode, ProxyRemoteUserBuilder};
use tower_proxied::{DetachedUser, ProxyRemoteUserLayer};
use tower_sessions::session::{Id, Session};
use tower_sessions::{MemoryStore, SessionStore};

#[path = "../examples/support/accounts.rs"]
mod accounts;
#[path = "../examples/support/browser.rs"]
mod browser;
#[path = "../examples/support/serve.rs"]
mod serve;
#[path = "../examples/support/session_app.rs"]
mod session_app;
#[path = "../examples/support/sign_on.rs"]
mod sign_on;
#[path = "../examples/support/visit.rs"]
mod visit;

use accounts::Accounts;
use browser::Browser;
use session_app::{COOKIE, SessionApp};
use sign_on::SignOn;
use visit::{Visit, form};

const USERS: [&str; 6] = ["alice", "Alice", "bob", "carol", "dave", "mallory"];
const PASSWORDS: [(&str, &str); 2] = [("carol", "looking-glass"), ("dave", "tweedle")];

struct Site {
    proxies: SignOn,
    store: MemoryStore,
}

impl Site {
    async fn start(mode: Mode) -> Self {
        Self::of(mode, &USERS.map(DetachedUser::new), |remote_user| remote_user).await
    }

    async fn of(
        mode: Mode,
        users: &[DetachedUser],
        configure: impl FnOnce(ProxyRemoteUserBuilder) -> ProxyRemoteUserBuilder,
    ) -> Self {
        let remote_user = configure(ProxyRemoteUserLayer::new(sign_on::proof().unwrap())).build().unwrap();
        let store = MemoryStore::default();
        let app = SessionApp { mode, accounts: Accounts::example(), admits: |user| user.name() != "mallory" };
        let proxies = SignOn::start(app.router(remote_user, store.clone()), users).await.unwrap();
        Self { proxies, store }
    }

    async fn nobody(&self, browser: &mut Browser) -> Visit {
        Visit::pay(browser, self.proxies.by_nobody()).await.unwrap()
    }

    async fn by(&self, user: &str, browser: &mut Browser) -> Visit {
        Visit::pay(browser, self.proxies.by(user)).await.unwrap()
    }

    /// A browser with an anonymous session.
    async fn browser(&self) -> (Browser, Visit) {
        let mut browser = Browser::plain();
        let page = self.nobody(&mut browser).await;
        assert!(page.is("StayAnonymous", None) && page.is_new_id());
        (browser, page)
    }

    /// A browser with a session of that user.
    async fn browser_of(&self, user: &str, opened_by: &str) -> Browser {
        let (mut browser, page) = self.browser().await;
        match opened_by {
            "proxy" => assert!(self.by(user, &mut browser).await.is("Login", Some(user))),
            "application" => {
                let password = PASSWORDS.iter().find(|(name, _)| *name == user).unwrap().1;
                let fields = form(&page, &[("name", user), ("password", password)]);
                let answer = browser.post(self.proxies.by_nobody(), "/login", &fields).await.unwrap();
                assert_eq!(answer.status, 303);
                assert!(self.nobody(&mut browser).await.is("Keep", Some(user)));
            }
            other => panic!("opened by {other}"),
        }
        browser
    }

    /// Writes into the session as its own user does, and gives back the page of before.
    async fn leave_note(&self, browser: &mut Browser, user: Option<&str>) -> Visit {
        let to = user.map_or(self.proxies.by_nobody(), |user| self.proxies.by(user));
        let page = Visit::pay(browser, to).await.unwrap();
        let answer = browser.post(to, "/note", &form(&page, &[("text", "tea at four")])).await.unwrap();
        assert_eq!(answer.status, 303, "{}", answer.body);
        page
    }

    async fn is_stored(&self, id: &str) -> bool {
        self.store.load(&id.parse().unwrap()).await.unwrap().is_some()
    }
}

/// How the rules may differ from Django's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// Django's persistent middleware takes an empty header for a user that nobody is.
    EmptyIsNobody,
    /// Django goes on with an own login's session while the proxy names somebody who is not let in.
    NotAdmittedEndsAnOwnLogin,
}

#[tokio::test]
async fn sessions_go_as_in_django() {
    let rows = include_str!("vectors/django_sessions.json");
    let rows: Vec<Value> = serde_json::from_str(rows).unwrap();
    let sites =
        [("strict", Site::start(Mode::Strict).await), ("persistent", Site::start(Mode::Persistent).await)];
    let mut differences = BTreeMap::new();
    for row in &rows {
        let site = &sites.iter().find(|(mode, _)| row["mode"] == *mode).unwrap().1;
        let of = row["session"]["user"].as_str();
        let opened_by = row["session"]["opened_by"].as_str();
        let mut browser = match (of, opened_by) {
            (Some(user), Some(opened_by)) => site.browser_of(user, opened_by).await,
            _ => site.browser().await.0,
        };
        let before = site.leave_note(&mut browser, of.filter(|_| opened_by == Some("proxy"))).await;
        let old_id = before.id_after.clone().unwrap();

        let header = row["header"].as_str();
        let visit = match header {
            None => site.nobody(&mut browser).await,
            Some("") => {
                let lines = [("remote-user", ""), sign_on::SECRET];
                Visit::with(&mut browser, site.proxies.app, &lines).await.unwrap()
            }
            Some(user) => site.by(user, &mut browser).await,
        };
        assert_eq!(visit.status, 200, "{row}");
        // Whatever the rule: these three go together, and an ended session is gone from the store.
        let new_id = visit.is_new_id();
        assert_eq!(new_id, visit.json["csrf"] != before.json["csrf"], "{row}");
        assert_eq!(new_id, !site.is_stored(&old_id).await, "{row}");
        let step = visit.json["step"].as_str().unwrap();
        assert_eq!(new_id, ["Login", "Switch", "Logout"].contains(&step), "{row}");

        let seen = (visit.json["user"].clone(), new_id, !visit.json["note"].is_null());
        let django =
            (row["user"].clone(), row["new_id"].as_bool().unwrap(), row["data_kept"].as_bool().unwrap());
        let difference = match (row["mode"].as_str().unwrap(), opened_by, header) {
            ("persistent", Some("proxy"), Some("")) => {
                assert_eq!(seen, (Value::from(of), false, true), "{row}");
                Difference::EmptyIsNobody
            }
            (_, Some("application"), Some("mallory")) => {
                assert_eq!(seen, (Value::Null, true, false), "{row}");
                Difference::NotAdmittedEndsAnOwnLogin
            }
            _ => {
                assert_eq!(seen, django, "{row}");
                continue;
            }
        };
        assert_ne!(seen, django, "no difference left: {row}");
        *differences.entry(difference).or_insert(0) += 1;
    }
    let expected =
        BTreeMap::from([(Difference::EmptyIsNobody, 2), (Difference::NotAdmittedEndsAnOwnLogin, 4)]);
    assert_eq!((rows.len(), differences), (80, expected));
}

#[tokio::test]
async fn every_row_of_the_table() {
    let rows = [
        (None, None, "StayAnonymous", "StayAnonymous"),
        (None, Some("carol"), "Login", "Login"),
        (Some("proxy"), Some("carol"), "Keep", "Keep"),
        (Some("application"), Some("carol"), "Keep", "Keep"),
        (Some("proxy"), Some("dave"), "Switch", "Switch"),
        (Some("application"), Some("dave"), "Switch", "Switch"),
        (Some("proxy"), None, "Logout", "Keep"),
        (Some("application"), None, "Keep", "Keep"),
        // Not let in.
        (None, Some("mallory"), "StayAnonymous", "StayAnonymous"),
        (Some("proxy"), Some("mallory"), "Logout", "Logout"),
        (Some("application"), Some("mallory"), "Logout", "Logout"),
    ];
    let (strict, persistent) = (Site::start(Mode::Strict).await, Site::start(Mode::Persistent).await);
    for (opened_by, now, in_strict, in_persistent) in rows {
        for (site, step) in [(&strict, in_strict), (&persistent, in_persistent)] {
            let mut browser = match opened_by {
                Some(opened_by) => site.browser_of("carol", opened_by).await,
                None => site.browser().await.0,
            };
            let visit = match now {
                Some(user) => site.by(user, &mut browser).await,
                None => site.nobody(&mut browser).await,
            };
            let (user, by) = match step {
                "Login" | "Switch" => (now, Some("proxy")),
                "Keep" => (Some("carol"), opened_by),
                _ => (None, None),
            };
            assert!(visit.is(step, user), "{opened_by:?} {now:?}: {}", visit.json);
            assert_eq!(visit.json["opened_by"].as_str(), by, "{opened_by:?} {now:?}");
        }
    }
}

#[tokio::test]
async fn the_same_name_of_another_realm_is_somebody_else() {
    let users = ["alice@A", "alice@B"].map(DetachedUser::new);
    let site = Site::of(Mode::Persistent, &users, |remote_user| remote_user.require_realm(["A", "B"])).await;
    let (mut browser, _) = site.browser().await;
    assert!(site.by("alice@A", &mut browser).await.is("Login", Some("alice")));
    site.leave_note(&mut browser, Some("alice@A")).await;
    let kept = site.by("alice@A", &mut browser).await;
    assert!(kept.is("Keep", Some("alice")) && kept.json["note"] == "tea at four");
    let other = site.by("alice@B", &mut browser).await;
    assert!(other.is("Switch", Some("alice")) && other.is_new_id());
    assert!(other.json["note"].is_null());
}

#[tokio::test]
async fn the_same_name_with_another_uid_is_somebody_else() {
    let site = Site::of(Mode::Strict, &[], |remote_user| {
        remote_user.uid_header(HeaderName::from_static("remote-uid"))
    })
    .await;
    let (mut browser, _) = site.browser().await;
    for (uid, step) in [("7", "Login"), ("7", "Keep"), ("9", "Switch"), ("9", "Keep"), ("", "Switch")] {
        let lines = [("remote-user", "alice"), ("remote-uid", uid), sign_on::SECRET];
        let visit = Visit::with(&mut browser, site.proxies.app, &lines).await.unwrap();
        assert!(visit.is(step, Some("alice")), "{uid}: {}", visit.json);
    }
}

#[tokio::test]
async fn groups_are_those_of_the_request() {
    let site = Site::of(Mode::Persistent, &[], |remote_user| remote_user).await;
    let (mut browser, _) = site.browser().await;
    for (groups, expected) in [("ops,tea", vec!["ops", "tea"]), ("tea", vec!["tea"])] {
        let lines = [("remote-user", "alice"), ("remote-groups", groups), sign_on::SECRET];
        let visit = Visit::with(&mut browser, site.proxies.app, &lines).await.unwrap();
        assert_eq!(visit.json["groups"], Value::from(expected));
    }
}

#[tokio::test]
async fn a_planted_session_is_not_kept_at_a_login() {
    let site = Site::start(Mode::Strict).await;
    for opened_by in ["proxy", "application"] {
        let (mut attacker, planted) = site.browser().await;
        let id = planted.id_after.as_deref().unwrap();
        let mut victim = attacker.clone();
        let to = if opened_by == "proxy" { site.proxies.by("carol") } else { site.proxies.by_nobody() };
        if opened_by == "application" {
            let fields = form(&planted, &[("name", "carol"), ("password", "looking-glass")]);
            assert_eq!(victim.post(to, "/login", &fields).await.unwrap().status, 303);
        }
        let visit = Visit::pay(&mut victim, to).await.unwrap();
        assert_eq!(visit.json["user"], "carol");
        assert_ne!(victim.cookie(COOKIE), Some(id));
        assert!(!site.is_stored(id).await);
        assert!(site.nobody(&mut attacker).await.is("StayAnonymous", None));
        // Nor is the token, which the attacker knows.
        let fields = form(&planted, &[("text", "planted")]);
        assert_eq!(victim.post(to, "/note", &fields).await.unwrap().status, 403);
    }
}

#[tokio::test]
async fn a_form_of_the_session_before_does_nothing() {
    let site = Site::start(Mode::Strict).await;
    for (before, now) in [(None, "bob"), (Some("alice"), "bob")] {
        let (mut browser, _) = site.browser().await;
        let page = match before {
            Some(user) => site.by(user, &mut browser).await,
            None => site.nobody(&mut browser).await,
        };
        let fields = form(&page, &[("text", "whose?")]);
        let answer = browser.post(site.proxies.by(now), "/note", &fields).await.unwrap();
        assert_eq!(answer.status, 403, "{before:?}");
        let visit = site.by(now, &mut browser).await;
        assert!(visit.is("Keep", Some(now)) && visit.json["note"].is_null(), "{before:?}: {}", visit.json);
    }
}

#[tokio::test]
async fn a_stale_cookie_of_alice_is_nothing_to_bob() {
    let site = Site::start(Mode::Strict).await;
    let mut browser = site.browser_of("alice", "proxy").await;
    site.leave_note(&mut browser, Some("alice")).await;
    let mut stale = browser.clone();
    let id = stale.cookie(COOKIE).unwrap().to_owned();
    // Not ended yet: bob's request ends it.
    let bob = site.by("bob", &mut stale).await;
    assert!(bob.is("Switch", Some("bob")) && bob.json["note"].is_null());
    assert!(!site.is_stored(&id).await);
    // Ended: alice's own tab has to log in again.
    let alice = site.by("alice", &mut browser).await;
    assert!(alice.is("Login", Some("alice")) && alice.json["note"].is_null());
    assert!(browser.cookie(COOKIE) != Some(&id) && browser.cookie(COOKIE) != stale.cookie(COOKIE));
}

/// A neighbour in the domain can plant a cookie of the same name: browsers then send both.
#[tokio::test]
async fn of_two_cookies_neither_makes_the_visitor_somebody_else() {
    let site = Site::start(Mode::Strict).await;
    let planted = site.browser_of("dave", "proxy").await;
    site.leave_note(&mut planted.clone(), Some("dave")).await;
    let planted = format!("{COOKIE}={}", planted.cookie(COOKIE).unwrap());
    let mut bob = site.browser_of("bob", "proxy").await;
    let own = format!("{COOKIE}={}", bob.cookie(COOKIE).unwrap());
    for pair in [[&planted, &own], [&own, &planted]] {
        let line = format!("{}; {}", pair[0], pair[1]);
        let visit =
            Visit::with(&mut Browser::plain(), site.proxies.by("bob"), &[("cookie", &line)]).await.unwrap();
        assert!(visit.json["user"] == "bob" && visit.json["note"].is_null(), "{line}: {}", visit.json);
    }
    let visit = Visit::with(&mut bob, site.proxies.by("bob"), &[("cookie", &planted)]).await.unwrap();
    assert!(visit.json["user"] == "bob" && visit.json["note"].is_null(), "{}", visit.json);
}

#[tokio::test]
async fn an_own_login_ends_at_its_own_logout_alone() {
    let site = Site::start(Mode::Strict).await;
    let mut browser = site.browser_of("carol", "application").await;
    let page = site.nobody(&mut browser).await;
    let to = site.proxies.by_nobody();
    assert_eq!(browser.post(to, "/logout", &[("csrf", "")]).await.unwrap().status, 403);
    assert!(site.nobody(&mut browser).await.is("Keep", Some("carol")));
    let mut stale = browser.clone();
    assert_eq!(browser.post(to, "/logout", &form(&page, &[])).await.unwrap().status, 303);
    assert_eq!(browser.cookie(COOKIE), None);
    assert!(site.nobody(&mut stale).await.is("StayAnonymous", None));
}

#[tokio::test]
async fn an_own_login_waits_while_the_proxy_names_somebody() {
    let site = Site::start(Mode::Strict).await;
    let mut browser = site.browser_of("alice", "proxy").await;
    let page = site.by("alice", &mut browser).await;
    let fields = form(&page, &[("name", "carol"), ("password", "looking-glass")]);
    let answer = browser.post(site.proxies.by("alice"), "/login", &fields).await.unwrap();
    assert_eq!(answer.status, 409);
    assert!(site.by("alice", &mut browser).await.is("Keep", Some("alice")));
}

#[tokio::test]
async fn a_session_id_made_by_a_client_is_never_taken_over() {
    let site = Site::start(Mode::Strict).await;
    let alice = site.browser_of("alice", "proxy").await;
    let id = alice.cookie(COOKIE).unwrap().to_owned();
    let swapped = if id.starts_with('A') { "B" } else { "A" };
    let made_up = [
        "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        Id::default().to_string(),
        format!("{swapped}{}", &id[1..]),
        format!("{id}A"),
        id[1..].to_owned(),
        id.to_lowercase(),
        String::new(),
        "%00".into(),
        "{\"user\":\"alice\"}".into(),
        "A".repeat(4000),
    ];
    for made_up in &made_up {
        let mut browser = Browser::plain();
        browser.set_cookie(COOKIE, made_up);
        let visit = site.nobody(&mut browser).await;
        assert!(visit.is("StayAnonymous", None) && visit.is_new_id(), "{made_up}: {}", visit.json);
        browser.set_cookie(COOKIE, made_up);
        let visit = site.by("bob", &mut browser).await;
        assert!(visit.is("Login", Some("bob")) && visit.is_new_id(), "{made_up}: {}", visit.json);
    }
    assert!(site.by("alice", &mut alice.clone()).await.is("Keep", Some("alice")));
}

#[tokio::test]
async fn without_the_proxy_a_strict_session_is_worth_nothing() {
    for (mode, step) in [(Mode::Strict, "Logout"), (Mode::Persistent, "Keep")] {
        let site = Site::start(mode).await;
        let mut thief = site.browser_of("alice", "proxy").await;
        let lines = [("remote-user", "alice"), ("x-proxy-secret", "a-guess-that-is-long-enough")];
        let visit = Visit::with(&mut thief, site.proxies.app, &lines).await.unwrap();
        assert!(visit.is(step, (step == "Keep").then_some("alice")), "{}", visit.json);
    }
}

/// As many as a page loads at once.
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn first_requests_at_once_are_all_of_the_user() {
    let site = Arc::new(Site::start(Mode::Strict).await);
    for before in [None, Some("bob")] {
        let (mut browser, _) = site.browser().await;
        if let Some(user) = before {
            site.by(user, &mut browser).await;
            site.leave_note(&mut browser, before).await;
        }
        let old = browser.cookie(COOKIE).unwrap().to_owned();
        let mut requests = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (site, mut browser) = (site.clone(), browser.clone());
            requests.spawn(async move { (site.by("alice", &mut browser).await, browser) });
        }
        let answered = tokio::time::timeout(Duration::from_secs(30), requests.join_all()).await.unwrap();
        let mut ids = BTreeSet::new();
        for (visit, mut browser) in answered {
            // The later ones may find the old session gone: then it is a login.
            let step = visit.json["step"].as_str().unwrap();
            assert!(["Login", "Switch"].contains(&step) && (before.is_some() || step == "Login"), "{step}");
            assert!(visit.is(step, Some("alice")) && visit.json["note"].is_null(), "{}", visit.json);
            assert!(ids.insert(visit.id_after.clone().unwrap()), "one id for two");
            // Whichever answer comes last, the browser can go on with its cookie.
            assert!(site.by("alice", &mut browser).await.is("Keep", Some("alice")));
        }
        assert!(!ids.contains(&old) && !site.is_stored(&old).await);
    }
}

#[tokio::test]
async fn a_session_that_a_slow_request_writes_back_needs_the_proxy() {
    let site = Site::start(Mode::Strict).await;
    for (now, step) in [(None, "Logout"), (Some("bob"), "Switch")] {
        let mut browser = site.browser_of("alice", "proxy").await;
        site.leave_note(&mut browser, Some("alice")).await;
        let mut stale = browser.clone();
        let id = stale.cookie(COOKIE).unwrap().parse().unwrap();
        let slow = site.store.load(&id).await.unwrap().unwrap();
        assert!(site.nobody(&mut browser).await.is("Logout", None));
        site.store.save(&slow).await.unwrap();
        let visit = match now {
            Some(user) => site.by(user, &mut stale).await,
            None => site.nobody(&mut stale).await,
        };
        assert!(visit.is(step, now) && visit.json["note"].is_null(), "{}", visit.json);
        assert!(!site.is_stored(&id.to_string()).await);
    }
}

/// Why `transition`'s docs say `clear` and `cycle_id`.
#[tokio::test]
async fn flush_alone_keeps_the_id_for_what_is_inserted_next() {
    for (flush, same) in [(true, true), (false, false)] {
        let store = Arc::new(MemoryStore::default());
        let session = Session::new(None, store.clone(), None);
        session.insert("user", "alice").await.unwrap();
        session.save().await.unwrap();
        let old = session.id().unwrap();

        let session = Session::new(Some(old), store.clone(), None);
        assert!(session.get_value("user").await.unwrap().is_some());
        if flush {
            session.flush().await.unwrap();
        } else {
            session.clear().await;
            session.cycle_id().await.unwrap();
        }
        session.insert("user", "bob").await.unwrap();
        session.save().await.unwrap();
        assert_eq!(session.id() == Some(old), same, "flush: {flush}");
        assert_eq!(store.load(&old).await.unwrap().is_some(), same, "flush: {flush}");
    }
}
