//! The host that a request itself asks for: one reading for the application's side and for the front end's.

use http::{HeaderName, Version, header, request};

use crate::refusal::RefusalKind;
use crate::wire::host::HostPort;
use crate::wire::list;

/// The host that a request asks for; `Ok(None)` where it names none.
///
/// `:authority` and the authority of an absolute target win over Host (RFC 9112, section 3.2.2; RFC 9113, section
/// 8.3.1); in HTTP/2 both must say the same.
pub(crate) fn asked_host(parts: &request::Parts) -> Result<Option<HostPort<'_>>, RefusalKind> {
    const HOST: HeaderName = header::HOST;
    // An empty one says that the target has no authority (RFC 9112, section 3.2).
    let line = list::only_line(&parts.headers, &HOST)
        .map_err(|_| RefusalKind::HostDuplicate)?
        .map(list::trim)
        .filter(|line| !line.is_empty())
        .map(read)
        .transpose()?;
    // `Uri` does not check it: user info and ports beyond 65535 pass.
    let target = parts.uri.authority().map(|authority| read(authority.as_str().as_bytes())).transpose()?;
    match (target, line) {
        (Some(target), Some(line)) if parts.version >= Version::HTTP_2 && !target.is_same_place(&line) => {
            Err(RefusalKind::HostMismatch)
        }
        (Some(target), _) => Ok(Some(target)),
        (None, line) => Ok(line),
    }
}

fn read(bytes: &[u8]) -> Result<HostPort<'_>, RefusalKind> {
    HostPort::parse(bytes).ok_or(RefusalKind::HostMalformed)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(version: Version, uri: &str, lines: &[&str]) -> Result<Option<String>, RefusalKind> {
        let mut request = Request::builder().version(version).uri(uri);
        for line in lines {
            request = request.header(header::HOST, *line);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Ok(asked_host(&parts)?.map(|host| host.to_string()))
    }

    #[test]
    fn the_target_wins_and_http_2_must_agree() {
        let found = |text: &str| Ok(Some(String::from(text)));
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        assert_eq!(asked(one, "/", &["Front.example:8080"]), found("front.example:8080"));
        assert_eq!(asked(one, "http://a.example/", &["b.example"]), found("a.example"));
        assert_eq!(asked(two, "http://a.example/", &[]), found("a.example"));
        assert_eq!(asked(two, "http://a.example/", &["A.EXAMPLE"]), found("a.example"));
        assert_eq!(asked(two, "http://a.example/", &["b.example"]), Err(RefusalKind::HostMismatch));
        assert_eq!(asked(one, "/", &[]), Ok(None));
        assert_eq!(asked(one, "/", &["a", "a"]), Err(RefusalKind::HostDuplicate));
        assert_eq!(asked(one, "/", &[""]), Ok(None));
        for bad in ["a@b", "a/b", "a,b", "a:0", "a:99999", "[::1", "a:"] {
            assert_eq!(asked(one, "/", &[bad]), Err(RefusalKind::HostMalformed), "{bad}");
        }
        assert_eq!(asked(one, "http://user@a.example/", &[]), Err(RefusalKind::HostMalformed));
    }
}
