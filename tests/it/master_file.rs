//! Master files with `$GENERATE` and `$INCLUDE`: the same text means the same to Portolan and to
//! others, `$GENERATE` to BIND, and `$INCLUDE` to BIND, NSD and Knot.

use std::net::SocketAddr;

use crate::support::peers::{Peer, PeerZone};
use crate::support::{Addresses, Server, dig_all, needs};

const HEAD: &str = "$TTL 300\n@ SOA ns.example.net. hostmaster 1 7200 900 1209600 300\n\
                    @ NS ns.example.net.\n@ NS ns.example.org.\n";

/// A server with a zone `example.com` that has this text behind its head.
fn server(text: &str) -> Server {
    let zone = format!("origin = \"example.com.\"\nrecords = '''\n{HEAD}{text}'''\n");
    Server::files("").zone("example.com.toml", &zone).start()
}

/// What is answered to each question: the status and the records, in an order of no meaning.
fn answers(server: SocketAddr, questions: &[&str]) -> Vec<(String, Vec<String>)> {
    let questions: Vec<String> = questions.iter().map(|question| question.to_string()).collect();
    // Some keep the case in which an owner stands in the file, others that of the question.
    let sorted = |answer: crate::support::Answer| {
        let mut records: Vec<_> = answer.answer.iter().map(|one| one.to_lowercase()).collect();
        records.sort();
        (answer.status, records)
    };
    dig_all(server, &questions).into_iter().map(sorted).collect()
}

#[track_caller]
fn are_alike(ours: &Server, theirs: &Peer, questions: &[&str]) {
    let pairs = answers(ours.dns(), questions).into_iter().zip(answers(theirs.dns(), questions));
    for (question, (ours, theirs)) in questions.iter().zip(pairs) {
        assert_eq!(ours, theirs, "{question}");
    }
}

#[test]
fn generate_makes_the_records_that_bind_makes() {
    if !needs("master_file: $GENERATE", &["named", "dig"]) {
        return;
    }
    let text = r#"
$GENERATE 1-3 host-$ A 198.51.100.$
$GENERATE 1-3 mx-$ MX "10 host-$"
$GENERATE 0-6/3 c${0,3,d} 60 IN CNAME host-$
$GENERATE 9-17/4 ${-8,4}.${0,2,x}.${1,3,X} 1h TXT ${0,4,o}
$GENERATE 10-11 ${0,6,n}x IN CNAME host-$
$GENERATE 170-171 n${0,5,N} CNAME host-$
$GENERATE 5-6 ${0,0,n}.nib PTR host-${-5}
$GENERATE 1-2 text-$ TXT "\"one $\" two ${2,2,d}"
$GENERATE 1-1 dollar$$$ TXT $
$GENERATE 1-1 escaped\$$ TXT $
$GENERATE 9-9 negative TXT ${-10,3}
$ORIGIN sub.example.com.
$GENERATE 1-2 $ CNAME a$
"#;
    let questions = [
        "host-1.example.com A",
        "host-3.example.com A",
        "host-4.example.com A",
        "mx-2.example.com MX",
        "c000.example.com CNAME",
        "c003.example.com CNAME",
        "c001.example.com CNAME",
        "0001.09.00A.example.com TXT",
        "0005.0d.00E.example.com TXT",
        "0009.11.012.example.com TXT",
        "a.0.0.x.example.com CNAME",
        "b.0.0.x.example.com CNAME",
        "na.a.0.example.com CNAME",
        "nA.A.0.example.com CNAME",
        "5.nib.example.com PTR",
        "6.nib.example.com PTR",
        "text-1.example.com TXT",
        "text-2.example.com TXT",
        r"dollar\$1.example.com TXT",
        r"escaped\$1.example.com TXT",
        "negative.example.com TXT",
        "1.sub.example.com CNAME",
        "2.sub.example.com CNAME",
    ];
    let ours = server(text);
    let text = format!("{HEAD}{text}");
    let bind = Peer::bind(&[PeerZone { origin: "example.com.", text: &text }], "", "");
    are_alike(&ours, &bind, &questions);
    let found = answers(ours.dns(), &questions);
    assert_eq!(found.iter().filter(|(_, records)| records.is_empty()).count(), 2, "{found:?}");
}

#[test]
fn include_means_what_it_means_to_others() {
    if !needs("master_file: $INCLUDE", &["named", "nsd", "knotd", "dig"]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = directory.path().display();
    let write = |file: &str, text: &str| {
        std::fs::write(directory.path().join(file), text).expect("the file can be written");
    };
    // NSD wants whole names and no quotes in directives. What the owner of a line is that begins with
    // a blank behind an inclusion, they do not agree on.
    write("part.zone", "@ A 198.51.100.1\nb A 198.51.100.2\n$ORIGIN deep.example.com.\nc TXT c\n");
    let nested = "d TXT d\n$INCLUDE {at}/part.zone inner.example.com.\ne TXT e\n";
    write("nested.zone", &nested.replace("{at}", &at.to_string()));
    let text = format!(
        "$INCLUDE {at}/part.zone part.example.com.\nf A 198.51.100.4\n$ORIGIN g.example.com.\n\
         $INCLUDE {at}/nested.zone\nh A 198.51.100.5\n\
         $INCLUDE {at}/nested.zone other.example.com.\ni A 198.51.100.6\n"
    );
    let questions = [
        "part.example.com A",
        "b.part.example.com A",
        "c.deep.example.com TXT",
        "f.example.com A",
        "d.g.example.com TXT",
        "inner.example.com A",
        "b.inner.example.com A",
        "e.g.example.com TXT",
        "h.g.example.com A",
        "d.other.example.com TXT",
        "e.other.example.com TXT",
        "i.g.example.com A",
        "h.example.com A",
        "b.example.com A",
    ];
    let ours = server(&text);
    let whole = format!("$ORIGIN example.com.\n{HEAD}{text}");
    let zones = [PeerZone { origin: "example.com.", text: &whole }];
    for peer in [
        Peer::bind(&zones, "", ""),
        Peer::nsd(Addresses::new().host(1), &zones),
        Peer::knot(Addresses::new().host(1), &zones),
    ] {
        are_alike(&ours, &peer, &questions);
    }
    let found = answers(ours.dns(), &questions);
    assert_eq!(found.iter().filter(|(_, records)| records.is_empty()).count(), 2, "{found:?}");
}
