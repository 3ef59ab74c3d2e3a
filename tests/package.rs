//! What is published: the files, and the compiler that everything in it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn cargo(arguments: &[&str]) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_package_holds_what_users_need_and_nothing_else() {
    let list = cargo(&["package", "--list", "--allow-dirty", "--locked", "--quiet"]);
    let tops: BTreeSet<&str> = list.lines().filter_map(|file| file.split('/').next()).collect();
    let mut wanted = BTreeSet::from(["benches", "docs", "examples", "src"]);
    wanted.extend(["CHANGELOG.md", "Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "SECURITY.md"]);
    // cargo's own. The first is there where this is a repository of git.
    let tops = tops.into_iter().filter(|top| !matches!(*top, ".cargo_vcs_info.json" | "Cargo.toml.orig"));
    assert_eq!(tops.collect::<BTreeSet<_>>(), wanted);
    assert!(!list.contains("benches/front_end/"), "scripts that install servers");
    // What the documentation is made of.
    let guide = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide.rs")).unwrap();
    for included in guide.split("include_str!(\"../").skip(1) {
        let file = included.split('"').next().unwrap();
        assert!(list.lines().any(|packaged| packaged == file), "{file}");
    }
}

/// `clippy::incompatible_msrv` looks at the crate's own code; this looks at what it stands on.
#[test]
fn no_dependency_needs_a_newer_compiler() {
    let metadata = cargo(&["metadata", "--format-version", "1", "--all-features", "--locked"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages: BTreeMap<&str, &Value> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["id"].as_str().unwrap(), package))
        .collect();
    let normal: BTreeMap<&str, Vec<&str>> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| {
            let used = node["deps"].as_array().unwrap().iter().filter(|used| {
                used["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"] != "dev")
            });
            (node["id"].as_str().unwrap(), used.map(|used| used["pkg"].as_str().unwrap()).collect())
        })
        .collect();
    let own = metadata["resolve"]["root"].as_str().unwrap();
    let ours = version(&packages[own]["rust_version"]).unwrap();
    let (mut reached, mut next) = (BTreeSet::new(), vec![own]);
    while let Some(id) = next.pop() {
        if reached.insert(id) {
            next.extend(&normal[id]);
        }
    }
    assert!(reached.len() > 30, "{reached:?}");
    let newer: Vec<_> = reached
        .into_iter()
        .filter(|id| version(&packages[id]["rust_version"]).is_some_and(|needed| needed > ours))
        .collect();
    assert!(newer.is_empty(), "newer than {ours:?}: {newer:?}");
}

/// `1.88` and `1.88.0` are one.
fn version(text: &Value) -> Option<(u32, u32)> {
    let mut numbers = text.as_str()?.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}
