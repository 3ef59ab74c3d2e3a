//! Django under gunicorn, behind `examples/front_end.rs`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use crate::block_on;
use crate::client::{To, get};
use crate::fixture::{Directory, Running, address_after, are_installed, example, find};

const ALICE: (&str, &str) = ("authorization", "Basic YWxpY2U6d29uZGVybGFuZA==");

/// Debian's gunicorn runs Debian's Python, whichever comes first in the `PATH`.
fn is_django_installed() -> bool {
    let has_django = Command::new("/usr/bin/python3").args(["-c", "import django"]).output();
    are_installed(&[
        "gunicorn",
        if has_django.is_ok_and(|said| said.status.success()) { "gunicorn" } else { "django" },
    ])
}

fn gunicorn(route: &str, directory: &Directory) -> (Running, SocketAddr) {
    let mut command = Command::new(find("gunicorn").unwrap());
    command
        .args([
            "--workers",
            "1",
            "--bind",
            "127.0.0.1:0",
            "--graceful-timeout",
            "1",
            "django_site:application",
        ])
        .arg("--chdir")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real_peers"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("ROUTE", route);
    let mut running = Running::start(&mut command, directory.path().join(route));
    let address = running.until(|running| address_after("Listening at: http://", &running.said())).unwrap();
    (running, address)
}

#[test]
#[ignore = "needs gunicorn and python3-django"]
fn django_behind_our_front_end() {
    if !is_django_installed() {
        return;
    }
    let directory = Directory::new();
    let (_http_1, address_1) = gunicorn("http-1", &directory);
    let (_http_2, address_2) = gunicorn("http-2", &directory);
    let mut command = example("front_end");
    command
        .args([
            "--listen",
            "127.0.0.1:0",
            "--tls-listen",
            "127.0.0.1:0",
            "--cookie",
            "managed-suffix:sessionid",
        ])
        .args(["--basic-auth", "alice:wonderland"])
        .args(["--member", &format!("http-1=http://{address_1}")])
        .args(["--member", &format!("http-2=http://{address_2}")]);
    let mut front = Running::start(&mut command, directory.path().join("front"));
    let address = |scheme: &'static str| move |running: &Running| address_after(scheme, &running.said());
    let http = To::Http(front.until(address("http://")).unwrap());
    let https = To::Https(front.until(address("https://")).unwrap());

    block_on(async {
        assert_eq!(get(https, "/", &[]).await.status, 401);
        let mut routes = BTreeSet::new();
        // Who gets a session is drawn: 64 on one member happen never.
        for number in 0..64 {
            if number >= 4 && routes.len() == 2 {
                break;
            }
            let first = get(https, "/a%2Fb/x?q=1", &[ALICE]).await;
            assert_eq!(first.status, 200, "{}", first.text());
            let cookie = first.cookie().expect("a session");
            let told = |name| first.told(name).unwrap();
            let route = told("route").as_str().unwrap().to_owned();
            assert_eq!(cookie, format!("sessionid={}.{route}", told("session").as_str().unwrap()));
            assert_eq!(told("host"), "www.example.com");
            // Django decodes the path and encodes it anew.
            assert_eq!(told("uri"), "https://www.example.com/a/b/x?q=1");
            assert_eq!(told("is_secure"), true);
            assert_eq!((told("remote_user"), told("user")), (json!("alice"), json!("alice")));
            assert_eq!(told("client"), "127.0.0.2");
            for hits in 2..8 {
                let next = get(https, "/", &[ALICE, ("cookie", &cookie)]).await;
                let told = |name| next.told(name).unwrap();
                assert_eq!((told("route"), told("hits")), (json!(route), json!(hits)));
                // The route is not Django's.
                assert_eq!(told("cookie"), told("session"));
            }
            routes.insert(route);
        }
        assert_eq!(routes.len(), 2, "one member alone proves nothing");

        let forged = [
            ALICE,
            ("remote-user", "admin"),
            ("remote_user", "admin"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x_forwarded_host", "evil.example"),
            ("connection", "Remote-User, X-Forwarded-Proto"),
        ];
        let answer = get(http, "/", &forged).await;
        let told: Vec<Value> = ["host", "uri", "is_secure", "remote_user", "user", "client"]
            .map(|name| answer.told(name).unwrap())
            .into();
        let plain = "http://www.example.com/";
        assert_eq!(
            told,
            [
                json!("www.example.com"),
                json!(plain),
                json!(false),
                json!("alice"),
                json!("alice"),
                json!("127.0.0.2")
            ]
        );
        assert_eq!(
            get(http, "/", &[ALICE, ("host", "evil.example")]).await.status,
            400,
            "Django's ALLOWED_HOSTS"
        );
    });
}
