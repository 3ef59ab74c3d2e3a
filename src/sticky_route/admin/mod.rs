//! Shows the members of a running pool to operators, and lets them change it: the balancer-manager of Apache httpd.

mod action;
mod form;
mod future;
mod operator;
mod page;
mod token;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderValue, Method, Request, Response, StatusCode, header, request};
use http_body::Body;
use tower_service::Service;

pub use self::action::{AdminAction, AdminChange};
use self::form::Form;
pub use self::future::AdminFuture;
use self::future::Visit;
pub use self::operator::Operator;
use self::page::{CONTENT_SECURITY_POLICY, Format, Page};
use self::token::{FormKey, Purpose};
use super::pool::{Membership, OrderRefused, Route};
use crate::body::ResponseBody;
use crate::refusal::{Caller, Refusal, RefusalKind};

/// Shows the members of a running pool, and changes them: what balancer-manager is in Apache httpd, for operators alone.
///
/// `GET` gives a page without script, or JSON where `Accept` likes it better: of each member the route, state, weight,
/// role, tier, successor, requests in flight, and when an ejected one is tried again. Each has a form to enable, drain,
/// disable or stop it, and one for its weight. Members are neither added nor removed here, and no address is shown.
///
/// # What it decides, in order
///
/// 1. The authoriser that [`new`](Self::new) takes refuses the request, or names the [`Operator`].
/// 2. `GET` and `HEAD` show the members, and never change anything, whatever the query says. A method other than these and
///    `POST` is 405 with `Allow`, [`RefusalKind::MethodNotAllowed`].
/// 3. `POST` must come from this site, by `Sec-Fetch-Site: same-origin`, or without that field by an `Origin` that is
///    [`PublicUrl`](crate::PublicUrl)'s, else that of the host as [`Proxied`](crate::Proxied) or the request has it;
///    without a known scheme it is http. Else 403, [`RefusalKind::CrossSite`].
/// 4. It must be `application/x-www-form-urlencoded`, without `Content-Encoding`: else 415,
///    [`RefusalKind::MediaTypeUnsupported`].
/// 5. A body of more than 4096 bytes is 413, [`RefusalKind::BodyTooLarge`]: by `Content-Length` before it is read, else
///    while it is.
/// 6. Its fields are `m` (the route), `action`, `token`, and `weight` (such as 2 or 0.25) or `minutes` (of a drain; may be
///    left out). One that is unknown, missing, there twice or unreadable is 400, [`RefusalKind::FormMalformed`].
/// 7. No member of this route: 404, [`RefusalKind::MemberUnknown`].
/// 8. The token must be one that this process made for this operator, member and action: else 403,
///    [`RefusalKind::FormTokenInvalid`].
/// 9. The pool must not have been changed since the token was made, be it by another operator or by the program: else 409,
///    [`RefusalKind::FormStale`]. Ejections and recoveries do not count. Check and change are one step.
/// 10. The change is made, and answered with 303 back to the page; or with the new JSON where `Accept` likes that better.
///     The extensions of the answer hold an [`AdminAction`], for the log.
///
/// A refused request changes nothing, and has a [`Refusal`] in the extensions of its answer; the [`Operator`] is there
/// from step 2 on. Each answer has `Cache-Control: no-store`, `X-Content-Type-Options: nosniff`,
/// `Referrer-Policy: same-origin`, `Cross-Origin-Resource-Policy: same-origin`, and a `Content-Security-Policy` that
/// allows no script and no frame.
///
/// # Programs
///
/// The JSON has the tokens of the operator who asks, for `action=drain` in `members[0].tokens.drain`. A program sends
/// `Sec-Fetch-Site: same-origin` itself.
///
/// # Cost
///
/// A page is made anew for each request, with five HMACs and about 1.5 kB for each member. A change builds the maps of the
/// pool anew. Nothing of it is on the way of requests to members.
///
/// # Caveats
///
/// - Each process has its own pool, key and revision. Behind a balancer of its own, a form may come to another process
///   than the page, which refuses it: reach the admin service of each front end at an address of its own.
/// - An authoriser that looks at no more than the peer's address lets every page in that browser's reach rebind a name to
///   this service: put [`ForcedHost`](crate::ForcedHost) around it, so that only its own host gets here.
/// - It answers at every path where it is mounted, and links to nothing: axum's `nest_service` and
///   [`ScriptNamePrefix`](crate::ScriptNamePrefix) need no setting.
/// - A program that changes the pool all the time (as a busy [`Membership::drive`] may) makes forms stale.
/// - A form that comes slowly is waited for: a timeout is the server's.
///
/// # Source
///
/// What it must not be: CVE-2007-6420 (cross-site request forgery), CVE-2007-6421 and CVE-2012-4558 (cross-site
/// scripting), CVE-2007-6422 (a crash), all of them of balancer-manager. `Sec-Fetch-Site`: Fetch Metadata Request Headers
/// (W3C).
///
/// # Example
///
/// ```
/// use axum::Router;
/// use axum::body::Body;
/// use http::{Request, Response};
/// use tower::{ServiceExt, service_fn};
/// use tower_proxied::sticky_route::{Member, Operator, RequestBody, RouteCookie, State, StickyAdmin, StickyRoute};
/// use tower_proxied::{PeerAddr, Proof, ProxyRemoteUserLayer, TrustedProxies};
///
/// async fn hello(_: Request<RequestBody<Body>>) -> Result<Response<Body>, std::io::Error> {
///     Ok(Response::new("hello".into()))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sticky = StickyRoute::builder("shop")
///     .member(Member::new("http-1", service_fn(hello)))
///     .member(Member::new("http-2", service_fn(hello)))
///     .cookie(RouteCookie::plain())
///     .build()?;
/// let members = sticky.membership();
/// let app = Router::new()
///     .nest_service("/balancer", StickyAdmin::new(members.clone(), Operator::in_group("ops"))?)
///     .fallback_service(sticky.errors_to_502())
///     .layer(ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::loopback())).build()?)
///     .layer(PeerAddr::layer(PeerAddr::Tcp(([127, 0, 0, 1], 4711).into())));
///
/// let as_alice = || Request::builder().uri("/balancer").header("remote-user", "alice").header("remote-groups", "ops");
/// let page = app.clone().oneshot(as_alice().header("accept", "application/json").body(Body::empty())?).await?;
/// let page = axum::body::to_bytes(page.into_body(), 10_000).await?;
/// let page: serde_json::Value = serde_json::from_slice(&page)?;
/// assert_eq!(page["members"][0]["route"], "http-1");
///
/// let token = page["members"][0]["tokens"]["drain"].as_str().expect("a token");
/// let form = as_alice()
///     .method("POST")
///     .header("sec-fetch-site", "same-origin")
///     .header("content-type", "application/x-www-form-urlencoded")
///     .body(Body::from(format!("m=http-1&action=drain&token={token}")))?;
/// assert_eq!(app.clone().oneshot(form).await?.status(), 303);
/// assert_eq!(members.status()[0].state(), State::Drain);
///
/// let stranger = Request::get("/balancer").header("remote-user", "mallory").body(Body::empty())?;
/// assert_eq!(app.oneshot(stranger).await?.status(), 403);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct StickyAdmin<S> {
    console: Arc<Console<S>>,
}

impl<S> StickyAdmin<S> {
    /// For the operators that `authorise` names: [`Operator::in_group`], [`Operator::named`], or a function of your own,
    /// which refuses with `Err(RefusalKind::NotOperator.into())`.
    ///
    /// Clones share the key that tokens are made with. It is drawn anew here.
    ///
    /// # Errors
    ///
    /// The system has no random bytes.
    pub fn new(
        membership: Membership<S>,
        authorise: impl Fn(&request::Parts) -> Result<Operator, Refusal> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let console = Console { membership, authorise: Box::new(authorise), key: FormKey::random()? };
        Ok(Self { console: Arc::new(console) })
    }
}

impl<S> Clone for StickyAdmin<S> {
    fn clone(&self) -> Self {
        Self { console: self.console.clone() }
    }
}

impl<S> fmt::Debug for StickyAdmin<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StickyAdmin").field("members", &self.console.membership).finish_non_exhaustive()
    }
}

impl<S, B> Service<Request<B>> for StickyAdmin<S>
where
    S: Clone,
    B: Body,
{
    type Response = Response<ResponseBody<String>>;
    type Error = Infallible;
    type Future = AdminFuture<S, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let operator = match (self.console.authorise)(&parts) {
            Ok(operator) => operator,
            Err(refusal) => return AdminFuture::answered(secured(refusal.into_response(Caller::Http))),
        };
        let format = Format::of(&parts.headers);
        match parts.method {
            Method::GET | Method::HEAD => {
                let mut response = self.console.show(&operator, format);
                if parts.method == Method::HEAD {
                    *response.body_mut() = ResponseBody::text("");
                }
                AdminFuture::answered(answer(Ok(response), operator))
            }
            Method::POST => match form::check(&parts, &body.size_hint()) {
                Ok(()) => {
                    AdminFuture::reading(body, Visit { console: self.console.clone(), operator, format })
                }
                Err(kind) => AdminFuture::answered(answer(Err(kind.into()), operator)),
            },
            _ => {
                let refusal = Refusal::from(RefusalKind::MethodNotAllowed)
                    .with_header(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
                AdminFuture::answered(answer(Err(refusal), operator))
            }
        }
    }
}

type Authorise = dyn Fn(&request::Parts) -> Result<Operator, Refusal> + Send + Sync;

/// What all clones of a [`StickyAdmin`] share.
struct Console<S> {
    membership: Membership<S>,
    authorise: Box<Authorise>,
    key: FormKey,
}

impl<S> Console<S> {
    fn show(&self, operator: &Operator, format: Format) -> Response<ResponseBody<String>> {
        // First the revision: of a change in between the page has the outcome, and its forms are stale.
        let revision = self.membership.operator_revision();
        let members = self.membership.status();
        let text = Page { members: &members, revision, operator, key: &self.key }.text(format);
        let length = HeaderValue::from(text.len());
        let mut response = Response::new(ResponseBody::inner(text));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
        headers.insert(header::CONTENT_LENGTH, length);
        headers.insert(header::VARY, HeaderValue::from_static("accept"));
        response
    }

    fn answer_form(
        &self,
        operator: Operator,
        format: Format,
        form: Result<&[u8], RefusalKind>,
    ) -> Response<ResponseBody<String>>
    where
        S: Clone,
    {
        let action = form.and_then(|form| self.change(&operator, form));
        let response = action.map_err(Refusal::from).map(|action| {
            let mut response = match format {
                Format::Html => back_to_the_page(),
                Format::Json => self.show(&operator, format),
            };
            response.extensions_mut().insert(action);
            response
        });
        answer(response, operator)
    }

    fn change(&self, operator: &Operator, form: &[u8]) -> Result<AdminAction, RefusalKind>
    where
        S: Clone,
    {
        let Form { member, change, token } = Form::parse(form).ok_or(RefusalKind::FormMalformed)?;
        if !self.membership.has(&member) {
            return Err(RefusalKind::MemberUnknown);
        }
        let purpose = Purpose { member: &member, action: change.name(), operator };
        let revision = self.key.revision(&token, purpose).ok_or(RefusalKind::FormTokenInvalid)?;
        let route = Route::parse(&member).map_err(|_| RefusalKind::MemberUnknown)?;
        self.membership.order(revision, &member, change.order()).map_err(|refused| match refused {
            OrderRefused::UnknownRoute => RefusalKind::MemberUnknown,
            OrderRefused::Stale => RefusalKind::FormStale,
        })?;
        Ok(AdminAction { operator: operator.clone(), route, change })
    }
}

/// To the same path without a query: nobody knows here what stands before it.
fn back_to_the_page() -> Response<ResponseBody<String>> {
    let mut response = Response::new(ResponseBody::text(""));
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("?"));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

fn answer(
    response: Result<Response<ResponseBody<String>>, Refusal>,
    operator: Operator,
) -> Response<ResponseBody<String>> {
    let mut response = response.unwrap_or_else(|refusal| refusal.into_response(Caller::Http));
    response.extensions_mut().insert(operator);
    secured(response)
}

fn secured(mut response: Response<ResponseBody<String>>) -> Response<ResponseBody<String>> {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With no-referrer the forms' Origin would be null.
        (header::REFERRER_POLICY, "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
