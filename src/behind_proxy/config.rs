use std::ffi::OsString;
use std::str::FromStr;

use http::HeaderName;

use super::{BehindProxyError, BehindProxyLayer};
use crate::force_https_body::ForceHttpsBodyLayer;
use crate::forced_host::{AllowedHosts, ForcedHostLayer, PublicUrl};
use crate::forwarded_for::{Claims, ForwardedForLayer, Front};
use crate::proxy_remote_user::{Preset, Proof, ProxyRemoteUserLayer, Secret};
use crate::script_name_prefix::ScriptNamePrefixLayer;
use crate::trust::TrustedProxies;
use crate::wire::host::Scheme;
use crate::wire::path::PathPrefix;

/// A [`BehindProxyLayer`] from text: a configuration file (feature `serde`), the environment, or
/// [key by key](Self::set).
///
/// | key | value | without it |
/// |---|---|---|
/// | `trusted-proxies` | networks, addresses, `unix:`, `loopback`, `private`; or `none` | refused: who is trusted must be said |
/// | `front` | `apache`, `nginx`, `haproxy`, `traefik`, `caddy`, `envoy`, `aws-alb`, `cloudflare`: what [`Front`] says it claims | addresses alone are believed |
/// | `claims` | as [`Claims`] reads them, such as `scheme=set host=appended?`; instead of those of `front` | |
/// | `client-header` | `x-forwarded-for`, `forwarded`, `cloudfront-viewer-address`, or a header of one address | `x-forwarded-for`; `cf-connecting-ip` with `front = cloudflare` |
/// | `hops` | how many proxies stand in a row, from 1 | as many as are trusted |
/// | `listener-scheme` | `http` or `https`: this server's own | `http` |
/// | `remote-user` | `user-only`, `apache-httpd`, `authelia`, `authentik`, `oauth2-proxy`, `oauth2-proxy-auth-request`, `grafana`, `kubernetes`, `tailscale`, `google-iap`, `set-remote-user` or `pomerium`: see [`Preset`] | nobody is logged in |
/// | `remote-user-peers` | as `trusted-proxies`: those that name users | the trusted proxies |
/// | `remote-user-secret-header`, `remote-user-secret` | the header and the value by which the proxy proves itself besides | |
/// | `remote-user-required` | `true`: nobody gets 401 | `false` |
/// | `public-url` | where the application stands, such as `https://www.example.org` | |
/// | `allowed-hosts` | instead: hosts by which it may be asked for, such as `example.org *.example.org` | no public URL |
/// | `prefix` | the path below which it is mounted, such as `/webapps` | |
/// | `prefix-mode` | `kept`, `stripped` or `either` by the proxy; or `claimed`, as the proxy says it | `kept` |
/// | `force-https-body` | `true` or `false` | `true` |
/// | `exempt-paths` | paths that nothing refuses | |
///
/// Lists are written as lists, or as one text with commas or blanks between the items. A key that is not in the table is
/// refused, and so are a key that stands twice and keys that do not go together.
///
/// # Example
///
/// ```
/// use tower_proxied::BehindProxyConfig;
///
/// let toml = r#"{
///     "trusted-proxies": ["10.0.0.0/8"], "front": "nginx", "public-url": "https://www.example.org", "prefix": "/webapps"
/// }"#;
/// let layer = serde_json::from_str::<BehindProxyConfig>(toml)?.build()?;
///
/// let variables = [("PROXY_TRUSTED_PROXIES", "10.0.0.0/8 unix:"), ("PROXY_FRONT", "nginx"), ("HOME", "/")];
/// let same = BehindProxyConfig::from_vars("PROXY_", variables)?.build()?;
/// # let _ = (layer, same);
///
/// let typo = BehindProxyConfig::from_vars("PROXY_", [("PROXY_TRUSTED", "10.0.0.0/8")]).unwrap_err();
/// assert_eq!(typo.key(), "PROXY_TRUSTED");
/// assert!(typo.to_string().contains("trusted-proxies"), "it lists the known ones: {typo}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct BehindProxyConfig {
    trusted: Option<TrustedProxies>,
    front: Option<Front>,
    claims: Option<Claims>,
    client_header: Option<HeaderName>,
    hops: Option<usize>,
    listener_scheme: Option<Scheme>,
    remote_user: Option<Preset>,
    remote_user_peers: Option<TrustedProxies>,
    remote_user_secret_header: Option<HeaderName>,
    remote_user_secret: Option<Secret>,
    remote_user_required: Option<bool>,
    public_url: Option<PublicUrl>,
    allowed_hosts: Option<AllowedHosts>,
    prefix: Option<PathPrefix>,
    prefix_mode: Option<PrefixMode>,
    force_https_body: Option<bool>,
    exempt_paths: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PrefixMode {
    Kept,
    Stripped,
    Either,
    Claimed,
}

/// In the order of the table.
const KEYS: [&str; 17] = [
    "trusted-proxies",
    "front",
    "claims",
    "client-header",
    "hops",
    "listener-scheme",
    "remote-user",
    "remote-user-peers",
    "remote-user-secret-header",
    "remote-user-secret",
    "remote-user-required",
    "public-url",
    "allowed-hosts",
    "prefix",
    "prefix-mode",
    "force-https-body",
    "exempt-paths",
];

impl BehindProxyConfig {
    /// Nothing is said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the variables of the environment say whose name starts with this prefix: `PROXY_TRUSTED_PROXIES` is
    /// `trusted-proxies` where the prefix is `PROXY_`. Others are not looked at, so the prefix must be its own.
    ///
    /// # Errors
    ///
    /// A variable of this prefix that is no key, or whose value is refused; the error names the variable.
    pub fn from_env(prefix: &str) -> Result<Self, BehindProxyError> {
        Self::from_vars(prefix, std::env::vars_os())
    }

    /// As [`from_env`](Self::from_env), of these variables.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_vars<I, N, V>(prefix: &str, variables: I) -> Result<Self, BehindProxyError>
    where
        I: IntoIterator<Item = (N, V)>,
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let mut config = Self::new();
        for (name, value) in variables {
            // A name that is no text has not our prefix either.
            let Ok(name) = name.into().into_string() else { continue };
            let Some(key) = name.strip_prefix(prefix) else { continue };
            let key = key.to_ascii_lowercase().replace('_', "-");
            config = match value.into().to_str() {
                Some(text) => config.set(&key, text),
                None => Err(BehindProxyError::of(&key, "it is not UTF-8")),
            }
            .map_err(|error| error.called(&name))?;
        }
        Ok(config)
    }

    /// Says one key. A list is written with commas or blanks between its items.
    ///
    /// # Errors
    ///
    /// An unknown key, one that was said before, or a value that is refused; the error names the key.
    pub fn set(self, key: &str, text: &str) -> Result<Self, BehindProxyError> {
        let items = text.split([',', ' ', '\t', '\n']).filter(|item| !item.is_empty()).collect();
        self.put(key, text, items)
    }

    /// Says one key whose value is a list. For a key that takes none, it must have one item.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn set_list<I>(self, key: &str, items: I) -> Result<Self, BehindProxyError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let items: Vec<I::Item> = items.into_iter().collect();
        let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
        let text = items.join(" ");
        self.put(key, &text, items)
    }

    fn put(mut self, key: &str, text: &str, items: Vec<&str>) -> Result<Self, BehindProxyError> {
        let field = Field { key, text };
        match key {
            "trusted-proxies" => field.fill(&mut self.trusted, |_| trusted(&items))?,
            "front" => field.fill(&mut self.front, one_of(&FRONTS))?,
            "claims" => field.fill(&mut self.claims, Claims::from_str)?,
            "client-header" => field.fill(&mut self.client_header, header)?,
            "hops" => field.fill(&mut self.hops, |text| match text.parse() {
                Ok(0) | Err(_) => Err("it must be a number from 1"),
                Ok(hops) => Ok(hops),
            })?,
            "listener-scheme" => {
                field.fill(
                    &mut self.listener_scheme,
                    one_of(&[("http", Scheme::Http), ("https", Scheme::Https)]),
                )?;
            }
            "remote-user" => field.fill(&mut self.remote_user, one_of(&PRESETS))?,
            "remote-user-peers" => field.fill(&mut self.remote_user_peers, |_| trusted(&items))?,
            "remote-user-secret-header" => field.fill(&mut self.remote_user_secret_header, header)?,
            "remote-user-secret" => field.fill(&mut self.remote_user_secret, |text| Secret::parse(text))?,
            "remote-user-required" => field.fill(&mut self.remote_user_required, truth)?,
            "public-url" => field.fill(&mut self.public_url, PublicUrl::from_str)?,
            "allowed-hosts" => field.fill(&mut self.allowed_hosts, |_| AllowedHosts::parse(&items))?,
            "prefix" => field.fill(&mut self.prefix, PathPrefix::from_str)?,
            "prefix-mode" => field.fill(&mut self.prefix_mode, one_of(&MODES))?,
            "force-https-body" => field.fill(&mut self.force_https_body, truth)?,
            "exempt-paths" => field.fill(&mut self.exempt_paths, |_| exempt(&items))?,
            _ => {
                let known = KEYS.join(", ");
                return Err(BehindProxyError::of(
                    key,
                    format_args!("there is no such key; there are {known}"),
                ));
            }
        }
        Ok(self)
    }

    /// The layer, with all that was said.
    ///
    /// # Errors
    ///
    /// Nobody said who is trusted; keys that do not go together, or that need another one; a user's header that the proof
    /// cannot protect. The error names the key.
    pub fn build(self) -> Result<BehindProxyLayer, BehindProxyError> {
        self.check()?;
        let trusted = self.trusted.clone().ok_or_else(|| {
            BehindProxyError::of(
                "trusted-proxies",
                "it must be said: the addresses of your proxies, or `none`",
            )
        })?;
        let mut layer = BehindProxyLayer::new(self.forwarded_for(trusted.clone()));
        if let Some(remote_user) = self.proxy_remote_user(trusted)? {
            layer = layer.proxy_remote_user(remote_user);
        }
        match (self.public_url, self.allowed_hosts) {
            (Some(public), _) => layer = layer.forced_host(ForcedHostLayer::fixed(public)),
            (None, Some(hosts)) => layer = layer.forced_host(ForcedHostLayer::allowed(hosts).use_proxied()),
            (None, None) => {}
        }
        match (self.prefix_mode, self.prefix) {
            (Some(PrefixMode::Claimed), _) => {
                layer = layer.script_name_prefix(ScriptNamePrefixLayer::from_proxied());
            }
            (mode, Some(prefix)) => {
                layer = layer.script_name_prefix(match mode {
                    Some(PrefixMode::Stripped) => ScriptNamePrefixLayer::proxy_strips(prefix),
                    Some(PrefixMode::Either) => ScriptNamePrefixLayer::either(prefix),
                    _ => ScriptNamePrefixLayer::proxy_keeps(prefix),
                });
            }
            (_, None) => {}
        }
        if self.force_https_body.unwrap_or(true) {
            layer = layer.force_https_body(ForceHttpsBodyLayer::new());
        }
        Ok(self.exempt_paths.iter().flatten().fold(layer, |layer, path| layer.exempt_path(path)))
    }

    /// What does not go together, or not alone.
    fn check(&self) -> Result<(), BehindProxyError> {
        let wrong = |key, problem: &str| Err(BehindProxyError::of(key, problem));
        if self.remote_user.is_none() {
            let without = "it says nothing without `remote-user`";
            if self.remote_user_peers.is_some() {
                return wrong("remote-user-peers", without);
            }
            if self.remote_user_secret_header.is_some() || self.remote_user_secret.is_some() {
                return wrong("remote-user-secret", without);
            }
            if self.remote_user_required.is_some() {
                return wrong("remote-user-required", without);
            }
        }
        match (&self.remote_user_secret_header, &self.remote_user_secret) {
            (Some(_), None) => return wrong("remote-user-secret", "its header is said, and it is not"),
            (None, Some(_)) => {
                return wrong("remote-user-secret-header", "the secret is said, and its header is not");
            }
            _ => {}
        }
        if self.public_url.is_some() && self.allowed_hosts.is_some() {
            return wrong("allowed-hosts", "`public-url` says already where the application stands");
        }
        match (self.prefix_mode, &self.prefix) {
            (Some(PrefixMode::Claimed), Some(_)) => {
                wrong("prefix", "with `prefix-mode = claimed` the proxy says it")
            }
            (Some(PrefixMode::Kept | PrefixMode::Stripped | PrefixMode::Either), None) => {
                wrong("prefix-mode", "it says nothing without `prefix`")
            }
            _ => Ok(()),
        }
    }

    fn forwarded_for(&self, trusted: TrustedProxies) -> ForwardedForLayer {
        let client_header = match (&self.client_header, self.front) {
            (Some(header), _) => header.as_str(),
            (None, Some(Front::Cloudflare)) => "cf-connecting-ip",
            (None, _) => "x-forwarded-for",
        };
        let mut layer = match client_header {
            "x-forwarded-for" => ForwardedForLayer::x_forwarded_for(trusted),
            "forwarded" => ForwardedForLayer::forwarded(trusted),
            "cloudfront-viewer-address" => ForwardedForLayer::cloudfront(trusted),
            "cf-connecting-ip" => {
                ForwardedForLayer::single(HeaderName::from_static("cf-connecting-ip"), trusted)
            }
            _ => match &self.client_header {
                Some(header) => ForwardedForLayer::single(header.clone(), trusted),
                None => ForwardedForLayer::x_forwarded_for(trusted),
            },
        };
        if let Some(claims) = self.claims.or(self.front.map(Claims::from)) {
            layer = layer.claims(claims);
        }
        if let Some(hops) = self.hops {
            layer = layer.hops(hops);
        }
        layer.listener_scheme(self.listener_scheme.unwrap_or(Scheme::Http))
    }

    fn proxy_remote_user(
        &self,
        trusted: TrustedProxies,
    ) -> Result<Option<ProxyRemoteUserLayer>, BehindProxyError> {
        let Some(preset) = self.remote_user else { return Ok(None) };
        let peers = self.remote_user_peers.clone().unwrap_or(trusted);
        let mut proof = Proof::peer(peers);
        if let (Some(header), Some(secret)) = (&self.remote_user_secret_header, &self.remote_user_secret) {
            proof = proof & Proof::shared_secret(header.clone(), [secret.clone()]);
        }
        let builder = ProxyRemoteUserLayer::new(proof).preset(preset);
        let builder = if self.remote_user_required == Some(true) { builder.required() } else { builder };
        builder.build().map(Some).map_err(|error| BehindProxyError::of("remote-user", error))
    }
}

const FRONTS: [(&str, Front); 8] = [
    ("apache", Front::Apache),
    ("nginx", Front::Nginx),
    ("haproxy", Front::HaProxy),
    ("traefik", Front::Traefik),
    ("caddy", Front::Caddy),
    ("envoy", Front::Envoy),
    ("aws-alb", Front::AwsAlb),
    ("cloudflare", Front::Cloudflare),
];

const PRESETS: [(&str, Preset); 12] = [
    ("user-only", Preset::UserOnly),
    ("apache-httpd", Preset::ApacheHttpd),
    ("authelia", Preset::Authelia),
    ("authentik", Preset::Authentik),
    ("oauth2-proxy", Preset::Oauth2Proxy),
    ("oauth2-proxy-auth-request", Preset::Oauth2ProxyAuthRequest),
    ("grafana", Preset::Grafana),
    ("kubernetes", Preset::Kubernetes),
    ("tailscale", Preset::Tailscale),
    ("google-iap", Preset::GoogleIap),
    ("set-remote-user", Preset::SetRemoteUser),
    ("pomerium", Preset::Pomerium),
];

const MODES: [(&str, PrefixMode); 4] = [
    ("kept", PrefixMode::Kept),
    ("stripped", PrefixMode::Stripped),
    ("either", PrefixMode::Either),
    ("claimed", PrefixMode::Claimed),
];

struct Field<'a> {
    key: &'a str,
    text: &'a str,
}

impl Field<'_> {
    fn fill<T, E: std::fmt::Display>(
        self,
        field: &mut Option<T>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<(), BehindProxyError> {
        if field.is_some() {
            return Err(BehindProxyError::of(self.key, "it is said twice"));
        }
        let value = parse(self.text).map_err(|problem| BehindProxyError::of(self.key, problem))?;
        *field = Some(value);
        Ok(())
    }
}

fn one_of<T: Copy, const N: usize>(table: &[(&'static str, T); N]) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        table.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
            let names = table.each_ref().map(|(name, _)| *name).join(", ");
            format!("{text:?} is none of {names}")
        })
    }
}

fn trusted(items: &[&str]) -> Result<TrustedProxies, String> {
    match items {
        [] => Err(String::from("it is empty; name the addresses, or say `none`")),
        ["none"] => Ok(TrustedProxies::none()),
        items => TrustedProxies::parse(items).map_err(|error| error.to_string()),
    }
}

fn header(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| format!("{text:?} is no name of a header"))
}

fn truth(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("{text:?} is neither true nor false"))
}

fn exempt(items: &[&str]) -> Result<Vec<String>, String> {
    match items.iter().find(|path| !path.starts_with('/') || path.contains(['?', '#'])) {
        Some(path) => Err(format!("{path:?} is no path: it must start with a slash, without a query")),
        None => Ok(items.iter().copied().map(String::from).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_list_is_read() {
        for key in KEYS {
            let error = BehindProxyConfig::new().set(key, "\u{1}").unwrap_err();
            assert!(!error.to_string().contains("no such key"), "{error}");
            assert_eq!(error.key(), key);
        }
    }

    #[test]
    fn a_key_that_is_said_twice() {
        for (key, value) in [("hops", "1"), ("front", "nginx"), ("exempt-paths", "/healthz")] {
            let twice = BehindProxyConfig::new().set(key, value).unwrap().set(key, value).unwrap_err();
            assert_eq!(twice.to_string(), format!("`{key}`: it is said twice"));
        }
    }

    #[test]
    fn what_does_not_go_together_names_the_key() {
        let cases: [(&str, &[(&str, &str)]); 11] = [
            ("trusted-proxies", &[]),
            ("trusted-proxies", &[("front", "nginx")]),
            ("remote-user-peers", &[("remote-user-peers", "10.0.0.1")]),
            ("remote-user-required", &[("remote-user-required", "true")]),
            ("remote-user-secret", &[("remote-user-secret", "correct-horse-battery-staple")]),
            ("remote-user-secret", &[("remote-user", "user-only"), ("remote-user-secret-header", "x-proof")]),
            (
                "remote-user-secret-header",
                &[("remote-user", "user-only"), ("remote-user-secret", "correct-horse-battery-staple")],
            ),
            ("allowed-hosts", &[("public-url", "https://a.example"), ("allowed-hosts", "a.example")]),
            ("prefix-mode", &[("prefix-mode", "kept")]),
            ("prefix", &[("prefix-mode", "claimed"), ("prefix", "/webapps")]),
            ("remote-user", &[("trusted-proxies", "none"), ("remote-user", "user-only")]),
        ];
        for (key, said) in cases {
            let said =
                said.iter().try_fold(BehindProxyConfig::new(), |config, (key, text)| config.set(key, text));
            let error = said.unwrap().build().unwrap_err();
            assert_eq!(error.key(), key, "{error}");
        }
    }

    #[test]
    fn a_value_that_is_refused_names_the_item() {
        for (key, value, item) in [
            ("trusted-proxies", "10.0.0.0/8 proxy.internal", "proxy.internal"),
            ("trusted-proxies", "0.0.0.0/0", "0.0.0.0/0"),
            ("trusted-proxies", "", "empty"),
            ("front", "iis", "iis"),
            ("claims", "scheme=maybe", "maybe"),
            ("client-header", "x y", "x y"),
            ("hops", "0", "from 1"),
            ("public-url", "www.example.org", "www.example.org"),
            ("allowed-hosts", "a.example b/c", "b/c"),
            ("prefix", "/a/../b", "/a/../b"),
            ("prefix-mode", "keep", "keep"),
            ("force-https-body", "yes", "yes"),
            ("exempt-paths", "/a b", "b"),
            ("exempt-paths", "/a?b", "/a?b"),
        ] {
            let error = BehindProxyConfig::new().set(key, value).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{key}`: ")) && error.contains(item), "{error}");
        }
    }

    #[test]
    fn a_secret_that_is_refused_is_not_shown() {
        let error = BehindProxyConfig::new().set("remote-user-secret", "hunter2").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        let config =
            BehindProxyConfig::new().set("remote-user-secret", "correct-horse-battery-staple").unwrap();
        assert!(!format!("{config:?}").contains("correct"));
    }
}
