//! A pool with its admin service, and what is sent there.

use std::fmt;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, Request, Response, request};
use http_body::Body;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use tower_proxied::sticky_route::{
    AdminAction, Member, Membership, Operator, RouteCookie, StickyAdmin, StickyRoute,
};
use tower_proxied::{Refusal, RefusalKind};

pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
pub(crate) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A pool, and its admin service; nobody ever calls a member.
pub(crate) struct Desk {
    pub(crate) members: Membership<()>,
    pub(crate) admin: StickyAdmin<()>,
}

impl Desk {
    pub(crate) fn new(routes: &[&str]) -> Self {
        Self::of(routes.iter().map(|route| Member::new(route, ())))
    }

    pub(crate) fn of(members: impl IntoIterator<Item = Member<()>>) -> Self {
        let builder = StickyRoute::builder("shop").cookie(RouteCookie::plain());
        let sticky =
            members.into_iter().fold(builder, |builder, member| builder.member(member)).build().unwrap();
        let members = sticky.membership();
        let admin = StickyAdmin::new(members.clone(), operator).unwrap();
        Self { members, admin }
    }

    pub(crate) async fn send<B: Body>(&self, mut request: Request<B>, who: &str) -> Answer {
        request.extensions_mut().insert(Operator::new(who));
        Answer::of(self.admin.clone().oneshot(request).await.unwrap()).await
    }

    pub(crate) async fn page(&self, who: &str, accept: &str) -> Answer {
        self.send(Request::get("/").header(ACCEPT, accept).body(String::new()).unwrap(), who).await
    }

    pub(crate) async fn json(&self, who: &str) -> Value {
        serde_json::from_str(&self.page(who, "application/json").await.text).unwrap()
    }

    pub(crate) async fn token(&self, who: &str, route: &str, action: &str) -> String {
        let page = self.json(who).await;
        let member =
            page["members"].as_array().unwrap().iter().find(|member| member["route"] == route).unwrap();
        member["tokens"][action].as_str().unwrap().to_owned()
    }

    /// All that there is to change, without what time does.
    pub(crate) fn state(&self) -> String {
        let of_all = self.members.status();
        format!(
            "{:?}",
            of_all
                .iter()
                .map(|member| (member.route().clone(), member.state(), member.weight_in_hundredths()))
                .collect::<Vec<_>>()
        )
    }
}

pub(crate) fn operator(parts: &request::Parts) -> Result<Operator, Refusal> {
    parts.extensions.get::<Operator>().cloned().ok_or(RefusalKind::NotOperator.into())
}

pub(crate) struct Answer {
    pub(crate) head: http::response::Parts,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of<B>(response: Response<B>) -> Self
    where
        B: Body<Error: fmt::Debug>,
    {
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Self { head, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    pub(crate) fn refused(&self) -> Option<RefusalKind> {
        self.head.extensions.get::<Refusal>().map(Refusal::kind)
    }

    pub(crate) fn action(&self) -> Option<&AdminAction> {
        self.head.extensions.get()
    }
}

pub(crate) fn post(body: impl Into<String>) -> Request<String> {
    Request::post("/")
        .header(SEC_FETCH_SITE, "same-origin")
        .header(CONTENT_TYPE, FORM)
        .body(body.into())
        .unwrap()
}

pub(crate) fn encoded(pairs: &[(&str, &str)]) -> String {
    serde_urlencoded::to_string(pairs).unwrap()
}
