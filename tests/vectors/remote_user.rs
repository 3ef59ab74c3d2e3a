use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, Mutex};

use http::{Extensions, HeaderMap, HeaderName, Method, Request, Response};
use serde_json::{Value, json};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_proxied::proxy_remote_user::{
    Encoding, Groups, Mode, OnAlias, OnForged, Preset, ProxyRemoteUserBuilder, ResponseBody, SessionUser,
    Transition, transition,
};
use tower_proxied::{
    Anonymous, DetachedUser, Identity, PeerAddr, Proof, ProxyRemoteUserLayer, Refusal, RefusalKind, Secret,
    TrustedProxies,
};

use crate::sockets::{self, Answer};
use crate::support::{self, Case, Verdict, equal};

pub(crate) fn run(case: &Case) -> Verdict {
    run_via(case, Via::Process)
}

pub(crate) fn run_over_http_1(case: &Case) -> Verdict {
    run_via(case, Via::Http1)
}

pub(crate) fn run_over_http_2(case: &Case) -> Verdict {
    run_via(case, Via::Http2)
}

/// What is built, or not, is no request.
pub(crate) fn is_request(case: &Case) -> bool {
    case.given.get("kind").is_none_or(|kind| kind != "build")
}

fn run_via(case: &Case, via: Via) -> Verdict {
    support::only_keys(
        &case.given,
        &["kind", "peer", "trusted", "headers", "config", "tls", "method", "session", "request_user", "mode"],
    )?;
    support::only_keys(
        &case.expect,
        &[
            "user",
            "groups",
            "status",
            "headers_seen_by_app",
            "reason",
            "extra",
            "name",
            "email",
            "uid",
            "realm",
            "grpc_status",
            "build",
            "action",
            "renew_session_id",
        ],
    )?;
    match case.given.get("kind").and_then(Value::as_str) {
        None => run_request(case, via).map(drop),
        Some("build") => run_build(case),
        Some("session-transition") => run_transition(case, via),
        Some(other) => Err(format!("no such kind: {other}")),
    }
}

/// How a request reaches the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    Process,
    Http1,
    Http2,
}

fn run_request(case: &Case, via: Via) -> Result<Seen, String> {
    let mut expected_headers = case.expect["headers_seen_by_app"].clone();
    let mut lines = case.given["headers"].clone();
    match via {
        Via::Process => {}
        Via::Http1 => expect_of_http_1(&mut expected_headers, case),
        Via::Http2 if has_connection_field(&lines) => {
            shows_a_reset(case, &lines)?;
            // The rest of the case holds without them.
            let is_other = |line: &Value| !is_connection_field(line);
            lines = lines.as_array().into_iter().flatten().filter(|line| is_other(line)).cloned().collect();
            expected_headers.as_object_mut().unwrap().remove("connection");
        }
        Via::Http2 => {}
    }
    let expect = &case.expect;
    let layer = builder(&case.given)?.build().map_err(|error| error.to_string())?;
    let seen = serve(layer, case, &lines, via)?;
    equal("status", seen.status, expect["status"].as_u64().unwrap())?;
    equal("grpc-status", seen.grpc_status.map(Value::from), expect.get("grpc_status").cloned())?;
    equal("headers seen by the app", seen.headers.clone(), expected_headers)?;
    let user = seen.identity.as_ref().and_then(Identity::user);
    equal("user", json!(user.map(|user| user.name())), expect["user"].clone())?;
    let groups: Vec<&str> = user.iter().flat_map(|user| user.groups()).collect();
    equal("groups", json!(groups), expect["groups"].clone())?;
    let attributes = [
        ("name", user.and_then(|user| user.display_name())),
        ("email", user.and_then(|user| user.email())),
        ("uid", user.and_then(|user| user.uid())),
        ("realm", user.and_then(|user| user.realm())),
    ];
    for (key, attribute) in attributes {
        equal(key, json!(attribute), expect.get(key).cloned().unwrap_or(Value::Null))?;
    }
    let extra = user.map(|user| json!(user.extra())).unwrap_or_else(|| json!({}));
    equal("extra", extra, expect.get("extra").cloned().unwrap_or_else(|| json!({})))?;
    if let Some(reason) = expect.get("reason").and_then(Value::as_str) {
        equal("reason", seen.reason(), reason_in_our_words(reason, seen.refusal)?)?;
    }
    Ok(seen)
}

/// The client adds `Host` and, to a POST, `Content-Length`; the server trims values.
fn expect_of_http_1(headers: &mut Value, case: &Case) {
    let is_served = case.expect["status"] == 200 && case.expect.get("grpc_status").is_none();
    let Some(headers) = headers.as_object_mut().filter(|_| is_served) else { return };
    for value in headers.values_mut().flat_map(|values| values.as_array_mut()).flatten() {
        *value = json!(value.as_str().unwrap().trim_matches([' ', '\t']));
    }
    headers.insert("host".into(), json!(["app"]));
    if method(case) == Method::POST {
        headers.insert("content-length".into(), json!(["0"]));
    }
}

/// Fields about the connection, which do not exist in HTTP/2 (RFC 9113, section 8.2.2).
fn is_connection_field(line: &Value) -> bool {
    let name = String::from_utf8(support::latin1(&line[0]).to_ascii_lowercase()).unwrap();
    ["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"].contains(&&*name)
}

fn has_connection_field(lines: &Value) -> bool {
    lines.as_array().into_iter().flatten().any(is_connection_field)
}

/// The server must reset such a request before any layer sees it.
fn shows_a_reset(case: &Case, lines: &Value) -> Verdict {
    const PROTOCOL_ERROR: u32 = 1;
    let log = Arc::default();
    let layer = builder(&case.given)?.build().map_err(|error| error.to_string())?;
    let code = sockets::reset_by_http_2(app(layer, case, &log)?, &method(case), lines)?;
    equal("reset", code, PROTOCOL_ERROR)?;
    equal("the application was asked", log.lock().unwrap().inner.is_some(), false)
}

/// Why, which lines make it so, and the cases.
type NotCarried = (&'static str, fn(&Value) -> bool, &'static [&'static str]);

/// The cases of this project's own file that a protocol does not carry as they are, each kind with its reason.
const NOT_CARRIED: &[NotCarried] = &[
    (
        "HTTP/2 has no fields about the connection (RFC 9113, section 8.2.2)",
        has_connection_field,
        &["connection-token-cannot-remove", "forward-canonical"],
    ),
    (
        "HTTP/1 trims values (RFC 9112, section 5.1), so that the same user results",
        has_blank_ends,
        &["whitespace-only-is-empty", "trim-surrounding-whitespace", "forward-canonical"],
    ),
];

fn has_blank_ends(lines: &Value) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    lines.as_array().into_iter().flatten().any(|line| {
        let value = support::latin1(&line[1]);
        is_blank(value.first()) || is_blank(value.last())
    })
}

/// Whether [`NOT_CARRIED`] is complete, and no longer than it must be.
pub(crate) fn names_what_is_not_carried(cases: &[Case]) -> Verdict {
    for (reason, is_such, ids) in NOT_CARRIED {
        let found: Vec<_> =
            cases.iter().filter(|case| is_such(&case.given["headers"])).map(|case| &*case.id).collect();
        equal(reason, &found[..], ids)?;
    }
    Ok(())
}

struct Seen {
    status: u64,
    grpc_status: Option<i64>,
    refusal: Option<RefusalKind>,
    /// Where the inner service was called.
    identity: Option<Identity>,
    headers: Value,
}

impl Seen {
    fn reason(&self) -> String {
        match (&self.refusal, &self.identity) {
            (Some(kind), _) => format!("{kind:?}"),
            (None, Some(Identity::Anonymous(reason))) => format!("{reason:?}"),
            (None, other) => format!("{other:?}"),
        }
    }
}

/// What the layer says of itself where the case says `reason`.
fn reason_in_our_words(reason: &str, refusal: Option<RefusalKind>) -> Result<String, String> {
    Ok(match reason {
        "absent" if refusal.is_some() => format!("{:?}", RefusalKind::NotAuthenticated),
        "unproven" | "no-peer-info" if refusal.is_some() => format!("{:?}", RefusalKind::NotProven),
        "absent" => format!("{:?}", Anonymous::Absent),
        "unproven" => format!("{:?}", Anonymous::Unproven),
        "no-peer-info" => format!("{:?}", Anonymous::NoPeer),
        "forged" => format!("{:?}", RefusalKind::IdentityForged),
        "realm" => format!("{:?}", RefusalKind::ForeignRealm),
        "duplicate" | "comma" | "encoding" | "charset" | "control" | "format" | "length" | "too-long"
        | "limit" | "too-many-groups" | "conflict" | "alias" | "realm-syntax" | "realm-missing"
        | "prefix" => {
            format!("{:?}", RefusalKind::IdentityMalformed)
        }
        other => return Err(format!("no such reason: {other}")),
    })
}

fn method(case: &Case) -> Method {
    let is_grpc = case.expect.get("grpc_status").is_some();
    case.given["method"].as_str().unwrap_or(if is_grpc { "POST" } else { "GET" }).parse().unwrap()
}

#[derive(Default)]
struct Log {
    inner: Option<(Identity, HeaderMap)>,
    refusal: Option<RefusalKind>,
}

/// The application on one connection: the peer and the certificate are what the case says.
fn app<B: Send + 'static>(
    layer: ProxyRemoteUserLayer,
    case: &Case,
    log: &Arc<Mutex<Log>>,
) -> Result<
    impl Service<
        Request<B>,
        Response = Response<ResponseBody<String>>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static,
    String,
> {
    let mut cert = None;
    if let Some(tls) = case.given.get("tls") {
        support::only_keys(tls, &["verified", "subject_cn"])?;
        let common_name = tls["subject_cn"].as_str();
        cert = common_name
            .filter(|_| tls["verified"] == true)
            .map(|name| ClientCert { common_name: name.into() });
    }
    let (outside, inside) = (log.clone(), log.clone());
    Ok(ServiceBuilder::new()
        .option_layer(support::peer(&case.given["peer"]).map(PeerAddr::layer))
        .map_request(move |mut request: Request<B>| {
            if let Some(cert) = cert.clone() {
                request.extensions_mut().insert(cert);
            }
            request
        })
        .map_response(move |response: Response<_>| {
            outside.lock().unwrap().refusal = response.extensions().get::<Refusal>().map(Refusal::kind);
            response
        })
        .layer(layer)
        .service_fn(move |request: Request<B>| {
            let (parts, _) = request.into_parts();
            let identity = parts.extensions.get::<Identity>().cloned().expect("an Identity is always there");
            inside.lock().unwrap().inner = Some((identity, parts.headers));
            ready(Ok::<_, Infallible>(Response::new(String::new())))
        }))
}

fn serve(layer: ProxyRemoteUserLayer, case: &Case, lines: &Value, via: Via) -> Result<Seen, String> {
    let log = Arc::default();
    let method = method(case);
    let answer = match via {
        Via::Process => {
            let mut request = Request::new(());
            *request.headers_mut() = support::headers(lines);
            *request.method_mut() = method;
            let response = support::block_on(app(layer, case, &log)?.oneshot(request)).unwrap();
            Answer { status: response.status().as_u16(), headers: response.headers().clone() }
        }
        Via::Http1 => sockets::over_http_1(app(layer, case, &log)?, &method, lines)?,
        Via::Http2 => sockets::over_http_2(app(layer, case, &log)?, &method, lines)?,
    };
    if answer.status == 401 && !answer.headers.contains_key("www-authenticate") {
        return Err("401 without a challenge".to_owned());
    }
    let grpc_status = answer.headers.get("grpc-status").map(|value| value.to_str().unwrap().parse().unwrap());
    let log = std::mem::take(&mut *log.lock().unwrap());
    let (identity, headers) = log.inner.unzip();
    Ok(Seen {
        status: answer.status.into(),
        grpc_status,
        refusal: log.refusal,
        identity,
        headers: by_name(&headers.unwrap_or_default()),
    })
}

fn by_name(headers: &HeaderMap) -> Value {
    let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in support::lines(headers) {
        map.entry(name).or_default().push(value);
    }
    json!(map)
}

/// As a TLS listener would leave it in the extensions.
#[derive(Clone)]
struct ClientCert {
    common_name: String,
}

fn builder(given: &Value) -> Result<ProxyRemoteUserBuilder, String> {
    let config = given.get("config").unwrap_or(&Value::Null);
    let mut builder = ProxyRemoteUserLayer::new(proof(given, config)?);
    for (key, value) in config.as_object().into_iter().flatten() {
        builder =
            configured(builder, config, key, value).map_err(|problem| format!("{key} {value}: {problem}"))?;
    }
    Ok(builder)
}

/// Whatever a value may be that is not known here is an error: it would otherwise go untested.
fn configured(
    builder: ProxyRemoteUserBuilder,
    config: &Value,
    key: &str,
    value: &Value,
) -> Result<ProxyRemoteUserBuilder, String> {
    let unknown = || Err("not known to the runner".to_owned());
    let optional = || match list(value)[..] {
        [] | [Value::Null] => Ok(None),
        [header] => name(header).map(Some),
        _ => Err("several headers".to_owned()),
    };
    Ok(match (key, value) {
        // The proof reads them.
        ("trusted" | "trust_unix" | "proof" | "secret" | "mtls_allowed", _) => builder,
        ("user_header" | "user_headers", _) => {
            builder.user_headers(list(value).into_iter().map(name).collect::<Result<Vec<_>, _>>()?)
        }
        ("groups_header", _) => builder.groups_header(optional()?),
        ("name_header", _) => builder.name_header(optional()?),
        ("email_header", _) => builder.email_header(optional()?),
        ("uid_header", _) => builder.uid_header(optional()?),
        ("groups_separator", Value::Null) if config["groups_lines"] == "multi" => builder,
        ("groups_separator", Value::String(separator)) => match &**separator {
            "," => builder.groups(Groups::Comma),
            ";" => builder.groups(Groups::Semicolon),
            "|" => builder.groups(Groups::Pipe),
            _ => return unknown(),
        },
        ("groups_lines", Value::String(lines)) => match &**lines {
            "single" => builder,
            "multi" if config["groups_separator"].is_null() => builder.groups(Groups::PerLine),
            _ => return unknown(),
        },
        ("extra_prefixes" | "extra_prefix", _) => list(value)
            .into_iter()
            .fold(builder, |builder, prefix| builder.extra_prefix(prefix.as_str().unwrap())),
        ("encoding", Value::String(encoding)) => builder.encoding(match &**encoding {
            "utf-8" | "utf8" => Encoding::Utf8,
            "latin-1" | "latin1" => Encoding::Latin1,
            "percent" => Encoding::Percent,
            "rfc2047" => Encoding::Rfc2047,
            _ => return unknown(),
        }),
        ("required_prefix" | "require_prefix", Value::String(prefix)) => builder.require_prefix(prefix),
        ("require", Value::String(mode)) => match &**mode {
            "required" => builder.required(),
            "optional" => builder,
            _ => return unknown(),
        },
        ("on_forged", Value::String(policy)) => builder.on_forged(match &**policy {
            "strip" => OnForged::Strip,
            "reject" => OnForged::Refuse,
            _ => return unknown(),
        }),
        ("on_alias", Value::String(policy)) => builder.on_alias(match &**policy {
            "drop" => OnAlias::Drop,
            "reject" => OnAlias::Refuse,
            _ => return unknown(),
        }),
        ("forward", Value::String(mode)) => match &**mode {
            "none" | "remove" => builder,
            "canonical" => builder.forward_canonical(),
            _ => return unknown(),
        },
        ("allow_comma", Value::Bool(true)) => builder.allow_comma(),
        ("strip_authorization", Value::Bool(true)) => builder.strip_authorization(),
        ("allow_comma" | "strip_authorization" | "allow_format_chars", Value::Bool(false)) => builder,
        ("strip_well_known", Value::Bool(true)) => builder,
        ("placeholders" | "sentinels", Value::Array(texts)) => {
            builder.placeholders(texts.iter().map(|text| text.as_str().unwrap()))
        }
        ("max_user_bytes" | "max_value_bytes" | "max_bytes", _) => builder.max_value_bytes(count(value)?),
        ("max_groups", _) => builder.max_groups(count(value)?),
        ("keep", _) => list(value)
            .into_iter()
            .try_fold(builder, |builder, kept| Ok::<_, String>(builder.keep(name(kept)?)))?,
        ("exempt" | "exempt_path", Value::String(path)) => builder.exempt_path(path),
        ("challenge", Value::String(challenge)) => builder.challenge(challenge.parse().unwrap()),
        ("preset", Value::String(preset)) => builder.preset(match &**preset {
            "user-only" => Preset::UserOnly,
            "authelia" => Preset::Authelia,
            "authentik" => Preset::Authentik,
            "oauth2-proxy" => Preset::Oauth2Proxy,
            "kubernetes" => Preset::Kubernetes,
            "tailscale" => Preset::Tailscale,
            "google-iap" => Preset::GoogleIap,
            _ => return unknown(),
        }),
        ("realm", Value::String(mode)) if mode == "keep" => builder,
        ("realm", Value::Object(_)) => {
            support::only_keys(value, &["require"])?;
            builder.require_realm(list(&value["require"]).into_iter().map(|realm| realm.as_str().unwrap()))
        }
        _ => return unknown(),
    })
}

/// One value stands for a list of one.
fn list(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |values| values.iter().collect())
}

fn count(value: &Value) -> Result<usize, String> {
    value.as_u64().and_then(|count| usize::try_from(count).ok()).ok_or("not a number".to_owned())
}

fn name(value: &Value) -> Result<HeaderName, String> {
    HeaderName::from_bytes(&support::latin1(value)).map_err(|error| error.to_string())
}

/// `peer`, `secret` and `mtls`, joined by `+` (and) and `|` (or).
fn proof(given: &Value, config: &Value) -> Result<Proof, String> {
    let written = match config.get("proof") {
        None if config.get("secret").is_some() => "peer+secret",
        None => "peer",
        Some(proof) => proof.as_str().ok_or("a proof is a text")?,
    };
    let mut proof: Option<Proof> = None;
    for part in written.split('|') {
        let mut both: Option<Proof> = None;
        for kind in part.split(['+', '&']) {
            let leaf = leaf(kind.trim(), given, config)?;
            both = Some(both.map_or(leaf.clone(), |left| left & leaf));
        }
        let both = both.ok_or("no proof")?;
        proof = Some(proof.map_or(both.clone(), |left| left | both));
    }
    proof.ok_or("no proof".to_owned())
}

fn leaf(kind: &str, given: &Value, config: &Value) -> Result<Proof, String> {
    Ok(match kind {
        "peer" => Proof::peer(trusted(given, config)?),
        "everyone" => Proof::peer(TrustedProxies::everyone_dangerously()),
        "secret" => {
            let secret = &config["secret"];
            support::only_keys(secret, &["header", "values"])?;
            let values = secret["values"].as_array().ok_or("no secrets")?.iter();
            let secrets: Result<Vec<_>, _> =
                values.map(|value| Secret::parse(value.as_str().unwrap())).collect();
            Proof::shared_secret(name(&secret["header"])?, secrets.map_err(|error| error.to_string())?)
        }
        "mtls" => {
            let allowed: Vec<String> =
                list(&config["mtls_allowed"]).iter().map(|name| name.as_str().unwrap().into()).collect();
            Proof::client_cert(move |extensions: &Extensions| {
                extensions.get::<ClientCert>().is_some_and(|cert| allowed.contains(&cert.common_name))
            })
        }
        other => return Err(format!("no such proof: {other}")),
    })
}

fn trusted(given: &Value, config: &Value) -> Result<TrustedProxies, String> {
    // Build cases that are about something else have a valid proof.
    if given.get("kind").is_some_and(|kind| kind == "build") && config.get("trusted").is_none() {
        return Ok(TrustedProxies::loopback());
    }
    let items = list(config.get("trusted").unwrap_or(&given["trusted"]));
    let items: Vec<&str> = items.into_iter().map(|item| item.as_str().unwrap()).collect();
    let trusted = match &items[..] {
        [] => TrustedProxies::none(),
        items => TrustedProxies::parse(items).map_err(|error| error.to_string())?,
    };
    match &config["trust_unix"] {
        Value::Bool(true) => Ok(trusted | TrustedProxies::unix()),
        Value::Bool(false) | Value::Null => Ok(trusted),
        other => Err(format!("trust_unix {other} is not known to the runner")),
    }
}

fn run_build(case: &Case) -> Verdict {
    let built = builder(&case.given).and_then(|builder| builder.build().map_err(|error| error.to_string()));
    let expected = case.expect["build"].as_str().unwrap();
    match (expected.split_once(": "), built) {
        (Some(("ok", network)), Ok(_)) => {
            let meant = support::trusted(&json!([network]));
            equal("trusted", support::trusted(&case.given["config"]["trusted"]), meant)
        }
        (Some(("error", problem)), Err(message)) => {
            let word = match problem {
                "no proof of the proxy" => "no proof of the proxy",
                "use the explicitly dangerous constructor" => "everyone_dangerously",
                "invalid header name" => "invalid HTTP header name",
                "secret shorter than 16 bytes" => "at least 16",
                "reserved header" => "reserved header",
                "prefix too broad" => "too broad",
                other => return Err(format!("no such problem: {other}")),
            };
            if message.contains(word) { Ok(()) } else { Err(format!("{message:?} does not say {word:?}")) }
        }
        (_, built) => Err(format!("seen {built:?}, expected {expected}")),
    }
}

fn run_transition(case: &Case, via: Via) -> Verdict {
    let identity = run_request(case, via)?.identity.ok_or("refused")?;
    let given = &case.given;
    equal("request_user", json!(identity.user().map(|user| user.name())), given["request_user"].clone())?;
    let user = DetachedUser::new(given["session"]["user"].as_str().unwrap_or_default());
    let session = match &given["session"] {
        Value::Null => None,
        session => {
            support::only_keys(session, &["user", "origin"])?;
            Some(match session["origin"].as_str().unwrap() {
                "remote-user" => SessionUser::OfProxy(&user),
                "local" => SessionUser::OfApplication(&user),
                other => return Err(format!("no such origin: {other}")),
            })
        }
    };
    let mode = match given["mode"].as_str().unwrap() {
        "strict" => Mode::Strict,
        "persistent" => Mode::Persistent,
        other => return Err(format!("no such mode: {other}")),
    };
    let action = match case.expect["action"].as_str().unwrap() {
        "login" => Transition::Login,
        "keep" => Transition::Keep,
        "switch" => Transition::Switch,
        "logout" => Transition::Logout,
        "none" => Transition::StayAnonymous,
        other => return Err(format!("no such action: {other}")),
    };
    let seen = transition(session, &identity, mode);
    equal("action", seen, action)?;
    equal("new id", seen.needs_new_session_id(), case.expect["renew_session_id"].as_bool().unwrap())
}
