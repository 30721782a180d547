//! Why a question is answered as it is: from the zone's look-up through the decision, link by link
//! of a CNAME chain.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::records::{Record, owned_records, records};
use crate::control::PlanStatus;
use crate::decide::{self, Client, Explanation, PolicyId};
use crate::dns::{Name, Rtype};
use crate::snapshot::Snapshot;
use crate::zone::{Condition, Hints, Lookup, Zone};

/// The links of a CNAME chain that are followed; answers follow no more either.
const MAX_LINKS: usize = 16;

/// What is asked, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name asked for.
    pub name: Name,
    /// The type asked for.
    pub rtype: Rtype,
    /// The client's subnet, as a resolver would send it (RFC 7871); none: the query carries none.
    pub client: Option<IpNet>,
    /// Who asks.
    pub resolver: IpAddr,
}

/// Why a question is answered as it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explained {
    /// The name asked for.
    pub name: String,
    /// The type asked for.
    #[serde(rename = "type")]
    pub rtype: String,
    /// The client's subnet, if the query carries one.
    pub client: Option<IpNet>,
    /// Who asks.
    pub resolver: IpAddr,
    /// What the facts are, if they are not those of a running server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The name asked for, and then each name that a CNAME leads to.
    pub links: Vec<Link>,
}

/// What stands at one name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Link {
    /// The name.
    pub name: String,
    /// The zone that answers for it.
    pub zone: Option<String>,
    /// What it answers.
    pub outcome: Outcome,
}

/// What a zone answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Outcome {
    /// REFUSED: no zone here covers the name.
    Refused,
    /// SERVFAIL: the zone has no data that could be answered with.
    NoZoneData {
        /// Whether the primary has sent it once: then it has expired.
        has_expired: bool,
    },
    /// Records that are the same for everybody.
    Records {
        /// The RRset.
        records: Vec<Record>,
    },
    /// A CNAME that is the same for everybody.
    Cname {
        /// The record.
        records: Vec<Record>,
    },
    /// The name is below one with a DNAME record, and stands for one elsewhere.
    Dname {
        /// The record.
        records: Vec<Record>,
        /// YXDOMAIN: the name for which it stands is longer than a name may be.
        is_too_long: bool,
    },
    /// Decided per client.
    Steered {
        /// How.
        #[serde(flatten)]
        decision: Box<Explanation>,
    },
    /// SVCB or HTTPS records with address hints that are decided per client.
    Hinted {
        /// The RRset, with the client's hints.
        records: Vec<Record>,
        /// How the hints come about: for each steered name, its A and its AAAA.
        decisions: Vec<Explanation>,
    },
    /// A minimal answer to ANY (RFC 8482).
    Any,
    /// The name exists, the type does not.
    NoData,
    /// NXDOMAIN.
    NameError,
    /// Another server's zone begins at or above the name.
    Referral {
        /// The NS records.
        name_servers: Vec<Record>,
        /// Their addresses.
        glue: Vec<Record>,
    },
    /// The chain goes on for too long, or in a circle.
    ChainTooLong,
}

impl Explained {
    /// Tells what the plan knows of demand and costs.
    pub fn price(&mut self, status: &PlanStatus) {
        let PlanStatus { plan, layout, .. } = status;
        let decisions = self.links.iter_mut().flat_map(|link| match &mut link.outcome {
            Outcome::Steered { decision } => std::slice::from_mut(&mut **decision),
            Outcome::Hinted { decisions, .. } => decisions,
            _ => &mut [],
        });
        for pool in decisions.flat_map(|decision| &mut decision.pools) {
            let Some(step) = &mut pool.group else { continue };
            let group = layout.groups.iter().position(|group| group.name == step.name);
            let Some(group) = group else { continue };
            let name = format!("{}/{}", pool.zone, pool.pool);
            let number = layout.pools.iter().position(|known| known.name == name);
            let row = plan
                .groups
                .iter()
                .find(|row| row.group_number as usize == group && Some(row.pool) == number);
            step.demand = Some(row.map_or(0.0, |row| row.demand));
            for member in &mut pool.members {
                let known = plan.datacenters.iter().zip(0..);
                let datacenter = known.into_iter().find(|(one, _)| one.name == member.datacenter);
                let Some((planned, index)) = datacenter else { continue };
                member.price_ms = Some(planned.price_ms);
                let cost = layout.cost_ms.get(group * layout.datacenters.len() + index);
                member.cost_ms = cost.map(|cost| f64::from(*cost));
            }
        }
    }
}

/// False for a /0, with which a client asks not to be located (RFC 7871 §7.1.2): it is the resolver
/// that is then answered.
pub fn says_where(client: &IpNet) -> bool {
    client.prefix_len() > 0
}

/// Explains the answer to `question` from the facts of `snapshot`.
pub fn explain(snapshot: &Snapshot, question: &Question) -> Explained {
    let mut links = Vec::new();
    let mut next = Some(question.name.clone());
    while let Some(name) = next.take() {
        if links.len() == MAX_LINKS {
            let name = name.to_string();
            links.push(Link { name, zone: None, outcome: Outcome::ChainTooLong });
            break;
        }
        let zone = snapshot.zones.find(&name.to_key(), question.rtype);
        // A target outside our zones is the resolver's business.
        if zone.is_none() && !links.is_empty() {
            break;
        }
        let (outcome, target) = match zone {
            Some(zone) => look_up(snapshot, question, zone, &name),
            None => (Outcome::Refused, None),
        };
        let zone = zone.map(|zone| zone.origin().to_string());
        links.push(Link { name: name.to_string(), zone, outcome });
        next = target;
    }
    Explained {
        name: question.name.to_string(),
        rtype: question.rtype.to_string(),
        client: question.client,
        resolver: question.resolver,
        note: None,
        links,
    }
}

/// What stands at `name`, and where a CNAME there leads.
fn look_up(
    snapshot: &Snapshot,
    question: &Question,
    zone: &Zone,
    name: &Name,
) -> (Outcome, Option<Name>) {
    let origin = zone.origin();
    if zone.condition() != Condition::Served {
        let has_expired = zone.condition() == Condition::Expired;
        return (Outcome::NoZoneData { has_expired }, None);
    }
    let outcome = match zone.lookup(&name.to_key(), question.rtype) {
        Lookup::Answer { rrset, .. } => Outcome::Records { records: records(name, rrset, origin) },
        Lookup::Cname { rrset, target } => {
            let outcome = Outcome::Cname { records: records(name, rrset, origin) };
            return (outcome, Name::from_wire(target).ok());
        }
        Lookup::Steered { policy, .. } => {
            let decision = decision(snapshot, question, policy, question.rtype);
            // Who asks for the alias itself is not sent on.
            let goes_on = decision.answer.is_cname && question.rtype != Rtype::CNAME;
            let target = goes_on.then(|| decision.answer.records.first());
            let target = target.flatten().and_then(|target| target.parse().ok());
            return (Outcome::Steered { decision: Box::new(decision) }, target);
        }
        Lookup::Redirected(redirection) => {
            let key = name.to_key();
            let owner = key.len().saturating_sub(redirection.owner_len);
            let owner = Name::from_wire(&key[owner..]).unwrap_or_else(|_| origin.clone());
            let target = redirection.target_of(&key);
            let outcome = Outcome::Dname {
                records: records(&owner, &redirection.rrset, origin),
                is_too_long: target.is_none(),
            };
            // Who asks for an alias has got one.
            let target = target.filter(|_| question.rtype != Rtype::CNAME);
            return (outcome, target.and_then(|target| Name::from_wire(&target).ok()));
        }
        Lookup::Hinted { rrset, hints, .. } => {
            let (mut records, mut decisions) = (records(name, rrset, origin), Vec::new());
            hint(snapshot, question, hints, &mut records, &mut decisions);
            Outcome::Hinted { records, decisions }
        }
        Lookup::Any => Outcome::Any,
        Lookup::NoData => Outcome::NoData,
        Lookup::NxDomain => Outcome::NameError,
        Lookup::Referral(delegation) => Outcome::Referral {
            name_servers: owned_records(&delegation.ns, origin),
            glue: delegation.glue.iter().flat_map(|glue| owned_records(glue, origin)).collect(),
        },
    };
    (outcome, None)
}

/// The decision for the question's client.
fn decision(
    snapshot: &Snapshot,
    question: &Question,
    policy: PolicyId,
    rtype: Rtype,
) -> Explanation {
    let client = question.client.filter(says_where);
    let address = client.map_or(question.resolver, |subnet| subnet.network());
    let client = Client { address, resolver: question.resolver, draw: snapshot.generation };
    let chart = &snapshot.charts[policy.0 as usize];
    decide::explain(policy, &client, rtype, chart, &snapshot.facts())
}

/// Puts the client's hints into the records, and tells how they come about.
fn hint(
    snapshot: &Snapshot,
    question: &Question,
    hints: &[Option<Hints>],
    records: &mut [Record],
    decisions: &mut Vec<Explanation>,
) {
    let mut explained: Vec<PolicyId> = Vec::new();
    let mut ttl = records.first().map_or(0, |record| record.ttl);
    for (record, hints) in records.iter_mut().zip(hints) {
        let Some(Hints { policy, negative_ttl, .. }) = *hints else { continue };
        let both = [Rtype::A, Rtype::AAAA];
        let both = both.map(|rtype| decision(snapshot, question, policy, rtype));
        let mut has_addresses = false;
        for (key, decision) in ["ipv4hint", "ipv6hint"].into_iter().zip(&both) {
            let answer = &decision.answer;
            if !(answer.is_cname || answer.records.is_empty()) {
                // In a text, parameters stand in any order.
                record.data += &format!(" {key}={}", answer.records.join(","));
                ttl = ttl.min(answer.ttl);
                has_addresses = true;
            }
        }
        if !has_addresses {
            ttl = ttl.min(negative_ttl);
        }
        if !explained.contains(&policy) {
            explained.push(policy);
            decisions.extend(both);
        }
    }
    records.iter_mut().for_each(|record| record.ttl = ttl);
}
