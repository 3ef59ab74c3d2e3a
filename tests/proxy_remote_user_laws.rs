//! What must hold of `ProxyRemoteUser` for all inputs: 1,024 of them each time, 100,000 with `--ignored`.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tower_proxied::{Anonymous, ProxyRemoteUserLayer};

use self::model::{Headers, Who, expected, is_well_known, shown};
use self::requests::{Line, Seen, Sent, client_line, seen, sent};
use self::told::{SECRETS, Told, Tree, told};

#[macro_use]
#[path = "common/laws.rs"]
mod laws;

#[path = "proxy_remote_user_laws/model.rs"]
mod model;
#[path = "proxy_remote_user_laws/requests.rs"]
mod requests;
#[path = "proxy_remote_user_laws/told.rs"]
mod told;

laws! {
    /// Never a panic, always one `Identity`, and what the model says.
    fn a_request_is_judged_as_the_model_judges_it(told in told(), sent in sent()) {
        let seen = match seen(&told.layer(), &sent) {
            Seen::Served { who, headers, .. } => Ok((who, headers)),
            Seen::Refused { kind, .. } => Err(kind),
        };
        prop_assert_eq!(seen, expected(&told, &sent));
    }

    fn nothing_that_a_client_adds_without_a_proof_changes_the_inner_request(
        told in told(), sent in sent(), added in added(),
    ) {
        let told = Told { proof: unmet(told.proof, &sent), refuses_forged: false, ..told };
        let layer = told.layer();
        let added: Vec<_> =
            added.into_iter().filter(|((name, _), _)| told.protects(name)).collect();
        let without = seen(&layer, &sent);
        if let Seen::Served { who, .. } = &without {
            prop_assert!(matches!(who, Who::Nobody(Anonymous::Unproven | Anonymous::NoPeer)), "{:?}", who);
        }
        prop_assert_eq!(seen(&layer, &sent.with(&added)), without);
    }

    fn forgeries_are_refused_alike_where_they_are_to_be_refused(
        told in told(), sent in sent(), added in added(),
    ) {
        let told = Told { proof: unmet(told.proof, &sent), refuses_forged: true, ..told };
        let layer = told.layer();
        let clean = sent.without(|name| told.protects(name));
        let forged = |added: &[_]| match seen(&layer, &clean.with(added)) {
            Seen::Refused { kind, response } => format!("{kind:?} {response}"),
            Seen::Served { who, headers, rest } => format!("{who:?} {headers:?} {rest}"),
        };
        let mut forgeries = added.iter().filter(|((name, _), _)| told.protects(name));
        let Some(first) = forgeries.next() else { return Ok(()) };
        let one = forged(std::slice::from_ref(first));
        let is_fair = if clean.is_exempt() { one.starts_with("Nobody(Exempt)") } else { one.starts_with("IdentityForged 403") };
        prop_assert!(is_fair, "{}", one);
        let all: Vec<_> = forgeries.cloned().chain([first.clone()]).collect();
        prop_assert_eq!(forged(&all), one);
    }

    /// Aliases, names of other products, families: only the exact names of the configuration count.
    fn nothing_but_the_exact_names_counts_with_a_proof(told in told(), sent in sent(), added in added()) {
        let told = Told { refuses_aliases: false, refuses_forged: false, ..told };
        let layer = told.layer();
        let added: Vec<_> = added
            .into_iter()
            .filter(|((name, _), _)| told.protects(name) && !told.reads(name) && !told.keep.contains(&&**name))
            .collect();
        prop_assert_eq!(seen(&layer, &sent.with(&added)), seen(&layer, &sent));
    }

    fn a_disabled_layer_lets_no_known_header_through(sent in sent(), added in added()) {
        let layer = ProxyRemoteUserLayer::disabled();
        let added: Vec<_> = added.into_iter().filter(|((name, _), _)| is_well_known(name)).collect();
        let without = seen(&layer, &sent);
        let Seen::Served { who, headers, .. } = &without else { return Err(TestCaseError::fail("refused")) };
        prop_assert_eq!(who, &Who::Nobody(Anonymous::Disabled));
        prop_assert!(!headers.keys().any(|name| is_well_known(name)), "{:?}", headers);
        prop_assert_eq!(seen(&layer, &sent.with(&added)), without);
    }
}

fn added() -> impl Strategy<Value = Vec<(Line, Index)>> {
    vec((client_line(), any::<Index>()), 1..8)
}

/// The same proof, and where the request shows it one more that the request does not show.
fn unmet(proof: Tree, sent: &Sent) -> Tree {
    let mut headers = Headers::new();
    for (name, value) in &sent.lines {
        headers.entry(name.clone()).or_default().push(value.clone());
    }
    if shown(&proof, sent, &headers).is_none() {
        return proof;
    }
    let secrets = (0..SECRETS.len()).map(Tree::Secret);
    let leaves = [Tree::Peer, Tree::Cert, Tree::Verify].into_iter().chain(secrets);
    let more = leaves.into_iter().find(|leaf| shown(leaf, sent, &headers).is_none()).unwrap_or(Tree::Never);
    Tree::And(Box::new(proof), Box::new(more))
}

/// Inputs that find nothing prove nothing.
#[test]
fn the_inputs_are_of_all_kinds() {
    use std::collections::BTreeMap;

    use proptest::strategy::ValueTree;

    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..8_000 {
        let (told, sent) = (told(), sent()).new_tree(&mut runner).unwrap().current();
        let kind = match expected(&told, &sent) {
            Ok((Who::User { .. }, _)) if told.forwards => "user, forwarded".to_owned(),
            Ok((Who::User { .. }, _)) => "user".to_owned(),
            Ok((Who::Nobody(reason), _)) => format!("{reason:?}"),
            Err(kind) => format!("{kind:?}"),
        };
        *kinds.entry(kind).or_default() += 1;
    }
    let expected = [
        "Absent",
        "Exempt",
        "ForeignRealm",
        "IdentityForged",
        "IdentityMalformed",
        "NoPeer",
        "NotAuthenticated",
        "NotProven",
        "Unproven",
        "user",
        "user, forwarded",
    ];
    assert_eq!(kinds.keys().collect::<Vec<_>>(), expected);
    assert!(kinds.values().all(|count| *count >= 20), "{kinds:?}");
}
