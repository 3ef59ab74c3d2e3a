//! `upgrade_fragment` as a filter of templates, for those who would rather not have their pages read: what stands
//! inside of the filter has no `http://` images, scripts or styles where the request is secure.
//!
//! ```sh
//! cargo run --example templates              # plays the script, then serves until Ctrl-C
//! cargo run --example templates -- --once    # ends after the script; status 0 only if every step held
//! ```
//!
//! `/minijinja` and `/askama` are the same page by two engines. Both ask [`Proxied`] whether the request is secure, so
//! that no client can say so by itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::get;
use clap::Parser;
use minijinja::{Environment, context};
use tower::Layer;
use tower_proxied::force_https_body::{UpgradePolicy, upgrade_fragment};
use tower_proxied::forwarded_for::Front;
use tower_proxied::{ForwardedForLayer, PeerAddr, Proxied, TrustedProxies};

#[path = "support/browser.rs"]
mod browser;
#[path = "support/serve.rs"]
mod serve;
#[path = "support/walk.rs"]
mod walk;

use browser::Browser;
use serve::{Error, Listener, bind};
use walk::{Step, Walk};

/// The same for all pages: which hosts, which ports, which attributes.
static POLICY: LazyLock<UpgradePolicy> = LazyLock::new(UpgradePolicy::new);

const TITLE: &str = "Salt & <pepper>";

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<title>{{ title }}</title>
<p>secure: {{ is_secure }}
{% filter forcehttps(is_secure) -%}
<img src="http://cdn.example:80/logo.png" alt="{{ title }}">
<a href="http://example.org/">a link</a>
{%- endfilter %}"#
)]
struct Page {
    title: &'static str,
    is_secure: bool,
}

#[expect(unreachable_pub, reason = "so is what the macro makes")]
mod filters {
    use std::fmt::Display;

    use askama::{Values, filters::Safe};

    use super::{POLICY, upgrade_fragment};

    /// `{% filter forcehttps(is_secure) %} .. {% endfilter %}`; what it is given is escaped already.
    #[askama::filter_fn]
    pub(crate) fn forcehttps(
        html: impl Display,
        _: &dyn Values,
        is_secure: &bool,
    ) -> askama::Result<Safe<String>> {
        let html = html.to_string();
        Ok(Safe(if *is_secure { upgrade_fragment(&html, &POLICY).into_owned() } else { html }))
    }
}

async fn by_askama(proxied: Proxied) -> Result<Html<String>, StatusCode> {
    let page = Page { title: TITLE, is_secure: proxied.is_secure() };
    page.render().map(Html).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

const PAGE: &str = r#"<title>{{ title }}</title>
<p>secure: {{ is_secure }}
{% filter forcehttps -%}
<img src="http://cdn.example:80/logo.png" alt="{{ title }}">
<a href="http://example.org/">a link</a>
{%- endfilter %}"#;

/// `{% filter forcehttps %} .. {% endfilter %}`, which looks up `is_secure` by itself.
fn forcehttps(state: &minijinja::State<'_, '_>, html: String) -> minijinja::Value {
    let is_secure = state.lookup("is_secure").is_some_and(|value| value.is_true());
    let html = if is_secure { upgrade_fragment(&html, &POLICY).into_owned() } else { html };
    minijinja::Value::from_safe_string(html)
}

fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.add_filter("forcehttps", forcehttps);
    environment.add_template("page.html", PAGE)?;
    Ok(environment)
}

async fn by_minijinja(
    State(environment): State<Arc<Environment<'static>>>,
    proxied: Proxied,
) -> Result<Html<String>, StatusCode> {
    let values = context! { title => TITLE, is_secure => proxied.is_secure() };
    let page = environment.get_template("page.html").and_then(|page| page.render(values));
    page.map(Html).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// Behind a proxy at 127.0.0.1.
fn app() -> Result<Router, Error> {
    let proxies = TrustedProxies::parse(["127.0.0.1"])?;
    Ok(Router::new()
        .route("/askama", get(by_askama))
        .route("/minijinja", get(by_minijinja))
        .with_state(Arc::new(environment()?))
        .layer(ForwardedForLayer::x_forwarded_for(proxies).front(Front::Nginx)))
}

#[derive(Parser)]
#[command(about = "No mixed content, by a filter of templates")]
struct Flags {
    /// End after the script.
    #[arg(long)]
    once: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Flags::parse()).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("templates: {failed} steps did not show what they must");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("templates: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<usize, Error> {
    let listener = Listener::http(bind(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)).await?);
    let (address, app) = (listener.address()?, app()?);
    let stack = move |peer| Router::new().fallback_service(PeerAddr::layer(peer).layer(app.clone()));
    tokio::spawn(serve::serve(vec![(listener, stack)], std::future::pending()));
    let mut walk = Walk::default();
    let stranger = IpAddr::from([127, 0, 0, 2]);
    for engine in ["/minijinja", "/askama"] {
        visit(&mut walk, address, engine, "The proxy was asked over https.", None, "https").await?;
        visit(&mut walk, address, engine, "The proxy was asked over http.", None, "http").await?;
        visit(&mut walk, address, engine, "A stranger says https.", Some(stranger), "https").await?;
    }
    println!("\n{} of {} steps showed what they must.", walk.steps() - walk.failed(), walk.steps());
    if !flags.once {
        println!("\nServing until Ctrl-C; be the proxy yourself:");
        println!(
            "  curl --noproxy '*' -H 'X-Forwarded-For: 203.0.113.5' -H 'X-Forwarded-Host: www.example.org' \\"
        );
        println!("    -H 'X-Forwarded-Proto: https' http://{address}/minijinja");
        serve::interrupted().await;
    }
    Ok(walk.failed())
}

async fn visit(
    walk: &mut Walk,
    app: SocketAddr,
    engine: &str,
    title: &'static str,
    from: Option<IpAddr>,
    scheme: &str,
) -> Result<(), Error> {
    let lines = [
        ("x-forwarded-for", "203.0.113.5"),
        ("x-forwarded-proto", scheme),
        ("x-forwarded-host", "www.example.org"),
    ];
    let page = Browser::plain().get(app, from, engine, &lines).await?;
    let is_secure = from.is_none() && scheme == "https";
    let image =
        if is_secure { "<img src=\"https://cdn.example/" } else { "<img src=\"http://cdn.example:80/" };
    walk.show(Step {
        title,
        sent: [format!("GET {engine}")]
            .into_iter()
            .chain(lines.map(|(name, value)| format!("{name}: {value}")))
            .collect(),
        saw: page.body.lines().filter_map(|line| line.strip_prefix("<p>")).map(Into::into).collect(),
        back: page.body.lines().map(Into::into).collect(),
        must: vec![
            ("the application knows", page.body.to_lowercase().contains(&format!("secure: {is_secure}\n"))),
            ("with its image over the page's own scheme", page.body.contains(image)),
            ("a link is left alone", page.body.contains("<a href=\"http://example.org/\">")),
            (
                "what was escaped is escaped once",
                page.body.matches("Salt &#38; &#60;pepper&#62;").count() == 2
                    || page.body.matches("Salt &amp; &lt;pepper&gt;").count() == 2,
            ),
        ],
    });
    Ok(())
}
