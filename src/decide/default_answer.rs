//! The default answer of a policy: what goes to other servers, which cannot steer.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Policy, Pool, PoolId, Steer, Steering, Target, WhenAllDown};
use crate::dns::Name;
use crate::geo::Location;

/// How many fallback pools are followed, as in a plan.
const MAX_FALLBACKS: usize = 8;

/// What a client of unknown location is answered when everything is up. It follows from the files
/// alone: no verdict, override or report changes it, so that it changes only with the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultAnswer {
    /// The TTL of the records, in seconds: that of the pool, the longest of one that adapts.
    pub ttl: u32,
    /// The records.
    pub records: DefaultRecords,
}

/// The records of a default answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultRecords {
    /// A and AAAA records: as many of each as the pool answers.
    Addresses {
        /// Each once.
        v4: Vec<Ipv4Addr>,
        /// Each once.
        v6: Vec<Ipv6Addr>,
    },
    /// A CNAME record.
    Cname(Name),
}

impl DefaultAnswer {
    /// The default answer of a policy: from the pool of the first rule that matches everybody, or
    /// the pool that stands in for it while none of its members takes clients.
    ///
    /// The members come in the order of the file; where they are chosen by weight, the heaviest
    /// first. One that is a name is passed over unless `may_be_cname`; one that is resolved always. None without any record.
    pub fn of(policy: &Policy, steering: &Steering, may_be_cname: bool) -> Option<DefaultAnswer> {
        let rule = policy.rules.iter().find(|rule| rule.matches.is_empty())?;
        let PoolId(mut id) = rule.pool;
        for _ in 0..=MAX_FALLBACKS {
            let pool = steering.pools.get(id as usize)?;
            match pool.when_all_down {
                WhenAllDown::Pool(PoolId(next)) if !is_up(pool) => id = next,
                _ => return of_pool(pool, steering, may_be_cname),
            }
        }
        None
    }
}

fn is_up(pool: &Pool) -> bool {
    let able = pool.members.iter().filter(|member| member.weight > 0).count();
    able >= usize::from(pool.min_healthy)
}

fn of_pool(pool: &Pool, steering: &Steering, may_be_cname: bool) -> Option<DefaultAnswer> {
    let mut order: Vec<u16> = match pool.steers_by_place() {
        true => pool.members_by_distance(steering, &Location::default()),
        false => pool.members_in_order().collect(),
    };
    let weight = |member: &u16| pool.members[usize::from(*member)].weight;
    order.retain(|member| weight(member) > 0);
    if matches!(pool.steer, Steer::Weighted | Steer::Hash) {
        order.sort_by_key(|member| std::cmp::Reverse(weight(member)));
    }
    let most = usize::from(pool.answers);
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for member in order {
        match &pool.members[usize::from(member)].target {
            Target::Addresses { v4: more_v4, v6: more_v6 } => {
                v4.extend(more_v4.iter().map(|(address, _)| *address));
                v6.extend(more_v6.iter().map(|(address, _)| *address));
            }
            Target::Cname { name, .. } if may_be_cname && v4.is_empty() && v6.is_empty() => {
                let records = DefaultRecords::Cname(name.clone());
                return Some(DefaultAnswer { ttl: pool.ttl, records });
            }
            // Its addresses are known only when they are resolved.
            Target::Cname { .. } | Target::Flattened { .. } => (),
        }
    }
    (v4, v6) = (first(v4, most), first(v6, most));
    let is_empty = v4.is_empty() && v6.is_empty();
    let records = DefaultRecords::Addresses { v4, v6 };
    (!is_empty).then_some(DefaultAnswer { ttl: pool.ttl, records })
}

/// The first ones, each once.
fn first<A: PartialEq>(all: Vec<A>, most: usize) -> Vec<A> {
    let mut kept = Vec::new();
    for address in all {
        if kept.len() < most && !kept.contains(&address) {
            kept.push(address);
        }
    }
    kept
}
