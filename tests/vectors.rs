//! Runs every case of `tests/vectors/*.json`, and of the folder in `$TOWER_PROXIED_VECTORS` when it is set.
//!
//! A case is named `area::id`, the area being the file; `remote_user::http1::id` and `remote_user::http2::id` are the
//! same cases over sockets. `pending.txt` lists cases that may fail still, and must;
//! `disputed.txt` lists cases that are wrong, each with the reason.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use support::{Case, Verdict};

#[path = "vectors/force_https.rs"]
mod force_https;
#[path = "vectors/forced_host.rs"]
mod forced_host;
#[path = "vectors/forwarded_for.rs"]
mod forwarded_for;
#[path = "vectors/remote_user.rs"]
mod remote_user;
#[path = "vectors/script_name.rs"]
mod script_name;
#[path = "vectors/sockets.rs"]
mod sockets;
#[path = "vectors/sticky_admin.rs"]
mod sticky_admin;
#[path = "vectors/sticky_route.rs"]
mod sticky_route;
#[path = "vectors/support.rs"]
mod support;
#[path = "vectors/wire_captures.rs"]
mod wire_captures;

type Run = fn(&Case) -> Verdict;

/// How each file is run; what is named besides the file runs it once more, over sockets.
const AREAS: &[(&str, Run)] = &[
    ("forwarded_for", forwarded_for::run),
    ("remote_user", remote_user::run),
    ("remote_user::http1", remote_user::run_over_http_1),
    ("remote_user::http2", remote_user::run_over_http_2),
    ("forced_host", forced_host::run),
    ("script_name", script_name::run),
    ("force_https", force_https::run),
    ("sticky_route", sticky_route::run),
    ("wire_captures", wire_captures::run),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let lists = Lists { pending: ids(&here.join("pending.txt")), disputed: ids(&here.join("disputed.txt")) };
    let mut trials = trials(&here, "", &lists);
    trials.push(Trial::test("lists::name_cases", {
        let known: Vec<String> = trials.iter().map(|trial| trial.name().to_owned()).collect();
        let listed: Vec<String> = lists.pending.keys().chain(lists.disputed.keys()).cloned().collect();
        let reasons_given = lists.disputed.values().all(|reason| !reason.is_empty());
        move || {
            let unknown: Vec<_> = listed.iter().filter(|id| !known.contains(id)).collect();
            if !unknown.is_empty() {
                return Err(format!("no such cases: {unknown:?}").into());
            }
            if reasons_given { Ok(()) } else { Err("a disputed case has no reason".into()) }
        }
    }));
    trials.push(Trial::test("remote_user::names_what_a_protocol_does_not_carry", {
        let cases = cases(&here.join("remote_user.json")).expect("the file is there");
        move || remote_user::names_what_is_not_carried(&cases).map_err(Into::into)
    }));
    if let Some(folder) = std::env::var_os("TOWER_PROXIED_VECTORS") {
        trials.extend(self::trials(&PathBuf::from(folder), "extra::", &lists));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

struct Lists {
    pending: BTreeMap<String, String>,
    disputed: BTreeMap<String, String>,
}

/// The first word of each line is the id, the rest a reason.
fn ids(file: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| {
            // Ids hold single blanks; two of them, or a tab, end one.
            let (id, reason) = line.split_once("  ").or(line.split_once('\t')).unwrap_or((line, ""));
            (id.trim().to_owned(), reason.trim().to_owned())
        })
        .collect()
}

fn trials(folder: &Path, prefix: &str, lists: &Lists) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (area, run) in AREAS {
        let (stem, via) = area.split_once("::").unwrap_or((area, ""));
        let file = folder.join(format!("{stem}.json"));
        let Some(cases) = cases(&file) else {
            assert!(!prefix.is_empty(), "{} is missing", file.display());
            continue;
        };
        for case in cases {
            if !via.is_empty() && !remote_user::is_request(&case) {
                continue;
            }
            let id = format!("{area}::{}", case.id);
            let is_pending = lists.pending.contains_key(&id);
            let is_disputed = lists.disputed.contains_key(&id);
            let trial =
                Trial::test(format!("{prefix}{id}"), move || match (verdict(*run, &case), is_pending) {
                    (Ok(()), false) => Ok(()),
                    (Ok(()), true) => Err("passes: take it from pending.txt".into()),
                    (Err(_), true) => Ok(()),
                    (Err(message), false) => Err(format!("{message}\n{}", case.json).into()),
                });
            trials.push(trial.with_ignored_flag(is_disputed));
        }
    }
    trials
}

fn cases(file: &Path) -> Option<Vec<Case>> {
    let text = std::fs::read_to_string(file).ok()?;
    let cases: Vec<serde_json::Value> =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    Some(cases.into_iter().map(Case::new).collect())
}

fn verdict(run: Run, case: &Case) -> Verdict {
    std::panic::catch_unwind(|| run(case)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic");
        Err(text.to_owned())
    })
}
