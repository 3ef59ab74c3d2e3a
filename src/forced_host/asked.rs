//! Which host does the request itself ask for?

use http::{HeaderName, Version, header, request};

use super::allowed::is_same_place;
use crate::refusal::RefusalKind;
use crate::wire::host::HostPort;
use crate::wire::list::{self, SeveralLines};

const HOST: HeaderName = header::HOST;

/// The host that the client, or the nearest proxy, asks for; `Ok(None)` where it names none.
pub(super) fn host(parts: &request::Parts) -> Result<Option<HostPort<'_>>, RefusalKind> {
    let host = match list::only_line(&parts.headers, &HOST) {
        Err(SeveralLines) => return Err(RefusalKind::HostDuplicate),
        // An empty one says that the target has no authority (RFC 9112, section 3.2).
        Ok(value) => value.map(list::trim).filter(|value| !value.is_empty()).map(read).transpose()?,
    };
    // `Uri` does not check it: user info and ports beyond 65535 pass.
    let target = parts.uri.authority().map(|authority| read(authority.as_str().as_bytes())).transpose()?;
    match (target, host) {
        (Some(target), Some(host)) if parts.version >= Version::HTTP_2 && !is_same_place(&target, &host) => {
            Err(RefusalKind::HostMismatch)
        }
        (Some(target), _) => Ok(Some(target)),
        (None, host) => Ok(host),
    }
}

fn read(bytes: &[u8]) -> Result<HostPort<'_>, RefusalKind> {
    HostPort::parse(bytes).ok_or(RefusalKind::HostMalformed)
}
