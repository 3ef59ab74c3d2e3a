//! `Forwarded` read from the left, the naive way, one line at a time.

/// What one element of `Forwarded` says, without quotes and escapes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) node: Option<Vec<u8>>,
    pub(crate) host: Option<Vec<u8>>,
    pub(crate) proto: Option<Vec<u8>>,
}

/// The elements of a line of `Forwarded`, from the left: their bytes, and what they say. `None` where one of them is
/// malformed, for then nobody can tell where the next begins.
pub(crate) fn read_forwarded(line: &[u8]) -> Option<Vec<(&[u8], Said)>> {
    split_outside_of_quotes(line, b',')?
        .into_iter()
        .map(|element| Some((trim(element), read_element(element)?)))
        .collect()
}

/// What an element says; `None` where it is malformed.
pub(crate) fn read_element(element: &[u8]) -> Option<Said> {
    let mut said = Said::default();
    let mut names = Vec::new();
    for pair in split_outside_of_quotes(element, b';')?.into_iter().map(trim).filter(|pair| !pair.is_empty())
    {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let name = pair[..equals].to_ascii_lowercase();
        if name.is_empty() || !name.iter().all(|byte| is_token_byte(*byte)) {
            return None;
        }
        let value = Some(unquote(&pair[equals + 1..])?);
        match &name[..] {
            b"for" => said.node = value,
            b"host" => said.host = value,
            b"proto" => said.proto = value,
            b"by" => {}
            _ => continue,
        }
        if names.contains(&name) {
            return None;
        }
        names.push(name);
    }
    Some(said)
}

pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    match bytes {
        [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] => trim(rest),
        bytes => bytes,
    }
}

/// `None` where a quote stays open.
fn split_outside_of_quotes(text: &[u8], separator: u8) -> Option<Vec<&[u8]>> {
    let (mut parts, mut start, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in text.iter().enumerate() {
        match *byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            byte if byte == separator && !is_quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!is_quoted).then_some(parts)
}

/// A token, in which `:`, `[` and `]` are tolerated, or a quoted string.
fn unquote(value: &[u8]) -> Option<Vec<u8>> {
    let [b'"', quoted @ ..] = value else {
        let is_plain = |byte: &u8| is_token_byte(*byte) || b":[]".contains(byte);
        return (!value.is_empty() && value.iter().all(is_plain)).then(|| value.to_vec());
    };
    let mut text = Vec::new();
    let mut bytes = quoted.iter();
    loop {
        match bytes.next()? {
            b'"' => return bytes.next().is_none().then_some(text),
            b'\\' => text.push(*bytes.next()?),
            byte => text.push(*byte),
        }
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
