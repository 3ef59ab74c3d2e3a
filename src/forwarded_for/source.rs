use http::{HeaderName, header};

use crate::wire::forwarded::ForwardedElement;
use crate::wire::name::{X_FORWARDED_FOR, fold_together};
use crate::wire::node::Node;

/// The one field in which the trusted proxies name the client.
#[derive(Clone, Debug)]
pub(super) enum Source {
    XForwardedFor,
    Forwarded,
    /// One address in one line, which the proxy replaces.
    Single(HeaderName),
    /// The same, where the port always stands behind the last colon, IPv6 without brackets.
    CloudFront,
}

impl Source {
    pub(super) fn name(&self) -> &HeaderName {
        static CLOUDFRONT: HeaderName = HeaderName::from_static("cloudfront-viewer-address");
        static FORWARDED: HeaderName = header::FORWARDED;
        static FOR: HeaderName = X_FORWARDED_FOR;
        match self {
            Self::XForwardedFor => &FOR,
            Self::Forwarded => &FORWARDED,
            Self::Single(name) => name,
            Self::CloudFront => &CLOUDFRONT,
        }
    }

    /// Whether `name` is this field in any spelling.
    pub(super) fn is_spelled_by(&self, name: &HeaderName) -> bool {
        match self {
            Self::Single(own) => fold_together(own.as_str().as_bytes(), name.as_str().as_bytes()),
            // The others are forwarding headers that everybody knows.
            Self::XForwardedFor | Self::Forwarded | Self::CloudFront => false,
        }
    }

    /// Claims that stand in the address list itself need no declaration.
    pub(super) fn holds_claims(&self) -> bool {
        matches!(self, Self::Forwarded)
    }

    /// What reads whom an element names; `None` is malformed.
    pub(super) fn reader(&self) -> fn(&[u8]) -> Option<Node> {
        match self {
            Self::XForwardedFor | Self::Single(_) => Node::parse,
            Self::CloudFront => Node::parse_with_port,
            Self::Forwarded => forwarded_node,
        }
    }
}

/// An element without `for` hides the client.
fn forwarded_node(element: &[u8]) -> Option<Node> {
    match ForwardedElement::parse(element)?.node() {
        None => Some(Node::Obscured),
        Some(value) => value.text(&mut [0; 64]).and_then(Node::parse),
    }
}
