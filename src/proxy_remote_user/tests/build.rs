use super::*;

#[test]
fn what_cannot_be_built_names_the_item() {
    let header = HeaderName::from_static;
    let secret = || Secret::parse("correct-horse-battery").unwrap();
    let with_secret = |name| Proof::shared_secret(header(name), [secret()]);
    for (builder, item) in [
        (ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::none())), "an empty set of trusted proxies"),
        (
            ProxyRemoteUserLayer::new(with_secret("x-secret") | Proof::shared_secret(header("x-secret"), [])),
            "an empty list of secrets",
        ),
        (builder().user_header(header("cookie")), "cookie"),
        (builder().user_header(header("x_forwarded_for")), "x_forwarded_for"),
        (builder().groups_header(header("content-md5")), "content-md5"),
        (builder().user_header(header("cf-connecting-ip")), "cf-connecting-ip"),
        (builder().user_header(header("x_original_url")), "x_original_url"),
        (builder().extra_prefix("cf-"), "cf-"),
        (builder().groups_header(header("remote_user")), "remote_user"),
        (builder().user_headers([]), "user_headers"),
        (builder().extra_prefix("remote-"), "remote-user"),
        (builder().extra_prefix(""), ""),
        (builder().extra_prefix("content-x-"), "content-x-"),
        (builder().extra_prefix("x-a-").extra_prefix("x_a_"), "x_a_"),
        (builder().extra_prefix("x-a-b-").extra_prefix("x-a-"), "x-a-"),
        (builder().require_realm([""; 0]), ""),
        (builder().require_realm(["CORP", "a@b"]), "a@b"),
        (builder().require_realm(["a\\b"]), "a\\b"),
        (builder().require_realm(["CORP "]), "CORP "),
        (builder().require_realm(["CO\u{200b}RP"]), "CO\u{200b}RP"),
        (builder().require_realm(["CORP, Inc."]), "CORP, Inc."),
        (builder().require_prefix(""), ""),
        (builder().require_prefix(" idp:"), " idp:"),
        (builder().require_prefix("idp\t:"), "idp\t:"),
        (builder().require_prefix("a,b:"), "a,b:"),
        (builder().require_prefix("idp:").max_user_bytes(4), "idp:"),
        (builder().require_prefix("idp:").max_value_bytes(4), "idp:"),
        (builder().max_value_bytes(0), "max_value_bytes"),
        (builder().max_user_bytes(0), "max_user_bytes"),
        (builder().placeholders(["-", " none"]), " none"),
        (builder().challenge(HeaderValue::from_static("")), ""),
        (builder().challenge(HeaderValue::from_static(" ")), ""),
        (builder().exempt_path("healthz?full"), "/healthz?full"),
        (builder().exempt_path("/a#b"), "/a#b"),
        (builder().keep(header("remote_user")), "remote_user"),
        (builder().keep(header("x-request-id")), "x-request-id"),
        (builder().keep(header("x-webauth-user")).on_well_known(OnWellKnown::Pass), "x-webauth-user"),
        (builder().groups(Groups::Separated('a')), "a"),
        (builder().groups(Groups::Separated('7')), "7"),
        (builder().groups(Groups::Separated('-')), "-"),
        (builder().groups(Groups::Separated('\t')), "\t"),
        (builder().groups(Groups::Separated('é')), "é"),
        (builder().groups(Groups::Separated('%')).encoding(Encoding::Percent), "%"),
        (builder().groups(Groups::Separated('?')).encoding(Encoding::Rfc2047), "?"),
        (builder().groups(Groups::Separated(' ')).encoding(Encoding::Rfc2047), " "),
        (builder().groups(Groups::Separated('+')).encoding(Encoding::Rfc2047), "+"),
        (builder().groups(Groups::Separated('/')).encoding(Encoding::Rfc2047), "/"),
        (
            builder().map_user(|_| Ok(Identity::Anonymous(Anonymous::Absent))),
            "tower_proxied::proxy_remote_user::identity::Identity",
        ),
        (builder().map_user(|_| Ok(PeerAddr::Unix)), "tower_proxied::trust::peer::PeerAddr"),
        (ProxyRemoteUserLayer::new(with_secret("authorization")), "authorization"),
        (ProxyRemoteUserLayer::new(with_secret("remote-user")), "remote-user"),
        (ProxyRemoteUserLayer::new(with_secret("x-secret")).keep(header("x_secret")), "x_secret"),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.item(), item, "{error}");
        assert!(item.is_empty() || error.to_string().contains(&item.escape_debug().to_string()), "{error}");
    }
    let twice = with_secret("x-secret") | (with_secret("x-secret") & Proof::verify(|_| true));
    assert!(ProxyRemoteUserLayer::new(twice).build().is_ok());
}

#[test]
fn a_mistake_names_the_likely_fix() {
    let header = HeaderName::from_static;
    for (builder, fix) in [
        (ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::none())), "disabled()"),
        (builder().groups_header(header("remote_user")), "groups_header(None)"),
        (builder().keep(header("remote_user")), "keep that one"),
        (builder().user_headers([]), "user_header"),
        (builder().require_prefix("a,b:"), "allow_comma"),
        (builder().require_prefix("idp:").max_user_bytes(4), "max_user_bytes"),
        (builder().groups(Groups::Separated('a')), "Groups::PerLine"),
        (builder().exempt_path("/a?b"), "leave out the query"),
        (builder().map_user(|_| Ok(PeerAddr::Unix)), "a type of your own"),
    ] {
        let error = builder.build().unwrap_err();
        assert!(error.to_string().contains(fix), "{error}");
    }
}

#[test]
fn what_is_unusual_and_makes_sense_is_built() {
    let header = HeaderName::from_static;
    for builder in [
        builder().require_prefix("a,b:").allow_comma(),
        builder().require_realm(["CORP, Inc."]).allow_comma(),
        builder().require_realm(["CORP, Inc."]).require_prefix("a,b:").encoding(Encoding::Percent),
        builder().require_prefix("idp:").max_user_bytes(5),
        builder().groups(Groups::Separated(' ')),
        builder().groups(Groups::Separated('%')),
        builder().groups(Groups::Separated('/')).encoding(Encoding::Percent),
        builder().placeholders([""; 0]),
        builder().placeholders(["", "-", "anonymous"]),
        builder().keep(header("x-webauth-user")),
        builder().keep(USER).on_well_known(OnWellKnown::Pass),
        builder().extra_prefix("x-a-").extra_prefix("x-b-"),
        builder().max_groups(0),
        builder().map_user(|user| Ok(DetachedUser::clone(user))),
    ] {
        assert!(builder.clone().build().is_ok(), "{:?}", builder.build());
    }
}
