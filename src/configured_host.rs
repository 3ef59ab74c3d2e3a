use crate::wire::host::HostPort;

/// A host as an operator writes it: with the feature `idn`, in Unicode too.
pub(crate) fn configured_host(text: &str) -> Option<HostPort<'static>> {
    if !text.is_ascii() {
        return in_unicode(text);
    }
    HostPort::parse(text.as_bytes()).map(HostPort::into_owned)
}

/// What to do about a name in Unicode that is none.
pub(crate) const UNICODE: &str = if cfg!(feature = "idn") {
    "its host must be a name that can be written in ASCII"
} else {
    "write its host in ASCII, as xn--.., or use the feature idn"
};

#[cfg(not(feature = "idn"))]
fn in_unicode(_: &str) -> Option<HostPort<'static>> {
    None
}

/// The name that browsers send for it (URL standard, "domain to ASCII").
#[cfg(feature = "idn")]
fn in_unicode(text: &str) -> Option<HostPort<'static>> {
    use crate::wire::host::Host;

    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, format!(":{port}")),
        None => (text, String::new()),
    };
    let name = idna::domain_to_ascii_cow(name.as_bytes(), idna::AsciiDenyList::URL).ok()?;
    let host = HostPort::parse(format!("{name}{port}").as_bytes())?.into_owned();
    matches!(host.host(), Host::Name(_)).then_some(host)
}

#[cfg(all(test, feature = "idn"))]
mod tests {
    use super::*;

    #[test]
    fn names_in_unicode() {
        for (text, host) in [
            ("bücher.example", Some("xn--bcher-kva.example")),
            ("BÜCHER.example.:8443", Some("xn--bcher-kva.example:8443")),
            ("faß.example", Some("xn--fa-hia.example")),
            ("例え。テスト", Some("xn--r8jz45g.xn--zckzah")),
            ("xn--bcher-kva.example", Some("xn--bcher-kva.example")),
            ("bücher.example:0", None),
            ("bücher.example/x", None),
            ("bücher@evil.example", None),
            ("bü cher.example", None),
            ("１２７.0.0.1", None),
            ("a℀b.example", None),
            ("\u{200b}\u{e9}\u{301}:", None),
            ("\u{ad}", None),
            ("ü[::1]", None),
        ] {
            assert_eq!(configured_host(text).map(|host| host.to_string()).as_deref(), host, "{text}");
        }
    }
}
