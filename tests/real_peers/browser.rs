//! What a browser makes of the pages of two application servers behind `examples/front_end.rs`, over TLS.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::thread;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::oneshot;
use tower::service_fn;

use crate::block_on;
use crate::chromium::Chromium;
use crate::fixture::{Directory, Member, Running, address_after, are_installed, example};
use crate::fronts::{Front, Recipe, Server};
use crate::serve::{self, Listener, bind};
use crate::tls::SelfSigned;

const ORIGIN: &str = "https://www.example.com";

/// A front end with TLS, its members, and what `http://static.example` would be with TLS. They end together.
struct Site {
    front: SocketAddr,
    static_files: SocketAddr,
    _stop: oneshot::Sender<()>,
    _front: Running,
    _members: [Member; 2],
    _directory: Directory,
}

impl Site {
    fn start(flags: &[&str]) -> Self {
        let directory = Directory::new();
        let shared = [
            "--trusted",
            "127.0.0.1",
            "--prefix",
            "/webapps",
            "--claim",
            "scheme=set",
            "--claim",
            "host=set",
        ];
        let flags = [&shared[..], &["--allowed-host", "www.example.com"], flags].concat();
        let members = ["http-1", "http-2"].map(|route| Member::start(route, &flags));
        let mut command = example("front_end");
        command.args([
            "--listen",
            "127.0.0.1:0",
            "--tls-listen",
            "127.0.0.1:0",
            "--cookie",
            "suffix:sessionid",
        ]);
        for member in &members {
            command.arg("--member").arg(format!("{}=http://{}", member.route(), member.address()));
        }
        let mut running = Running::start(&mut command, directory.path().join("log"));
        let front = running.until(|running| address_after("https://", &running.said())).unwrap();
        let (stop, stopped) = oneshot::channel();
        let static_files = static_files(stopped);
        Self { front, static_files, _stop: stop, _front: running, _members: members, _directory: directory }
    }

    fn browser(&self) -> Chromium {
        Chromium::start(&[("www.example.com", self.front), ("static.example", self.static_files)])
    }
}

/// What pages refer to, so that nothing but mixed content is worth a warning. Ends when the sender goes.
fn static_files(stopped: oneshot::Receiver<()>) -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        block_on(async {
            let signed = SelfSigned::new(&["static.example"]).unwrap();
            let listener = Listener::https(
                bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap(),
                signed.acceptor(),
            );
            tell.send(listener.address().unwrap()).unwrap();
            let stack = |_| service_fn(|request| async move { Ok::<_, Infallible>(file(&request)) });
            let stopped = async {
                let _ = stopped.await;
            };
            serve::serve(vec![(listener, stack)], stopped).await.unwrap();
        });
    });
    told.recv().unwrap()
}

fn file(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (kind, text) = match request.uri().path().rsplit('.').next() {
        Some("css") => ("text/css", ""),
        Some("js") => ("text/javascript", ""),
        Some("png" | "jpg") => {
            ("image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'/>")
        }
        Some("mp4") => ("video/mp4", ""),
        _ => ("text/html", "<!doctype html><title>frame</title>"),
    };
    Response::builder().header("content-type", kind).body(Full::from(text)).unwrap()
}

/// The requests of a page, and what the browser has to say of it.
struct Loaded {
    requests: BTreeSet<String>,
    mixed: Vec<String>,
    warnings: Vec<String>,
}

fn load(browser: &mut Chromium, path: &str) -> Loaded {
    browser.open_until_idle(&format!("{ORIGIN}{path}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let sent = browser.events("Network.requestWillBeSent").map(|params| &params["request"]);
    let issues = browser.events("Audits.issueAdded").map(|params| &params["issue"]);
    let mixed = issues.filter(|issue| issue["code"] == "MixedContentIssue");
    // The icon is asked for at the root, which is no place of the application's.
    let is_icon = |entry: &Value| entry["url"] == format!("{ORIGIN}/favicon.ico");
    let logged =
        browser.events("Log.entryAdded").map(|params| &params["entry"]).filter(|entry| !is_icon(entry));
    let is_bad = |level: &Value| level == "warning" || level == "error";
    let logged = logged.filter(|entry| is_bad(&entry["level"])).map(|entry| text(&entry["text"]));
    let said =
        browser.events("Runtime.consoleAPICalled").filter(|call| is_bad(&call["type"])).map(Value::to_string);
    Loaded {
        requests: sent.map(|request| text(&request["url"])).collect(),
        mixed: mixed
            .map(|issue| text(&issue["details"]["mixedContentIssueDetails"]["insecureURL"]))
            .collect(),
        warnings: logged.chain(said).collect(),
    }
}

#[test]
#[ignore = "needs chromium"]
fn a_browser_finds_no_mixed_content_with_the_layer_and_some_without() {
    if !are_installed(&["chromium"]) {
        return;
    }
    let site = Site::start(&[]);
    let with = load(&mut site.browser(), "/webapps/page");
    println!(
        "with ForceHttpsBody: {} requests, mixed {:?}, warnings {:?}",
        with.requests.len(),
        with.mixed,
        with.warnings
    );
    for name in ["site.css", "site.js", "logo", "frame", "poster.jpg", "film.mp4", "paper.png"] {
        let is_asked = |url: &String| url.starts_with("https://static.example/") && url.contains(name);
        assert!(with.requests.iter().any(is_asked), "{name}: {:?}", with.requests);
    }
    assert!(with.requests.iter().all(|url| url.starts_with("https://")), "{:?}", with.requests);
    assert_eq!((with.mixed, with.warnings), (vec![], vec![]));

    let site = Site::start(&["--leave-bodies"]);
    let without = load(&mut site.browser(), "/webapps/page");
    println!("without: mixed {:?}, {} warnings", without.mixed, without.warnings.len());
    for name in ["site.css", "site.js", "frame"] {
        let url = format!("http://static.example/{name}");
        assert!(without.mixed.contains(&url), "{url}: {:?}", without.mixed);
        assert!(without.warnings.iter().any(|text| text.contains(&url)), "{url}: {:?}", without.warnings);
    }
}

#[test]
#[ignore = "needs chromium"]
fn links_redirects_cookies_and_forms_work_below_the_prefix() {
    if are_installed(&["chromium"]) {
        let site = Site::start(&[]);
        walk(site.browser(), "front_end");
    }
}

#[test]
#[ignore = "needs chromium, apache2, nginx and haproxy"]
fn and_behind_other_front_ends_too() {
    if are_installed(&["chromium", "apache2", "nginx", "haproxy"]) {
        for server in Server::ALL {
            let front = Front::start(server, Recipe::Recommended);
            walk(Chromium::start(&[("www.example.com", front.https)]), server.program());
        }
    }
}

/// By clicking, over HTTP/2.
fn walk(mut browser: Chromium, front: &str) {
    let home = format!("{ORIGIN}/webapps/");
    browser.open(&home);
    let protocols: BTreeSet<_> = browser
        .events("Network.responseReceived")
        .filter_map(|params| params["response"]["protocol"].as_str())
        .collect();
    assert_eq!(protocols, BTreeSet::from(["h2"]), "{front}");
    let click = |what: &str| format!("document.querySelector('{what}').click()");
    let told = |browser: &mut Chromium| -> Value {
        let text = browser.evaluate("document.body.innerText");
        serde_json::from_str(text.as_str().unwrap()).unwrap_or(text)
    };

    browser.follow(&click(r#"a[href$="/some/path?q=1"]"#));
    assert_eq!(browser.evaluate("location.href"), format!("{ORIGIN}/webapps/some/path?q=1"));
    assert_eq!(told(&mut browser)["current"], format!("{ORIGIN}/webapps/some/path?q=1"));

    browser.open(&home);
    browser.follow(&click(r#"form[action$="/redirect"] button"#));
    assert_eq!(browser.evaluate("location.href"), format!("{ORIGIN}/webapps/next"));
    assert_eq!(told(&mut browser)["path"], "/next");

    browser.open(&home);
    browser.follow(&click(r#"form[action$="/cookie"] button"#));
    assert_eq!(browser.evaluate("document.cookie"), "flavour=vanilla");
    assert_eq!(browser.cookies(&home), ["flavour"]);
    assert!(browser.cookies(&format!("{ORIGIN}/elsewhere")).is_empty());

    let mut routes = BTreeSet::new();
    for _ in 0..2 {
        browser.open(&home);
        browser.follow(&click(r#"form[action$="/login"] button"#));
        let said = told(&mut browser);
        let route = said.as_str().unwrap().trim().rsplit(' ').next().unwrap().to_owned();
        for hits in 1..8 {
            browser.open(&format!("{ORIGIN}/webapps/x"));
            let told = told(&mut browser);
            assert_eq!((&told["route"], &told["session_hits"]), (&Value::from(&*route), &Value::from(hits)));
            assert_eq!(
                (&told["scheme"], &told["host"]),
                (&Value::from("https"), &Value::from("www.example.com"))
            );
        }
        routes.insert(route);
    }
    println!("a browser's sessions behind {front} stay on {routes:?}");
}
