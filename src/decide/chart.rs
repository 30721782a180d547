//! A chart: what one policy decides everywhere, computed when a fact changes so that a query only
//! looks it up. Neighbours that are decided alike are merged, which makes ECS scopes as wide as
//! they can be.

use std::net::IpAddr;

use super::choose::{Choice, Client, Decision};
use super::plan::{Candidate, Holding, Plan};
use super::survey::{Interned, Resolvers, Survey};
use super::{Facts, Policy};
use crate::dns::Rtype;
use crate::geo::RangeTable;

/// What one policy decides, everywhere.
#[derive(Debug)]
pub struct Chart {
    /// By the numbers in the tables.
    plans: Box<[Plan]>,
    /// By the class of the resolver; one for all where no rule asks for the resolver.
    tables: Box<[Tables]>,
    /// The class of every resolver, if rules tell them apart.
    resolvers: Option<(RangeTable<u32>, RangeTable<u128>)>,
    /// What some client gets.
    somewhere: Somewhere,
}

/// Which records some plan has.
#[derive(Clone, Copy, Debug, Default)]
struct Somewhere {
    v4: bool,
    v6: bool,
    cname: bool,
}

#[derive(Debug)]
struct Tables {
    v4: RangeTable<u32>,
    v6: RangeTable<u128>,
}

impl Chart {
    /// Plans every cell of the survey.
    pub fn new(policy: &Policy, survey: &Survey, facts: &Facts) -> Chart {
        let any_resolver = [vec![true; policy.rules.len()].into_boxed_slice()];
        let classes = match &survey.resolvers {
            Some(resolvers) => &resolvers.classes[..],
            None => &any_resolver[..],
        };
        let mut plans = Interned::new();
        let tables = classes.iter().map(|resolver| {
            let plan_of_cell: Vec<u32> = survey
                .cells
                .iter()
                .map(|cell| {
                    let holding = Holding { here: &cell.holds, resolver };
                    let location = facts.world.location(cell.location);
                    plans.number(Plan::new(policy, holding, location, facts).simplified())
                })
                .collect();
            let plan = |cell: u32| plan_of_cell[cell as usize];
            Tables { v4: survey.v4.map(plan), v6: survey.v6.map(plan) }
        });
        let tables = tables.collect();
        let resolvers = survey.resolvers.as_ref();
        let resolvers = resolvers.map(|Resolvers { v4, v6, .. }| (v4.clone(), v6.clone()));
        let somewhere = Somewhere::of(&plans.values);
        Chart { plans: plans.values.into(), tables, resolvers, somewhere }
    }

    /// What is answered to `client` for `rtype`; looks up, and computes nothing that a fact's
    /// change could have computed before. Types other than A and AAAA get a CNAME or nothing.
    pub fn decide(&self, client: &Client, rtype: Rtype) -> Decision<'_> {
        let class = match (&self.resolvers, client.resolver) {
            (None, _) => 0,
            (Some((v4, _)), IpAddr::V4(resolver)) => v4.lookup(resolver.into()).0,
            (Some((_, v6)), IpAddr::V6(resolver)) => v6.lookup(resolver.into()).0,
        };
        let tables = &self.tables[class as usize];
        let (plan, prefix_len) = match client.address {
            IpAddr::V4(address) => tables.v4.lookup(address.into()),
            IpAddr::V6(address) => tables.v6.lookup(address.into()),
        };
        let plan = &self.plans[plan as usize];
        let (choice, hashed_len) = plan.choose(client, rtype);
        let scope = match choice {
            // The same for everybody, whoever decides.
            Choice::NoData if !self.somewhere.has(rtype) => 0,
            _ => prefix_len.max(hashed_len),
        };
        Decision { ttl: plan.ttl, scope, choice }
    }

    /// How many different plans there are, and how many ranges of addresses they stand in.
    pub fn size(&self) -> (usize, usize) {
        let ranges = self.tables.iter().map(|tables| tables.v4.len() + tables.v6.len()).sum();
        (self.plans.len(), ranges)
    }
}

impl Somewhere {
    fn of(plans: &[Plan]) -> Somewhere {
        let any = |has: fn(&Candidate) -> bool| {
            plans.iter().flat_map(|plan| plan.candidates.iter()).any(has)
        };
        Somewhere {
            v4: any(|candidate| !candidate.v4.is_empty()),
            v6: any(|candidate| !candidate.v6.is_empty()),
            cname: any(|candidate| candidate.cname.is_some()),
        }
    }

    fn has(self, rtype: Rtype) -> bool {
        let address = match rtype {
            Rtype::A => self.v4,
            Rtype::AAAA => self.v6,
            _ => false,
        };
        address || self.cname
    }
}
