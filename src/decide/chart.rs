//! A chart: what one policy decides everywhere, computed when a fact changes so that a query only
//! looks it up. Neighbours that are decided alike are merged, which makes ECS scopes as wide as
//! they can be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::choose::{Choice, Client, Decision};
use super::plan::{Candidate, Holding, Plan};
use super::slate::{Slate, slate_for};
use super::survey::{Interned, Survey, Terrain};
use super::{Facts, Policy, PoolId};
use crate::dns::Rtype;
use crate::geo::{RangeTable, World};

/// What one policy decides, everywhere.
#[derive(Debug)]
pub struct Chart {
    /// By the numbers in the sheets.
    plans: Box<[Plan]>,
    /// By the class of the resolver; one for all where no rule asks for the resolver.
    sheets: Box<[Arc<Sheet>]>,
    terrain: Arc<Terrain>,
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

/// Where each plan is followed.
#[derive(Debug)]
struct Sheet {
    /// By the terrain's cell: the number of the plan.
    cells: Box<[u32]>,
    v4: RangeTable<u32>,
    v6: RangeTable<u128>,
}

/// The sheets of charts, to be used again by charts that divide the same terrain alike.
#[derive(Debug, Default)]
pub struct Sheets {
    by_terrain: HashMap<*const Terrain, OfTerrain>,
}

#[derive(Debug)]
struct OfTerrain {
    /// Kept so that its address stays its own.
    terrain: Arc<Terrain>,
    sheets: Vec<Arc<Sheet>>,
}

impl Chart {
    /// Plans every cell of the survey.
    pub fn new(policy: &Policy, survey: &Survey, facts: &Facts, sheets: &mut Sheets) -> Chart {
        let any_resolver = [vec![true; policy.rules.len()].into_boxed_slice()];
        let terrain = &survey.terrain;
        let classes = match &terrain.resolvers {
            Some(resolvers) => &resolvers.classes[..],
            None => &any_resolver[..],
        };
        let mut plans = Interned::new();
        let sheets = classes.iter().map(|resolver| {
            let cells = plan_cells(policy, resolver, survey, facts, &mut plans);
            sheets.sheet(terrain, facts.world, cells)
        });
        let sheets = sheets.collect();
        let somewhere = Somewhere::of(&plans.values);
        Chart { plans: plans.values.into(), sheets, terrain: Arc::clone(terrain), somewhere }
    }

    /// What is answered to `client` for `rtype`; looks up, and computes nothing that a fact's
    /// change could have computed before. Types other than A and AAAA get a CNAME or nothing.
    pub fn decide(&self, client: &Client, rtype: Rtype) -> Decision<'_> {
        let (client, mapped_len) = client.canonical();
        let sheet = self.sheet(&client);
        let (plan, prefix_len) = match client.address {
            IpAddr::V4(address) => sheet.v4.lookup(address.into()),
            IpAddr::V6(address) => sheet.v6.lookup(address.into()),
        };
        let plan = &self.plans[plan as usize];
        let (choice, hashed_len) = plan.choose(&client, rtype);
        let scope = match choice {
            // The same for everybody, whoever decides.
            Choice::NoData if !self.somewhere.has(rtype) => 0,
            _ => mapped_len + prefix_len.max(hashed_len),
        };
        Decision { ttl: plan.ttl, scope, choice }
    }

    /// Has the processor fetch what [`decide`](Self::decide) reads first for this client.
    pub fn fetch_index(&self, client: &Client) {
        match client.address {
            IpAddr::V4(address) => self.sheet(client).v4.fetch_index(address.into()),
            IpAddr::V6(address) => self.sheet(client).v6.fetch_index(address.into()),
        }
    }

    /// Has the processor fetch what it reads next, once the first is here.
    pub fn fetch_range(&self, client: &Client) {
        match client.address {
            IpAddr::V4(address) => self.sheet(client).v4.fetch_range(address.into()),
            IpAddr::V6(address) => self.sheet(client).v6.fetch_range(address.into()),
        }
    }

    /// How many different plans there are, and how many ranges of addresses they stand in.
    pub fn size(&self) -> (usize, usize) {
        let ranges = self.sheets.iter().map(|sheet| sheet.v4.len() + sheet.v6.len()).sum();
        (self.plans.len(), ranges)
    }

    fn sheet(&self, client: &Client) -> &Sheet {
        let class = match (&self.terrain.resolvers, client.resolver) {
            (None, _) => 0,
            (Some(resolvers), IpAddr::V4(resolver)) => resolvers.v4.lookup(resolver.into()).0,
            (Some(resolvers), IpAddr::V6(resolver)) => resolvers.v6.lookup(resolver.into()).0,
        };
        &self.sheets[class as usize]
    }

    #[cfg(test)]
    pub(super) fn shares_its_sheets_with(&self, other: &Chart) -> bool {
        let mut pairs = self.sheets.iter().zip(&other.sheets);
        pairs.all(|(one, other)| Arc::ptr_eq(one, other))
    }
}

/// The number of the plan of every cell, for resolvers of one class.
fn plan_cells(
    policy: &Policy,
    resolver: &[bool],
    survey: &Survey,
    facts: &Facts,
    plans: &mut Interned<Plan>,
) -> Box<[u32]> {
    let terrain = &survey.terrain;
    // What the same rules lead to in many cells is worked out once.
    let mut offers: Vec<Option<Offer>> = terrain.holds.iter().map(|_| None).collect();
    let mut chosen = Vec::new();
    let cells = terrain.cells.iter().enumerate().map(|(cell, &holds)| {
        let holding = Holding { here: &terrain.holds[holds as usize], resolver };
        let offer =
            offers[holds as usize].get_or_insert_with(|| Offer::new(policy, holding, facts, plans));
        match offer {
            Offer::Everywhere(plan) => *plan,
            Offer::ByPlace { pool, slate, known } => {
                let members = survey.members_by_distance(*pool, cell);
                let members = members.expect("a pool that steers by place was surveyed");
                slate.choose(members.iter().copied(), &mut chosen);
                match known.get(&chosen[..]) {
                    Some(plan) => *plan,
                    None => {
                        let plan = plans.number(slate.plan(&chosen).simplified());
                        known.insert(chosen.clone(), plan);
                        plan
                    }
                }
            }
        }
    });
    cells.collect()
}

/// What the rules that hold in a cell lead to.
enum Offer<'f> {
    /// A plan that does not depend on the place.
    Everywhere(u32),
    /// A pool that steers by place; the plans by the members that were chosen.
    ByPlace { pool: PoolId, slate: Slate<'f>, known: HashMap<Vec<u16>, u32, RandomState> },
}

impl<'f> Offer<'f> {
    fn new(
        policy: &Policy,
        holding: Holding,
        facts: &Facts<'f>,
        plans: &mut Interned<Plan>,
    ) -> Offer<'f> {
        match slate_for(policy, holding, facts) {
            None => Offer::Everywhere(plans.number(Plan::no_data())),
            Some((pool, slate)) if facts.pool(pool).steers_by_place() => {
                Offer::ByPlace { pool, slate, known: HashMap::default() }
            }
            Some((pool, slate)) => {
                let mut chosen = Vec::new();
                slate.choose(facts.pool(pool).members_in_order(), &mut chosen);
                Offer::Everywhere(plans.number(slate.plan(&chosen).simplified()))
            }
        }
    }
}

impl Sheets {
    /// Those of these charts.
    pub fn of<'c>(charts: impl IntoIterator<Item = &'c Chart>) -> Sheets {
        let mut sheets = Sheets::default();
        for chart in charts {
            let known = sheets.of_terrain(&chart.terrain);
            for sheet in &chart.sheets {
                if !known.iter().any(|other| Arc::ptr_eq(other, sheet)) {
                    known.push(Arc::clone(sheet));
                }
            }
        }
        sheets
    }

    /// The sheet of a terrain of this world with these plans in its cells.
    fn sheet(&mut self, terrain: &Arc<Terrain>, world: &World, cells: Box<[u32]>) -> Arc<Sheet> {
        let known = self.of_terrain(terrain);
        if let Some(sheet) = known.iter().find(|sheet| sheet.cells == cells) {
            return Arc::clone(sheet);
        }
        let (v4, v6) = terrain.spread(world, &cells);
        let sheet = Arc::new(Sheet { cells, v4, v6 });
        known.push(Arc::clone(&sheet));
        sheet
    }

    fn of_terrain(&mut self, terrain: &Arc<Terrain>) -> &mut Vec<Arc<Sheet>> {
        let new = || OfTerrain { terrain: Arc::clone(terrain), sheets: Vec::new() };
        let known = self.by_terrain.entry(Arc::as_ptr(terrain)).or_insert_with(new);
        debug_assert!(Arc::ptr_eq(&known.terrain, terrain));
        &mut known.sheets
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
