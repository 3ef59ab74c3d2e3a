use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::{Extensions, HeaderMap, HeaderName, Request, Response};
use serde_json::{Value, json};
use tower::{ServiceBuilder, ServiceExt};
use tower_proxied::proxy_remote_user::{
    Encoding, Groups, Mode, OnAlias, OnForged, ProxyRemoteUserBuilder, SessionUser, Transition, transition,
};
use tower_proxied::{
    Anonymous, DetachedUser, Identity, Proof, ProxyRemoteUserLayer, Refusal, RefusalKind, Secret,
    TrustedProxies,
};

use crate::support::{self, Case, Verdict, equal};

pub(crate) fn run(case: &Case) -> Verdict {
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
        None => run_request(case).map(drop),
        Some("build") => run_build(case),
        Some("session-transition") => run_transition(case),
        Some(other) => Err(format!("no such kind: {other}")),
    }
}

fn run_request(case: &Case) -> Result<Seen, String> {
    let expect = &case.expect;
    let seen = serve(builder(&case.given)?.build().map_err(|error| error.to_string())?, case)?;
    equal("status", seen.status, expect["status"].as_u64().unwrap())?;
    equal("grpc-status", seen.grpc_status.map(Value::from), expect.get("grpc_status").cloned())?;
    equal("headers seen by the app", seen.headers.clone(), expect["headers_seen_by_app"].clone())?;
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
        "duplicate" | "encoding" | "charset" | "conflict" | "alias" | "realm-syntax" | "realm-missing"
        | "prefix" => format!("{:?}", RefusalKind::IdentityMalformed),
        other => return Err(format!("no such reason: {other}")),
    })
}

fn serve(layer: ProxyRemoteUserLayer, case: &Case) -> Result<Seen, String> {
    let mut request = Request::new(());
    *request.headers_mut() = support::headers(&case.given["headers"]);
    let is_grpc = case.expect.get("grpc_status").is_some();
    let method = case.given["method"].as_str().unwrap_or(if is_grpc { "POST" } else { "GET" });
    *request.method_mut() = method.parse().unwrap();
    if let Some(peer) = support::peer(&case.given["peer"]) {
        request.extensions_mut().insert(peer);
    }
    if let Some(tls) = case.given.get("tls") {
        support::only_keys(tls, &["verified", "subject_cn"])?;
        if tls["verified"] == true {
            request
                .extensions_mut()
                .insert(ClientCert { common_name: tls["subject_cn"].as_str().unwrap().into() });
        }
    }
    let inner = Arc::new(Mutex::new(None));
    let service = ServiceBuilder::new().layer(layer).service_fn(|request: Request<()>| {
        let (parts, ()) = request.into_parts();
        let identity = parts.extensions.get::<Identity>().cloned().expect("an Identity is always there");
        *inner.lock().unwrap() = Some((identity, parts.headers));
        std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(())))
    });
    let response = support::block_on(service.oneshot(request)).unwrap();
    let (identity, headers) = inner.lock().unwrap().take().unzip();
    if response.status() == 401 && !response.headers().contains_key("www-authenticate") {
        return Err("401 without a challenge".to_owned());
    }
    let grpc_status =
        response.headers().get("grpc-status").map(|value| value.to_str().unwrap().parse().unwrap());
    Ok(Seen {
        status: response.status().as_u16().into(),
        grpc_status,
        refusal: response.extensions().get::<Refusal>().map(Refusal::kind),
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
    support::only_keys(
        config,
        &[
            "trusted",
            "trust_unix",
            "proof",
            "secret",
            "mtls_allowed",
            "user_header",
            "groups_header",
            "name_header",
            "email_header",
            "uid_header",
            "groups_separator",
            "groups_lines",
            "extra_prefixes",
            "encoding",
            "allow_comma",
            "realm",
            "required_prefix",
            "require",
            "on_forged",
            "on_alias",
            "forward",
            "strip_authorization",
        ],
    )?;
    let mut builder = ProxyRemoteUserLayer::new(proof(given, config)?);
    if let Some(names) = config.get("user_header").and_then(Value::as_array) {
        builder = builder.user_headers(names.iter().map(name).collect::<Result<Vec<_>, _>>()?);
    }
    if let Some(names) = config.get("groups_header").and_then(Value::as_array) {
        let [header] = &names[..] else { return Err("one groups header".to_owned()) };
        builder = builder.groups_header(name(header)?);
    }
    let optional = |key: &str| {
        config
            .get(key)
            .map(|value| if value.is_null() { Ok(None) } else { name(value).map(Some) })
            .transpose()
    };
    if let Some(header) = optional("name_header")? {
        builder = builder.name_header(header);
    }
    if let Some(header) = optional("email_header")? {
        builder = builder.email_header(header);
    }
    if let Some(header) = optional("uid_header")? {
        builder = builder.uid_header(header);
    }
    builder = match (config.get("groups_separator"), config.get("groups_lines").and_then(Value::as_str)) {
        (None, None) => builder,
        (Some(Value::Null), Some("multi")) => builder.groups(Groups::PerLine),
        (Some(separator), None) if separator == "|" => builder.groups(Groups::Pipe),
        other => return Err(format!("no such groups: {other:?}")),
    };
    for prefix in config["extra_prefixes"].as_array().into_iter().flatten() {
        builder = builder.extra_prefix(prefix.as_str().unwrap());
    }
    for (key, value) in config.as_object().into_iter().flatten() {
        builder = match (key.as_str(), value.as_str()) {
            ("encoding", Some("latin-1")) => builder.encoding(Encoding::Latin1),
            ("encoding", Some("percent")) => builder.encoding(Encoding::Percent),
            ("encoding", Some("rfc2047")) => builder.encoding(Encoding::Rfc2047),
            ("required_prefix", Some(prefix)) => builder.require_prefix(prefix),
            ("require", Some("required")) => builder.required(),
            ("on_forged", Some("reject")) => builder.on_forged(OnForged::Refuse),
            ("on_alias", Some("reject")) => builder.on_alias(OnAlias::Refuse),
            ("forward", Some("canonical")) => builder.forward_canonical(),
            ("encoding" | "require" | "on_forged" | "on_alias" | "forward", other) => {
                return Err(format!("no such {key}: {other:?}"));
            }
            ("allow_comma", None) if *value == true => builder.allow_comma(),
            ("strip_authorization", None) if *value == true => builder.strip_authorization(),
            ("realm", None) => {
                support::only_keys(value, &["require"])?;
                let realms = value["require"].as_array().ok_or("no realms")?;
                builder.require_realm(realms.iter().map(|realm| realm.as_str().unwrap()))
            }
            _ => builder,
        };
    }
    Ok(builder)
}

fn name(value: &Value) -> Result<HeaderName, String> {
    HeaderName::from_bytes(&support::latin1(value)).map_err(|error| error.to_string())
}

fn proof(given: &Value, config: &Value) -> Result<Proof, String> {
    let is_build = given.get("kind").is_some_and(|kind| kind == "build");
    let list = config.get("trusted").unwrap_or(&given["trusted"]);
    let items: Vec<&str> = list.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect();
    let mut trusted = match &items[..] {
        [] => TrustedProxies::none(),
        items => TrustedProxies::parse(items).map_err(|error| error.to_string())?,
    };
    if config["trust_unix"] == true {
        trusted = trusted | TrustedProxies::unix();
    }
    // Build cases that are about something else have a valid proof.
    if is_build && config.get("trusted").is_none() {
        trusted = TrustedProxies::loopback();
    }
    let peer = Proof::peer(trusted);
    let secret = || -> Result<Proof, String> {
        let secret = &config["secret"];
        support::only_keys(secret, &["header", "values"])?;
        let values = secret["values"].as_array().ok_or("no secrets")?.iter();
        let secrets: Result<Vec<Secret>, _> =
            values.map(|value| Secret::parse(value.as_str().unwrap())).collect();
        Ok(Proof::shared_secret(name(&secret["header"])?, secrets.map_err(|error| error.to_string())?))
    };
    Ok(match config.get("proof").and_then(Value::as_str) {
        None if config.get("secret").is_some() => peer & secret()?,
        None => peer,
        Some("secret") => secret()?,
        Some("peer+secret") => peer & secret()?,
        Some("peer|secret") => peer | secret()?,
        Some("mtls") => {
            let allowed: Vec<String> = config["mtls_allowed"]
                .as_array()
                .unwrap()
                .iter()
                .map(|name| name.as_str().unwrap().into())
                .collect();
            Proof::client_cert(move |extensions: &Extensions| {
                extensions.get::<ClientCert>().is_some_and(|cert| allowed.contains(&cert.common_name))
            })
        }
        Some(other) => return Err(format!("no such proof: {other}")),
    })
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

fn run_transition(case: &Case) -> Verdict {
    let identity = run_request(case)?.identity.ok_or("refused")?;
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
