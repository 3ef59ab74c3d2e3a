//! What is done to each front end, and what comes of it in a word or two.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tungstenite::Message;
use tungstenite::client::IntoClientRequest as _;

use crate::client::{Answer, HOST, To, get, open, request, send};
use crate::fronts::Front;

/// `alice:wonderland`, and an `admin` whom nobody knows.
const ALICE: (&str, &str) = ("authorization", "Basic YWxpY2U6d29uZGVybGFuZA==");
const ADMIN: (&str, &str) = ("authorization", "Basic YWRtaW46YWRtaW4=");

/// Each scenario and its outcome, in the order of the table.
pub(crate) async fn all(front: &mut Front) -> Vec<(&'static str, String)> {
    let (http, https) = (front.http(), front.https());
    let client = async |headers: &[(&str, &str)]| told(&get(http, "/webapps/x", headers).await, "client");
    let scheme = async |to, headers: &[(&str, &str)]| told(&get(to, "/webapps/x", headers).await, "scheme");
    let url = async |headers: &[(&str, &str)]| told(&get(http, "/webapps/x", headers).await, "absolute");
    let path = async |path: &str| {
        let answer = get(http, path, &[]).await;
        match answer.status.as_u16() {
            200 => format!("{} + {}", told(&answer, "script_name"), told(&answer, "path")),
            status => status.to_string(),
        }
    };
    let open_user = async |headers: &[(&str, &str)]| told(&get(http, "/webapps/x", headers).await, "user");
    let user = async |headers: &[(&str, &str)]| {
        let headers = [&[ALICE], headers].concat();
        told(&get(http, "/webapps/private/x", &headers).await, "user")
    };
    let location = async |path: &str| {
        let answer = get(http, path, &[]).await;
        answer.header("location").map_or_else(|| answer.status.as_u16().to_string(), str::to_owned)
    };
    let cookie = async |path: &str| {
        let answer = get(http, path, &[]).await;
        answer.header("set-cookie").map_or_else(|| answer.status.as_u16().to_string(), str::to_owned)
    };
    vec![
        ("client address", client(&[]).await),
        ("client address, forged `X-Forwarded-For`", client(&[("x-forwarded-for", "6.6.6.6")]).await),
        (
            "client address, two forged lines",
            client(&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "127.0.0.1")]).await,
        ),
        (
            "client address, forged `X_Forwarded_For`, `Forwarded`, `X-Real-IP`",
            client(&[("x_forwarded_for", "6.6.6.6"), ("forwarded", "for=6.6.6.6"), ("x-real-ip", "6.6.6.6")])
                .await,
        ),
        ("client address, `Connection: X-Forwarded-For`", {
            client(&[("x-forwarded-for", "6.6.6.6"), ("connection", "X-Forwarded-For")]).await
        }),
        ("scheme, plain", scheme(http, &[]).await),
        ("scheme, TLS", scheme(https, &[]).await),
        ("scheme, plain, forged `X-Forwarded-Proto`", scheme(http, &[("x-forwarded-proto", "https")]).await),
        (
            "scheme, TLS, `Connection: X-Forwarded-Proto`",
            scheme(https, &[("connection", "X-Forwarded-Proto")]).await,
        ),
        ("a link", url(&[]).await),
        ("a link, forged `X-Forwarded-Host`", url(&[("x-forwarded-host", "evil.example")]).await),
        ("a link, forged `Host`", url(&[("host", "evil.example")]).await),
        ("prefix kept", path("/webapps/x").await),
        ("prefix stripped", path("/wiki/x").await),
        ("a longer name than the prefix", path("/webappsX/x").await),
        ("user, open path", open_user(&[]).await),
        ("user, open path, forged `Remote-User`", open_user(&[("remote-user", "admin")]).await),
        ("user, open path, forged `Remote_User`", open_user(&[("remote_user", "admin")]).await),
        ("user, open path, unchecked password", open_user(&[ADMIN]).await),
        ("user, no password, `%70rivate`, forged `Remote-User`", {
            told(&get(http, "/webapps/%70rivate/x", &[("remote-user", "admin")]).await, "user")
        }),
        ("user, no password, `//private`, forged `Remote-User`", {
            told(&get(http, "/webapps//private/x", &[("remote-user", "admin")]).await, "user")
        }),
        ("user, no password", told(&get(http, "/webapps/private/x", &[]).await, "user")),
        ("user, wrong password", told(&get(http, "/webapps/private/x", &[ADMIN]).await, "user")),
        ("user, password", user(&[]).await),
        ("user, password, forged `Remote-User`", user(&[("remote-user", "admin")]).await),
        ("user, password, forged `Remote_User`", user(&[("remote_user", "admin")]).await),
        ("user, password, `Connection: Remote-User`", user(&[("connection", "Remote-User")]).await),
        (
            "user, password, `Connection: X-Proxy-Secret, Remote-User`, forged both",
            user(&[
                ("connection", "X-Proxy-Secret, Remote-User"),
                ("x-proxy-secret", "guess-guess-guess"),
                ("remote-user", "admin"),
            ])
            .await,
        ),
        ("the password reaches the application", {
            let answer = get(http, "/webapps/private/x", &[ALICE]).await;
            yes_or_no(answer.text().contains("\"authorization\""))
        }),
        ("redirect, prefix kept", location("/webapps/redirect?to=/next").await),
        ("redirect, prefix stripped", location("/wiki/redirect?to=/next").await),
        ("cookie, prefix kept", cookie("/webapps/cookie?path=/").await),
        ("cookie, prefix stripped", cookie("/wiki/cookie?path=/").await),
        ("WebSocket", websocket(front)),
        ("upload of 8 MiB", upload(http).await),
        ("slow answer", stream(http).await),
        ("8 requests of a session", stickiness(front).await),
        ("8 requests, its member killed", member_killed(front).await),
        ("8 requests, its member back", member_back(front).await),
    ]
}

/// What the application told, or who refused.
fn told(answer: &Answer, name: &str) -> String {
    match answer.told(name) {
        Some(serde_json::Value::Null) => String::from("nobody"),
        Some(serde_json::Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => answer.status.as_u16().to_string(),
    }
}

fn yes_or_no(is: bool) -> String {
    String::from(if is { "yes" } else { "no" })
}

fn websocket(front: &Front) -> String {
    let exchange = || -> Result<String, String> {
        let socket = TcpStream::connect(front.http).map_err(|error| error.to_string())?;
        socket.set_read_timeout(Some(Duration::from_secs(5))).map_err(|error| error.to_string())?;
        let request =
            format!("ws://{HOST}/webapps/socket").into_client_request().map_err(|error| error.to_string())?;
        let (mut socket, _) = match tungstenite::client(request, socket) {
            Ok(agreed) => agreed,
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                return Ok(answer.status().as_u16().to_string());
            }
            Err(error) => return Err(error.to_string()),
        };
        socket.send(Message::text("hello")).map_err(|error| error.to_string())?;
        let echo = socket.read().map_err(|error| error.to_string())?;
        Ok(if echo == Message::text("hello") { String::from("echoes") } else { format!("{echo:?}") })
    };
    exchange().unwrap_or_else(|error| error)
}

async fn upload(to: To) -> String {
    let body = Full::new(Bytes::from(vec![b'x'; 8 << 20]));
    match send(to, request("POST", "/webapps/upload", &[]).body(body).unwrap()).await {
        Ok(answer) if answer.status == 200 => answer.text(),
        // Whether the status is seen, or the connection ends while it is still written to, is a matter of luck.
        Ok(answer) if answer.status == 413 => String::from("refused"),
        Err(error) if error.contains("BodyWrite") => String::from("refused"),
        Ok(answer) => answer.status.as_u16().to_string(),
        Err(error) => error,
    }
}

/// Whether the first piece is here before the last one was sent.
async fn stream(to: To) -> String {
    let request = request("GET", "/webapps/stream", &[]).body(Full::default()).unwrap();
    let response = open(to, request).await.unwrap();
    if response.status() != 200 {
        return response.status().as_u16().to_string();
    }
    let mut body = response.into_body();
    let mut pieces = Vec::new();
    while let Some(piece) = body.frame().await {
        pieces.push(String::from_utf8(piece.unwrap().into_data().unwrap().to_vec()).unwrap());
    }
    let whole = pieces.concat();
    assert!(whole.contains("<p>one") && whole.contains("<p>three"), "{whole}");
    String::from(if pieces[0].contains("<p>three") { "all at once" } else { "as it comes" })
}

async fn log_in(front: &Front) -> (String, String) {
    let answer = get(front.http(), "/webapps/login", &[]).await;
    let cookie = answer.cookie().expect("a session");
    let route = answer.text().rsplit(' ').next().unwrap().to_owned();
    assert!(cookie.ends_with(&format!(".{route}")), "{cookie} of {route}");
    (cookie, route)
}

/// How many of 8 requests with this cookie came to this member; those that failed are told, too.
async fn arrivals(front: &Front, cookie: &str, route: &str) -> (usize, usize) {
    let (mut arrived, mut answered) = (0, 0);
    for _ in 0..8 {
        let answer = get(front.http(), "/webapps/x", &[("cookie", cookie)]).await;
        answered += usize::from(answer.status == 200);
        arrived += usize::from(told(&answer, "route") == route);
    }
    (arrived, answered)
}

async fn stickiness(front: &Front) -> String {
    let mut least = usize::MAX;
    for _ in 0..2 {
        let (cookie, route) = log_in(front).await;
        least = least.min(arrivals(front, &cookie, &route).await.0);
    }
    if least == 8 { String::from("one member") } else { String::from("both members") }
}

async fn member_killed(front: &mut Front) -> String {
    let (cookie, route) = log_in(front).await;
    front.member(&route).kill();
    let (arrived, answered) = arrivals(front, &cookie, &route).await;
    assert_eq!(arrived, 0);
    front.member(&route).come_back();
    format!("{answered} answered")
}

async fn member_back(front: &mut Front) -> String {
    // Of the configurations, one second is the longest that a member is left alone; a whole pool may be, meanwhile.
    let (mut cookie, mut route) = log_in(front).await;
    while arrivals(front, &cookie, &route).await.1 < 8 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        (cookie, route) = log_in(front).await;
    }
    front.member(&route).kill();
    arrivals(front, &cookie, &route).await;
    front.member(&route).come_back();
    let end = Instant::now() + Duration::from_secs(6);
    loop {
        match arrivals(front, &cookie, &route).await {
            (8, _) => return String::from("one member"),
            (1.., 8) if Instant::now() > end => return String::from("both members"),
            (_, answered) if Instant::now() > end => return format!("the other, {answered} answered"),
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
