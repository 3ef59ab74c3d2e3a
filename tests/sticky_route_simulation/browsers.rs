//! The clients' side: requests through any front end, with the pin that each client has.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::connector::Connector;
use super::{FRONTS, Home, World};

/// The browsers of all clients.
pub(crate) struct Browsers {
    client: Client<Connector, Full<Bytes>>,
    pub(crate) world: World,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) route: String,
    pub(crate) outcome: String,
    pub(crate) set_cookie: Option<String>,
}

impl Browsers {
    pub(crate) fn new(world: World) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build(Connector), world }
    }

    /// An idempotent request is answered, whatever happens.
    pub(crate) async fn get(&self, client: usize, front: usize) -> Answer {
        let response = self.send(Method::GET, client, front, "/").await;
        assert_eq!(response.status(), StatusCode::OK, "client {client} at {front}");
        self.read(response).await
    }

    /// Another one may get lost, but never does it reach two members.
    pub(crate) async fn post(&self, client: usize, front: usize) -> Option<Answer> {
        let number = self.world.0.borrow().counts.posts;
        let response = self.send(Method::POST, client, front, &format!("/{number}")).await;
        if response.status() == StatusCode::OK {
            return Some(self.read(response).await);
        }
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        self.world.0.borrow_mut().counts.failed_posts += 1;
        None
    }

    async fn send(&self, method: Method, client: usize, front: usize, path: &str) -> Response<Incoming> {
        let is_get = method == Method::GET;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", FRONTS[front]))
            .header("x-forwarded-for", format!("203.0.113.{client}"));
        {
            let mut seen = self.world.0.borrow_mut();
            if let Some(home) = seen.homes.get(&client) {
                request = request.header("cookie", &home.pin);
            }
            *(if is_get { &mut seen.counts.gets } else { &mut seen.counts.posts }) += 1;
        }
        // One of two POSTs has a body, which would not come home.
        let body = if is_get || path.ends_with(['0', '2', '4', '6', '8']) {
            Full::default()
        } else {
            Full::from("form=1")
        };
        let response = self.client.request(request.body(body).unwrap()).await.unwrap();
        if response.headers().get("x-attempts").is_some_and(|attempts| attempts != "1") {
            let counts = &mut self.world.0.borrow_mut().counts;
            *(if is_get { &mut counts.moved_gets } else { &mut counts.moved_posts }) += 1;
        }
        response
    }

    async fn read(&self, response: Response<Incoming>) -> Answer {
        let text = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let set_cookie = text("set-cookie").map(|line| line.split(';').next().unwrap().to_owned());
        let outcome = text("x-outcome").expect("each answer of a member has one");
        let route = response.into_body().collect().await.unwrap().to_bytes();
        Answer { route: String::from_utf8(route.into()).unwrap(), outcome, set_cookie }
    }

    pub(crate) fn keep_cookie(&self, client: usize, answer: Answer) {
        if let Some(pin) = answer.set_cookie {
            self.world.0.borrow_mut().homes.insert(client, Home { pin, route: answer.route });
        }
    }

    pub(crate) fn home(&self, client: usize) -> String {
        self.world.0.borrow().homes[&client].route.clone()
    }
}
