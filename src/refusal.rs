//! What a layer says when it does not let a request through.

use std::fmt;

use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header, request};

use crate::body::ResponseBody;
use crate::proxy_remote_user::IdentityFault;

/// A request that a layer answered itself.
///
/// It stands in the extensions of the response, so that an outer layer can log it or render it anew.
/// The response has `Cache-Control: no-store` and one fixed sentence as its body: what is wrong and what to
/// configure, never what the client sent.
///
/// A gRPC request (`POST` with media type `application/grpc`) is answered in gRPC's own way: HTTP 200,
/// `grpc-status` and `grpc-message`, no body.
///
/// # Example
///
/// ```
/// use tower_proxied::{Refusal, RefusalKind};
///
/// let refusal = Refusal::from(RefusalKind::HostNotAllowed);
/// assert_eq!(refusal.status(), 421);
/// assert_eq!(refusal.to_string(), "host not allowed: neither AllowedHosts nor Sites have it; if the proxy changes Host, let it keep it, or say use_proxied()");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    kind: RefusalKind,
    identity_fault: Option<IdentityFault>,
    header: Option<(HeaderName, HeaderValue)>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $status:ident, $grpc:literal, $text:literal;)+) => {
        /// Why a request was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum RefusalKind {
            $($(#[$doc])* $kind,)+
        }

        impl RefusalKind {
            fn rendering(self) -> (StatusCode, &'static str, &'static str) {
                match self {
                    $(Self::$kind => (StatusCode::$status, $grpc, $text),)+
                }
            }

            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$kind),+];
        }
    };
}

kinds! {
    /// No peer information in the request's extensions: the service is wired wrongly.
    NoPeer => INTERNAL_SERVER_ERROR, "13",
        "no peer address. axum: serve with into_make_service_with_connect_info::<PeerAddr>(), feature axum. tonic: feature tonic, with TLS tonic-tls. Else: PeerAddr::layer(..) around each connection";
    /// Something needs the extension that `ForwardedFor` leaves, and it did not run.
    ProxiedMissing => INTERNAL_SERVER_ERROR, "13",
        "layer missing: ForwardedForLayer must stand outside of what reads Proxied: the extractors Proxied and ClientIp, ForceHttpsBody without secure_when(..), use_proxied(), from_proxied(); ServiceBuilder: name it first, axum: Router::layer wraps only what was added before it";
    /// Something needs the extension that `ForcedHost` leaves, and it did not run, or not for this path.
    PublicUrlMissing => INTERNAL_SERVER_ERROR, "13",
        "layer missing: ForcedHostLayer must stand outside of what reads PublicUrl; exempt paths have none; ServiceBuilder: name it first, axum: Router::layer wraps only what was added before it";
    /// Something needs the extension that `ScriptNamePrefix` leaves, and it did not run, or not for this path.
    ScriptNameMissing => INTERNAL_SERVER_ERROR, "13",
        "layer missing: ScriptNamePrefixLayer must stand outside of what reads ScriptName; exempt paths have none; axum: around the Router, Router::new().fallback_service(layer.layer(router))";
    /// The trusted proxy named no client, and the policy wants one.
    ClientMissing => BAD_REQUEST, "3",
        "client address missing: the trusted proxy sent no address list, let it write the configured header; a proxy on a unix socket is trusted by unix:";
    /// The trusted proxy hides the client (`unknown`, `_name`), and the policy wants it.
    ClientObscured => BAD_REQUEST, "3",
        "client address obscured: the trusted proxy hides it; let it write addresses, or allow this with on_obscured";
    /// An element that a trusted proxy vouches for is not an address.
    ClientMalformed => BAD_REQUEST, "3",
        "client address malformed: the last unread element of the address list is no address";
    /// More elements walked than allowed.
    TooManyHops => BAD_REQUEST, "3", "too many hops in the address list: see max_elements";
    /// Fewer elements than configured hops.
    TooFewHops => BAD_REQUEST, "3",
        "too few hops in the address list: the request did not come through the whole chain of proxies";
    /// A field that must stand alone stands twice.
    DuplicateField => BAD_REQUEST, "3",
        "duplicate field: a header that the proxy sets has more than one value; let the proxy replace what the client sent";
    /// A declared claim is absent.
    ClaimMissing => BAD_REQUEST, "3",
        "forwarding header missing: the proxy is declared to write X-Forwarded-Proto, -Host, -Port or -Prefix, and one of those is absent; a client may have had it removed, or the declaration is wrong";
    /// A declared claim cannot be read.
    ClaimMalformed => BAD_REQUEST, "3",
        "forwarding header malformed: scheme, host, port or prefix as told by the proxy cannot be read";
    /// A hop that was counted is not in the trusted set.
    UntrustedHop => BAD_REQUEST, "3",
        "untrusted hop: an address that hops(n) counts as a proxy is not in the trusted set";
    /// The proxy sent an identity that is ambiguous or unreadable.
    IdentityMalformed => BAD_REQUEST, "3",
        "identity malformed: the proxy must send exactly one readable user";
    /// Identity headers from a peer that proved nothing.
    IdentityForged => FORBIDDEN, "7", "identity headers are not accepted from this peer";
    /// Something needs the extension that `ProxyRemoteUser` leaves, and it did not run.
    IdentityMissing => INTERNAL_SERVER_ERROR, "13",
        "layer missing: ProxyRemoteUserLayer must stand outside of what reads RemoteUser or Identity; ServiceBuilder: name it first, axum: Router::layer wraps only what was added before it";
    /// The front end knows a user whom its headers cannot carry, or its headers clash.
    IdentityUnwritable => INTERNAL_SERVER_ERROR, "13",
        "identity unwritable: the identity headers cannot carry this user, or clash; SetRemoteUserLayer says which: can_write, checked";
    /// The user is of a realm that is not accepted.
    ForeignRealm => FORBIDDEN, "7", "the user is of a realm that is not accepted here";
    /// The function of [`map_user`](crate::proxy_remote_user::ProxyRemoteUserBuilder::map_user) turns this user away.
    UserDenied => FORBIDDEN, "7", "the application does not accept this user";
    /// The function of [`map_user`](crate::proxy_remote_user::ProxyRemoteUserBuilder::map_user) cannot tell now.
    UserUnavailable => SERVICE_UNAVAILABLE, "14",
        "the application cannot tell now who this user is: what map_user relies on does not answer";
    /// [`RequireGroup`](crate::proxy_remote_user::RequireGroup) asks for a group that the user is not in.
    NotInGroup => FORBIDDEN, "7", "the user is not in a group that may come here";
    /// Nobody is logged in, and somebody must be.
    NotAuthenticated => UNAUTHORIZED, "16", "not authenticated: the proxy named no user";
    /// Nobody is logged in since nothing proves that a proxy sent the request, and somebody must be.
    NotProven => UNAUTHORIZED, "16",
        "not authenticated: nothing proves that the request comes from the proxy; see the Proof of ProxyRemoteUserLayer, and PeerAddr: does the server say who the peer is?";
    /// No Host and no `:authority`.
    HostMissing => BAD_REQUEST, "3", "host missing: the request names none; default_origin() serves such requests";
    /// A host that no grammar admits.
    HostMalformed => BAD_REQUEST, "3", "host malformed: the host of the request cannot be read";
    /// More than one Host.
    HostDuplicate => BAD_REQUEST, "3", "host duplicate: the request names its host more than once";
    /// `:authority` and Host differ.
    HostMismatch => BAD_REQUEST, "3", "host mismatch: the request names two different hosts";
    /// A host that is not on the list.
    HostNotAllowed => MISDIRECTED_REQUEST, "3",
        "host not allowed: neither AllowedHosts nor Sites have it; if the proxy changes Host, let it keep it, or say use_proxied()";
    /// The path is outside of the prefix.
    OutsidePrefix => NOT_FOUND, "5", "not found: the path is outside of the prefix under which this application is mounted; if the proxy strips it, say proxy_strips; axum: around the Router, never Router::layer or nest";
    /// The path climbs out of the prefix.
    EscapesPrefix => BAD_REQUEST, "3", "path malformed: it climbs out of the prefix under which this application is mounted";
    /// Redirect from the bare mount point to the one with a slash.
    BarePrefix => PERMANENT_REDIRECT, "5", "this application starts one slash further";
    /// `CONNECT` asks for a tunnel, which a front end for fixed targets does not open.
    TunnelRefused => NOT_IMPLEMENTED, "12", "CONNECT is not supported: this front end opens no tunnels";
    /// A transfer coding other than `chunked`.
    TransferCodingUnknown => NOT_IMPLEMENTED, "12", "transfer coding not supported: only chunked is";
    /// No member can take the request.
    NoMember => SERVICE_UNAVAILABLE, "14", "no application server can take the request now";
    /// The member, or the connection to it, failed.
    MemberFailed => BAD_GATEWAY, "14", "the application server did not answer";
    /// The member did not answer in time.
    MemberTimedOut => GATEWAY_TIMEOUT, "4", "the application server did not answer in time";
    /// The member answered in a way that cannot be handed on.
    AnswerUnusable => BAD_GATEWAY, "13",
        "answer unusable: the application server switched protocols unasked, or used a transfer coding other than chunked";
    /// The admin service of a pool: the user may not come here.
    NotOperator => FORBIDDEN, "7", "the user is no operator of this pool";
    /// The admin service of a pool: neither GET, HEAD nor POST.
    MethodNotAllowed => METHOD_NOT_ALLOWED, "12", "method not allowed: members are shown by GET, and changed by POST";
    /// The admin service of a pool: a form of another site, or of nobody knows which.
    CrossSite => FORBIDDEN, "7",
        "cross-site: neither Sec-Fetch-Site nor Origin says that the form is of this site; if a proxy changes Host, ForcedHostLayer must stand outside";
    /// The admin service of a pool: no form.
    MediaTypeUnsupported => UNSUPPORTED_MEDIA_TYPE, "3",
        "media type not supported: only application/x-www-form-urlencoded without a content coding is";
    /// The admin service of a pool: a body of more than 4096 bytes.
    BodyTooLarge => PAYLOAD_TOO_LARGE, "8", "body too large: nothing of it was applied";
    /// The admin service of a pool: a field that is unknown, missing, there twice or unreadable, or a broken body.
    FormMalformed => BAD_REQUEST, "3", "form malformed: a field is unknown, missing, there twice or unreadable";
    /// The admin service of a pool: no member has this route.
    MemberUnknown => NOT_FOUND, "5", "no member has this route";
    /// The admin service of a pool: the token is missing, or is for another member, action, operator or process.
    FormTokenInvalid => FORBIDDEN, "7",
        "form token invalid: it is missing, or for another member, action, operator or process; load the page again";
    /// The admin service of a pool: the pool was changed since the page was made.
    FormStale => CONFLICT, "10", "the pool was changed since this page was made; load it again";
}

impl Refusal {
    /// Why the request was refused.
    pub fn kind(&self) -> RefusalKind {
        self.kind
    }

    /// The status of the plain HTTP rendering.
    pub fn status(&self) -> StatusCode {
        self.kind.rendering().0
    }

    /// Which role broke which rule, where [`ProxyRemoteUser`](crate::ProxyRemoteUser) refused what a proven proxy sent:
    /// there with [`RefusalKind::IdentityMalformed`] and [`RefusalKind::ForeignRealm`], but for a user who could be read
    /// and not be written anew by `forward_canonical`.
    pub fn identity_fault(&self) -> Option<IdentityFault> {
        self.identity_fault
    }

    pub(crate) fn with_identity_fault(mut self, fault: IdentityFault) -> Self {
        self.identity_fault = Some(fault);
        self
    }

    fn text(&self) -> &'static str {
        match (self.kind, self.identity_fault) {
            (RefusalKind::IdentityMalformed, Some(fault)) => fault.sentence(),
            (kind, _) => kind.rendering().2,
        }
    }

    /// The one header that this refusal adds, such as `WWW-Authenticate`, `Location` or `Retry-After`.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    pub(crate) fn into_response<R>(self, to: Caller) -> Response<ResponseBody<R>> {
        let (status, grpc_status, _) = self.kind.rendering();
        let text = self.text();
        let mut response = match to {
            Caller::Grpc => {
                let mut response = Response::new(ResponseBody::text(""));
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                headers.insert("grpc-status", HeaderValue::from_static(grpc_status));
                headers.insert("grpc-message", HeaderValue::from_static(text));
                response
            }
            Caller::Http => {
                let mut response = Response::new(ResponseBody::text(text));
                *response.status_mut() = status;
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
                response
            }
        };
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some((name, value)) = self.header.clone() {
            response.headers_mut().insert(name, value);
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<RefusalKind> for Refusal {
    fn from(kind: RefusalKind) -> Self {
        Self { kind, identity_fault: None, header: None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Display for RefusalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rendering().2)
    }
}

/// In whose protocol a refusal is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Http,
    Grpc,
}

impl Caller {
    /// gRPC over HTTP/2: `POST`, media type `application/grpc` and then nothing, `+`, `;` or a blank.
    pub(crate) fn of(parts: &request::Parts) -> Self {
        let is_grpc_type = |value: &HeaderValue| {
            value.as_bytes().split_at_checked(b"application/grpc".len()).is_some_and(|(essence, rest)| {
                essence.eq_ignore_ascii_case(b"application/grpc")
                    && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
            })
        };
        let is_grpc = parts.method == Method::POST
            && parts.headers.get_all(header::CONTENT_TYPE).iter().any(is_grpc_type);
        if is_grpc { Self::Grpc } else { Self::Http }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(method: Method, content_type: &'static str) -> Caller {
        let request = http::Request::builder().method(method).header("content-type", content_type).body(());
        Caller::of(&request.unwrap().into_parts().0)
    }

    #[test]
    fn grpc_by_method_and_media_type() {
        for yes in
            ["application/grpc", "application/grpc+proto", "Application/GRPC; x=1", "application/grpc "]
        {
            assert_eq!(caller(Method::POST, yes), Caller::Grpc, "{yes}");
        }
        for no in ["application/grpc-web", "application/grpcx", "application/json", ""] {
            assert_eq!(caller(Method::POST, no), Caller::Http, "{no}");
        }
        assert_eq!(caller(Method::GET, "application/grpc"), Caller::Http);
    }

    #[test]
    fn http_rendering() {
        let response = Refusal::from(RefusalKind::NotAuthenticated)
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("RemoteUser"))
            .into_response::<()>(Caller::Http);
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["www-authenticate"], "RemoteUser");
        let refusal = response.extensions().get::<Refusal>().unwrap();
        assert_eq!(refusal.kind(), RefusalKind::NotAuthenticated);
    }

    #[test]
    fn grpc_rendering() {
        let response = Refusal::from(RefusalKind::IdentityForged).into_response::<()>(Caller::Grpc);
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "7");
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }

    #[test]
    fn every_text_is_a_legal_grpc_message() {
        for kind in RefusalKind::ALL {
            let text = kind.to_string();
            assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'%'), "{kind:?}");
        }
    }
}
