//! Sessions and requests while members go and come back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::block_on;
use crate::client::{To, get};
use crate::fixture::{Directory, Member, Running, address_after, are_installed, example};
use crate::fronts::{Front, Recipe, Server};

/// A session, and the member that made it.
async fn log_in(to: To) -> (String, String) {
    let answer = get(to, "/webapps/login", &[]).await;
    let route = answer.text().rsplit(' ').next().unwrap().to_owned();
    (answer.cookie().expect("a session"), route)
}

/// How often each member answered 8 requests with this cookie; what failed has the route of its status.
async fn arrivals(to: To, cookie: &str) -> BTreeMap<String, usize> {
    let mut arrivals = BTreeMap::new();
    for _ in 0..8 {
        let answer = get(to, "/webapps/x", &[("cookie", cookie)]).await;
        let route = answer.told("route").and_then(|route| Some(route.as_str()?.to_owned()));
        *arrivals.entry(route.unwrap_or_else(|| answer.status.as_u16().to_string())).or_default() += 1;
    }
    arrivals
}

fn only(route: &str) -> BTreeMap<String, usize> {
    BTreeMap::from([(route.to_owned(), 8)])
}

#[test]
#[ignore = "needs apache2"]
fn stickysession_of_apache_is_sticky_with_route_suffix() {
    if !are_installed(&["apache2"]) {
        return;
    }
    let file = Path::new("tests/real_peers/article.conf");
    let front = Front::start_with(
        Server::Apache,
        file,
        &["--claim", "scheme=set", "--allowed-host", "www.example.com"],
    );
    block_on(async {
        let mut routes = BTreeMap::new();
        for _ in 0..8 {
            let (cookie, route) = log_in(front.http()).await;
            assert_eq!(arrivals(front.http(), &cookie).await, only(&route), "{cookie}");
            // As it is without the layer.
            let (bare, _) = cookie.split_once('.').unwrap();
            assert_ne!(arrivals(front.http(), bare).await, only(&route), "{bare} has no route");
            *routes.entry(route).or_insert(0) += 1;
        }
        assert_eq!(routes.len(), 2, "one member alone proves nothing: {routes:?}");
        println!("stickysession=sessionid: 8 sessions of 8 requests each on one member, {routes:?}");
    });
}

#[test]
#[ignore = "needs apache2"]
fn behind_apache_the_cookies_keep_the_route_while_a_member_is_away() {
    if !are_installed(&["apache2"]) {
        return;
    }
    let mut front = Front::start(Server::Apache, Recipe::Recommended);
    block_on(async {
        let mut sessions = BTreeMap::new();
        while sessions.len() < 2 {
            let (cookie, route) = log_in(front.http()).await;
            sessions.insert(route, cookie);
        }
        let (of_1, of_2) = (&sessions["http-1"], &sessions["http-2"]);
        front.member("http-1").kill();
        for _ in 0..4 {
            assert_eq!(arrivals(front.http(), of_2).await, only("http-2"));
            assert_eq!(arrivals(front.http(), of_1).await, only("http-2"));
        }
        front.member("http-1").come_back();
        let mut seen = arrivals(front.http(), of_1).await;
        for _ in 0..50 {
            if seen == only("http-1") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            seen = arrivals(front.http(), of_1).await;
        }
        assert_eq!(seen, only("http-1"));
        assert_eq!(arrivals(front.http(), of_2).await, only("http-2"));
    });
}

const CLIENTS: usize = 8;
const REQUESTS: usize = 2400;

/// GETs of many clients, a third of them pinned to each member and a third to none, while a member is killed and comes back.
#[test]
#[ignore = "runs the examples"]
fn our_front_end_loses_no_request_when_a_member_is_killed_under_load() {
    let directory = Directory::new();
    let flags =
        ["--trusted", "127.0.0.1", "--prefix", "/webapps", "--claim", "scheme=set", "--claim", "host=set"];
    let flags = [&flags[..], &["--allowed-host", "www.example.com"]].concat();
    let mut http_1 = Member::start("http-1", &flags);
    let http_2 = Member::start("http-2", &flags);
    let mut command = example("front_end");
    command.args(["--listen", "127.0.0.1:0", "--cookie", "insert:ROUTEID", "--threads", "2"]);
    for member in [&http_1, &http_2] {
        command.arg("--member").arg(format!("{}=http://{}", member.route(), member.address()));
    }
    let mut running = Running::start(&mut command, directory.path().join("log"));
    let front = To::Http(running.until(|running| address_after("http://", &running.said())).unwrap());
    block_on(async {
        let sent = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let sent = sent.clone();
            clients.spawn(async move {
                let mut seen = BTreeMap::<String, usize>::new();
                loop {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    if number >= REQUESTS {
                        return seen;
                    }
                    let pin = match number % 3 {
                        0 => &[("cookie", "ROUTEID=http-1")][..],
                        1 => &[("cookie", "ROUTEID=http-2")],
                        _ => &[],
                    };
                    let answer = get(front, "/webapps/x", pin).await;
                    let route = answer.told("route").and_then(|route| Some(route.as_str()?.to_owned()));
                    *seen.entry(route.unwrap_or_else(|| answer.status.as_u16().to_string())).or_default() +=
                        1;
                }
            });
        }
        let until = async |number| {
            while sent.load(Ordering::Relaxed) < number {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        until(REQUESTS / 3).await;
        http_1.kill();
        until(REQUESTS * 2 / 3).await;
        http_1.come_back();
        let mut seen = BTreeMap::<String, usize>::new();
        for client in clients.join_all().await {
            for (route, number) in client {
                *seen.entry(route).or_default() += number;
            }
        }
        println!("front_end, a member killed after {} of {REQUESTS} requests: {seen:?}", REQUESTS / 3);
        assert_eq!(seen.keys().collect::<Vec<_>>(), ["http-1", "http-2"], "{}", running.said());
        assert_eq!(seen.values().sum::<usize>(), REQUESTS);
    });
}
