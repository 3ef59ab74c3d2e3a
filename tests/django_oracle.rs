//! What Django made of raw requests: where it stands, what it links to, where it is mounted. The layers agree, or
//! differ for a reason that is named here. (What Django made of users is in remote_user_oracles.rs.)

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;

use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version, request};
use serde_json::Value;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_proxied::forced_host::{AllowedHosts, ForcedHostLayer};
use tower_proxied::forwarded_for::{Claims, Written};
use tower_proxied::{
    ForwardedForLayer, PathPrefix, PeerAddr, PublicUrl, Refusal, RefusalKind, Scheme, ScriptName,
    ScriptNamePrefixLayer, TrustedProxies,
};

/// How an answer may differ from Django's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// Links carry one spelling of the host, without the dot at its end.
    HostsAreCanonical,
    /// A port beyond 65535 is no port.
    PortsMustExist,
    /// ALLOWED_HOSTS does not look at ports; a link to another port leads to another service.
    PortsMustBeAllowed,
    /// A host that is not allowed is 421, after which an HTTP/2 client opens another connection; 400 is for what
    /// cannot be read.
    NotAllowedIsMisdirected,
    /// Real names have underscores.
    UnderscoresAreLegal,
    /// HAProxy's usual recipe writes an empty field where there is nothing to write.
    AnEmptyClaimIsNone,
    /// Without a Host, Django guesses by its own socket, which no browser sees.
    NoHostIsNotGuessed,
    /// RFC 9112, section 3.2.2: an absolute target wins over Host.
    AbsoluteTargetsWin,
    /// RFC 3986, section 3.1: schemes have no case.
    SchemesHaveNoCase,
    /// The field is set by the proxy, so it has one value; Django takes the first, which may be the client's.
    AListOfSchemesIsRefused,
    /// Neither `http` nor `https` is no answer to "how did the browser connect".
    SchemesMustBeKnown,
    /// gunicorn also reads X-Forwarded-Ssl and X-Forwarded-Protocol; here each claim has one source.
    ClaimsHaveOneSource,
    /// Django believes X-Forwarded-Host whoever sent it.
    StrangersAreNotBelieved,
    /// gunicorn takes the mount from a request header.
    HeadersDoNotMount,
    /// WSGI decodes the path, so that Django guesses what it was.
    PathsKeepTheirBytes,
    /// Python's urljoin drops empty segments, RFC 3986 does not.
    EmptySegmentsStay,
    /// `..` over the mount is refused before it is a path that is not found.
    ClimbingOutIsMalformed,
    /// The port of the public URL is the browser's; SERVER_PORT is that of the application's socket.
    ThePortIsTheBrowsers,
    /// `absolute` is for paths of the application, and knows the mount.
    LinksKnowTheMount,
    /// RFC 3986 admits none of these characters, and hyper no such target.
    TargetsAreUris,
}

use Difference::*;

const ALL: [Difference; 20] = [
    HostsAreCanonical,
    PortsMustExist,
    PortsMustBeAllowed,
    NotAllowedIsMisdirected,
    UnderscoresAreLegal,
    AnEmptyClaimIsNone,
    NoHostIsNotGuessed,
    AbsoluteTargetsWin,
    SchemesHaveNoCase,
    AListOfSchemesIsRefused,
    SchemesMustBeKnown,
    ClaimsHaveOneSource,
    StrangersAreNotBelieved,
    HeadersDoNotMount,
    PathsKeepTheirBytes,
    EmptySegmentsStay,
    ClimbingOutIsMalformed,
    ThePortIsTheBrowsers,
    LinksKnowTheMount,
    TargetsAreUris,
];

/// One recorded request.
struct Case {
    recorded: Value,
    target: String,
    version: Version,
    lines: Vec<(String, String)>,
}

impl Case {
    fn read(recorded: Value) -> Self {
        let request = recorded["request"].as_str().unwrap();
        let mut lines = request.lines();
        let mut start = lines.next().unwrap().splitn(2, ' ');
        assert_eq!(start.next(), Some("GET"));
        let (target, version) = start.next().unwrap().rsplit_once(' ').unwrap();
        let version = if version == "HTTP/1.0" { Version::HTTP_10 } else { Version::HTTP_11 };
        let target = target.to_owned();
        let lines = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        Self { recorded, target, version, lines }
    }

    fn id(&self) -> &str {
        self.text("id")
    }

    fn text(&self, key: &str) -> &str {
        self.recorded[key].as_str().unwrap_or_else(|| panic!("{key} in {}", self.recorded["id"]))
    }

    fn status(&self) -> u16 {
        self.text("status").split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// All values of a field, joined as WSGI joins them.
    fn field(&self, name: &str) -> Option<String> {
        let values: Vec<&str> =
            self.lines.iter().filter(|line| line.0 == name).map(|line| &line.1[..]).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    /// Path and query of the target, byte for byte.
    fn path(&self) -> &str {
        match self.target.strip_prefix("http://") {
            Some(rest) => &rest[rest.find('/').unwrap()..],
            None => &self.target,
        }
    }

    /// The site's settings, in terms of the layers.
    fn layers(&self) -> (ForwardedForLayer, ForcedHostLayer, ScriptNamePrefixLayer) {
        let site = self.text("site");
        let trusted = match site {
            "untrusting" => TrustedProxies::parse(["10.9.9.9"]).unwrap(),
            _ => TrustedProxies::loopback(),
        };
        let mut claims = Claims::none().scheme(Written::Set.optional());
        if site != "default" {
            claims = claims.host(Written::Set.optional());
        }
        let hosts = match site {
            "hosts" => AllowedHosts::from_static(&["front.example", ".sub.example", "[2001:db8::1]"]),
            _ => AllowedHosts::any(),
        };
        let mount = PathPrefix::from_static("/webapps");
        let mount = match site {
            "script" => ScriptNamePrefixLayer::proxy_strips(mount),
            "modwsgi-mount" => ScriptNamePrefixLayer::proxy_keeps(mount),
            _ => ScriptNamePrefixLayer::disabled(),
        };
        (
            ForwardedForLayer::x_forwarded_for(trusted).claims(claims),
            ForcedHostLayer::allowed(hosts).use_proxied(),
            mount,
        )
    }

    /// The request as the application sees it, or why it does not.
    async fn ask(&self) -> Result<request::Parts, Refused> {
        let mut request = Request::new(());
        *request.uri_mut() = Uri::try_from(latin1(&self.target)).map_err(|_| Refused::Target)?;
        *request.version_mut() = self.version;
        for (name, value) in &self.lines {
            let value = HeaderValue::from_bytes(&latin1(value)).unwrap();
            request.headers_mut().append(HeaderName::try_from(name).unwrap(), value);
        }
        let (forwarded_for, forced_host, mount) = self.layers();
        let service = ServiceBuilder::new()
            .layer(PeerAddr::layer(SocketAddr::from(([127, 0, 0, 1], 4711))))
            .layer(forwarded_for)
            .layer(forced_host)
            .layer(mount)
            .service(service_fn(|request: Request<()>| async {
                let mut response = Response::new(());
                response.extensions_mut().insert(request.into_parts().0);
                Ok::<_, Infallible>(response)
            }));
        let mut response = service.oneshot(request).await.unwrap();
        match response.extensions().get::<Refusal>() {
            Some(refusal) => Err(Refused::Layer(response.status(), refusal.kind())),
            None => Ok(response.extensions_mut().remove().unwrap()),
        }
    }
}

#[derive(Debug)]
enum Refused {
    /// hyper reads targets with the same parser.
    Target,
    Layer(StatusCode, RefusalKind),
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect()
}

/// Why a request is refused here, or there, or in two ways.
fn of_status(case: &Case, refused: &Refused) -> Option<Difference> {
    let proto = case.field("x-forwarded-proto").unwrap_or_default();
    let host = case.field("x-forwarded-host").unwrap_or_default();
    Some(match (case.status(), refused) {
        (theirs, Refused::Layer(ours, _)) if theirs == ours.as_u16() => return None,
        (200, Refused::Target) if case.target.contains(['<', '>']) => TargetsAreUris,
        (200, Refused::Layer(_, RefusalKind::HostMissing)) if case.version == Version::HTTP_10 => {
            NoHostIsNotGuessed
        }
        (200, Refused::Layer(_, RefusalKind::DuplicateField)) if proto.contains(", ") => {
            AListOfSchemesIsRefused
        }
        (200, Refused::Layer(_, RefusalKind::ClaimMalformed)) if host.ends_with(":99999") => PortsMustExist,
        (200, Refused::Layer(_, RefusalKind::ClaimMalformed)) if proto == "on" => SchemesMustBeKnown,
        (200, Refused::Layer(_, RefusalKind::HostNotAllowed)) if host == "front.example:1234" => {
            PortsMustBeAllowed
        }
        (400, Refused::Layer(_, RefusalKind::HostNotAllowed)) => NotAllowedIsMisdirected,
        (404, Refused::Layer(_, RefusalKind::EscapesPrefix)) => ClimbingOutIsMalformed,
        (theirs, _) => panic!("{}: Django says {theirs}, here {refused:?}", case.id()),
    })
}

/// Why a request is refused there and served here.
fn of_serving(case: &Case) -> Difference {
    let has = |name| case.field(name).is_some();
    match case.field("x-forwarded-host").as_deref() {
        Some("") => AnEmptyClaimIsNone,
        Some("a_b.example") => UnderscoresAreLegal,
        _ if has("script_name") => HeadersDoNotMount,
        _ if has("x-forwarded-ssl") && has("x-forwarded-proto") => ClaimsHaveOneSource,
        _ => panic!("{}: Django says {}, here it is served", case.id(), case.status()),
    }
}

fn compare(case: &Case, parts: &request::Parts, differences: &mut BTreeSet<Difference>) {
    let public = parts.extensions.get::<PublicUrl>().unwrap();
    let unlike = |what: &str, theirs: &str, ours: &str| -> ! {
        panic!("{}: {what} is {theirs:?} in Django, here {ours:?}", case.id())
    };

    let secure = (case.recorded["is_secure"].as_bool().unwrap(), public.scheme() == Scheme::Https);
    differences.extend(match secure {
        (theirs, ours) if theirs == ours => None,
        (false, true) if case.field("x-forwarded-proto").as_deref() == Some("HTTPS") => {
            Some(SchemesHaveNoCase)
        }
        (true, false)
            if case
                .lines
                .iter()
                .any(|(name, _)| ["x-forwarded-ssl", "x-forwarded-protocol"].contains(&&name[..])) =>
        {
            Some(ClaimsHaveOneSource)
        }
        (theirs, ours) => unlike("is_secure", &theirs.to_string(), &ours.to_string()),
    });

    let (theirs, ours) = (case.text("get_host"), public.authority().to_string());
    differences.extend(match theirs {
        _ if theirs == ours => None,
        _ if theirs.strip_suffix('.') == Some(&ours) => Some(HostsAreCanonical),
        "app.internal:8000" if case.target == format!("http://{ours}/webapps/x") => Some(AbsoluteTargetsWin),
        _ if case.text("site") == "untrusting" && ours == "app.internal:8000" => {
            Some(StrangersAreNotBelieved)
        }
        _ => unlike("get_host", theirs, &ours),
    });

    let (theirs, ours) = (case.text("get_port"), public.port().to_string());
    differences.extend(match theirs {
        _ if theirs == ours => None,
        "19111" | "8000" => Some(ThePortIsTheBrowsers),
        _ => unlike("get_port", theirs, &ours),
    });

    let mounted = parts.extensions.get::<ScriptName>();
    let prefix = mounted.map_or("", |mounted| mounted.prefix().as_str());
    let theirs = case.recorded["meta"]["SCRIPT_NAME"].as_str().unwrap();
    let takes_header = case.field("script_name").is_some() && prefix.is_empty();
    differences.extend(match theirs {
        _ if theirs == prefix => None,
        "/webapps" if takes_header => Some(HeadersDoNotMount),
        _ => unlike("SCRIPT_NAME", theirs, prefix),
    });
    assert_eq!(public.prefix().as_str(), prefix, "{}", case.id());
    assert_eq!(case.text("reverse"), format!("{theirs}/target"), "{}", case.id());

    // From here on the origins differ for the reasons above.
    let site = format!("{}://{}", if secure.0 { "https" } else { "http" }, case.text("get_host"));
    let behind_origin = |key| case.text(key).strip_prefix(&site).unwrap().to_owned();
    let ours_behind_origin = |uri: String| uri.strip_prefix(&public.origin().to_string()).unwrap().to_owned();

    let (theirs, ours) =
        (behind_origin("build_absolute_uri"), ours_behind_origin(public.absolute("/x").unwrap()));
    assert_eq!(public.resolve_any("", "/x"), Ok(format!("{}/x", public.origin())));
    assert_eq!(theirs, "/x");
    differences.extend(match &ours[..] {
        _ if ours == theirs => None,
        "/webapps/x" if prefix == "/webapps" => Some(LinksKnowTheMount),
        _ => unlike("build_absolute_uri('/x')", &theirs, &ours),
    });

    let theirs = behind_origin("build_absolute_uri_rel");
    let inner = parts.uri.path();
    let ours = ours_behind_origin(public.absolute_from(inner, "y").unwrap());
    differences.extend(match &theirs[..] {
        _ if ours == theirs => None,
        "/webapps/a/y" if inner == "/webapps/a%2Fb" && ours == "/webapps/y" => Some(PathsKeepTheirBytes),
        "/webapps/y" if inner == "/webapps%2Fx" && ours == "/y" => Some(PathsKeepTheirBytes),
        "/webapps/webapps/y" if inner == "/webapps%2Fx" && ours == "/webapps/y" => Some(PathsKeepTheirBytes),
        _ if ours.contains("//") && ours.replace("//", "/") == theirs => Some(EmptySegmentsStay),
        _ => unlike("build_absolute_uri('y')", &theirs, &ours),
    });

    // Byte for byte, whatever Django makes of it.
    let arrived = if case.text("site") == "script" { prefix } else { "" };
    let exact = format!("{arrived}{}", case.path());
    let (uri, full) = (behind_origin("build_absolute_uri_self"), case.text("get_full_path").to_owned());
    assert_eq!(ours_behind_origin(public.current(parts)), exact, "{}", case.id());
    if let Some(mounted) = mounted {
        assert_eq!(mounted.public_path(), exact, "{}", case.id());
    }
    let is_odd = ["%2F", "%E9", "[", "\"", ".."].iter().any(|odd| exact.contains(odd));
    for theirs in [uri, full] {
        differences.extend(match &theirs[..] {
            _ if theirs == exact => None,
            _ if is_odd => Some(PathsKeepTheirBytes),
            _ => unlike("the current URL", &theirs, &exact),
        });
    }

    let theirs = case.recorded["meta"]["PATH_INFO"].as_str().unwrap();
    let decoded = String::from_utf8_lossy(&percent_decoded(inner)).into_owned();
    differences.extend(match theirs {
        _ if takes_header => Some(HeadersDoNotMount),
        _ if theirs == inner => None,
        _ if theirs == decoded || inner.contains("%E9") => Some(PathsKeepTheirBytes),
        _ if theirs.replacen("//", "/", 1) == decoded => Some(PathsKeepTheirBytes),
        _ => unlike("PATH_INFO", theirs, inner),
    });
    assert_eq!(case.text("path_info"), theirs, "{}", case.id());
}

fn percent_decoded(path: &str) -> Vec<u8> {
    let mut bytes = path.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
        decoded.push(match byte {
            b'%' => u8::try_from(digit().unwrap() * 16 + digit().unwrap()).unwrap(),
            byte => byte,
        });
    }
    decoded
}

/// What the application itself answered: links that it made.
fn redirect(case: &Case, parts: &request::Parts) {
    let public = parts.extensions.get::<PublicUrl>().unwrap();
    let ours = match case.path() {
        "/webapps/redirect" => format!("{}/target", public.prefix()),
        "/webapps/redirect-abs" => public.absolute("/target").unwrap(),
        path => panic!("{}: {path} is no redirect", case.id()),
    };
    assert_eq!(case.text("location"), ours, "{}", case.id());
}

#[tokio::test]
async fn differences_from_django_are_named() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/django_oracle.json");
    let recorded: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut differences = BTreeSet::new();
    let mut compared = 0;
    for case in recorded.into_iter().map(Case::read) {
        match (case.ask().await, case.status()) {
            (Err(refused), _) => differences.extend(of_status(&case, &refused)),
            (Ok(parts), 200) => {
                compare(&case, &parts, &mut differences);
                compared += 1;
            }
            (Ok(parts), 302) => redirect(&case, &parts),
            (Ok(_), _) => drop(differences.insert(of_serving(&case))),
        }
    }
    assert!(compared > 100, "{compared}");
    assert_eq!(differences, BTreeSet::from(ALL), "each difference has a case");
}
