use http::{HeaderMap, HeaderName, header};

use crate::wire::forwarded::{self, ForwardedElement};
use crate::wire::list::{self, Element, from_right_by, last_comma};
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
    pub(super) fn name(&self) -> HeaderName {
        match self {
            Self::XForwardedFor => X_FORWARDED_FOR,
            Self::Forwarded => header::FORWARDED,
            Self::Single(name) => name.clone(),
            Self::CloudFront => HeaderName::from_static("cloudfront-viewer-address"),
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

    /// Whether the field stands in more lines than it may.
    pub(super) fn is_duplicate(&self, headers: &HeaderMap) -> bool {
        let is_single = matches!(self, Self::Single(_) | Self::CloudFront);
        is_single && list::only_line(headers, &self.name()).is_err()
    }

    pub(super) fn elements<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = Element<'a>> + use<'a> {
        let last_separator = match self {
            Self::XForwardedFor => last_comma,
            Self::Forwarded => forwarded::last_unquoted_comma,
            Self::Single(_) | Self::CloudFront => |_: &[u8]| None,
        };
        from_right_by(last_separator, list::lines(headers, &self.name()))
    }

    /// Whom an element names; `None` is malformed.
    pub(super) fn node(&self, element: &[u8]) -> Option<Node> {
        match self {
            Self::XForwardedFor | Self::Single(_) => Node::parse(element),
            Self::CloudFront => Node::parse_with_port(element),
            Self::Forwarded => match ForwardedElement::parse(element)?.node() {
                None => Some(Node::Obscured),
                Some(value) => value.text(&mut [0; 64]).and_then(Node::parse),
            },
        }
    }
}
