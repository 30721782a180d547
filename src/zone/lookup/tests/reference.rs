//! The look-up against RFC 1034 §4.3.2 and RFC 4592 written down plainly, over a list of names.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What may stand at a name.
#[derive(Clone, Debug, PartialEq)]
enum Stands {
    /// Records of these types.
    Records(Vec<Rtype>),
    /// A CNAME.
    Cname,
    /// A delegation, with DS or without.
    Cut(bool),
    /// A DNAME, which redirects what is below it.
    Dname,
    /// A steered name that may be a CNAME, or not.
    Steered(bool),
}

/// Owners as labels from the left, without those of the origin.
type Plain = BTreeMap<Vec<&'static str>, Stands>;

/// What the look-up is expected to say.
fn expected(zone: &Plain, qname: &[&'static str], rtype: Rtype) -> String {
    for at in (0..qname.len()).rev() {
        let name = &qname[at..];
        if matches!(zone.get(name), Some(Stands::Cut(_))) && !(at == 0 && rtype == Rtype::DS) {
            return format!("referral {}", name.join("."));
        }
        if at > 0 && zone.get(name) == Some(&Stands::Dname) {
            return format!("redirected {}", name.join("."));
        }
    }
    let exists = |name: &[&str]| zone.keys().any(|owner| owner.ends_with(name));
    if exists(qname) {
        return at(zone.get(qname), rtype);
    }
    let encloser =
        (0..=qname.len()).map(|at| &qname[at..]).find(|name| exists(name)).unwrap_or(&[]);
    let wildcard = [&["*"], encloser].concat();
    if exists(&wildcard) { at(zone.get(&wildcard), rtype) } else { "nxdomain".into() }
}

fn at(stands: Option<&Stands>, rtype: Rtype) -> String {
    let decided = |may_be_cname| may_be_cname || matches!(rtype, Rtype::A | Rtype::AAAA);
    match stands {
        None => "nodata",
        Some(Stands::Cut(true)) if rtype == Rtype::DS => "answer",
        Some(_) if rtype == Rtype::ANY => "any",
        Some(Stands::Records(types)) if types.contains(&rtype) => "answer",
        Some(Stands::Cname) if rtype == Rtype::CNAME => "answer",
        Some(Stands::Cname) => "cname",
        Some(Stands::Dname) if rtype == Rtype::DNAME => "answer",
        Some(Stands::Steered(may_be_cname)) if decided(*may_be_cname) => "steered",
        Some(_) => "nodata",
    }
    .into()
}

/// What the look-up says.
fn said(zone: &Zone, qname: &[&'static str], rtype: Rtype) -> String {
    let text = qname.iter().map(|label| format!("{label}.")).collect::<String>();
    match zone.lookup(&key(&format!("{text}example.com.")), rtype) {
        Lookup::Answer { rrset, .. } | Lookup::Hinted { rrset, .. } => {
            assert_eq!(rrset.rtype, rtype);
            "answer".into()
        }
        Lookup::Cname { .. } => "cname".into(),
        Lookup::Steered { .. } => "steered".into(),
        Lookup::Redirected(redirection) => {
            let whole = name(&key(&format!("{text}example.com.")));
            let owner = &whole[whole.len() + 1 - redirection.owner_len..];
            format!("redirected {}", owner.trim_end_matches(".example.com."))
        }
        Lookup::Any => "any".into(),
        Lookup::NoData => "nodata".into(),
        Lookup::NxDomain => "nxdomain".into(),
        Lookup::Referral(delegation) => {
            let owner = name(&[&delegation.ns.owner_prefix[..], &[0]].concat());
            format!("referral {}", owner.trim_end_matches('.'))
        }
    }
}

fn compile_plain(plain: &Plain) -> Zones {
    let mut text = String::new();
    let mut names = Vec::new();
    for (owner, stands) in plain {
        let owner = owner.join(".");
        let owner = if owner.is_empty() { "@" } else { &owner };
        match stands {
            Stands::Records(types) => {
                for rtype in types.iter().filter(|rtype| !matches!(**rtype, Rtype::NS | Rtype::SOA))
                {
                    let data = if *rtype == Rtype::A { "198.51.100.1" } else { "x" };
                    text += &format!("{owner} {rtype} {data}\n");
                }
            }
            Stands::Cname => text += &format!("{owner} CNAME x.example.net.\n"),
            Stands::Cut(is_signed) => {
                text += &format!("{owner} NS x.example.net.\n");
                if *is_signed {
                    text += &format!("{owner} DS 1 8 2 ab\n");
                }
            }
            Stands::Dname => text += &format!("{owner} DNAME x.example.net.\n"),
            Stands::Steered(may_be_cname) => names.push(steered(owner, *may_be_cname)),
        }
    }
    let mut zone = example(&text);
    zone.steered = names;
    compiled(zone)
}

fn labels(most: usize) -> impl Strategy<Value = Vec<&'static str>> {
    let label = proptest::sample::select(vec!["a", "a", "b", "b", "c", "*"]);
    proptest::collection::vec(label, 0..=most)
}

fn stands() -> impl Strategy<Value = Stands> {
    let types = proptest::sample::subsequence(vec![Rtype::A, Rtype::TXT], 1..=2);
    prop_oneof![
        4 => types.prop_map(Stands::Records),
        2 => Just(Stands::Cname),
        2 => any::<bool>().prop_map(Stands::Cut),
        2 => Just(Stands::Dname),
        2 => any::<bool>().prop_map(Stands::Steered),
    ]
}

/// Zones that pass the checks.
fn plain_zone() -> impl Strategy<Value = Plain> {
    proptest::collection::btree_map(labels(4), stands(), 0..8).prop_map(|mut zone| {
        let apex = vec![Rtype::SOA, Rtype::NS, Rtype::TXT];
        zone.insert(Vec::new(), Stands::Records(apex));
        // Neither a cut at a wildcard nor a steered name at or below a cut or a DNAME is
        // served.
        let cuts: Vec<_> = zone
            .iter()
            .filter(|(owner, stands)| match stands {
                Stands::Cut(_) => owner[0] != "*",
                other => **other == Stands::Dname,
            })
            .map(|(owner, _)| owner.clone())
            .collect();
        for (owner, stands) in &mut zone {
            let is_refused = match stands {
                Stands::Cut(_) => owner[0] == "*",
                Stands::Steered(_) => cuts.iter().any(|cut| owner.ends_with(cut)),
                _ => false,
            };
            if is_refused {
                *stands = Stands::Records(vec![Rtype::TXT]);
            }
        }
        zone
    })
}

proptest! {
    #[test]
    fn lookup_agrees_with_the_plain_reading_of_the_rfcs(
        plain in plain_zone(),
        qnames in proptest::collection::vec(labels(6), 20),
    ) {
        let zones = compile_plain(&plain);
        let zone = zones.iter().next().unwrap();
        let types = [
            Rtype::A, Rtype::TXT, Rtype::CNAME, Rtype::DNAME, Rtype::DS, Rtype::NS, Rtype::SOA,
            Rtype::ANY,
        ];
        for qname in qnames.iter().chain(plain.keys()) {
            for rtype in types {
                prop_assert_eq!(
                    said(zone, qname, rtype), expected(&plain, qname, rtype),
                    "{:?} {}", qname, rtype
                );
            }
        }
    }
}
