//! Which encodings of a page leave its markup readable as ASCII.

use crate::wire::{cut, list};

/// Whether the media type names no charset, or one that is a superset of ASCII.
pub(super) fn is_readable(content_type: &[u8]) -> bool {
    charset(content_type).is_none_or(|label| is_ascii_superset(&label))
}

/// The first parameter `charset` that is not empty, without quotes (MIME Sniffing Standard, section 4.4).
fn charset(content_type: &[u8]) -> Option<Vec<u8>> {
    let mut parameters = cut(content_type, b';').1;
    while let Some(rest) = parameters {
        let name = rest.split(|byte| matches!(byte, b'=' | b';')).next()?;
        let value = rest.get(name.len()..).and_then(|rest| rest.strip_prefix(b"=")).map(list::trim);
        let (value, behind) = match value {
            Some([b'"', quoted @ ..]) => {
                let (value, behind) = quoted.split_at_checked(quoted_len(quoted))?;
                (value, cut(behind, b';').1)
            }
            Some(value) => cut(value, b';'),
            None => (&[][..], cut(rest, b';').1),
        };
        let label = list::trim(value);
        if list::trim(name).eq_ignore_ascii_case(b"charset") && !label.is_empty() {
            return Some(label.to_ascii_lowercase());
        }
        parameters = behind;
    }
    None
}

/// Up to the quote that ends it.
fn quoted_len(text: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = text.iter().position(|byte| {
        let was_escaped = is_escaped;
        is_escaped = *byte == b'\\' && !was_escaped;
        *byte == b'"' && !was_escaped
    });
    end.unwrap_or(text.len())
}

/// The labels of the encodings in which the bytes of ASCII stand for nothing else where markup begins or ends
/// (Encoding Standard, section 4.2): all but UTF-16, ISO-2022-JP and those that are replaced.
fn is_ascii_superset(label: &[u8]) -> bool {
    const LABELS: &[&str] = &[
        "unicode-1-1-utf-8",
        "unicode11utf8",
        "unicode20utf8",
        "utf-8",
        "utf8",
        "x-unicode20utf8",
        "866",
        "cp866",
        "csibm866",
        "ibm866",
        "arabic",
        "asmo-708",
        "ecma-114",
        "ecma-118",
        "elot_928",
        "greek",
        "greek8",
        "sun_eu_greek",
        "cyrillic",
        "hebrew",
        "visual",
        "logical",
        "l1",
        "l2",
        "l3",
        "l4",
        "l5",
        "l6",
        "l9",
        "latin1",
        "latin2",
        "latin3",
        "latin4",
        "latin5",
        "latin6",
        "ascii",
        "us-ascii",
        "ansi_x3.4-1968",
        "cp819",
        "ibm819",
        "csisolatin1",
        "csisolatin2",
        "csisolatin3",
        "csisolatin4",
        "csisolatin5",
        "csisolatin6",
        "csisolatin9",
        "csisolatinarabic",
        "csisolatincyrillic",
        "csisolatingreek",
        "csisolatinhebrew",
        "csiso88596e",
        "csiso88596i",
        "csiso88598e",
        "csiso88598i",
        "iso-ir-100",
        "iso-ir-101",
        "iso-ir-109",
        "iso-ir-110",
        "iso-ir-126",
        "iso-ir-127",
        "iso-ir-138",
        "iso-ir-144",
        "iso-ir-148",
        "iso-ir-157",
        "iso-ir-58",
        "iso-ir-149",
        "cskoi8r",
        "koi",
        "koi8",
        "koi8-r",
        "koi8_r",
        "koi8-ru",
        "koi8-u",
        "csmacintosh",
        "mac",
        "macintosh",
        "x-mac-roman",
        "x-mac-cyrillic",
        "x-mac-ukrainian",
        "dos-874",
        "tis-620",
        "windows-874",
        "chinese",
        "csgb2312",
        "csiso58gb231280",
        "gb2312",
        "gb_2312",
        "gb_2312-80",
        "gbk",
        "x-gbk",
        "gb18030",
        "big5",
        "big5-hkscs",
        "cn-big5",
        "csbig5",
        "x-x-big5",
        "cseucpkdfmtjapanese",
        "euc-jp",
        "x-euc-jp",
        "csshiftjis",
        "ms932",
        "ms_kanji",
        "shift-jis",
        "shift_jis",
        "sjis",
        "windows-31j",
        "x-sjis",
        "cseuckr",
        "csksc56011987",
        "euc-kr",
        "korean",
        "ks_c_5601-1987",
        "ks_c_5601-1989",
        "ksc5601",
        "ksc_5601",
        "windows-949",
        "x-user-defined",
    ];
    LABELS.iter().any(|known| known.as_bytes() == label) || is_numbered(label)
}

/// `iso-8859-n` with its variants, `windows-125n` and `cp125n`.
fn is_numbered(label: &[u8]) -> bool {
    let after = |start: &str| label.strip_prefix(start.as_bytes());
    if let Some(rest) = ["windows-125", "cp125", "x-cp125"].into_iter().find_map(after) {
        return matches!(rest, [b'0'..=b'8']);
    }
    let Some(rest) = ["iso-8859-", "iso8859-", "iso_8859-", "iso8859"].into_iter().find_map(after) else {
        return false;
    };
    let year = [":1987", ":1988", ":1989"].into_iter().find_map(|year| rest.strip_suffix(year.as_bytes()));
    let part = year.unwrap_or(rest);
    matches!(
        part,
        [b'1'..=b'9'] | [b'1', b'0' | b'1' | b'3' | b'4' | b'5' | b'6'] | b"6-e" | b"6-i" | b"8-e" | b"8-i"
    )
}
