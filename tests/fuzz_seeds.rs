//! Each seed of the fuzz targets, through the check that its target runs.

use std::path::Path;

#[path = "../fuzz/checks/mod.rs"]
pub mod checks;

#[test]
fn node() {
    replay("node", checks::node);
}

#[test]
fn list() {
    replay("list", checks::list);
}

#[test]
fn forwarded() {
    replay("forwarded", checks::forwarded);
}

#[test]
fn forwarded_for_layer() {
    replay("forwarded_for_layer", checks::forwarded_for_layer);
}

#[test]
fn script_name_prefix() {
    replay("script_name_prefix", checks::script_name_prefix);
}

#[test]
fn host() {
    replay("host", checks::host);
}

#[test]
fn reference() {
    replay("reference", checks::reference);
}

#[test]
fn cookie() {
    replay("cookie", checks::cookie);
}

#[test]
fn upgrader() {
    replay("upgrader", checks::upgrader);
}

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut count = 0;
    for seed in folder.read_dir().expect("the seeds stand beside the targets") {
        let path = seed.unwrap().path();
        // The harness shows what is printed where a check fails.
        println!("{}", path.display());
        check(&std::fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count >= 20, "{count} seeds of {target}");
}
