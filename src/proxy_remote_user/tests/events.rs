use std::sync::{Arc, Mutex};

use super::*;

type Log = Arc<Mutex<Vec<String>>>;

fn logged(builder: ProxyRemoteUserBuilder) -> (Arc<Config>, Log) {
    let log = Log::default();
    let own = Arc::clone(&log);
    (config(builder.on_event(move |event| own.lock().unwrap().push(event.to_string()))), log)
}

fn run(builder: ProxyRemoteUserBuilder, mut parts: request::Parts) -> (String, Vec<String>) {
    let (config, log) = logged(builder);
    let outcome = outcome(&config, &mut parts);
    let log = log.lock().unwrap().clone();
    (outcome, log)
}

const FORGED: &[(&str, &[u8])] =
    &[("remote-user", b"evil-value"), ("x_webauth_user", b"evil-value"), ("accept", b"evil-value")];

#[test]
fn forged_headers_are_named_and_never_shown() {
    let said = "203.0.113.9:4711: identity headers without proof: remote-user, x_webauth_user";
    assert_eq!(run(builder(), parts(STRANGER, FORGED)), ("Unproven".to_owned(), vec![said.to_owned()]));
    let refused = format!("203.0.113.9:4711: refused: {}", RefusalKind::IdentityForged);
    assert_eq!(
        run(builder().on_forged(OnForged::Refuse), parts(STRANGER, FORGED)),
        ("IdentityForged".to_owned(), vec![said.to_owned(), refused])
    );
    assert_eq!(run(builder(), parts(STRANGER, &[("accept", b"*/*")])).1, [""; 0]);
}

#[test]
fn a_guess_at_the_secret_is_forged() {
    let header = HeaderName::from_static("x-secret");
    let proof = Proof::shared_secret(header, [Secret::parse("correct-horse-battery").unwrap()]);
    let (_, log) = run(ProxyRemoteUserLayer::new(proof), parts(STRANGER, &[("x-secret", b"guess")]));
    assert_eq!(log, ["203.0.113.9:4711: identity headers without proof: x-secret"]);
}

#[test]
fn dropped_aliases_of_a_proven_proxy() {
    let lines: &[(&str, &[u8])] =
        &[("remote-user", b"alice"), ("remote.user", b"evil"), ("x-webauth-user", b"evil")];
    let (outcome, log) = run(builder(), parts(PROXY, lines));
    assert_eq!(outcome, "alice");
    assert_eq!(log, ["10.0.0.5:4711: other spellings of identity headers: remote.user"]);
    let (outcome, log) = run(builder().on_alias(OnAlias::Refuse), parts(PROXY, lines));
    assert_eq!(outcome, "IdentityMalformed");
    assert_eq!(
        log,
        ["10.0.0.5:4711: refused: identity malformed: user: its header came in another spelling"]
    );
    assert_eq!(run(builder(), parts(PROXY, &[("remote-user", b"alice")])).1, [""; 0]);
}

#[test]
fn refusals_carry_kind_and_fault() {
    let seen = Arc::new(Mutex::new(None));
    let own = Arc::clone(&seen);
    let config = config(builder().required().on_event(move |event| {
        if let EventKind::Refused(refusal) = event.kind() {
            *own.lock().unwrap() = Some((event.peer().is_some(), refusal.kind(), refusal.identity_fault()));
        }
    }));
    outcome(&config, &mut parts(PROXY, &[("remote-user", b"a,b")]));
    let (has_peer, kind, fault) = seen.lock().unwrap().take().unwrap();
    assert_eq!((has_peer, kind), (true, RefusalKind::IdentityMalformed));
    assert_eq!(fault.map(IdentityFault::rule), Some(Rule::Comma));
    outcome(&config, &mut parts(PROXY, &[]));
    assert_eq!(seen.lock().unwrap().take(), Some((true, RefusalKind::NotAuthenticated, None)));
}

#[test]
fn a_missing_peer_is_told() {
    let (outcome, log) = run(builder().peer_from(|_| None), parts(PROXY, &[]));
    assert_eq!(outcome, "NoPeer");
    assert_eq!(log, [format!("unknown peer: {}", RefusalKind::NoPeer)]);
    assert!(log[0].contains("into_make_service_with_connect_info") && log[0].contains("tonic"));
}

/// Else the proxy's own requests are refused as forged, and nothing says why.
#[test]
fn a_missing_peer_is_told_where_forged_headers_are_refused() {
    let builder = builder().on_forged(OnForged::Refuse).peer_from(|_| None);
    let (outcome, log) = run(builder, parts(PROXY, &[("remote-user", b"alice")]));
    assert_eq!(outcome, "IdentityForged");
    assert_eq!(
        log,
        [
            "unknown peer: identity headers without proof: remote-user".to_owned(),
            format!("unknown peer: {}", RefusalKind::NoPeer),
            format!("unknown peer: refused: {}", RefusalKind::IdentityForged),
        ]
    );
}

#[test]
fn what_an_exempt_path_excuses_is_no_refusal() {
    let mut exempt = parts(PROXY, &[("remote-user", b"a,b")]);
    exempt.uri = "/healthz".parse().unwrap();
    assert_eq!(run(builder().exempt_path("/healthz"), exempt), ("Exempt".to_owned(), Vec::new()));
}

proptest! {
    /// Told or not, the outcome and the headers are the same, and no value is in what is told.
    #[test]
    fn telling_changes_nothing(added in identity_lines(), is_proxy in any::<bool>(), is_strict in any::<bool>()) {
        let builder = || match is_strict {
            true => builder().required().on_forged(OnForged::Refuse).on_alias(OnAlias::Refuse),
            false => builder(),
        };
        let peer = if is_proxy { PROXY } else { STRANGER };
        let (mut told, mut untold) = (parts(peer, &[]), parts(peer, &[]));
        for (name, _) in added {
            let value = HeaderValue::from_static("qqqq");
            told.headers.append(&name, value.clone());
            untold.headers.append(&name, value);
        }
        let (config_told, log) = logged(builder());
        prop_assert_eq!(outcome(&config_told, &mut told), outcome(&config(builder()), &mut untold));
        prop_assert_eq!(told.headers, untold.headers);
        prop_assert!(log.lock().unwrap().iter().all(|line| !line.contains("qqqq")));
    }
}
