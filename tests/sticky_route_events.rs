//! What a pool tells in events of `tracing`. It is alone in its process: who meets an event for the first time while
//! another thread sets its subscriber may miss it.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Request, Response};
use tower::{ServiceExt, service_fn};
use tower_proxied::sticky_route::{Failover, Member, Phase, RequestBody, RouteCookie, State, StickyRoute};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Writes each event as one line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "tower_proxied::sticky_route"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

async fn serve(answers: bool, _: Request<RequestBody<()>>) -> Result<Response<()>, &'static str> {
    if answers { Ok(Response::new(())) } else { Err("refused") }
}

#[tokio::test]
async fn events_name_the_member_and_no_cookie() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let now = Arc::new(Mutex::new(Instant::now()));
    let clock = now.clone();
    let member = |route, answers| Member::new(route, service_fn(move |request| serve(answers, request)));
    let sticky = StickyRoute::builder("pool")
        .member(member("a", false))
        .member(member("b", true))
        .cookie(RouteCookie::plain())
        .classify(|_| Phase::Connect)
        .failover(Failover::default().eject_after(1))
        .clock(move || *clock.lock().unwrap())
        .build()
        .unwrap();
    let members = sticky.membership();
    let send = async |cookie: &str| {
        let request = Request::builder().header("cookie", cookie).body(()).unwrap();
        sticky.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    assert_eq!(send("pool-route=a; x=secret").await, 200);
    members.insert(member("a", true)).unwrap();
    *now.lock().unwrap() += Duration::from_secs(10);
    assert_eq!(send("pool-route=a; x=secret").await, 200);
    members.set_state("a", State::Stopped).unwrap();
    members.remove("b").unwrap();
    assert_eq!(send("pool-route=secret").await, 503);
    let told = [
        "DEBUG message=a member failed pool=\"pool\" route=a attempts=1 failure=Error(Connect)",
        "WARN message=a member is ejected pool=\"pool\" route=a",
        "INFO message=a member is inserted pool=\"pool\" route=a",
        "INFO message=a member is back pool=\"pool\" route=a",
        "INFO message=the state of a member is set pool=\"pool\" route=a state=stopped",
        "INFO message=a member is removed pool=\"pool\" route=b",
        "DEBUG message=no member gets a request pool=\"pool\" route=- outcome=unknown attempts=0",
    ];
    assert_eq!(*lines.0.lock().unwrap(), told);
}
