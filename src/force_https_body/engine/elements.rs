//! What the names of HTML's elements say of what they hold.

use super::name::Name;
use super::tokenizer::Content;

pub(super) fn is_void(name: &Name) -> bool {
    matches!(
        name.as_bytes(),
        b"area"
            | b"base"
            | b"basefont"
            | b"bgsound"
            | b"br"
            | b"col"
            | b"embed"
            | b"frame"
            | b"hr"
            | b"image"
            | b"img"
            | b"input"
            | b"keygen"
            | b"link"
            | b"meta"
            | b"param"
            | b"source"
            | b"track"
            | b"wbr"
    )
}

pub(super) fn content_of(name: &Name) -> Content {
    match name.as_bytes() {
        b"title" | b"textarea" | b"style" | b"xmp" | b"iframe" | b"noembed" | b"noframes" => Content::Text,
        b"script" => Content::Script,
        b"plaintext" => Content::Plaintext,
        b"noscript" => Content::Noscript,
        _ => Content::Markup,
    }
}
