use super::*;

fn fault(builder: ProxyRemoteUserBuilder, lines: &[(&str, &[u8])]) -> Option<(Role, Rule)> {
    let refusal = config(builder).on_request(&mut parts(PROXY, lines)).unwrap_err();
    refusal.identity_fault().map(|fault| (fault.role(), fault.rule()))
}

type Case<'a> = (ProxyRemoteUserBuilder, &'a [(&'a str, &'a [u8])], Role, Rule);

#[test]
fn each_refusal_says_which_role_broke_which_rule() {
    let realm = || builder().require_realm(["CORP"]);
    let all = || builder().uid_header(HeaderName::from_static("x-uid")).extra_prefix("x-remote-extra-");
    let user = ("remote-user", &b"alice"[..]);
    let long = &[b'a'; 257][..];
    let cases: &[Case<'_>] = &[
        (all(), &[user, user], Role::User, Rule::SeveralLines),
        (all(), &[user, ("remote-user", b"")], Role::User, Rule::SeveralLines),
        (all(), &[("remote-user", b"alice,admin")], Role::User, Rule::Comma),
        (all(), &[("remote-user", b"\xff")], Role::User, Rule::Undecodable),
        (all(), &[("remote-user", b"ad\tmin")], Role::User, Rule::InvisibleCharacter),
        (all(), &[("remote-user", "ad\u{200b}min".as_bytes())], Role::User, Rule::InvisibleCharacter),
        (all(), &[("remote-user", "admin\u{a0}".as_bytes())], Role::User, Rule::BlankEnds),
        (all(), &[("remote-user", long)], Role::User, Rule::TooLong),
        (all(), &[user, ("remote-groups", b"a"), ("remote-groups", b"b")], Role::Groups, Rule::SeveralLines),
        (all(), &[user, ("remote-groups", b"a,\xff")], Role::Groups, Rule::Undecodable),
        (all(), &[user, ("remote-groups", long)], Role::Groups, Rule::TooLong),
        (all().max_groups(1), &[user, ("remote-groups", b"a,b")], Role::Groups, Rule::TooMany),
        (all(), &[user, ("remote-name", b"\xff")], Role::Name, Rule::Undecodable),
        (all(), &[user, ("remote-name", b"A"), ("remote-name", b"B")], Role::Name, Rule::SeveralLines),
        (all(), &[user, ("remote-email", b"a@x, b@x")], Role::Email, Rule::Comma),
        (all(), &[user, ("remote-email", long)], Role::Email, Rule::TooLong),
        (all(), &[user, ("x-uid", b"7,8")], Role::Uid, Rule::Comma),
        (all(), &[user, ("x-uid", "7\u{3000}".as_bytes())], Role::Uid, Rule::BlankEnds),
        (all(), &[user, ("x-remote-extra-a", b"\xff")], Role::Extra, Rule::Undecodable),
        (all(), &[user, ("x-remote-extra-a%00b", b"r")], Role::Extra, Rule::InvisibleCharacter),
        (all(), &[user, ("x-remote-extra-scopes%20", b"root")], Role::Extra, Rule::BlankEnds),
        (all(), &[user, ("x-remote-extra-%c2%a0scopes", b"root")], Role::Extra, Rule::BlankEnds),
        (
            all(),
            &[user, ("x-remote-extra-a", b"r"), ("x-remote-extra-%61", b"w")],
            Role::Extra,
            Rule::TwoSpellings,
        ),
        (all().max_value_bytes(5), &[user, ("x-remote-extra-abcdef", b"r")], Role::Extra, Rule::TooLong),
        (
            builder().user_headers([USER, HeaderName::from_static("x-acme-login")]),
            &[user, ("x-acme-login", b"admin")],
            Role::User,
            Rule::Disagreement,
        ),
        (builder().require_prefix("idp:"), &[user], Role::User, Rule::PrefixMissing),
        (builder().require_prefix("idp:"), &[("remote-user", b"idp:")], Role::User, Rule::NobodyLeft),
        (builder().require_prefix("idp:"), &[("remote-user", b"idp: a")], Role::User, Rule::BlankEnds),
        (realm(), &[user], Role::User, Rule::RealmSyntax),
        (realm(), &[("remote-user", b"alice@")], Role::User, Rule::RealmSyntax),
        (realm(), &[("remote-user", b"admin@CORP@EVIL")], Role::User, Rule::RealmSyntax),
        (realm(), &[("remote-user", b"CORP\\admin@CORP")], Role::User, Rule::RealmSyntax),
        (realm(), &[("remote-user", b"@CORP")], Role::User, Rule::NobodyLeft),
        (realm(), &[("remote-user", b"alice @CORP")], Role::User, Rule::BlankEnds),
        (realm(), &[("remote-user", b"alice@EVIL")], Role::User, Rule::ForeignRealm),
        (realm(), &[("remote-user", b"alice@corp")], Role::User, Rule::ForeignRealm),
        (all().on_alias(OnAlias::Refuse), &[user, ("remote_groups", b"a")], Role::Groups, Rule::Alias),
        (all().on_alias(OnAlias::Refuse), &[user, ("x_remote_extra_a", b"a")], Role::Extra, Rule::Alias),
    ];
    for (builder, lines, role, rule) in cases {
        assert_eq!(fault(builder.clone(), lines), Some((*role, *rule)), "{lines:?}");
    }
}

#[test]
fn another_spelling_of_the_secret_is_the_secrets_fault() {
    let header = HeaderName::from_static("x-secret");
    let proof = Proof::shared_secret(header, [Secret::parse("correct-horse-battery").unwrap()]);
    let builder = ProxyRemoteUserLayer::new(proof).on_alias(OnAlias::Refuse);
    let lines: &[(&str, &[u8])] = &[("x-secret", b"correct-horse-battery"), ("x_secret", b"guess")];
    assert_eq!(fault(builder, lines), Some((Role::Secret, Rule::Alias)));
}

#[test]
fn a_foreign_realm_has_its_own_kind_and_sentence() {
    let config = config(builder().require_realm(["CORP"]));
    let refusal = config.on_request(&mut parts(PROXY, &[("remote-user", b"alice@EVIL")])).unwrap_err();
    assert_eq!(refusal.kind(), RefusalKind::ForeignRealm);
    assert_eq!(refusal.to_string(), RefusalKind::ForeignRealm.to_string());
}

#[test]
fn who_proved_nothing_has_no_fault() {
    let config = config(builder().on_forged(OnForged::Refuse));
    let refusal = config.on_request(&mut parts(STRANGER, &[("remote-user", b"\xff")])).unwrap_err();
    assert_eq!((refusal.kind(), refusal.identity_fault()), (RefusalKind::IdentityForged, None));
}

#[test]
fn the_users_limit_is_not_that_of_the_attributes() {
    let name = |bytes: usize| vec![b'a'; bytes];
    let run = |builder: ProxyRemoteUserBuilder, user: usize, email: usize| {
        let (user, email) = (name(user), name(email));
        let lines: &[(&str, &[u8])] = &[("remote-user", &user), ("remote-email", &email)];
        let refused = config(builder).on_request(&mut parts(PROXY, lines));
        refused.err().and_then(|refusal| refusal.identity_fault()).map(|fault| fault.role())
    };
    let both = || builder().max_user_bytes(8).max_value_bytes(4);
    assert_eq!(run(both(), 8, 4), None);
    assert_eq!(run(both(), 9, 4), Some(Role::User));
    assert_eq!(run(both(), 8, 5), Some(Role::Email));
    assert_eq!(run(both().forward_canonical(), 8, 4), None);
    assert_eq!(run(builder().max_value_bytes(4), 5, 1), Some(Role::User));
    assert_eq!(run(builder().max_user_bytes(4), 4, 256), None);
}

#[test]
fn format_characters_in_the_name_for_display_alone() {
    let name = "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}".as_bytes();
    let run = |builder: ProxyRemoteUserBuilder, header, value: &[u8]| {
        judged(builder, &[("remote-user", b"alice"), (header, value)])
    };
    assert_eq!(run(builder(), "remote-name", name), "IdentityMalformed");
    let allowing = || builder().allow_format_chars().forward_canonical();
    assert_eq!(run(allowing(), "remote-name", name), "alice");
    assert_eq!(run(allowing(), "remote-name", b"a\tb"), "IdentityMalformed");
    assert_eq!(run(allowing(), "remote-name", "a\u{85}b".as_bytes()), "IdentityMalformed");
    for header in ["remote-groups", "remote-email"] {
        assert_eq!(run(allowing(), header, name), "IdentityMalformed", "{header}");
    }
    assert_eq!(judged(allowing(), &[("remote-user", name)]), "IdentityMalformed");
}

#[test]
fn groups_with_a_separator_of_ones_own() {
    let run = |separator, line: &[u8]| {
        let mut parts = parts(PROXY, &[("remote-user", b"a"), ("remote-groups", line)]);
        outcome(&config(builder().groups(Groups::Separated(separator))), &mut parts);
        let user = user(&parts);
        user.groups().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(run(' ', b"dev  ops"), ["dev", "ops"]);
    assert_eq!(run('/', b"CN=Eng,OU=G/ops"), ["CN=Eng,OU=G", "ops"]);
    assert_eq!(run('|', "d\u{e9}v|ops".as_bytes()), ["d\u{e9}v", "ops"]);
}

/// Shibboleth writes a semicolon within a value as `\;`, and a distinguished name holds a comma as `\,`.
#[test]
fn a_group_named_like_r_d_backslash_semicolon_ops_makes_nobody_an_operator() {
    let run = |grouping, line: &[u8]| {
        fault(builder().groups(grouping), &[("remote-user", b"alice"), ("remote-groups", line)])
    };
    let refused = Some((Role::Groups, Rule::EscapedSeparator));
    assert_eq!(run(Groups::Semicolon, br"dev;R&D\;ops"), refused);
    assert_eq!(run(Groups::Comma, br"CN=Lee\, Ann,ops"), refused);
    assert_eq!(run(Groups::Comma, br"a\ ,ops"), refused);
    assert_eq!(run(Groups::Pipe, br"a\|ops"), refused);
    assert_eq!(run(Groups::Separated(':'), br"a\:"), refused);
}

#[test]
fn a_backslash_that_escapes_no_separator_stands_in_a_group() {
    let run = |grouping, line: &[u8]| {
        judged(builder().groups(grouping), &[("remote-user", b"alice"), ("remote-groups", line)])
    };
    for (grouping, line) in [
        (Groups::Semicolon, &br"CN=Lee\, Ann;CORP\ops"[..]),
        (Groups::Comma, br"CORP\dev,CORP\ops\"),
        (Groups::PerLine, br"R&D\;ops\"),
    ] {
        assert_eq!(run(grouping, line), "alice", "{}", line.escape_ascii());
    }
}
