//! What docs/attacks.md names exists: each row says which test holds the attack off, and that test is there.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use serde_json::Value;

const PAGE: &str = include_str!("../docs/attacks.md");

#[test]
fn each_attack_names_a_test_that_exists() {
    let rows: Vec<&str> = PAGE.lines().filter(|line| is_row(line)).collect();
    assert!(rows.len() >= 90, "{} rows: has the form of the tables changed?", rows.len());
    let mut files = Files::default();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [_, _, tests] = cells[..] else { panic!("a row has three cells: {row}") };
        assert!(references(tests).next().is_some(), "no test is named: {row}");
        for reference in references(tests) {
            assert!(files.has(reference), "{reference} does not exist: {row}");
        }
    }
}

#[test]
fn what_stands_outside_of_the_tables_exists_too() {
    let mut files = Files::default();
    let text = PAGE.lines().filter(|line| !is_row(line));
    let named: Vec<&str> =
        text.flat_map(references).filter(|name| name.starts_with("tests/") && name.contains("::")).collect();
    assert!(named.len() >= 4, "{named:?}");
    for reference in named {
        assert!(files.has(reference), "{reference} does not exist");
    }
}

#[test]
fn what_does_not_exist_is_found_out() {
    let mut files = Files::default();
    assert!(files.has("forwarded_for.json#peer/none"));
    assert!(!files.has("forwarded_for.json#peer/nobody"));
    // Disputed: it is not run.
    assert!(!files.has("script_name.json#request/pct-slash-no"));
    assert!(files.has("tests/attacks.rs::what_does_not_exist_is_found_out"));
    // A function that is no test holds nothing off.
    assert!(!files.has("tests/attacks.rs::references"));
    assert!(!files.has("tests/attacks.rs::no_such_test"));
    assert!(!files.has("tests/no_such_file.rs::test"));
}

/// Neither prose, nor the head of a table.
fn is_row(line: &str) -> bool {
    line.starts_with("| ") && !line.starts_with("| what is sent |")
}

fn references(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Ids of vectors, and names of tests, by file.
#[derive(Default)]
struct Files(HashMap<String, BTreeSet<String>>);

impl Files {
    fn has(&mut self, reference: &str) -> bool {
        let (file, name, read): (_, _, fn(&str) -> BTreeSet<String>) = match reference.split_once('#') {
            Some((file, id)) => (format!("tests/vectors/{file}"), id, ids),
            None => match reference.split_once("::") {
                Some((file, name)) => (file.to_owned(), name, tests),
                None => return false,
            },
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
        let names = self
            .0
            .entry(file)
            .or_insert_with(|| fs::read_to_string(path).map(|text| read(&text)).unwrap_or_default());
        names.contains(name)
    }
}

/// Those of cases that run: not of the disputed and the pending ones.
fn ids(text: &str) -> BTreeSet<String> {
    let cases: Vec<Value> = serde_json::from_str(text).expect("a list of cases");
    let left_out = concat!(include_str!("vectors/disputed.txt"), include_str!("vectors/pending.txt"));
    let is_left_out = |id: &str| {
        let ids = left_out.lines().filter_map(|line| line.split_whitespace().next()?.split_once("::"));
        ids.into_iter().any(|(_, other)| other == id)
    };
    let ids = cases.iter().filter_map(|case| case["id"].as_str());
    ids.filter(|id| !is_left_out(id)).map(str::to_owned).collect()
}

/// Functions below `#[test]` or `#[tokio::test]` that are not ignored, and those of a block `laws! { .. }`.
fn tests(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let (mut is_test, mut is_law) = (false, false);
    for line in text.lines() {
        match line.trim() {
            "laws! {" => is_law = true,
            _ if line == "}" => is_law = false,
            attribute if attribute.starts_with("#[test]") || attribute.starts_with("#[tokio::test") => {
                is_test = true
            }
            ignored if ignored.starts_with("#[ignore") => is_test = false,
            code => {
                let Some(name) = code.strip_prefix("async ").unwrap_or(code).strip_prefix("fn ") else {
                    continue;
                };
                let name = name.split(['(', '<']).next().unwrap_or_default();
                if std::mem::take(&mut is_test) || is_law {
                    found.insert(name.to_owned());
                }
            }
        }
    }
    found
}
