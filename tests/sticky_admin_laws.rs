//! Laws of the admin service: it shows each route as text, and nothing but a valid form changes a member.

#[macro_use]
#[path = "common/laws.rs"]
mod laws;
#[path = "sticky_admin/desk.rs"]
mod desk;
#[path = "sticky_admin/dom.rs"]
mod dom;

use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use proptest::prelude::*;
use tower_proxied::sticky_route::{Member, State};

use self::desk::{Desk, FORM, SEC_FETCH_SITE, encoded, post};
use self::dom::Dom;

const ACTIONS: [&str; 5] = ["enable", "drain", "disable", "stop", "weight"];

/// Routes as cookies can carry them (RFC 6265, section 4.1.1), with all that HTML, JSON and forms give a meaning to.
fn route() -> impl Strategy<Value = String> {
    prop_oneof![
        "[!#-+\\--:<-\\[\\]-~]{1,24}",
        Just("<script>alert(1)</script>".to_owned()),
        Just("'onmouseover='alert(1)".to_owned()),
        Just("&ltb&gt&amp&#39&quot".to_owned()),
        Just("</title></style></table><img/src=x>".to_owned()),
        Just("--><!--".to_owned()),
        Just("a&action=stop&m=b".to_owned()),
        Just("%41+b%".to_owned()),
    ]
}

laws! {
    fn every_page_shows_each_route_as_text(routes in prop::collection::hash_set(route(), 1..6), who in "\\PC{0,24}|[<>&\"'\0-\u{1f}]{1,9}") {
        let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
        tokio_test(async {
            let desk = Desk::of(routes.iter().map(|route| Member::new(route, ()).successor(route)));
            let json = desk.json(&who).await;
            let page = desk.page(&who, "text/html").await.text;
            let told: Vec<_> = json["members"].as_array().unwrap().iter().map(|member| member["route"].as_str().unwrap()).collect();
            assert_eq!(told, routes);
            // A parser may complain of control characters of an operator's id, and of nothing else.
            let html = if who.contains(char::is_control) { return } else { Dom::of(&page) };
            assert_eq!(html.user, format!("Revision 0, for {who}"));
            assert_eq!(html.cells.iter().map(|row| &*row[0]).collect::<Vec<_>>(), routes);
            assert_eq!(html.cells.iter().map(|row| &*row[5]).collect::<Vec<_>>(), routes);
            let known = ["html", "head", "meta", "title", "style", "body", "h1", "p", "table", "thead", "tbody", "tr", "th", "td", "form", "input", "button"];
            assert!(html.elements.iter().all(|element| known.contains(&element.as_str())), "{page}");
            assert!(!html.attributes.iter().any(|name| name.starts_with("on") || name == "src" || name == "href" || name == "style"), "{page}");
            // Each form does what it says.
            assert_eq!(html.forms.len(), routes.len() * ACTIONS.len());
            for (form, (route, action)) in html.forms.iter().zip(routes.iter().flat_map(|route| ACTIONS.map(|action| (*route, action)))) {
                assert_eq!((&*form[0].1, &*form[1].1), (route, action));
            }
            let stop = html.forms.iter().rposition(|form| form[1].1 == "stop").unwrap();
            let pairs: Vec<(&str, &str)> = html.forms[stop].iter().map(|(name, value)| (&**name, &**value)).collect();
            let answer = desk.send(post(encoded(&pairs)), &who).await;
            assert_eq!(answer.head.status, StatusCode::SEE_OTHER);
            assert_eq!(desk.members.status().last().unwrap().state(), State::Stopped);
        });
    }

    /// Whatever comes, but for a form of a page with nothing changed in it.
    fn nothing_but_a_valid_form_changes_members(
        method in mostly("POST", &["GET", "HEAD", "PUT"]),
        site in mostly(Some("same-origin"), &[None, Some("cross-site"), Some("none")]),
        media_type in mostly(FORM, &["text/plain"]),
        token_of in (mostly("alice", &["bob"]), 0..2_usize, 0..5_usize),
        other_member in mostly(0, &[1, 2]),
        other_action in mostly(0, &[1, 2, 3, 4]),
        is_stale in mostly(false, &[true]),
        flipped in prop::option::weighted(0.1, any::<prop::sample::Index>()),
        repeated in mostly(None, &[Some(0), Some(1), Some(2)]),
        more in mostly(true, &[false]),
        odd in prop::sample::select(vec![None, Some(("weight", "3")), Some(("minutes", "3")), Some(("url", "3"))]),
    ) {
        tokio_test(async {
            let routes = ["a", "b"];
            let desk = Desk::new(&routes);
            let asked = ((token_of.1 + other_member) % 3, (token_of.2 + other_action) % 5);
            let mut token = desk.token(token_of.0, routes[token_of.1], ACTIONS[token_of.2]).await;
            if let Some(at) = flipped {
                let at = at.index(token.len());
                let other = if &token[at..=at] == "0" { "1" } else { "0" };
                token.replace_range(at..=at, other);
            }
            let (route, action) = (["a", "b", "c"][asked.0], ACTIONS[asked.1]);
            let more = match action {
                "weight" if more => Some(("weight", "3")),
                _ if more => None,
                _ => odd,
            };
            let mut fields = vec![("m", route), ("action", action), ("token", &*token)];
            fields.extend(more);
            if let Some(at) = repeated {
                fields.push(fields[at]);
            }
            if is_stale {
                desk.members.set_weight("b", 5).unwrap();
            }
            let before = desk.state();
            let mut request = Request::builder().method(method).uri("/").header(CONTENT_TYPE, media_type);
            if let Some(site) = site {
                request = request.header(SEC_FETCH_SITE, site);
            }
            let answer = desk.send(request.body(encoded(&fields)).unwrap(), "alice").await;
            let is_valid = method == "POST"
                && site == Some("same-origin")
                && media_type == FORM
                && token_of == ("alice", asked.0, asked.1)
                && !is_stale
                && flipped.is_none()
                && repeated.is_none()
                && match action {
                    "weight" => more == Some(("weight", "3")),
                    "drain" => matches!(more, None | Some(("minutes", "3"))),
                    _ => more.is_none(),
                };
            assert_eq!(answer.action().is_some(), is_valid, "{:?}", answer.refused());
            assert_eq!(answer.head.status == StatusCode::SEE_OTHER, is_valid);
            // To enable what is enabled changes nothing.
            assert_eq!(desk.state() != before, is_valid && action != "enable");
            assert!(is_valid || answer.refused().is_some() || method != "POST");
        });
    }
}

/// As it must be nine times of ten, so that most forms are wrong in one thing, or in none.
fn mostly<T: Copy + std::fmt::Debug + 'static>(right: T, wrong: &'static [T]) -> impl Strategy<Value = T> {
    prop_oneof![9 => Just(right), 1 => prop::sample::select(wrong)]
}

fn tokio_test(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
}
