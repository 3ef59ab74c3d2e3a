//! Configuration as text: what `parse` reads, read by serde, with the same errors. What prints as it is parsed is
//! written, too; a set of networks or patterns has no one text.

use std::fmt;

use ::serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use ::serde::ser::{Serialize, Serializer};

use crate::forced_host::{AllowedHosts, PublicUrl};
use crate::trust::TrustedProxies;
use crate::wire::path::PathPrefix;

macro_rules! texts {
    ($($Type:ident: $example:literal;)+) => {$(
        #[doc = concat!("A text such as `", $example, "`. The error names what is refused.")]
        impl<'de> Deserialize<'de> for $Type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(D::Error::custom)
            }
        }

        #[doc = concat!("A text such as `", $example, "`.")]
        impl Serialize for $Type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    )+};
}

texts! {
    PublicUrl: "https://example.com/webapps";
    PathPrefix: "/webapps";
}

macro_rules! lists {
    ($($Type:ident: $example:literal;)+) => {$(
        #[doc = concat!("A list such as `", $example, "`, or one text with commas or blanks between the items. The error names the item that is refused.")]
        impl<'de> Deserialize<'de> for $Type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                match from.deserialize_any(OneOrMany)? {
                    Written::Text(text) => text.parse().map_err(D::Error::custom),
                    Written::List(items) => Self::parse(items).map_err(D::Error::custom),
                }
            }
        }
    )+};
}

lists! {
    AllowedHosts: r#"["example.com", "*.example.org"]"#;
    TrustedProxies: r#"["10.0.0.0/8", "unix:"]"#;
}

enum Written {
    Text(String),
    List(Vec<String>),
}

struct OneOrMany;

impl<'de> Visitor<'de> for OneOrMany {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Written, E> {
        Ok(Written::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Written, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Written::List(items))
    }
}

#[cfg(feature = "force-https-body")]
mod behind_proxy {
    use ::serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

    use crate::behind_proxy::BehindProxyConfig;

    /// A table of its keys, with texts, numbers, truth values and lists of texts. The error names the key that is refused.
    impl<'de> Deserialize<'de> for BehindProxyConfig {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_map(Keys)
        }
    }

    struct Keys;

    impl<'de> Visitor<'de> for Keys {
        type Value = BehindProxyConfig;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a table such as `trusted-proxies = [\"10.0.0.0/8\"]`")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<BehindProxyConfig, A::Error> {
            let mut config = BehindProxyConfig::new();
            while let Some(key) = table.next_key::<String>()? {
                config = match table.next_value()? {
                    Value::Text(text) => config.set(&key, &text),
                    Value::List(items) => config.set_list(&key, items),
                }
                .map_err(A::Error::custom)?;
            }
            Ok(config)
        }
    }

    enum Value {
        Text(String),
        List(Vec<String>),
    }

    impl<'de> Deserialize<'de> for Value {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_any(Values)
        }
    }

    struct Values;

    impl<'de> Visitor<'de> for Values {
        type Value = Value;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a text, a number, true, false or a list of texts")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
            Ok(Value::Text(text.to_owned()))
        }

        fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
            Ok(Value::Text(value.to_string()))
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
            Ok(Value::Text(number.to_string()))
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
            Ok(Value::Text(number.to_string()))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = list.next_element()? {
                items.push(item);
            }
            Ok(Value::List(items))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_str, to_string};

    use super::*;
    use crate::wire::host::{HostPort, Scheme};

    #[test]
    fn texts_are_read_as_parse_reads_them() {
        let public: PublicUrl = from_str(r#""HTTPS://Example.com:443/webapps/""#).unwrap();
        assert_eq!(public, PublicUrl::from_static("https://example.com/webapps"));
        assert_eq!(to_string(&public).unwrap(), r#""https://example.com/webapps""#);
        let prefix: PathPrefix = from_str(r#""/%61pp/""#).unwrap();
        assert_eq!(to_string(&prefix).unwrap(), r#""/app""#);
    }

    #[test]
    fn lists_are_one_text_or_many() {
        for text in [r#"["a.example", ".b.example"]"#, r#""a.example, .b.example""#] {
            let hosts: AllowedHosts = from_str(text).unwrap();
            for host in ["a.example", "c.b.example"] {
                assert!(hosts.allows(Scheme::Http, &HostPort::parse(host.as_bytes()).unwrap()), "{text}");
            }
        }
        for text in [r#"["10.0.0.0/8", "::1"]"#, r#""10.0.0.0/8, ::1""#] {
            let trusted: TrustedProxies = from_str(text).unwrap();
            assert!(
                trusted.contains("10.1.2.3".parse().unwrap()) && trusted.contains("::1".parse().unwrap())
            );
        }
    }

    #[test]
    fn errors_name_the_item() {
        fn error<T: for<'de> Deserialize<'de>>(text: &str) -> String {
            from_str::<T>(text).err().map(|error| error.to_string()).unwrap_or_default()
        }
        for (error, item) in [
            (error::<PublicUrl>(r#""ftp://example.com""#), r#""ftp://example.com""#),
            (error::<PublicUrl>("7"), "expected a string"),
            (error::<PathPrefix>(r#""//evil.example""#), r#""//evil.example""#),
            (error::<AllowedHosts>(r#"["a.example", "*"]"#), r#""*""#),
            (error::<AllowedHosts>("[]"), "none at all"),
            (error::<AllowedHosts>(r#""a.example b/c""#), r#""b/c""#),
            (error::<AllowedHosts>("true"), "a text or a list of texts"),
            (error::<AllowedHosts>("[true]"), "expected a string"),
            (error::<TrustedProxies>(r#"["10.0.0.1/8"]"#), "10.0.0.1/8"),
        ] {
            assert!(error.contains(item), "{item}: {error}");
        }
        assert!(!error::<PublicUrl>(r#""https://u:secret@example.com""#).contains("secret"));
    }
}
