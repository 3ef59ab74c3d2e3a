//! What the compiler says of the programs next to this file.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Per program, the lines with the codes of their errors.
pub(crate) type Errors = BTreeMap<String, BTreeSet<(u64, String)>>;

/// The mark of an error that the feature `test-util` takes away.
const WITHOUT_TEST_UTIL: &str = " without test-util";

/// What the programs' marks announce.
pub(crate) fn marked(has_test_util: bool) -> Errors {
    let mut marked = Errors::new();
    for file in std::fs::read_dir(package().join("src/bin")).unwrap() {
        let file = file.unwrap().path();
        let errors = marked.entry(file.file_stem().unwrap().to_str().unwrap().to_owned()).or_default();
        for (line, text) in (1..).zip(std::fs::read_to_string(&file).unwrap().lines()) {
            let Some((_, mark)) = text.split_once("//~ ") else { continue };
            match mark.strip_suffix(WITHOUT_TEST_UTIL) {
                Some(_) if has_test_util => {}
                code => drop(errors.insert((line, code.unwrap_or(mark).to_owned()))),
            }
        }
    }
    marked
}

/// What the compiler says.
pub(crate) struct Seen {
    pub(crate) errors: Errors,
    /// Per program, its errors as people read them.
    pub(crate) texts: BTreeMap<String, String>,
}

pub(crate) fn seen(has_test_util: bool) -> Seen {
    let mut check = Command::new(env!("CARGO"));
    check
        .args(["check", "--locked", "--bins", "--keep-going", "--message-format=json", "--manifest-path"])
        .arg(package().join("Cargo.toml"))
        .arg("--target-dir")
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_fail"));
    if has_test_util {
        check.args(["--features", "test-util"]);
    }
    let output = check.output().unwrap();
    let mut seen = Seen { errors: Errors::new(), texts: BTreeMap::new() };
    for message in String::from_utf8(output.stdout).unwrap().lines() {
        let message: Value = serde_json::from_str(message).unwrap();
        let program = || message["target"]["name"].as_str().unwrap().to_owned();
        match message["reason"].as_str() {
            Some("compiler-artifact") if message["target"]["kind"][0] == "bin" => {
                seen.errors.entry(program()).or_default();
            }
            Some("compiler-message") if message["message"]["level"] == "error" => {
                let errors = seen.errors.entry(program()).or_default();
                // The last one only counts the others.
                let Some(code) = message["message"]["code"]["code"].as_str() else { continue };
                let spans = message["message"]["spans"].as_array().unwrap();
                let primary = spans.iter().find(|span| span["is_primary"] == true).unwrap();
                errors.insert((primary["line_start"].as_u64().unwrap(), code.to_owned()));
                let text = seen.texts.entry(program()).or_default();
                text.push_str(message["message"]["rendered"].as_str().unwrap());
            }
            _ => {}
        }
    }
    assert!(!seen.errors.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    seen
}

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail")
}
