//! The reader of master files: what it takes, what it blames, and what it withstands.

use proptest::prelude::*;

use super::*;

/// Each record as `owner ttl type rdata-bytes`, and the problems, of a text in `example.com.`.
fn read_text(text: &str) -> (Vec<String>, Vec<crate::zone::Problem>) {
    read_texts(&[text])
}

/// The same of a text and those that its `$INCLUDE` directives, and theirs, name by their index.
fn read_texts(texts: &[&str]) -> (Vec<String>, Vec<crate::zone::Problem>) {
    let (records, findings) = read_whole(texts);
    (records, findings.into_problems())
}

fn read_whole(texts: &[&str]) -> (Vec<String>, Findings) {
    let source = |text: &str, included_by| {
        let text = text.to_string();
        Source { file: "test.zone".into(), text, included_by }
    };
    let mut sources = vec![source(texts[0], None)];
    let mut at = 0;
    while at < sources.len() {
        for (path, span) in crate::zone::includes(&sources[at].text) {
            let number = path.to_str().and_then(|path| path.parse::<usize>().ok());
            let Some(text) = number.and_then(|number| texts.get(number)) else { continue };
            sources.push(source(text, Some(crate::zone::Inclusion { source: at, span })));
        }
        at += 1;
    }
    let mut records = Vec::new();
    let mut findings = Findings::new(0);
    read(&sources, &"example.com.".parse().unwrap(), 300, &mut findings, |source, record| {
        let TextRecord { owner, ttl, rtype, rdata, .. } = record;
        assert!(sources[source].text.get(record.owner_span).is_some());
        assert!(sources[source].text.get(record.rdata_span).is_some());
        records.push(format!("{owner} {ttl} {rtype} {}", rdata.escape_ascii()));
    });
    (records, findings)
}

/// The records of a text without errors.
fn records(text: &str) -> Vec<String> {
    let (records, problems) = read_text(text);
    assert!(problems.is_empty(), "{problems:#?}");
    records
}

/// What is underlined, and the message, of each error.
fn errors(text: &str) -> Vec<(&str, String)> {
    let told = |problem: crate::zone::Problem| match problem.place {
        Place::Source { span, .. } => (&text[span], problem.message),
        _ => ("", problem.message),
    };
    read_text(text).1.into_iter().map(told).collect()
}

fn blamed(text: &str) -> Vec<&str> {
    errors(text).into_iter().map(|(blamed, _)| blamed).collect()
}

#[test]
fn ttl_class_and_owner_may_be_left_out() {
    let a = r"A \xc63d\x01";
    assert_eq!(
        records(
            "a A 198.51.100.1\n 60 A 198.51.100.1\n\tIN 61 A 198.51.100.1\n 62 in a 198.51.100.1\n\
             @ 1h CLASS1 TYPE1 198.51.100.1\nB.example.com. A 198.51.100.1"
        ),
        [
            format!("a.example.com. 300 {a}"),
            format!("a.example.com. 60 {a}"),
            format!("a.example.com. 61 {a}"),
            format!("a.example.com. 62 {a}"),
            format!("example.com. 3600 {a}"),
            format!("B.example.com. 300 {a}"),
        ]
    );
}

#[test]
fn directives_count_from_where_they_stand() {
    assert_eq!(
        records(
            "a NS .\n$TTL 1h\n$origin sub\nb NS .\n$ORIGIN x.\n$ORIGIN y.example.com.\n@ 5 NS @\n NS ."
        ),
        [
            r"a.example.com. 300 NS \x00",
            r"b.sub.example.com. 3600 NS \x00",
            r"y.example.com. 5 NS \x01y\x07example\x03com\x00",
            r"y.example.com. 3600 NS \x00",
        ]
    );
}

#[test]
fn a_record_goes_on_inside_parentheses_and_the_last_line_may_lack_its_end() {
    assert_eq!(
        records("a ( 5 ; c\r\n IN\n) MX ( 10\r\n b. ; d\n )"),
        [r"a.example.com. 5 MX \x00\n\x01b\x00"]
    );
}

#[test]
fn every_error_of_a_text_is_found() {
    let text =
        "a A 198.51.100.256\nb Q 1\n$TTL x\nc A 198.51.100.1\nd \"\n e f.example.net. NS .\n$FOO";
    assert_eq!(blamed(text), ["198.51.100.256", "Q", "x", "\"", "e", "$FOO"]);
    assert_eq!(read_text(text).0.len(), 1);
}

#[test]
fn an_owner_that_is_refused_is_told_once() {
    assert_eq!(
        blamed("a..b A 198.51.100.1\n AAAA 2001:db8::1\n A 198.51.100\n"),
        ["a..b", "198.51.100"]
    );
    assert_eq!(blamed("a.example.net. A 198.51.100.1"), ["a.example.net."]);
    assert_eq!(blamed("\"a\" A 198.51.100.1"), ["\"a\""]);
    assert_eq!(blamed("ä A 198.51.100.1"), ["ä"]);
    assert_eq!(blamed(r"a\25 A 198.51.100.1"), [r"a\25"]);
}

#[test]
fn a_head_that_is_wrong_is_blamed_at_the_word() {
    assert_eq!(blamed("a 1 2 A 198.51.100.1"), ["2"]);
    assert_eq!(blamed("a IN IN A 198.51.100.1"), ["IN"]);
    assert_eq!(blamed("a CH A 198.51.100.1"), ["CH"]);
    assert_eq!(blamed("a CLASS3 A 198.51.100.1"), ["CLASS3"]);
    assert_eq!(blamed("a 2147483648 A 198.51.100.1"), ["2147483648"]);
    assert_eq!(blamed("a 1x A 198.51.100.1"), ["1x"]);
    assert_eq!(blamed("a ANY x"), ["ANY"]);
    assert_eq!(blamed("a OPT x"), ["OPT"]);
    assert_eq!(blamed("a IN"), ["IN"]);
    assert_eq!(blamed("a"), ["a"]);
    assert_eq!(blamed("a A"), ["A"]);
    assert_eq!(blamed(" A 198.51.100.1"), ["A"]);
}

#[test]
fn directives_that_are_wrong_are_blamed() {
    assert_eq!(blamed("$ORIGIN"), ["$ORIGIN"]);
    assert_eq!(blamed("$TTL 1 2"), ["2"]);
    assert_eq!(blamed("$TTL 99999999999"), ["99999999999"]);
    assert_eq!(blamed("$ORIGIN a..b"), ["a..b"]);
    assert_eq!(blamed("$INCLUDE\n$INCLUDE a b c"), ["$INCLUDE", "c"]);
    assert_eq!(blamed("$INCLUDE other.zone a..b\n$INCLUDE other.zone"), ["a..b", "other.zone"]);
}

#[test]
fn what_is_included_stands_where_the_directive_stands() {
    let (records, problems) = read_texts(&[
        "a NS .\n$INCLUDE 1 sub\n TXT x\n$INCLUDE 2\nb NS .\n$INCLUDE 2 other.example.com.",
        " NS a.\nc NS .\n$ORIGIN deep\n$TTL 1m\nd NS .\n$INCLUDE \"2\"\n",
        "e NS b",
    ]);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(
        records,
        [
            r"a.example.com. 300 NS \x00",
            // The owner goes on into the text, and behind it as if it had not been there.
            r"a.example.com. 300 NS \x01a\x00",
            r"c.sub.example.com. 300 NS \x00",
            r"d.deep.sub.example.com. 60 NS \x00",
            r"e.deep.sub.example.com. 60 NS \x01b\x04deep\x03sub\x07example\x03com\x00",
            r"a.example.com. 60 TXT \x01x",
            r"e.example.com. 60 NS \x01b\x07example\x03com\x00",
            r"b.example.com. 60 NS \x00",
            r"e.other.example.com. 60 NS \x01b\x05other\x07example\x03com\x00",
        ]
    );
}

#[test]
fn an_error_in_an_included_text_is_told_there_each_time() {
    let (_, problems) = read_texts(&["$INCLUDE 1\n$INCLUDE 1\na A x", "b\nc A 198.51.100.1"]);
    let places: Vec<_> = problems.iter().map(|problem| problem.place.clone()).collect();
    let place = |source, span| Place::Source { source, span };
    assert_eq!(places, [place(0, 26..27), place(1, 0..1), place(2, 0..1)]);
}

#[test]
fn records_are_generated_as_bind_does() {
    assert_eq!(
        records("$GENERATE 1-2 host-$ A 198.51.100.$"),
        [r"host-1.example.com. 300 A \xc63d\x01", r"host-2.example.com. 300 A \xc63d\x02",]
    );
    let both = [
        r"m1.example.com. 60 MX \x00\n\x06host-1\x07example\x03com\x00",
        r"m3.example.com. 60 MX \x00\n\x06host-3\x07example\x03com\x00",
    ];
    assert_eq!(records("$generate 1-4/2 m$ 60 IN MX \"10 host-$\""), both);
    assert_eq!(records("$GENERATE 1-4/2 m$ 1m MX 10 host-$ ; a comment"), both);
    assert_eq!(
        records("$GENERATE 9-9 t$$${0,2,x} TXT \"\\\"a $ \\$\\\" b\""),
        [r"t\$09.example.com. 300 TXT \x05a 9 $\x01b"]
    );
    assert_eq!(
        records("$GENERATE 9-9 t TXT \"a $\" \"$ b\""),
        [r"t.example.com. 300 TXT \x03a 9\x039 b"]
    );
}

#[test]
fn generated_records_leave_the_owner_before_them() {
    let read = records("a NS .\n$GENERATE 1-1 b NS .\n TXT x");
    assert_eq!(read[2], r"a.example.com. 300 TXT \x01x");
}

#[test]
fn a_generate_that_is_wrong_is_blamed_at_the_word_and_shows_what_it_made() {
    assert_eq!(blamed("$GENERATE\n$GENERATE 1-2\n$GENERATE 1-2 a"), ["$GENERATE", "1-2", "a"]);
    assert_eq!(blamed("$GENERATE 2-1 a A 198.51.100.$"), ["2-1"]);
    assert_eq!(blamed("$GENERATE 0-65536 a A 198.51.100.1"), ["0-65536"]);
    assert_eq!(blamed("$GENERATE 1-2 a${0,q} A 198.51.100.$"), ["${0,q}"]);
    assert_eq!(blamed("$GENERATE 1-2 a A 198.51.100.${0,1,z}"), ["${0,1,z}"]);
    assert_eq!(blamed("$GENERATE 1-2 a${-9,1,x} A 198.51.100.$"), ["a${-9,1,x}"]);
    assert_eq!(blamed("$GENERATE 1-2 a$..b A 198.51.100.$"), ["a$..b"]);
    assert_eq!(
        errors("$GENERATE 255-257 a$ A 198.51.100.$"),
        [(
            "A 198.51.100.$",
            "`198.51.100.256` does not fit in A data: expected IPv4 address, in `a256 A 198.51.100.256`, which is generated here".to_string()
        )]
    );
}

#[test]
fn a_zone_generates_only_so_many_records() {
    let apex = "example.com.".parse().unwrap();
    let state = State { origin: "example.com.".parse().unwrap(), ttl: 300, owner: None };
    let text = "$GENERATE 1-4 a A 198.51.100.$\n$GENERATE 1-4 a A 198.51.100.$";
    let generated = (1 << 20) - 7;
    let mut reader = Reader { text, apex: &apex, state, generated, rdata: Vec::new() };
    let mut entries = Entries::new(text);
    let mut records = 0;
    let first = entries.next_entry().unwrap().unwrap();
    assert!(reader.read_entry(&first, &mut |_| records += 1).is_ok());
    let second = entries.next_entry().unwrap().unwrap();
    assert!(reader.read_entry(&second, &mut |_| records += 1).is_err());
    assert_eq!(records, 4);
}

#[test]
fn what_was_probably_meant_is_offered() {
    let help = |text| read_text(text).1[0].help.clone().unwrap();
    assert!(help("a AAA 2001:db8::1").contains("`AAAA`"));
    assert!(help("a CNAM b").contains("`CNAME`"));
    assert!(help("a NS b.\n  www A 198.51.100.1").contains("remove the blank"));
    assert!(help("A x 198.51.100.1").contains("put a blank before it"));
    assert!(help("a MX mail").contains("MX 10 mail"));
}

#[test]
fn errors_are_told_up_to_a_limit() {
    let (_, problems) = read_text(&"a ( A\n".repeat(100_000));
    assert_eq!(problems.len(), 101);
}

#[test]
fn every_type_of_common_use_is_read() {
    let read = records(
        r#"a CAA 0 issue "ca.example.net"
a TLSA 3 1 1 00
a SSHFP 1 1 00
a NAPTR 1 2 "u" "SIP+D2U" "" x
a HTTPS 1 . port=443 alpn="h2,h3" key65000=a
a SVCB 0 x
a DS 1 8 2 ab
a DNSKEY 256 3 8 AQID
a NSEC b A TYPE65400
a NSEC3PARAM 1 0 0 -
a CDS 0 0 0 00
a OPENPGPKEY AQID
a HINFO a "b c"
a RP a b
a TXT "a\"b" c\;d \255 "ä"
a SPF "x"
a DNAME b
a ZONEMD 1 1 1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f
a TYPE65400 \# 3 0a 0b0c
a LOC 42 21 54 N 71 6 18 W -24"#,
    );
    assert_eq!(read.len(), 20);
    assert_eq!(
        read[4],
        r"a.example.com. 300 HTTPS \x00\x01\x00\x00\x01\x00\x06\x02h2\x02h3\x00\x03\x00\x02\x01\xbb\xfd\xe8\x00\x01a"
    );
    assert_eq!(read[14], r#"a.example.com. 300 TXT \x03a\"b\x03c;d\x01\xff\x02\xc3\xa4"#);
    assert_eq!(read[18], r"a.example.com. 300 TYPE65400 \n\x0b\x0c");
}

#[test]
fn data_that_is_too_long_is_refused_in_every_type() {
    let long = "ab".repeat(35_000);
    let list = "198.51.100.1,".repeat(20_000);
    for data in [
        format!("TXT {}", "\"abc\" ".repeat(20_000)),
        format!("TXT {long}"),
        format!("DS 1 8 2 {}", long.repeat(2)),
        format!("CAA 0 issue {long}"),
        format!("TLSA 3 1 1 {}", long.repeat(2)),
        format!("SSHFP 1 1 {}", long.repeat(2)),
        format!("OPENPGPKEY {}", long.repeat(2)),
        format!("DNSKEY 256 3 8 {}", long.repeat(2)),
        format!("IPSECKEY 10 0 2 . {}", long.repeat(2)),
        format!("ZONEMD 1 1 1 {}", long.repeat(2)),
        format!("NSEC3PARAM 1 0 0 {long}"),
        format!("NSEC3 1 0 0 {long} {long} A"),
        format!("NSEC3 1 0 0 - {long} A"),
        format!("RRSIG A 8 3 300 20260101000000 20250101000000 1 . {}", long.repeat(2)),
        format!("NAPTR 1 2 {long} u u ."),
        format!("HINFO {long} a"),
        format!("HTTPS 1 . key65000={long}"),
        format!("HTTPS 1 . key65000={} key65001={}", &long[..60_000], &long[..60_000]),
        format!("HTTPS 1 . alpn={long}"),
        format!("HTTPS 1 . alpn={}", "h2,".repeat(30_000)),
        format!("HTTPS 1 . ipv4hint={list}198.51.100.1"),
        format!("HTTPS 1 . ech={}", long.repeat(2)),
        format!("HTTPS 1 . mandatory={}", "alpn,".repeat(40_000)),
        format!("HTTPS 1 . dohpath={long}"),
        format!("TYPE65400 \\# 70000 {}", long.repeat(2)),
        format!("TYPE65400 \\# 65535 {}", long.repeat(2)),
        format!("A {long}"),
        format!("MX 1 {long}"),
        format!("SRV {long} 1 1 ."),
    ] {
        let text = format!("a {data}\n");
        assert_eq!(errors(&text).len(), 1, "{}", &text[..30]);
    }
}

/// Words that take the reader into all its corners.
fn word() -> impl Strategy<Value = String> {
    const WORDS: &str = "@ a a. .. . \\ \\# \\# \\1 \\999 \\046 \\. \" \"a\" \"\" ( ) ; $TTL $ORIGIN $x $INCLUDE $GENERATE 1-3 ${1,2,x} a$ $$ 0 1 4 \
        60 1h IN CH A AAAA NS CNAME SOA MX TXT SRV CAA HTTPS SVCB NAPTR TLSA SSHFP DS DNSKEY NSEC NSEC3 \
        NSEC3PARAM RRSIG CDS OPENPGPKEY IPSECKEY ZONEMD HINFO RP DNAME MINFO NULL LOC URI APL HIP WKS CERT NXT TYPE1 TYPE65400 \
        198.51.100.1 2001:db8:: :: alpn=h2 alpn= key1=\" port=1 port=70000 mandatory=alpn ipv4hint=198.51.100.1 ech=AQID \
        dohpath=/x{?dns} no-default-alpn key65535 ab AQID= 0a - _ ä \u{0} \u{feff} \u{7f} *.a";
    let words: Vec<&'static str> = WORDS.split(' ').filter(|word| !word.is_empty()).collect();
    prop_oneof![
        8 => proptest::sample::select(words).prop_map(str::to_string),
        1 => "\\PC{0,70}",
        1 => "[0-9a-f]{0,600}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    let blank =
        proptest::sample::select(vec![" ", " ", " ", " ", "", "\n", "\n", "\n ", "\t", "\r\n"]);
    proptest::collection::vec((word(), blank), 0..40)
        .prop_map(|words| words.into_iter().map(|(word, blank)| word + blank).collect())
}

proptest! {
    #[test]
    fn no_text_panics_and_spans_are_inside_it(text in text()) {
        let _ = errors(&text);
    }

    #[test]
    fn no_bytes_panic(text in "(?s).{0,300}") {
        let _ = errors(&text);
    }
}
