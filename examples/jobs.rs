//! The same public URL in a handler and in a job that no request started: `cargo run --example jobs`, and then
//! <http://127.0.0.1:8001/webapps/reset?user=alice>.
//!
//! The handler queues a mail, and a job of its own thread writes it, with a link that leads to the address that the
//! browser knows. `PUBLIC_URL` says which, `https://www.example.org/webapps` unless set. With `--once` it asks itself,
//! checks what comes out, and ends.

#[path = "support/serve.rs"]
mod serve;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::Redirect;
use axum::routing::get;
use clap::Parser;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tower::ServiceBuilder;
use tower_proxied::forced_host::ReferenceError;
use tower_proxied::{ForcedHostLayer, PublicUrl, ScriptNamePrefixLayer};

use self::serve::{Error, Listener, bind, interrupted};

/// Read when it is first asked for: nothing runs while the program is loaded, and a command that makes no link needs no
/// setting.
static SITE: LazyLock<PublicUrl> = LazyLock::new(|| {
    let text = std::env::var("PUBLIC_URL").unwrap_or_else(|_| "https://www.example.org/webapps".to_owned());
    PublicUrl::parse(&text).unwrap_or_else(|error| {
        eprintln!("PUBLIC_URL: {error}");
        std::process::exit(2);
    })
});

#[derive(Parser)]
#[command(about = "The same public URL in a handler and in a job")]
struct Flags {
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8001")]
    listen: SocketAddr,
    /// Ask, check the answers, and end.
    #[arg(long)]
    once: bool,
}

/// What a handler leaves to the job.
struct Reset {
    user: String,
}

#[derive(Deserialize)]
struct Asked {
    user: String,
}

/// The text of a mail. There is no request here.
fn mail(reset: &Reset) -> Result<String, ReferenceError> {
    let link = SITE.absolute(&format!("/reset/{}", reset.user))?;
    Ok(format!("To: {}\nTo choose a new password: {link}\nThis mail comes from {}\n", reset.user, *SITE))
}

/// Writes mails until nobody queues any more.
async fn job(mut queue: mpsc::Receiver<Reset>, sent: mpsc::Sender<String>) {
    while let Some(reset) = queue.recv().await {
        match mail(&reset) {
            Ok(mail) => {
                println!("{mail}");
                _ = sent.send(mail).await;
            }
            Err(error) => eprintln!("no mail: {error}"),
        }
    }
}

async fn reset(public: PublicUrl, queue: State<mpsc::Sender<Reset>>, asked: Query<Asked>) -> Redirect {
    let Query(Asked { user }) = asked;
    // A fixed text with a path of our own: it cannot leave the application.
    let done = public.absolute("/done").unwrap_or_else(|_| public.to_string());
    _ = queue.send(Reset { user }).await;
    Redirect::to(&done)
}

fn app(queue: mpsc::Sender<Reset>) -> Router {
    let router = Router::new()
        .route("/reset", get(reset))
        .route("/done", get(|public: PublicUrl| async move { format!("A mail is on its way from {public}") }))
        .with_state(queue);
    let stack = ServiceBuilder::new()
        .layer(ForcedHostLayer::fixed(SITE.clone()))
        .layer(ScriptNamePrefixLayer::proxy_keeps(SITE.prefix().clone()));
    Router::new().fallback_service(stack.service(router))
}

#[tokio::main]
async fn main() -> ExitCode {
    let flags = Flags::parse();
    match run(flags).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<(), Error> {
    let address = if flags.once { SocketAddr::from(([127, 0, 0, 1], 0)) } else { flags.listen };
    let listener = Listener::http(bind(address).await?);
    let address = listener.address()?;
    println!("http://{address}{} is {} to browsers", SITE.prefix(), *SITE);

    let (queue, queued) = mpsc::channel(16);
    let (sent, mails) = mpsc::channel(16);
    tokio::spawn(job(queued, sent));
    let app = app(queue);
    let stack = move |_| {
        let app = app.clone();
        tower::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let app = app.clone();
            async move {
                tower::ServiceExt::oneshot(app, request).await.map_err(|never: Infallible| match never {})
            }
        })
    };
    if !flags.once {
        drop(mails);
        return serve::serve(vec![(listener, stack)], interrupted()).await;
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve::serve(vec![(listener, stack)], async { _ = stopped.await }));
    tokio::time::timeout(Duration::from_secs(20), check(address, mails)).await??;
    _ = stop.send(());
    serving.await??;
    println!("as it should be");
    Ok(())
}

/// Whatever host the request names, the answer and the mail lead to the public URL.
async fn check(address: SocketAddr, mut mails: mpsc::Receiver<String>) -> Result<(), Error> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let ask = |path: String| {
        let request = http::Request::get(format!("http://{address}{}{path}", SITE.prefix()))
            .header("host", "evil.example")
            .header("x-forwarded-host", "evil.example")
            .body(Empty::<Bytes>::new());
        let client = client.clone();
        async move { Ok::<_, Error>(client.request(request?).await?) }
    };
    let response = ask("/reset?user=alice".to_owned()).await?;
    assert_eq!(response.status(), 303);
    assert_eq!(response.headers()["location"], format!("{}/done", *SITE));

    let mail = mails.recv().await.ok_or("no mail")?;
    assert!(mail.contains(&format!("password: {}/reset/alice\n", *SITE)), "{mail}");

    let response = ask("/done".to_owned()).await?;
    let text = response.into_body().collect().await?.to_bytes();
    assert_eq!(text, format!("A mail is on its way from {}", *SITE));

    // A name that would be a link elsewhere stays below the public URL.
    let odd = mail_of("//evil.example/..%2f/../..");
    assert!(odd.contains(&format!("password: {}/", *SITE)), "{odd}");
    Ok(())
}

fn mail_of(user: &str) -> String {
    mail(&Reset { user: user.to_owned() }).unwrap_or_default()
}
