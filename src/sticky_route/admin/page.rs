use std::fmt::{self, Write};

use http::{HeaderMap, header};

use super::super::pool::{MemberStatus, Role};
use super::AdminChange;
use super::Operator;
use super::action::Hundredths;
use super::token::{FormKey, Purpose};
use crate::wire::list;

/// What the page may do, and be put into: no script, nothing of other sites, no frame.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'sha256-OdcR0uc9SOD5JTjVD88woEEO/Z0u/OYDr6Dq4GU76Yg='; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const STYLE: &str = "body{font:1rem/1.5 sans-serif;margin:2rem}table{border-collapse:collapse}\
    th,td{border:1px solid #999;padding:.2rem .6rem;text-align:left}form{display:inline}input{width:5rem}";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Html,
    Json,
}

impl Format {
    /// JSON where the client likes it better (RFC 9110, section 12.5.1).
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let json = quality(headers, b"application/json");
        if json > 0 && json > quality(headers, b"text/html") { Self::Json } else { Self::Html }
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
        }
    }
}

/// In thousandths, by the range that says it most closely; of several the first.
fn quality(headers: &HeaderMap, media_type: &[u8]) -> u16 {
    let main_type = media_type.split_inclusive(|byte| *byte == b'/').next().unwrap_or_default();
    let ranges = || list::lines(headers, &header::ACCEPT).flat_map(|line| line.split(|byte| *byte == b','));
    let of = |range: &[u8]| {
        ranges().find_map(|item| {
            let mut parameters = item.split(|byte| *byte == b';');
            let is_meant = list::trim(parameters.next()?).eq_ignore_ascii_case(range);
            is_meant.then(|| parameters.find_map(weight).unwrap_or(1000))
        })
    };
    of(media_type).or_else(|| of(&[main_type, b"*"].concat())).or_else(|| of(b"*/*")).unwrap_or(0)
}

/// Of `q=0.5`; what cannot be read is 0.
fn weight(parameter: &[u8]) -> Option<u16> {
    let [b'q' | b'Q', b'=', value @ ..] = list::trim(parameter) else { return None };
    let value = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok()).unwrap_or(0.0_f32);
    Some(if (0.0..=1.0).contains(&value) { (value * 1000.0) as u16 } else { 0 })
}

/// The members at one revision, and the forms of one operator.
pub(super) struct Page<'a> {
    pub(super) members: &'a [MemberStatus],
    pub(super) revision: u64,
    pub(super) operator: &'a Operator,
    pub(super) key: &'a FormKey,
}

impl Page<'_> {
    pub(super) fn text(&self, format: Format) -> String {
        let mut text = String::new();
        // A string takes everything.
        let _ = match format {
            Format::Html => self.html(&mut text),
            Format::Json => self.json(&mut text),
        };
        text
    }

    fn html(&self, out: &mut String) -> fmt::Result {
        write!(
            out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Members</title>\n\
             <style>{STYLE}</style>\n</head>\n<body>\n<h1>Members</h1>\n\
             <p>Revision {}, for {}</p>\n<table>\n<thead>\n<tr>",
            self.revision,
            Escaped(self.operator.id()),
        )?;
        for column in ["Route", "State", "Weight", "Role", "Tier", "Successor", "In flight", "Change"] {
            write!(out, "<th scope=\"col\">{column}</th>")?;
        }
        out.write_str("</tr>\n</thead>\n<tbody>\n")?;
        for member in self.members {
            self.html_row(out, member)?;
        }
        out.write_str("</tbody>\n</table>\n</body>\n</html>\n")
    }

    fn html_row(&self, out: &mut String, member: &MemberStatus) -> fmt::Result {
        let route = Escaped(member.route().as_str());
        let weight = Hundredths(member.weight_in_hundredths());
        write!(out, "<tr><th scope=\"row\">{route}</th><td>{}", member.state())?;
        if let Some(retry_in) = member.retry_in() {
            write!(out, ", tried again in {} s", retry_in.as_millis().div_ceil(1000))?;
        }
        write!(out, "</td><td>{weight}</td><td>{}</td><td>{}</td>", role(member.role()), member.tier())?;
        write!(out, "<td>{}</td>", Escaped(member.successor().unwrap_or("-")))?;
        write!(out, "<td>{}", member.in_flight())?;
        if let Some(at_most) = member.max_in_flight() {
            write!(out, " of {at_most}")?;
        }
        out.write_str("</td><td>")?;
        for action in AdminChange::NAMES {
            let token = self.token(member, action);
            // Without an action of its own a form goes to where the page came from, whatever stands before the path.
            write!(
                out,
                "\n<form method=\"post\"><input type=\"hidden\" name=\"m\" value=\"{route}\">\
                 <input type=\"hidden\" name=\"action\" value=\"{action}\">\
                 <input type=\"hidden\" name=\"token\" value=\"{token}\">"
            )?;
            match action {
                "weight" => write!(
                    out,
                    "<input name=\"weight\" value=\"{weight}\" inputmode=\"decimal\" required aria-label=\"weight of {route}\">"
                )?,
                "drain" => write!(
                    out,
                    "<input name=\"minutes\" inputmode=\"numeric\" placeholder=\"minutes\" aria-label=\"minutes for {route}\">"
                )?,
                _ => {}
            }
            write!(out, "<button>{action}</button></form>")?;
        }
        out.write_str("</td></tr>\n")
    }

    /// Routes have neither a quote nor a backslash nor a control character: they are values of cookies.
    fn json(&self, out: &mut String) -> fmt::Result {
        write!(out, "{{\"revision\":{},\"members\":[", self.revision)?;
        for (at, member) in self.members.iter().enumerate() {
            write!(
                out,
                "{}{{\"route\":\"{}\",\"state\":\"{}\",\"weight\":{},\"role\":\"{}\",\"tier\":{}",
                if at > 0 { "," } else { "" },
                member.route(),
                member.state(),
                Hundredths(member.weight_in_hundredths()),
                role(member.role()),
                member.tier(),
            )?;
            match member.successor() {
                Some(successor) => write!(out, ",\"successor\":\"{successor}\"")?,
                None => out.write_str(",\"successor\":null")?,
            }
            write!(out, ",\"in_flight\":{}", member.in_flight())?;
            match member.max_in_flight() {
                Some(at_most) => write!(out, ",\"max_in_flight\":{at_most}")?,
                None => out.write_str(",\"max_in_flight\":null")?,
            }
            match member.retry_in() {
                Some(retry_in) => write!(out, ",\"retry_in_ms\":{}", retry_in.as_millis())?,
                None => out.write_str(",\"retry_in_ms\":null")?,
            }
            out.write_str(",\"tokens\":{")?;
            for (at, action) in AdminChange::NAMES.into_iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                write!(out, "{comma}\"{action}\":\"{}\"", self.token(member, action))?;
            }
            out.write_str("}}")?;
        }
        out.write_str("]}\n")
    }

    /// One that is empty is good for nothing.
    fn token(&self, member: &MemberStatus, action: &str) -> String {
        let purpose = Purpose { member: member.route().as_str(), action, operator: self.operator };
        self.key.token(self.revision, purpose).unwrap_or_default()
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Active => "active",
        Role::Spare => "spare",
        Role::Standby => "standby",
    }
}

/// For text and for quoted values of attributes.
#[derive(Clone, Copy)]
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            char => f.write_char(char),
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use http::HeaderValue;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_policy_names_the_style() {
        let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
        assert!(CONTENT_SECURITY_POLICY.contains(&format!("style-src 'sha256-{hash}';")), "{hash}");
    }

    #[test]
    fn json_where_it_is_liked_better() {
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::ACCEPT, HeaderValue::from_static(line));
            }
            Format::of(&headers)
        };
        for lines in [
            &["application/json"][..],
            &["Application/JSON ; charset=utf-8"],
            &["text/plain, application/json"],
            &["text/html;q=0.5, application/json;q=0.6"],
            &["text/html;q=0.5", "application/*"],
            &["*/*;q=0.1, application/json"],
            &["text/*;q=0, */*"],
            &["text/html; Q=0.9,application/json"],
        ] {
            assert_eq!(of(lines), Format::Json, "{lines:?}");
        }
        for lines in [
            &[][..],
            &[""],
            &["*/*"],
            &["text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"],
            &["application/json, text/html"],
            &["application/json;q=0"],
            &["application/json;q=0.5, */*"],
            &["application/json;q=none"],
            &["application/json;q=2"],
            &["application/json;q=-1"],
            &["application/json;q=NaN"],
            &["application/jsonp, image/*"],
        ] {
            assert_eq!(of(lines), Format::Html, "{lines:?}");
        }
    }
}
