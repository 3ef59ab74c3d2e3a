//! Headless Chromium by its DevTools protocol.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::fixture::{Directory, Running, find};

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A browser with one page.
pub(crate) struct Chromium {
    socket: WebSocket<TcpStream>,
    session: String,
    number: u64,
    events: Vec<Value>,
    _running: Running,
    _directory: Directory,
}

impl Chromium {
    /// Each of these hosts is at an address here, whatever the port; there are no others.
    pub(crate) fn start(hosts: &[(&str, SocketAddr)]) -> Self {
        let directory = Directory::new();
        let mut rules: Vec<_> = hosts.iter().map(|(host, address)| format!("MAP {host} {address}")).collect();
        rules.push(String::from("MAP * ~NOTFOUND"));
        rules.push(String::from("EXCLUDE 127.0.0.1"));
        let mut command = Command::new(find("chromium").unwrap());
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--ignore-certificate-errors", "--remote-debugging-port=0", "about:blank"])
            .arg(format!("--host-resolver-rules={}", rules.join(", ")))
            .arg(format!("--user-data-dir={}", directory.path().join("profile").display()))
            .env("HOME", directory.path());
        let mut running = Running::start(&mut command, directory.path().join("log"));
        let url = running.until(|running| devtools(&running.said())).unwrap();
        let address = url.trim_start_matches("ws://").split('/').next().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(url, stream).unwrap();
        let (session, events) = (String::new(), Vec::new());
        let mut browser =
            Self { socket, session, number: 0, events, _running: running, _directory: directory };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached =
            browser.call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Network", "Log", "Runtime", "Audits"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.call("Page.setLifecycleEventsEnabled", json!({"enabled": true}));
        browser
    }

    /// Opens a page, and waits until it is loaded.
    pub(crate) fn open(&mut self, url: &str) {
        self.navigate(url, "load");
    }

    /// Opens a page, and waits until nothing is asked for any more.
    pub(crate) fn open_until_idle(&mut self, url: &str) {
        self.navigate(url, "networkIdle");
    }

    fn navigate(&mut self, url: &str, stage: &str) {
        self.events.clear();
        let opened = self.call("Page.navigate", json!({"url": url}));
        assert!(opened.get("errorText").is_none(), "{url}: {opened}");
        self.until_stage(stage, &opened["loaderId"]);
    }

    /// Does what leads to another page, and waits until it is loaded.
    pub(crate) fn follow(&mut self, script: &str) {
        self.events.clear();
        self.evaluate(script);
        let event = self.until("Page.frameNavigated", |params| params["frame"].get("parentId").is_none());
        self.until_stage("load", &event["frame"]["loaderId"]);
    }

    pub(crate) fn evaluate(&mut self, script: &str) -> Value {
        let answer = self.call("Runtime.evaluate", json!({"expression": script}));
        assert!(answer.get("exceptionDetails").is_none(), "{script}: {answer}");
        answer["result"]["value"].clone()
    }

    /// The names of the cookies that go to a URL.
    pub(crate) fn cookies(&mut self, url: &str) -> Vec<String> {
        let answer = self.call("Network.getCookies", json!({"urls": [url]}));
        let names =
            answer["cookies"].as_array().unwrap().iter().map(|cookie| cookie["name"].as_str().unwrap());
        names.map(str::to_owned).collect()
    }

    /// The events of this name since the page was opened.
    pub(crate) fn events<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["method"] == name).map(|event| &event["params"])
    }

    fn until_stage(&mut self, stage: &str, loader: &Value) {
        self.until("Page.lifecycleEvent", |params| params["name"] == stage && params["loaderId"] == *loader);
    }

    fn until(&mut self, name: &str, is_meant: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(params) = self.events(name).find(|params| is_meant(params)) {
                return params.clone();
            }
            assert!(Instant::now() < end, "no {name} in time");
            let message = self.read();
            self.events.push(message);
        }
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut call = json!({"id": self.number, "method": method, "params": params});
        if !self.session.is_empty() {
            call["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(call.to_string())).unwrap();
        loop {
            let message = self.read();
            if message["id"] == self.number {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    fn read(&mut self) -> Value {
        let message = self.socket.read().unwrap();
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    }
}

fn devtools(said: &str) -> Option<String> {
    let (_, rest) = said.split_once("DevTools listening on ")?;
    let (url, _) = rest.split_once('\n')?;
    Some(url.to_owned())
}
