//! What must hold for all hosts, links and requests, beside the crates that read as browsers (`url`) and as RFC 3986
//! (`iri-string`) do.

#[macro_use]
#[path = "common/laws.rs"]
mod laws;

use http::{HeaderValue, Method, Request, Uri, Version, header};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::string::string_regex;
use tower_proxied::forced_host::{AllowedHosts, ForcedHostLayer, Site, Sites};
use tower_proxied::{PublicUrl, Refusal, RefusalKind};
use url::Url;

use self::browser::{host_is_what_browsers_read, link_stays, resolves_as_the_rfc};

#[path = "../fuzz/checks/browser.rs"]
mod browser;

laws! {
    fn a_link_leads_below_the_public_url(
        public in public(), current_path in nasty(), reference in nasty(),
    ) {
        link_stays(&public, &current_path, &reference);
        link_stays(&public, "/", &reference);
    }

    fn a_link_that_looks_like_an_own_one_leads_below_the_public_url(
        public in public(), before in token(), behind in nasty(), cut in 0..12_usize,
    ) {
        let own = public.to_string();
        let cut = own.len().saturating_sub(cut);
        for reference in [
            format!("{own}{behind}"),
            format!("{}{behind}", &own[..cut]),
            format!("{before}{own}{behind}"),
            format!("//{}{behind}", public.authority()),
            format!("//{}{before}{behind}", public.authority()),
            format!("{}:{before}{behind}", public.scheme()),
            format!("{}{behind}", public.prefix()),
        ] {
            link_stays(&public, "/a/b?c", &reference);
        }
    }

    fn a_long_link_leads_below_the_public_url(
        public in public(), token in token(), times in 1..400_usize, behind in nasty(),
    ) {
        let reference = token.repeat(times) + &behind;
        link_stays(&public, &reference, &behind);
        link_stays(&public, "/", &reference);
    }

    fn a_plain_path_gets_the_public_url_before_it(
        public in public(), path in "(/[a-z0-9._~-]{0,4}[a-z0-9]){1,4}(\\?[a-z=&]{0,8})?(#[a-z]{0,3})?",
    ) {
        prop_assert_eq!(public.absolute(&path), Ok(format!("{public}{path}")));
    }

    fn references_resolve_as_rfc_3986_has_it(base in uri(), reference in uri_reference()) {
        // The base says all, so that nothing of the public URL may show.
        let public = PublicUrl::from_static("http://elsewhere.example/mount");
        resolves_as_the_rfc(&public, &base, &reference);
    }

    fn any_text_resolves_to_a_uri_or_not_at_all(base in nasty(), reference in nasty()) {
        let public = PublicUrl::from_static("https://example.com/app");
        resolves_as_the_rfc(&public, &base, &reference);
    }

    fn a_host_is_the_one_that_browsers_go_to(
        host in host_text(), mutation in any::<u8>(), at in any::<prop::sample::Index>(),
        bytes in vec(any::<u8>(), 0..20),
    ) {
        host_is_what_browsers_read(host.as_bytes());
        host_is_what_browsers_read(&bytes);
        let mut mutated = host.into_bytes();
        if !mutated.is_empty() {
            let at = at.index(mutated.len());
            mutated[at] = mutation;
        }
        host_is_what_browsers_read(&mutated);
    }

    fn a_public_url_has_one_spelling(text in prop_oneof![own_spelling(), nasty()]) {
        if let Ok(public) = PublicUrl::parse(&text) {
            let canonical = public.to_string();
            prop_assert_eq!(PublicUrl::parse(&canonical).map(|public| public.to_string()), Ok(canonical.clone()));
            let (theirs, own) = (Url::parse(&text), Url::parse(&canonical));
            if let (Ok(theirs), Ok(own)) = (theirs, own) {
                prop_assert_eq!(theirs.scheme(), own.scheme());
                prop_assert_eq!(theirs.domain().map(|name| name.trim_end_matches('.')), own.domain());
                prop_assert_eq!(theirs.port_or_known_default(), own.port_or_known_default());
            }
        }
    }

    /// Whatever a request says, it is answered, and its public URL is one that the operator wrote down.
    fn no_request_chooses_where_the_application_stands(
        target in target(), hosts in vec(host_line(), 0..3), method in select(vec!["GET", "OPTIONS", "CONNECT"]),
        version in select(vec![Version::HTTP_10, Version::HTTP_11, Version::HTTP_2, Version::HTTP_3]),
    ) {
        let mut request = Request::new(());
        let Ok(uri) = Uri::try_from(target) else { return Ok(()) };
        *request.uri_mut() = uri;
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        *request.version_mut() = version;
        for host in hosts {
            if let Ok(host) = HeaderValue::from_bytes(&host) {
                request.headers_mut().append(header::HOST, host);
            }
        }
        let (parts, ()) = request.into_parts();
        let fixed = PublicUrl::from_static("https://example.com/app");
        prop_assert_eq!(ForcedHostLayer::fixed(fixed.clone()).resolve(&parts), Ok(Some(fixed.clone())));

        let on_the_list = ["http://example.com", "http://sub.example.org", "http://example.org", "http://[::1]:8080"];
        let hosts = AllowedHosts::from_static(&["example.com", ".example.org", "[::1]:8080"]);
        let allowed = ForcedHostLayer::allowed(hosts.clone()).resolve(&parts);
        let sites = Sites::new([
            Site::new("shop", fixed.clone()),
            Site::new("blog", PublicUrl::from_static("https://example.org")).also_at(hosts),
        ]);
        let site = ForcedHostLayer::sites(sites.unwrap()).resolve(&parts);
        for (public, expected) in [(&allowed, &on_the_list[..]), (&site, &["https://example.com/app", "https://example.org"])] {
            match public {
                Ok(public) => {
                    let public = public.as_ref().unwrap();
                    let text = public.to_string();
                    prop_assert!(expected.contains(&&text[..]), "{}", text);
                    let current = public.current(&parts);
                    prop_assert!(current.starts_with(&text), "{}", current);
                    prop_assert_eq!(Url::parse(&current).unwrap().origin(), Url::parse(&text).unwrap().origin());
                }
                Err(refusal) => prop_assert!(is_about_the_host(refusal), "{:?}", refusal),
            }
        }
    }
}

fn is_about_the_host(refusal: &Refusal) -> bool {
    match refusal.kind() {
        RefusalKind::HostNotAllowed => refusal.status() == 421,
        RefusalKind::HostMissing
        | RefusalKind::HostMalformed
        | RefusalKind::HostDuplicate
        | RefusalKind::HostMismatch => refusal.status() == 400,
        _ => false,
    }
}

fn public() -> impl Strategy<Value = PublicUrl> {
    select(vec![
        "https://example.com",
        "https://example.com/app",
        "http://example.com:8080/a/b",
        "http://[2001:db8::1]",
        "https://[::1]:8443/caf%C3%A9/app",
        "http://127.0.0.1/app",
        "https://a_b.example/x:y@z",
    ])
    .prop_map(PublicUrl::from_static)
}

/// What readers of references disagree about.
fn token() -> impl Strategy<Value = String> {
    let known = select(vec![
        "/",
        "//",
        "///",
        "\\",
        "/\\",
        "\\/",
        ".",
        "..",
        "/..",
        "/../",
        "/./",
        "%2e",
        "%2E%2e",
        "/%2e%2e/",
        "..;",
        "/..;/",
        "%2f",
        "%5c",
        "%00",
        "%09",
        "%",
        "%zz",
        "%25",
        "\t",
        "\n",
        "\r",
        " ",
        "\0",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{feff}",
        "?",
        "#",
        ":",
        ";",
        "@",
        "&",
        "=",
        "[",
        "]",
        "<",
        ">",
        "\"",
        "'",
        "`",
        "{",
        "|",
        "}",
        "^",
        "~",
        ",",
        "*",
        "+",
        "$",
        "!",
        ":443",
        ":80",
        ":8080",
        ":0",
        ":65536",
        ":",
        "@evil.example",
        "user:secret@",
        "https:",
        "http:",
        "HTTPS:",
        "javascript:",
        "data:",
        "//evil.example",
        "evil.example",
        "example.com",
        "EXAMPLE.com.",
        "app",
        "/app",
        "/app/",
        "/a/b",
        "a",
        "é",
        "。",
        "／",
        "．",
        "﹒",
        "ﬀ",
        "\u{202e}",
        "\u{200d}",
        "😀",
        "[::1]",
        "[2001:db8::1]",
        "127.0.0.1",
        "0x7f.1",
        "2130706433",
        "xn--",
        "x",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)]
}

fn nasty() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => vec(token(), 0..9).prop_map(|tokens| tokens.concat()),
        1 => vec(any::<char>(), 0..20).prop_map(String::from_iter),
        1 => "(https?:)?[/\\\\]{0,4}(example\\.com|evil\\.example|\\[::1\\])?(:[0-9]{0,5})?(/|app|\\.|%2e|;|@|\t){0,9}",
    ]
}

fn own_spelling() -> impl Strategy<Value = String> {
    (select(vec!["http", "https", "HTTPS", "ftp"]), host_text(), vec(token(), 0..3))
        .prop_map(|(scheme, host, path)| format!("{scheme}://{host}{}", path.concat()))
}

fn host_text() -> impl Strategy<Value = String> {
    let name = "[a-zA-Z0-9_-]{1,8}(\\.[a-zA-Z0-9_x-]{1,6}){0,3}\\.?";
    let host = prop_oneof![
        3 => name,
        1 => "[xX][nN]--[a-z0-9-]{0,8}\\.[a-z]{1,3}",
        1 => "[0-9a-fx]{1,4}(\\.[0-9xX]{1,4}){0,4}\\.?",
        1 => "([a-z0-9]{1,3}\\.){0,3}0[xX][0-9a-fA-F]{0,4}\\.?",
        1 => any::<[u8; 4]>().prop_map(|address| std::net::Ipv4Addr::from(address).to_string()),
        1 => any::<[u16; 8]>().prop_map(|address| format!("[{}]", std::net::Ipv6Addr::from(address))),
        1 => "\\[[0-9a-fA-F:.]{0,12}\\]",
        1 => "[a1.:\\[\\]@%x_-]{0,12}",
        1 => vec(token(), 0..4).prop_map(|tokens| tokens.concat()),
    ];
    (host, prop_oneof![3 => Just(String::new()), 1 => ":[0-9]{0,6}"]).prop_map(|(host, port)| host + &port)
}

fn host_line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => select(vec!["example.com", "Example.COM.", "example.com:443", "sub.example.org:80", "[::1]:8080", "evil.example"])
            .prop_map(|host| host.as_bytes().to_vec()),
        2 => host_text().prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..12),
    ]
}

fn target() -> impl Strategy<Value = Vec<u8>> {
    let host = || host_line().prop_map(|host| String::from_utf8_lossy(&host).into_owned());
    prop_oneof![
        2 => nasty().prop_map(|path| format!("/{path}").into_bytes()),
        1 => nasty().prop_map(String::into_bytes),
        2 => (host(), nasty()).prop_map(|(host, path)| format!("http://{host}/{path}").into_bytes()),
        1 => (host(), nasty()).prop_map(|(host, path)| format!("https://user@{host}?{path}").into_bytes()),
        1 => host().prop_map(String::into_bytes),
        1 => Just(b"*".to_vec()),
        1 => vec(any::<u8>(), 0..20),
    ]
}

const SEGMENT: &str = "([a-z0-9._~!$&'()*+,;=@-]|%[0-9A-F][0-9a-f]|\\.\\.|\\.){0,4}";

/// With a scheme and without a fragment.
fn uri() -> impl Strategy<Value = String> {
    (select(vec!["http:", "https:", "mailto:", "x+y.z-1:"]), hierarchy(), tail('?'))
        .prop_map(|(scheme, hierarchy, query)| format!("{scheme}{hierarchy}{query}"))
}

fn uri_reference() -> impl Strategy<Value = String> {
    let scheme = prop_oneof![4 => Just(""), 1 => select(vec!["http:", "urn:"])];
    (scheme, hierarchy(), tail('?'), tail('#'))
        .prop_map(|parts| [parts.0, &parts.1, &parts.2, &parts.3].concat())
}

/// An authority and a path, or one of them, or nothing.
fn hierarchy() -> impl Strategy<Value = String> {
    let authority = "//([a-z%0-9:]{0,3}@)?([a-z0-9.]{0,6}|\\[::1\\])(:[0-9]{0,3})?";
    let path = |pattern: String| string_regex(&pattern).unwrap();
    let absolute = path(format!("(/{SEGMENT}){{0,5}}"));
    let relative = path(format!("{SEGMENT}(/{SEGMENT}){{0,4}}"));
    let rooted = path(format!("/(\\.|\\.\\.)?(/{SEGMENT}){{0,4}}"));
    prop_oneof![
        (authority, absolute).prop_map(|(authority, path)| authority + &path),
        rooted,
        relative,
        Just(String::new()),
    ]
}

fn tail(mark: char) -> impl Strategy<Value = String> {
    prop_oneof![2 => Just(String::new()), 1 => "[a-z/?:@.;=&-]{0,5}".prop_map(move |text| format!("{mark}{text}"))]
}
