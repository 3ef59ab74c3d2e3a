//! Every state of the standard's tokenizer (section 13.2.5) is reached, by both.

use std::cell::RefCell;

use super::{Scripting, assert_conforms, oracle, recorder};

/// The standard's name of a state, html5ever's, ours, and a page in which both are in it. States that differ only in
/// the content of a token that nobody asks for are one in our tokenizer.
#[rustfmt::skip]
const STATES: &[(&str, &str, &str, &str)] = &[
    ("Data", "Data", "Data", "a"),
    ("RCDATA", "RawData(Rcdata)", "Text", "<title>a"),
    ("RAWTEXT", "RawData(Rawtext)", "Text", "<style>a"),
    ("Script data", "RawData(ScriptData)", "Script", "<script>a"),
    ("PLAINTEXT", "Plaintext", "Plaintext", "<plaintext>a</plaintext>"),
    ("Tag open", "TagOpen", "TagOpen", "<1"),
    ("End tag open", "EndTagOpen", "EndTagOpen", "a</"),
    ("Tag name", "TagName", "TagName", "<A\0b/>"),
    ("RCDATA less-than sign", "RawLessThanSign(Rcdata)", "TextLessThan", "<title><b</title>"),
    ("RCDATA end tag open", "RawEndTagOpen(Rcdata)", "TextEndTagOpen", "<textarea></></textarea>"),
    ("RCDATA end tag name", "RawEndTagName(Rcdata)", "TextEndTagName", "<title></titles></TITLE/>"),
    ("RAWTEXT less-than sign", "RawLessThanSign(Rawtext)", "TextLessThan", "<xmp><!--</xmp>-->"),
    ("RAWTEXT end tag open", "RawEndTagOpen(Rawtext)", "TextEndTagOpen", "<iframe></ iframe></iframe>"),
    ("RAWTEXT end tag name", "RawEndTagName(Rawtext)", "TextEndTagName", "<noembed></style></noembed\x0c>"),
    ("Script data less-than sign", "RawLessThanSign(ScriptData)", "ScriptLessThan", "<script>a<b</script>"),
    ("Script data end tag open", "RawEndTagOpen(ScriptData)", "TextEndTagOpen", "<script></1</script>"),
    ("Script data end tag name", "RawEndTagName(ScriptData)", "TextEndTagName", "<script></scripta></script a=b>"),
    ("Script data escape start", "ScriptDataEscapeStart(Escaped)", "ScriptEscapeStart", "<script><!x</script>"),
    ("Script data escape start dash", "ScriptDataEscapeStartDash", "ScriptEscapeStartDash", "<script><!-x</script>"),
    ("Script data escaped", "RawData(ScriptDataEscaped(Escaped))", "ScriptEscaped { dashes: 0 }", "<script><!--x</script>"),
    ("Script data escaped dash", "ScriptDataEscapedDash(Escaped)", "ScriptEscaped { dashes: 1 }", "<script><!--x-y</script>"),
    ("Script data escaped dash dash", "ScriptDataEscapedDashDash(Escaped)", "ScriptEscaped { dashes: 2 }", "<script><!--x--><script></script><b>"),
    ("Script data escaped less-than sign", "RawLessThanSign(ScriptDataEscaped(Escaped))", "ScriptEscapedLessThan", "<script><!--<1--></script>"),
    ("Script data escaped end tag open", "RawEndTagOpen(ScriptDataEscaped(Escaped))", "TextEndTagOpen", "<script><!--</1--></script>"),
    ("Script data escaped end tag name", "RawEndTagName(ScriptDataEscaped(Escaped))", "TextEndTagName", "<script><!--</scripts></script>"),
    ("Script data double escape start", "ScriptDataEscapeStart(DoubleEscaped)", "ScriptDoubleEscapeStart", "<script><!--<scripts></script>"),
    ("Script data double escaped", "RawData(ScriptDataEscaped(DoubleEscaped))", "ScriptDoubleEscaped { dashes: 0 }", "<script><!--<script>x</script></script>"),
    ("Script data double escaped dash", "ScriptDataEscapedDash(DoubleEscaped)", "ScriptDoubleEscaped { dashes: 1 }", "<script><!--<script>-x</script></script>"),
    ("Script data double escaped dash dash", "ScriptDataEscapedDashDash(DoubleEscaped)", "ScriptDoubleEscaped { dashes: 2 }", "<script><!--<script>--></script><b>"),
    ("Script data double escaped less-than sign", "RawLessThanSign(ScriptDataEscaped(DoubleEscaped))", "ScriptDoubleEscapedLessThan", "<script><!--<script><x</script></script>"),
    ("Script data double escape end", "ScriptDataDoubleEscapeEnd", "ScriptDoubleEscapeEnd", "<script><!--<script></scripts></script/></script>"),
    ("Before attribute name", "BeforeAttributeName", "BeforeAttributeName", "<a  =b /=c>"),
    ("Attribute name", "AttributeName", "AttributeName", "<a \"B'<\0=c =d>"),
    ("After attribute name", "AfterAttributeName", "AfterAttributeName", "<a b  =c d / e  >"),
    ("Before attribute value", "BeforeAttributeValue", "BeforeValue", "<a b= \r\n c= >"),
    ("Attribute value (double-quoted)", "AttributeValue(DoubleQuoted)", "QuotedValue(34)", "<a b=\"'\0>&colon;\">"),
    ("Attribute value (single-quoted)", "AttributeValue(SingleQuoted)", "QuotedValue(39)", "<a b='\"\r>&sol;'>"),
    ("Attribute value (unquoted)", "AttributeValue(Unquoted)", "UnquotedValue", "<a b=c/\"'<=`d/>"),
    ("After attribute value (quoted)", "AfterAttributeValueQuoted", "AfterValue", "<a b=\"\"c='' d=\"\"/>"),
    ("Self-closing start tag", "SelfClosingStartTag", "SelfClosing", "<a/b/ /></p/>"),
    ("Bogus comment", "BogusComment", "BogusComment", "<?a>b</1-->c<!x\0>"),
    ("Markup declaration open", "MarkupDeclarationOpen", "MarkupDeclaration", "<!DOCTYP>"),
    ("Comment start", "CommentStart", "CommentStart", "<!-->a"),
    ("Comment start dash", "CommentStartDash", "CommentStartDash", "<!--->a<!---b-->"),
    ("Comment", "Comment", "Comment", "<!--a\0-->"),
    ("Comment less-than sign", "CommentLessThanSign", "Comment", "<!--<<a-->"),
    ("Comment less-than sign bang", "CommentLessThanSignBang", "Comment", "<!--a<!b-->"),
    ("Comment less-than sign bang dash", "CommentLessThanSignBangDash", "Comment", "<!--a<!-b-->"),
    ("Comment less-than sign bang dash dash", "CommentLessThanSignBangDashDash", "Comment", "<!--a<!--b--><!--<!-->"),
    ("Comment end dash", "CommentEndDash", "CommentEndDash", "<!--a-b-->"),
    ("Comment end", "CommentEnd", "CommentEnd", "<!--a---b--->"),
    ("Comment end bang", "CommentEndBang", "CommentEndBang", "<!--a--!b--!-c--!>"),
    ("DOCTYPE", "Doctype", "Doctype", "<!doctypehtml>"),
    ("Before DOCTYPE name", "BeforeDoctypeName", "Doctype", "<!DOCTYPE  \0>"),
    ("DOCTYPE name", "DoctypeName", "Doctype", "<!DOCTYPE hTml>"),
    ("After DOCTYPE name", "AfterDoctypeName", "Doctype", "<!DOCTYPE html  x>"),
    ("After DOCTYPE public keyword", "AfterDoctypeKeyword(Public)", "Doctype", "<!DOCTYPE html PUBLIC\">\">"),
    ("Before DOCTYPE public identifier", "BeforeDoctypeIdentifier(Public)", "Doctype", "<!DOCTYPE html public  x\">"),
    ("DOCTYPE public identifier (double-quoted)", "DoctypeIdentifierDoubleQuoted(Public)", "Doctype", "<!DOCTYPE html public \"a>b\">"),
    ("DOCTYPE public identifier (single-quoted)", "DoctypeIdentifierSingleQuoted(Public)", "Doctype", "<!DOCTYPE html public 'a>b'>"),
    ("After DOCTYPE public identifier", "AfterDoctypeIdentifier(Public)", "Doctype", "<!DOCTYPE html public ''>"),
    ("Between DOCTYPE public and system identifiers", "BetweenDoctypePublicAndSystemIdentifiers", "Doctype", "<!DOCTYPE html public '' >"),
    ("After DOCTYPE system keyword", "AfterDoctypeKeyword(System)", "Doctype", "<!DOCTYPE html SYSTEM'>'>"),
    ("Before DOCTYPE system identifier", "BeforeDoctypeIdentifier(System)", "Doctype", "<!DOCTYPE html system  >"),
    ("DOCTYPE system identifier (double-quoted)", "DoctypeIdentifierDoubleQuoted(System)", "Doctype", "<!DOCTYPE html system \"a\0>b\">"),
    ("DOCTYPE system identifier (single-quoted)", "DoctypeIdentifierSingleQuoted(System)", "Doctype", "<!DOCTYPE html public \"\" 'a>b'>"),
    ("After DOCTYPE system identifier", "AfterDoctypeIdentifier(System)", "Doctype", "<!DOCTYPE html system \"\" >"),
    ("Bogus DOCTYPE", "BogusDoctype", "Doctype", "<!DOCTYPE html x \"a>b\">"),
    ("CDATA section", "CdataSection", "Cdata", "<svg><![CDATA[ <b> ]]></svg>"),
    ("CDATA section bracket", "CdataSectionBracket", "CdataBracket", "<svg><![CDATA[a]><b>]]></svg>"),
    ("CDATA section end", "CdataSectionEnd", "CdataEnd", "<math><![CDATA[a]]]b]]]></math>"),
    ("Character reference", "Begin", "Ampersand", "<a b=\"& &<\">"),
    ("Named character reference", "Named", "Named", "<a b=&amp;&colon&colon;&quot>"),
    ("Ambiguous ampersand", "BogusName", "Named", "<a b=&unknown; c='&averyverylongname1'>"),
    ("Numeric character reference", "Octothorpe", "Hash", "<a b=&#>"),
    ("Hexadecimal character reference start", "Numeric(16)", "HexStart", "<a b=\"&#x;&#Xg\">"),
    ("Decimal character reference start", "Numeric(10)", "Hash", "<a b=\"&#;&#a\">"),
    ("Hexadecimal character reference", "Numeric(16)", "Number { radix: 16", "<a b=&#X3a>"),
    ("Decimal character reference", "Numeric(10)", "Number { radix: 10", "<a b=&#58c>"),
    ("Numeric character reference end", "NumericSemicolon", "Number", "<a b=&#58;&#0;&#xd800;&#x110000>"),
];

thread_local! {
    /// The states of html5ever, which it tells only to its log.
    static SEEN: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        SEEN.with_borrow(Option::is_some)
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        let state = text.strip_prefix("char ref tokenizer stepping in state ").or_else(|| {
            text.strip_prefix("processing in state Cell { value: ").and_then(|rest| rest.strip_suffix(" }"))
        });
        SEEN.with_borrow_mut(|seen| {
            if let (Some(seen), Some(state)) = (seen, state) {
                seen.push(state.to_owned());
            }
        });
    }

    fn flush(&self) {}
}

#[test]
fn every_state_of_the_standard_is_reached() {
    assert_eq!(STATES.len(), 80);
    // Only fails where another logger was installed: then no state is seen below.
    let _ = log::set_logger(&Log);
    log::set_max_level(log::LevelFilter::Trace);
    for (name, theirs, ours, page) in STATES {
        SEEN.set(Some(Vec::new()));
        oracle::record(page, Scripting::Off);
        let seen = SEEN.take().unwrap();
        assert!(seen.iter().any(|state| state == theirs), "{name}: html5ever sees {seen:?} in {page:?}");
        let reached = recorder::record(page, Scripting::Off).states;
        assert!(reached.iter().any(|state| state.starts_with(ours)), "{name}: {reached:?} in {page:?}");
        let mut cut: Vec<usize> = page.char_indices().map(|(at, _)| at).collect();
        cut.push(page.len());
        // At the end of the page, and behind it, in every state.
        for end in cut {
            assert_conforms(&page[..end]);
            assert_conforms(&format!("{}<b c=d></p><!--e-->", &page[..end]));
        }
    }
    log::set_max_level(log::LevelFilter::Off);
    println!("{} states, each by a page of its own, with all its beginnings", STATES.len());
}
