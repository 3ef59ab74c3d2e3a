//! A request of a browser to the application with sessions, and what became of its session.
#![allow(dead_code, reason = "each example takes what it needs")]

use std::net::SocketAddr;

use http::StatusCode;
use serde_json::Value;

use crate::browser::Browser;
use crate::session_app::COOKIE;

pub(crate) struct Visit {
    pub(crate) status: StatusCode,
    /// What the application saw.
    pub(crate) json: Value,
    /// The session's id that the browser had before and has after.
    pub(crate) id_before: Option<String>,
    pub(crate) id_after: Option<String>,
}

impl Visit {
    pub(crate) async fn pay(browser: &mut Browser, to: SocketAddr) -> Result<Self, String> {
        Self::with(browser, to, &[]).await
    }

    /// With these lines, too.
    pub(crate) async fn with(
        browser: &mut Browser,
        to: SocketAddr,
        lines: &[(&str, &str)],
    ) -> Result<Self, String> {
        let id = |browser: &Browser| browser.cookie(COOKIE).map(str::to_owned);
        let id_before = id(browser);
        let answer = browser.get(to, None, "/whoami", lines).await?;
        let json = serde_json::from_str(&answer.body).map_err(|error| format!("{}: {error}", answer.body))?;
        Ok(Self { status: answer.status, json, id_before, id_after: id(browser) })
    }

    /// Whether this became of the session, and this user is logged in now.
    pub(crate) fn is(&self, step: &str, user: Option<&str>) -> bool {
        self.status == StatusCode::OK && self.json["step"] == step && self.json["user"].as_str() == user
    }

    pub(crate) fn is_new_id(&self) -> bool {
        self.id_after.is_some() && self.id_before != self.id_after
    }
}

/// A form of that page, filled in.
pub(crate) fn form<'a>(page: &'a Visit, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let token = ("csrf", page.json["csrf"].as_str().unwrap_or_default());
    fields.iter().copied().chain([token]).collect()
}
