//! What is expected of each front end in each scenario, and the page that says so.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;

use crate::block_on;
use crate::fixture::{are_installed, version};
use crate::fronts::{Front, Recipe, Server};
use crate::scenarios;

struct Expected {
    scenario: &'static str,
    recommended: Outcome,
    naive: Outcome,
}

enum Outcome {
    /// Of all front ends.
    All(&'static str),
    /// Of all front ends, and why it is not what a user hopes for.
    But(&'static str, &'static str),
    /// Of Apache httpd, nginx and HAProxy, and why they differ.
    Each([&'static str; 3], &'static str),
}

use Outcome::{All, But, Each};

impl Outcome {
    fn of(&self, column: usize) -> &'static str {
        match self {
            All(outcome) | But(outcome, _) => outcome,
            Each(outcomes, _) => outcomes[column],
        }
    }

    fn because(&self) -> Option<&'static str> {
        match self {
            All(_) => None,
            But(_, because) | Each(_, because) => Some(because),
        }
    }
}

const fn row(scenario: &'static str, recommended: Outcome, naive: Outcome) -> Expected {
    Expected { scenario, recommended, naive }
}

const fn same(scenario: &'static str, outcome: &'static str) -> Expected {
    row(scenario, All(outcome), All(outcome))
}

const LINK: &str = "http://www.example.com/webapps/x";
const UNDECLARED: Outcome =
    But("http", "No scheme is declared to the application, which then knows its own socket's alone.");
const UNPROVEN: Outcome = But("nobody", "Nothing proves the user to the application.");
const NO_ROUTE: Outcome = But("both members", "The recipe does not look at the route in the cookie.");
const PASSES_BY: &str = "HAProxy compares the path as it was sent, and asks for no password.";
const CLIENT_REMOVES: &str = "httpd removes its own field where the client names it in `Connection`.";

const EXPECTED: [Expected; 39] = [
    same("client address", "127.0.0.2"),
    same("client address, forged `X-Forwarded-For`", "127.0.0.2"),
    same("client address, two forged lines", "127.0.0.2"),
    same("client address, forged `X_Forwarded_For`, `Forwarded`, `X-Real-IP`", "127.0.0.2"),
    same("client address, `Connection: X-Forwarded-For`", "127.0.0.2"),
    same("scheme, plain", "http"),
    row("scheme, TLS", All("https"), UNDECLARED),
    same("scheme, plain, forged `X-Forwarded-Proto`", "http"),
    row(
        "scheme, TLS, `Connection: X-Forwarded-Proto`",
        Each(["400", "https", "https"], CLIENT_REMOVES),
        UNDECLARED,
    ),
    same("a link", LINK),
    same("a link, forged `X-Forwarded-Host`", LINK),
    same("a link, forged `Host`", "421"),
    same("prefix kept", "/webapps + /x"),
    same("prefix stripped", "/wiki + /x"),
    same("a longer name than the prefix", "404"),
    same("user, open path", "nobody"),
    same("user, open path, forged `Remote-User`", "nobody"),
    same("user, open path, forged `Remote_User`", "nobody"),
    same("user, open path, unchecked password", "nobody"),
    row(
        "user, no password, `%70rivate`, forged `Remote-User`",
        All("401"),
        Each(["401", "401", "nobody"], PASSES_BY),
    ),
    row(
        "user, no password, `//private`, forged `Remote-User`",
        All("401"),
        Each(["401", "401", "nobody"], PASSES_BY),
    ),
    same("user, no password", "401"),
    same("user, wrong password", "401"),
    row("user, password", All("alice"), UNPROVEN),
    row("user, password, forged `Remote-User`", All("alice"), UNPROVEN),
    row("user, password, forged `Remote_User`", All("alice"), UNPROVEN),
    row(
        "user, password, `Connection: Remote-User`",
        Each(["nobody", "alice", "alice"], CLIENT_REMOVES),
        UNPROVEN,
    ),
    row(
        "user, password, `Connection: X-Proxy-Secret, Remote-User`, forged both",
        Each(["nobody", "alice", "alice"], CLIENT_REMOVES),
        UNPROVEN,
    ),
    row(
        "the password reaches the application",
        All("no"),
        But("yes", "The recipe leaves `Authorization` in the request."),
    ),
    same("redirect, prefix kept", "/webapps/next"),
    same("redirect, prefix stripped", "/wiki/next"),
    same("cookie, prefix kept", "flavour=vanilla; Path=/webapps"),
    same("cookie, prefix stripped", "flavour=vanilla; Path=/wiki"),
    row(
        "WebSocket",
        All("echoes"),
        Each(
            ["400", "400", "echoes"],
            "httpd wants `upgrade=websocket` and nginx two headers: else the application sees no upgrade.",
        ),
    ),
    row(
        "upload of 8 MiB",
        All("8388608 bytes"),
        Each(["8388608 bytes", "refused", "8388608 bytes"], "nginx takes 1 MiB unless it is told otherwise."),
    ),
    row(
        "slow answer",
        All("as it comes"),
        Each(["as it comes", "all at once", "as it comes"], "nginx buffers unless it is told otherwise."),
    ),
    row("8 requests of a session", All("one member"), NO_ROUTE),
    same("8 requests, its member killed", "8 answered"),
    row("8 requests, its member back", All("one member"), NO_ROUTE),
];

#[test]
#[ignore = "needs apache2, nginx and haproxy"]
fn every_front_end_in_every_scenario() {
    if !are_installed(&["apache2", "nginx", "haproxy"]) {
        return;
    }
    let recipes = [Recipe::Recommended, Recipe::Naive].map(|recipe| {
        let started = Server::ALL.map(|server| {
            thread::spawn(move || {
                let mut front = Front::start(server, recipe);
                block_on(scenarios::all(&mut front))
            })
        });
        started.map(|thread| thread.join().expect("a front end was asked everything"))
    });
    let page = page(&recipes);
    println!("{page}");

    let [recommended, naive] = &recipes;
    for column in recommended.iter().chain(naive) {
        assert_eq!(column.len(), EXPECTED.len());
    }
    let mut unexplained = Vec::new();
    for (number, expected) in EXPECTED.iter().enumerate() {
        for (column, server) in Server::ALL.iter().enumerate() {
            for (outcomes, outcome) in [(recommended, &expected.recommended), (naive, &expected.naive)] {
                let (scenario, seen) = &outcomes[column][number];
                assert_eq!(*scenario, expected.scenario);
                if seen != outcome.of(column) {
                    unexplained.push(format!("{server:?}, {scenario}: {seen}, not {}", outcome.of(column)));
                }
                for forged in ["6.6.6.6", "admin", "evil"] {
                    assert!(!seen.contains(forged), "{server:?}, {scenario}: {seen} is believed");
                }
            }
        }
    }
    println!("{} unexplained differences", unexplained.len());
    assert!(unexplained.is_empty(), "{unexplained:#?}");

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/real_peers.md");
    if std::env::var_os("REAL_PEERS_WRITE").is_some() {
        fs::write(file, page).unwrap();
    } else {
        let written = fs::read_to_string(file).unwrap();
        assert_eq!(without_versions(&written), without_versions(&page), "REAL_PEERS_WRITE=1 writes it anew");
    }
}

type Seen = [Vec<(&'static str, String)>; 3];

fn page(recipes: &[Seen; 2]) -> String {
    let mut page = String::from(
        "The layers in `examples/app_server.rs` behind other people's servers, as `tests/real_peers.rs` found them.\n\n\
         ```sh\nREAL_PEERS=require cargo test --test real_peers -- --ignored --nocapture\n```\n\n",
    );
    for server in Server::ALL {
        writeln!(page, "{VERSION}{}", version(server.program(), "-v")).unwrap();
    }
    page += "\nThe client is 127.0.0.2, and asks `www.example.com`; what is forged says 6.6.6.6, admin or evil.example. A number \
             is the status of a refusal.\n";
    let titles = [
        (
            "Recommended",
            "The configurations of `examples/conf`, and applications that are told `--front`, an allowed host, and a secret.",
        ),
        (
            "Naive",
            "What people copy, `tests/real_peers/naive`, and applications that are told an allowed host and a secret, and \
             declare no claim: all that the front end does not prove is not believed.",
        ),
    ];
    for (recipe, ((title, text), seen)) in titles.iter().zip(recipes).enumerate() {
        write!(page, "\n# {title}\n\n{text}\n\n| | Apache httpd | nginx | HAProxy |\n|---|---|---|---|\n")
            .unwrap();
        let mut notes = Vec::new();
        let [apache, nginx, haproxy] = seen;
        for (((apache, nginx), haproxy), expected) in apache.iter().zip(nginx).zip(haproxy).zip(&EXPECTED) {
            let expected_here = if recipe == 0 { &expected.recommended } else { &expected.naive };
            let mut scenario = expected.scenario.to_owned();
            if let Some(because) = expected_here.because() {
                let known = notes.iter().position(|note| *note == because);
                let number = known.unwrap_or_else(|| {
                    notes.push(because);
                    notes.len() - 1
                });
                write!(scenario, " ({})", number + 1).unwrap();
            }
            let [apache, nginx, haproxy] = [apache, nginx, haproxy].map(|(_, outcome)| cell(outcome));
            writeln!(page, "| {scenario} | {apache} | {nginx} | {haproxy} |").unwrap();
        }
        page.push('\n');
        for (number, note) in notes.iter().enumerate() {
            writeln!(page, "{}. {note}", number + 1).unwrap();
        }
    }
    page += LIMITS;
    page
}

/// A path or a URL as it is.
fn cell(outcome: &str) -> String {
    if outcome.contains('/') { format!("`{outcome}`") } else { outcome.to_owned() }
}

/// How the line of a version starts: what runs elsewhere may be another one.
const VERSION: &str = "- ";

fn without_versions(page: &str) -> String {
    page.lines().filter(|line| !line.starts_with(VERSION)).collect::<Vec<_>>().join("\n")
}

const LIMITS: &str = "
# What no layer can know

A front end that proves itself, and relays what its client says of the user, is believed: the naive recipes with \
`X-Proxy-Secret` added would hand out any name. So with a declared claim that the front end does not write: declare what the \
configuration sets, and nothing more.
";
