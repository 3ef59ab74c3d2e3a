//! The whole picture in one process, on the loopback: a plain and a TLS front end, and four application servers.
//!
//! ```sh
//! cargo run --example demo              # walks through it, then serves until Ctrl-C
//! cargo run --example demo -- --once    # ends after the walk; status 0 only if every step showed what it must
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use serde_json::Value;

#[path = "support/app.rs"]
mod app;
#[path = "support/browser.rs"]
mod browser;
#[path = "support/front.rs"]
mod front;
#[path = "support/picture.rs"]
mod picture;
#[path = "support/serve.rs"]
mod serve;
#[path = "support/tls.rs"]
mod tls;
#[path = "support/walk.rs"]
mod walk;

use browser::{Answer, Browser};
use picture::{Picture, USER};
use serve::Error;
use walk::{Step, Walk};

#[derive(Parser)]
#[command(about = "The whole picture in one process")]
struct Flags {
    /// End after the walk.
    #[arg(long)]
    once: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Flags::parse()).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("demo: {failed} steps did not show what they must");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<usize, Error> {
    let mut picture = Picture::start().await?;
    println!("{picture}");
    let mut walk = Walk::default();
    who_is_the_client(&picture, &mut walk).await?;
    who_is_logged_in(&picture, &mut walk).await?;
    forgers(&picture, &mut walk).await?;
    where_does_it_live(&picture, &mut walk).await?;
    no_mixed_content(&picture, &mut walk).await?;
    sticky_sessions(&mut picture, &mut walk).await?;
    println!("\n{} of {} steps showed what they must.", walk.steps() - walk.failed(), walk.steps());
    if !flags.once {
        picture.revive().await?;
        println!(
            "\nServing until Ctrl-C:\n  http://{}/webapps/\n  https://{}/webapps/   (user alice, password wonderland)",
            picture.plain, picture.secure
        );
        serve::interrupted().await;
    }
    picture.stop().await;
    Ok(walk.failed())
}

async fn who_is_the_client(picture: &Picture, walk: &mut Walk) -> Result<(), Error> {
    let mut browser = Browser::plain();
    let answer = browser.get(picture.plain, picture.browser, "/webapps/hello?x=1", &[]).await?;
    let saw = Saw::of(&answer);
    walk.show(Step {
        title: "A plain request. Who is the client, and what did it ask for?",
        sent: vec![
            format!("from {}", picture.browser_text()),
            format!("GET http://{}/webapps/hello?x=1", picture.plain),
        ],
        saw: saw.lines(&[
            "client",
            "outcome",
            "public_url",
            "absolute",
            "current",
            "script_name",
            "path",
            "query",
        ]),
        back: vec![answer.status.to_string(), format!("from {}", saw.text("route"))],
        must: vec![
            ("the browser's address, not the front end's", saw.is("client", &picture.browser_text())),
            ("the path without the prefix", saw.is("path", "/hello") && saw.is("script_name", "/webapps")),
            (
                "links as the browser sees them",
                saw.is("absolute", &format!("http://{}/webapps/x", picture.plain))
                    && saw.is("current", &format!("http://{}/webapps/hello?x=1", picture.plain)),
            ),
        ],
    });
    Ok(())
}

async fn who_is_logged_in(picture: &Picture, walk: &mut Walk) -> Result<(), Error> {
    let mut browser = Browser::secure(picture.trusting.clone());
    let answer = browser.get(picture.secure, picture.browser, "/webapps/me", &[]).await?;
    walk.show(Step {
        title: "The TLS front end wants a password.",
        sent: vec![format!("GET https://{}/webapps/me", picture.secure)],
        saw: vec!["nothing".into()],
        back: shown(&answer, &["www-authenticate"]),
        must: vec![("401, and no application server was asked", answer.status == 401)],
    });
    let answer = browser.get(picture.secure, picture.browser, "/webapps/me", &[picture.password()]).await?;
    let saw = Saw::of(&answer);
    walk.show(Step {
        title: "With the password: a user without a user database, over https that ended at the front.",
        sent: vec![format!("GET https://{}/webapps/me", picture.secure), format!("as {USER}")],
        saw: saw.lines(&["client", "user", "scheme", "public_url", "headers"]),
        back: vec![answer.status.to_string(), format!("from {}", saw.text("route"))],
        must: vec![
            ("the user that the front end proved", saw.is("user", USER)),
            ("https, although it came over plain HTTP", saw.is("scheme", "https")),
            ("no secret, no identity header within", !saw.sees("x-front-secret") && !saw.sees("remote-user")),
        ],
    });
    Ok(())
}

async fn forgers(picture: &Picture, walk: &mut Walk) -> Result<(), Error> {
    let forged = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x_forwarded_for", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6;proto=https;host=evil.example"),
        ("x-real-ip", "6.6.6.6"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("remote-user", "admin"),
        ("remote_user", "admin"),
        ("x-front-secret", "guess"),
        ("connection", "x-forwarded-for, x-forwarded-proto, remote-user"),
    ];
    let sent = |head: String| {
        let lines = forged.iter().map(|(name, value)| format!("{name}: {value}"));
        std::iter::once(head).chain(lines).collect::<Vec<_>>()
    };
    let fields = ["client", "outcome", "user", "identity", "public_url", "headers"];

    let answer = Browser::plain().get(picture.plain, picture.browser, "/webapps/me", &forged).await?;
    let saw = Saw::of(&answer);
    walk.show(Step {
        title: "A forger asks the front end.",
        sent: sent(format!("GET http://{}/webapps/me", picture.plain)),
        saw: saw.lines(&fields),
        back: vec![answer.status.to_string()],
        must: vec![
            ("its own address", saw.is("client", &picture.browser_text())),
            ("nobody is logged in", saw.json["user"].is_null()),
            (
                "neither https nor another host",
                saw.is("public_url", &format!("http://{}/webapps", picture.plain)),
            ),
            (
                "nothing of it reached the application",
                !saw.has("6.6.6.6") && !saw.has("evil") && !saw.has("admin"),
            ),
        ],
    });

    let to = picture.app("http-1");
    if let Some(stranger) = picture.stranger {
        let answer = Browser::plain().get(to, Some(stranger), "/webapps/me", &forged).await?;
        let saw = Saw::of(&answer);
        walk.show(Step {
            title: "A forger goes past the front end, straight to an application server.",
            sent: sent(format!("from {stranger}: GET http://{to}/webapps/me")),
            saw: saw.lines(&fields),
            back: vec![answer.status.to_string()],
            must: vec![
                (
                    "the stranger's own address",
                    saw.is("client", &stranger.to_string()) && saw.is("outcome", "Direct"),
                ),
                ("nobody is logged in", saw.json["user"].is_null()),
                (
                    "nothing of it reached the application; Connection names fields, and is the server's own affair",
                    !saw.has("6.6.6.6") && !saw.has("evil") && !saw.has("admin"),
                ),
            ],
        });
    }

    let lines = [
        ("x-forwarded-for", "203.0.113.5"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "localhost"),
        ("remote-user", "admin"),
        ("x-front-secret", "guess"),
    ];
    let answer = Browser::plain().get(to, None, "/webapps/me", &lines).await?;
    let saw = Saw::of(&answer);
    walk.show(Step {
        title: "Another program on the front end's machine, without the secret: its addresses are believed, its user is not.",
        sent: sent_by_the_machine(to, &lines),
        saw: saw.lines(&["client", "user", "identity", "headers"]),
        back: vec![answer.status.to_string()],
        must: vec![(
            "nobody is logged in: address and secret prove only together",
            saw.json["user"].is_null(),
        )],
    });

    let lines = [("x-forwarded-for", "203.0.113.5, localhost")];
    let answer = Browser::plain().get(to, None, "/webapps/me", &lines).await?;
    walk.show(Step {
        title: "A front end that writes no addresses is a mistake, not a client.",
        sent: sent_by_the_machine(to, &lines),
        saw: vec!["nothing".into()],
        back: vec![answer.status.to_string(), answer.body.clone()],
        must: vec![
            ("refused, with the reason", answer.status == 400 && answer.body.contains("malformed")),
            ("and without an echo", !answer.body.contains("203.0.113.5")),
        ],
    });
    Ok(())
}

async fn where_does_it_live(picture: &Picture, walk: &mut Walk) -> Result<(), Error> {
    let mut browser = Browser::plain();
    let answer = browser.get(picture.plain, picture.browser, "/webapps/redirect?to=/next", &[]).await?;
    walk.show(Step {
        title: "A redirect of an application that does not know its prefix.",
        sent: vec![format!("GET http://{}/webapps/redirect?to=/next", picture.plain)],
        saw: vec!["GET /redirect?to=/next".into(), "answers Location: /next".into()],
        back: shown(&answer, &["location"]),
        must: vec![("stays under the prefix", answer.header("location") == "/webapps/next")],
    });
    let answer = browser.get(picture.plain, picture.browser, "/webapps/cookie?path=/", &[]).await?;
    let cookies: Vec<&str> =
        answer.headers.get_all("set-cookie").iter().filter_map(|line| line.to_str().ok()).collect();
    let is_narrow =
        cookies.iter().any(|line| line.starts_with("flavour=") && line.ends_with("Path=/webapps"));
    walk.show(Step {
        title: "A cookie of an application that does not know its prefix.",
        sent: vec![format!("GET http://{}/webapps/cookie?path=/", picture.plain)],
        saw: vec!["answers Set-Cookie: flavour=vanilla; Path=/".into()],
        back: cookies.iter().map(|line| format!("set-cookie: {line}")).collect(),
        must: vec![("for the prefix only", is_narrow)],
    });
    let answer = browser.get(picture.plain, picture.browser, "/webappsX", &[]).await?;
    walk.show(Step {
        title: "A path that only looks like the prefix.",
        sent: vec![format!("GET http://{}/webappsX", picture.plain)],
        saw: vec!["nothing".into()],
        back: vec![answer.status.to_string(), answer.body.clone()],
        must: vec![("not found", answer.status == 404)],
    });
    Ok(())
}

async fn no_mixed_content(picture: &Picture, walk: &mut Walk) -> Result<(), Error> {
    let plain = Browser::plain().get(picture.plain, picture.browser, "/webapps/page", &[]).await?;
    let mut browser = Browser::secure(picture.trusting.clone());
    let secure = browser.get(picture.secure, picture.browser, "/webapps/page", &[picture.password()]).await?;
    let pairs: Vec<(&str, &str)> = plain.body.lines().zip(secure.body.lines()).collect();
    let kept = |what: &str| secure.body.contains(what);
    walk.show(Step {
        title: "The same page over http and over https: no mixed content.",
        sent: vec![
            format!("GET http://{}/webapps/page", picture.plain),
            format!("GET https://{}/webapps/page", picture.secure),
        ],
        saw: pairs
            .iter()
            .filter(|(before, after)| before != after)
            .map(|(before, _)| (*before).into())
            .collect(),
        back: pairs
            .iter()
            .filter(|(before, after)| before != after)
            .map(|(_, after)| (*after).into())
            .collect(),
        must: vec![
            (
                "over http the page is as the application wrote it",
                plain.body.contains("src=\"http://static.example/logo.png\""),
            ),
            (
                "images, scripts, styles and frames come by https",
                [
                    "src=\"https://static.example/logo.png\"",
                    "src=\"https://static.example/site.js\"",
                    "srcset=\"https://static.example/logo2.png 2x\"",
                    "url(https://static.example/paper.png)",
                    "href=\"https://static.example/site.css\"",
                    "src='https://static.example/frame'",
                ]
                .iter()
                .all(|what| kept(what)),
            ),
            (
                "links, comments and scripts are left alone",
                kept("<a href=\"http://www.example/\">")
                    && kept("\"http://static.example/in-a-script\"")
                    && kept("<!-- <img src=\"http://static.example/in-a-comment.png\"> -->"),
            ),
        ],
    });
    Ok(())
}

async fn sticky_sessions(picture: &mut Picture, walk: &mut Walk) -> Result<(), Error> {
    let mut browser = Browser::secure(picture.trusting.clone());
    let login = browser.get(picture.secure, picture.browser, "/webapps/login", &[picture.password()]).await?;
    let home = login.body.trim().rsplit(' ').next().unwrap_or_default().to_owned();
    let mut hits = Vec::new();
    for _ in 0..4 {
        let answer =
            browser.get(picture.secure, picture.browser, "/webapps/me", &[picture.password()]).await?;
        let saw = Saw::of(&answer);
        hits.push((saw.text("route"), saw.json["session_hits"].as_u64()));
    }
    let session = browser.cookie("sessionid").unwrap_or_default().to_owned();
    walk.show(Step {
        title: "A session in one application server's memory. Its cookie carries the route.",
        sent: vec!["GET /webapps/login, then 4 requests".into(), format!("cookie: sessionid={session}")],
        saw: hits
            .iter()
            .map(|(route, hits)| format!("{route}: request {} of the session", hits.unwrap_or(0)))
            .collect(),
        back: shown(&login, &["set-cookie"]),
        must: vec![
            ("the cookie's value ends in the route", session.ends_with(&format!(".{home}"))),
            (
                "all requests reach the session",
                hits.iter().enumerate().all(|(at, hit)| *hit == (home.clone(), Some(at as u64 + 1))),
            ),
        ],
    });

    // Each is sent to either at random, so that all of them at one would be a wonder.
    let mut visitors = BTreeMap::new();
    for _ in 0..40 {
        let answer = Browser::plain().get(picture.plain, picture.browser, "/webapps/me", &[]).await?;
        *visitors.entry(Saw::of(&answer).text("route")).or_insert(0) += 1;
    }
    let mut visitor = Browser::plain();
    let first = visitor.get(picture.plain, picture.browser, "/webapps/me", &[]).await?;
    let route = Saw::of(&first).text("route");
    let mut again = Vec::new();
    for _ in 0..4 {
        let answer = visitor.get(picture.plain, picture.browser, "/webapps/me", &[]).await?;
        again.push((Saw::of(&answer).text("route"), answer.headers.contains_key("set-cookie")));
    }
    let pin = visitor.cookie("ROUTE").unwrap_or_default().to_owned();
    walk.show(Step {
        title: "Visitors without a session: the front end pins them by a cookie of its own.",
        sent: vec!["40 new visitors".into(), "one visitor, 5 times".into(), format!("cookie: ROUTE={pin}")],
        saw: vec![
            visitors.iter().map(|(route, count)| format!("{route}: {count}")).collect::<Vec<_>>().join(", "),
            std::iter::once(&route)
                .chain(again.iter().map(|(route, _)| route))
                .cloned()
                .collect::<Vec<_>>()
                .join(" "),
        ],
        back: shown(&first, &["set-cookie", "cache-control"]),
        must: vec![
            ("new visitors are spread", visitors.contains_key("http-1") && visitors.contains_key("http-2")),
            (
                "a visitor stays, and gets the cookie once",
                again.iter().all(|(seen, sets)| *seen == route && !sets),
            ),
            ("the cookie names no application server", !pin.is_empty() && !pin.contains("http")),
            ("the application does not see it", !Saw::of(&first).sees("cookie")),
        ],
    });

    picture.kill(&route).await;
    let after = visitor.get(picture.plain, picture.browser, "/webapps/me", &[]).await?;
    let moved = Saw::of(&after).text("route");
    let stays = visitor.get(picture.plain, picture.browser, "/webapps/me", &[]).await?;
    walk.show(Step {
        title: "That application server dies. The next request is answered by the other one.",
        sent: vec![format!("{route} is killed"), "the same visitor, twice".into()],
        saw: vec![moved.clone(), Saw::of(&stays).text("route")],
        back: shown(&after, &["set-cookie"]),
        must: vec![
            ("no request is lost", after.status == 200 && stays.status == 200),
            ("the visitor is pinned to the other one", moved != route && Saw::of(&stays).is("route", &moved)),
        ],
    });
    Ok(())
}

fn sent_by_the_machine(to: SocketAddr, lines: &[(&str, &str)]) -> Vec<String> {
    let lines = lines.iter().map(|(name, value)| format!("{name}: {value}"));
    std::iter::once(format!("from 127.0.0.1: GET http://{to}/webapps/me")).chain(lines).collect()
}

/// What the application says that it saw.
struct Saw {
    json: Value,
}

impl Saw {
    fn of(answer: &Answer) -> Self {
        Self { json: serde_json::from_str(&answer.body).unwrap_or_default() }
    }

    fn text(&self, name: &str) -> String {
        self.json[name].as_str().map_or_else(|| self.json[name].to_string(), str::to_owned)
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.json[name] == value
    }

    /// Whether anything that the application saw holds this text.
    fn has(&self, text: &str) -> bool {
        self.json.to_string().contains(text)
    }

    fn sees(&self, header: &str) -> bool {
        self.json["headers"].as_array().is_none_or(|lines| lines.iter().any(|line| line[0] == header))
    }

    fn lines(&self, names: &[&str]) -> Vec<String> {
        let mut lines = Vec::new();
        for name in names {
            let Some(headers) = self.json[*name].as_array() else {
                lines.push(format!("{name}: {}", self.text(name)));
                continue;
            };
            lines.push("headers left:".into());
            for header in headers {
                let [name, value] = [0, 1].map(|at| header[at].as_str().unwrap_or_default());
                lines.push(format!("  {name}: {value}"));
            }
        }
        lines
    }
}

fn shown(answer: &Answer, names: &[&str]) -> Vec<String> {
    let mut lines = vec![answer.status.to_string()];
    for name in names {
        let values = answer.headers.get_all(*name).iter().filter_map(|value| value.to_str().ok());
        lines.extend(values.map(|value| format!("{name}: {value}")));
    }
    lines
}
