//! What the crate offers, item by item, is what `tests/public_api.txt` says: nothing comes, goes or changes its name
//! unseen.
//!
//! It reads the list of all items and the anchors of their members from rustdoc's pages, of the stable compiler. Types of
//! arguments are not in them. `UPDATE_PUBLIC_API=1 cargo test --test public_api` writes the file anew: look at its diff,
//! and let it stand in the change log.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;

#[test]
fn it_is_what_was_written_down() {
    let pages = documented();
    let mut seen = BTreeSet::new();
    let item = Regex::new(r#"<a href="([^"]+\.html)">"#).unwrap();
    let all = std::fs::read_to_string(pages.join("all.html")).unwrap();
    let (_, list) = all.split_once("<h1>List of all items</h1>").unwrap();
    for href in item.captures_iter(list).map(|found| found[1].to_owned()) {
        let (path, kind) = named(&href);
        seen.insert(format!("{path} ({kind})"));
        let page = std::fs::read_to_string(pages.join(&href)).unwrap();
        seen.extend(members(&page).into_iter().map(|member| format!("{path} {member}")));
    }
    assert!(seen.len() > 500, "{} lines: rustdoc's pages look otherwise now", seen.len());
    let written_down = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/public_api.txt");
    if std::env::var_os("UPDATE_PUBLIC_API").is_some() {
        let text: String = seen.iter().flat_map(|line| [line, "\n"]).collect();
        std::fs::write(&written_down, text).unwrap();
    }
    let text = std::fs::read_to_string(&written_down).unwrap();
    let known: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let (gone, new): (Vec<_>, Vec<_>) =
        (known.difference(&seen).collect(), seen.difference(&known).collect());
    assert!(gone.is_empty() && new.is_empty(), "gone: {gone:#?}\nnew: {new:#?}\nsee the top of this file");
}

/// The pages of the whole crate.
fn documented() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let status = Command::new(env!("CARGO"))
        .args(["doc", "--quiet", "--locked", "--no-deps", "--all-features", "--target-dir"])
        .arg(target)
        // As `tests/run.sh` makes them: they are made once.
        .env("RUSTDOCFLAGS", "-D warnings")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(status.unwrap().success());
    target.join("doc/tower_proxied")
}

/// `forwarded_for/struct.Claims.html` is `forwarded_for::Claims`, a struct.
fn named(href: &str) -> (String, &str) {
    let (module, file) = href.rsplit_once('/').unwrap_or(("", href));
    let (kind, name) = file.strip_suffix(".html").unwrap().split_once('.').unwrap();
    let parents = module.split('/').filter(|parent| !parent.is_empty());
    (parents.chain([name]).collect::<Vec<_>>().join("::"), kind)
}

/// Fields, variants, methods, and the traits that are written out; not what the compiler adds by itself.
fn members(page: &str) -> BTreeSet<String> {
    let own = page.split("id=\"trait-implementations\"").next().unwrap();
    let own = own.split("id=\"foreign-impls\"").next().unwrap().split("id=\"implementors\"").next().unwrap();
    let member = r#"id="((?:variant|structfield|method|tymethod|associatedtype|associatedconstant)\.[^"]+)""#;
    let found = Regex::new(member).unwrap();
    let mut members: BTreeSet<String> =
        found.captures_iter(own).map(|found| found[1].replace('.', " ")).collect();
    if let Some((_, traits)) = page.split_once("id=\"trait-implementations-list\"") {
        let traits = traits.split("id=\"synthetic-implementations\"").next().unwrap();
        let found = Regex::new(r#"id="impl-([^"]+)""#).unwrap();
        let written = found.captures_iter(traits).map(|found| decoded(&found[1]));
        members.extend(written.filter(|name| !name.starts_with("impl StructuralPartialEq")));
    }
    members
}

/// Without percent-encoding.
fn decoded(anchor: &str) -> String {
    let mut pieces = anchor.split('%');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (code, rest) = piece.split_at(2);
        text.push(u8::from_str_radix(code, 16).unwrap().into());
        text.push_str(rest);
    }
    format!("impl {}", text.replace("-for-", " for "))
}
