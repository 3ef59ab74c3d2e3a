//! The cases `admin-*` of `sticky_route.json`. Their requests are sentences: each is told here anew.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;
use tower_proxied::sticky_route::{
    Member, Membership, Operator, RouteCookie, State, StickyAdmin, StickyRoute,
};

use crate::support::{self, Case, Verdict, equal};

const FORM: &str = "application/x-www-form-urlencoded";

pub(crate) fn run(case: &Case) -> Verdict {
    support::only_keys(&case.given, &["members", "config"])?;
    support::only_keys(&case.given["config"], &["admin", "request"])?;
    support::only_keys(&case.expect, &["status", "changed", "body_must_not_contain"])?;
    let told = case.given["config"]["request"].as_str().ok_or("no request")?;
    support::block_on(async {
        let pool = Pool::new(&case.given["members"]);
        let token = pool.token("alice", "http-1", "drain").await;
        let drain = format!("m=http-1&action=drain&token={token}");
        let form = |body: &str| Request::post("/balancer").header("content-type", FORM).body(body.to_owned());
        let same_origin = |body: &str| {
            let mut request = form(body)?;
            request.headers_mut().insert("sec-fetch-site", "same-origin".parse().unwrap());
            Ok::<_, http::Error>(request)
        };
        let request = match (case.id.as_str(), told) {
            ("admin-get-never-mutates", "GET /balancer?m=http-1&action=drain&token=<valid>") => {
                Request::get(format!("/balancer?{drain}"))
                    .header("sec-fetch-site", "same-origin")
                    .body(String::new())
            }
            ("admin-post-no-token", "POST m=http-1&action=drain (no token)") => {
                same_origin("m=http-1&action=drain")
            }
            (
                "admin-post-no-origin-no-fetch-metadata",
                "POST with valid token, neither Origin nor Sec-Fetch-Site nor Referer",
            ) => form(&drain),
            ("admin-token-bound-to-action", "token minted for (http-1, drain) used for (http-1, enable)") => {
                pool.membership.set_state("http-1", State::Disabled).unwrap();
                let token = pool.token("alice", "http-1", "drain").await;
                same_origin(&format!("m=http-1&action=enable&token={token}"))
            }
            ("admin-stale-revision", "token minted at revision 7, state is at revision 8") => {
                for weight in 2..=8 {
                    pool.membership.set_weight("http-2", weight).unwrap();
                }
                let token = pool.token("alice", "http-1", "drain").await;
                equal("revision", token.split('.').next(), Some("7"))?;
                pool.membership.set_weight("http-2", 1).unwrap();
                same_origin(&format!("m=http-1&action=drain&token={token}"))
            }
            ("admin-body-too-big", "POST body of 4097 bytes") => {
                let zeros = "0".repeat(4097 - drain.len() - "&minutes=".len());
                same_origin(&format!("{drain}&minutes={zeros}"))
            }
            ("admin-wrong-content-type", "POST text/plain body") => same_origin(&drain).map(|mut request| {
                request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
                request
            }),
            ("admin-unknown-member", "POST m=nope") => {
                same_origin(&format!("m=nope&action=drain&token={token}"))
            }
            ("admin-never-shows-keys", "GET page and JSON") => {
                return never_shows_keys(&pool, &case.expect).await;
            }
            (_, told) => return Err(format!("the runner does not know the request {told:?}")),
        };
        let before = format!("{:?}", pool.membership);
        let (head, _) = pool.serve("alice", request.unwrap()).await;
        equal("status", u64::from(head.status.as_u16()), case.expect["status"].as_u64().unwrap())?;
        let changed = format!("{:?}", pool.membership) != before;
        equal("changed", Some(changed), case.expect["changed"].as_bool())?;
        // The same request would have been good but for the one thing.
        let token = pool.token("alice", "http-1", "drain").await;
        let good = same_origin(&format!("m=http-1&action=drain&token={token}")).unwrap();
        equal("the good one", pool.serve("alice", good).await.0.status, StatusCode::SEE_OTHER)?;
        equal("drained", pool.membership.status()[0].state(), State::Drain)
    })
}

async fn never_shows_keys(pool: &Pool, expect: &Value) -> Verdict {
    equal("never", expect["body_must_not_contain"].as_str(), Some("cookie key, token of another operator"))?;
    let mut secrets =
        vec![KEY.map(|byte| format!("{byte:02x}")).concat(), String::from_utf8(KEY.to_vec()).unwrap()];
    for route in ["http-1", "http-2"] {
        for action in ["enable", "drain", "disable", "stop", "weight"] {
            // The revision before it is no secret.
            let token = pool.token("bob", route, action).await;
            secrets.push(token.split_once('.').unwrap().1.to_owned());
        }
    }
    for _ in 0..8 {
        let pin = pool.pin().await;
        secrets.extend(pin.split_once('=').map(|(_, token)| token.to_owned()));
    }
    for accept in ["text/html", "application/json"] {
        let request = Request::get("/balancer").header("accept", accept).body(String::new()).unwrap();
        let (head, body) = pool.serve("alice", request).await;
        let head = format!("{head:?}");
        equal("both members", ["http-1", "http-2"].map(|route| body.contains(route)), [true; 2])?;
        if let Some(secret) = secrets.iter().find(|secret| body.contains(*secret) || head.contains(*secret)) {
            return Err(format!("{accept} shows {secret}"));
        }
    }
    Ok(())
}

const KEY: [u8; 32] = *b"this is the key of all cookies!!";

type Inner = BoxCloneSyncService<
    Request<tower_proxied::sticky_route::RequestBody<Full<Bytes>>>,
    Response<Full<Bytes>>,
    std::convert::Infallible,
>;

struct Pool {
    sticky: StickyRoute<Inner>,
    membership: Membership<Inner>,
    admin: StickyAdmin<Inner>,
}

impl Pool {
    fn new(members: &Value) -> Self {
        let mut builder = StickyRoute::builder("vectors").cookie(RouteCookie::opaque([KEY]));
        for member in members.as_array().unwrap() {
            assert_eq!((&member["weight"], &member["status"]), (&Value::from(1), &Value::from("ok")));
            let service = tower::service_fn(|_| async { Ok(Response::new(Full::default())) });
            let service = BoxCloneSyncService::new(service);
            builder = builder.member(Member::new(member["route"].as_str().unwrap(), service));
        }
        let sticky = builder.build().unwrap();
        let membership = sticky.membership();
        let operator = |parts: &http::request::Parts| Ok(parts.extensions.get::<Operator>().unwrap().clone());
        let admin = StickyAdmin::new(membership.clone(), operator).unwrap();
        Self { sticky, membership, admin }
    }

    async fn serve(&self, operator: &str, mut request: Request<String>) -> (http::response::Parts, String) {
        request.extensions_mut().insert(Operator::new(operator));
        let (head, body) = self.admin.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn token(&self, operator: &str, route: &str, action: &str) -> String {
        let request = Request::get("/").header("accept", "application/json").body(String::new()).unwrap();
        let (_, body) = self.serve(operator, request).await;
        let page: Value = serde_json::from_str(&body).unwrap();
        let mut members = page["members"].as_array().unwrap().iter();
        let member = members.find(|member| member["route"] == route).unwrap();
        member["tokens"][action].as_str().unwrap().to_owned()
    }

    /// The cookie of a new client.
    async fn pin(&self) -> String {
        let request = Request::new(Full::default());
        let response = self.sticky.clone().oneshot(request).await.unwrap();
        let line = response.headers()["set-cookie"].to_str().unwrap();
        line.split(';').next().unwrap().to_owned()
    }
}
