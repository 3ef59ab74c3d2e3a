//! Links of `PublicUrl` beside `url::Url::join`, and how a check of a host grows with the list, in the same run.
//!
//! `cargo bench --bench public_url`. All contenders are timed in turn, many times; the tables show medians. `join` resolves
//! as browsers do, goes wherever the reference leads, and knows no prefix: where its answer is another, it is marked.

use std::hint::black_box;

use tower_proxied::forced_host::{AllowedHosts, Site, Sites};
use tower_proxied::wire::host::HostPort;
use tower_proxied::{PublicUrl, Scheme};
use url::Url;

use self::support::{interleaved, is_wanted};

mod support;

fn main() {
    if !is_wanted() {
        return;
    }
    println!("an absolute link: ns (times ours)");
    println!("{:34} {:>10} {:>24} {:>24}", "", "absolute", "Url::join, String", "parse, join, String");
    let long = format!("/{}", ["segment"; 100].join("/"));
    for (name, reference) in [
        ("/reset/abc", "/reset/abc"),
        ("relative, query, fragment", "orders/7?page=2&sort=name#total"),
        ("dot segments", "/a/b/../../c/./d"),
        ("UTF-8", "/café/größe?q=ü"),
        ("800 bytes", &long),
        ("//evil.example/x", "//evil.example/x"),
    ] {
        link(name, reference);
    }
    println!("\na check of a host, of a site by host and by name: ns (times one)");
    println!("{:34} {:>12} {:>16} {:>16} {:>16}", "", "1", "100", "1,000", "10,000");
    growth("AllowedHosts, found", |count| {
        let allowed = AllowedHosts::parse((0..count).map(name_of)).unwrap();
        let host = last(count);
        Box::new(move || allowed.allows(Scheme::Https, &HostPort::parse(black_box(host.as_bytes())).unwrap()))
    });
    growth("AllowedHosts, below, found", |count| {
        let allowed = AllowedHosts::parse((0..count).map(|number| format!(".{}", name_of(number)))).unwrap();
        let host = format!("www.{}", last(count));
        Box::new(move || allowed.allows(Scheme::Https, &HostPort::parse(black_box(host.as_bytes())).unwrap()))
    });
    growth("AllowedHosts, below, not found", |count| {
        let allowed = AllowedHosts::parse((0..count).map(|number| format!(".{}", name_of(number)))).unwrap();
        Box::new(move || {
            !allowed.allows(Scheme::Https, &HostPort::parse(black_box(b"www.evil.example")).unwrap())
        })
    });
    growth("Sites::get", |count| {
        let sites = (0..count).map(|number| {
            let name = name_of(number);
            Site::new(&name, PublicUrl::parse(&format!("https://{name}")).unwrap())
        });
        let (sites, name) = (Sites::new(sites).unwrap(), last(count));
        Box::new(move || sites.get(black_box(&name)).is_some())
    });
}

fn name_of(number: usize) -> String {
    format!("tenant-{number}.example.com")
}

fn last(count: usize) -> String {
    name_of(count - 1)
}

fn link(name: &str, reference: &str) {
    let public = PublicUrl::from_static("https://www.example.com/webapps");
    let base_text = "https://www.example.com/webapps/";
    let base = Url::parse(base_text).unwrap();
    // `join` knows no prefix: a path of the application is made relative for it.
    let theirs = reference.strip_prefix('/').filter(|rest| !rest.starts_with('/')).unwrap_or(reference);
    let join = |base: &Url| base.join(black_box(theirs)).map(String::from);
    let is_same = public.absolute(reference).ok() == join(&base).ok();
    let [ours, joined, parsed] = interleaved([
        &|| _ = black_box(public.absolute(black_box(reference))),
        &|| _ = black_box(join(&base)),
        &|| _ = black_box(join(&Url::parse(black_box(base_text)).unwrap())),
    ]);
    let cell =
        |theirs: f64| format!("{theirs:.0} ({:.1}x){}", theirs / ours, if is_same { "" } else { " differs" });
    println!("{name:34} {ours:>10.0} {:>24} {:>24}", cell(joined), cell(parsed));
}

fn growth(name: &str, of: fn(usize) -> Box<dyn Fn() -> bool>) {
    let checks = [1, 100, 1_000, 10_000].map(of);
    assert!(checks.iter().all(|check| check()), "{name}");
    let [one, more @ ..] = interleaved(
        checks
            .each_ref()
            .map(|check| {
                let timed: Box<dyn Fn()> = Box::new(move || _ = black_box(check()));
                timed
            })
            .each_ref()
            .map(|timed| &**timed),
    );
    let cells = more.map(|time| format!("{time:.0} ({:.1}x)", time / one));
    println!("{name:34} {one:>12.0} {:>16} {:>16} {:>16}", cells[0], cells[1], cells[2]);
}
