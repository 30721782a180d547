//! A chart: what one policy decides everywhere, computed when a fact changes so that a query only
//! looks it up. Neighbours that are decided alike are merged, which makes ECS scopes as wide as
//! they can be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::choose::{Assignment, Choice, Chosen, Client, Decision};
use super::plan::{Candidate, Holding, Plan};
use super::slate::{Given, Slate, slate_for};
use super::survey::{Cell, District, Districts, Interned, Resolvers, Survey, Terrain};
use super::{Allotment, Facts, GroupId, Part, Policy, PoolId, Validity};
use crate::dns::Rtype;
use crate::geo::{RangeTable, World};

/// What one policy decides, everywhere.
#[derive(Debug)]
pub struct Chart {
    /// By the numbers in the sheets and seats.
    plans: Box<[Plan]>,
    /// By the class of the resolver; one for all where no rule asks for the resolver.
    sheets: Box<[Arc<Sheet>]>,
    /// By the class of the resolver, and by district, where the terrain has districts. When clients
    /// are given out anew, this and the plans are all that changes.
    seats: Box<[Box<[Seat]>]>,
    terrain: Arc<Terrain>,
    /// What some client gets.
    somewhere: Somewhere,
}

/// What is decided in a district.
#[derive(Clone, Copy, Debug)]
struct Seat {
    /// The number of the plan; [`ELSEWHERE`]: that of the sheet.
    plan: u32,
    /// The group of its clients.
    group: GroupId,
}

/// In a sheet: the district's seat has the plan. In a seat: the sheet has it.
const ELSEWHERE: u32 = u32::MAX;

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
    /// By the terrain's cell: the number of the plan. Empty where all are decided by district.
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
        let offers: Vec<Offers> =
            classes.iter().map(|resolver| Offers::new(policy, resolver, survey, facts)).collect();
        // The sheets' plans come first: their numbers stay when clients are given out anew, so that
        // the sheets do.
        let cells = offers.iter().map(|offers| offers.plan_cells(&mut plans));
        let cells: Vec<Box<[u32]>> = cells.collect();
        let sheets = cells.into_iter().map(|it| sheets.sheet(terrain, facts.world, it)).collect();
        let seats = match &terrain.districts {
            Some(districts) => {
                offers.iter().map(|it| it.plan_districts(districts, &mut plans)).collect()
            }
            None => Box::default(),
        };
        let somewhere = Somewhere::of(&plans.values);
        let (plans, terrain) = (plans.values.into(), Arc::clone(terrain));
        Chart { plans, sheets, seats, terrain, somewhere }
    }

    /// What is answered to `client` for `rtype`; looks up, and computes nothing that a fact's
    /// change could have computed before. Types other than A and AAAA get a CNAME or nothing.
    pub fn decide(&self, client: &Client, rtype: Rtype) -> Decision<'_> {
        let (client, mapped_len) = client.canonical();
        let class = self.resolver_class(&client);
        let (mut plan, mut prefix_len, mut group) = (ELSEWHERE, 0, GroupId(0));
        if let Some(districts) = &self.terrain.districts {
            let district;
            (district, prefix_len) = look_up(&districts.v4, &districts.v6, client.address);
            Seat { plan, group } = self.seats[class][district as usize];
        }
        if plan == ELSEWHERE {
            let sheet = &self.sheets[class];
            (plan, prefix_len) = look_up(&sheet.v4, &sheet.v6, client.address);
        }
        let plan = &self.plans[plan as usize];
        let Chosen { choice, hashed_len, datacenter } = plan.choose(&client, rtype);
        let scope = match choice {
            // The same for everybody, whoever decides.
            Choice::NoData if !self.somewhere.has(rtype) => 0,
            _ => mapped_len + prefix_len.max(hashed_len),
        };
        let assignment = match (plan.pool, datacenter) {
            (Some(pool), Some(datacenter)) if choice != Choice::NoData => {
                Some(Assignment { pool, group, datacenter })
            }
            _ => None,
        };
        let Validity { ttl, is_stale } = plan.validity(&choice);
        let (ttl, is_unknown) = (plan.ttl.min(ttl), plan.is_unknown);
        Decision { ttl, is_stale, is_unknown, scope, choice, assignment }
    }

    /// Has the processor fetch what [`decide`](Self::decide) reads first for this client.
    pub fn fetch_index(&self, client: &Client) {
        let (v4, v6) = self.first_tables(client);
        match client.address {
            IpAddr::V4(address) => v4.fetch_index(address.into()),
            IpAddr::V6(address) => v6.fetch_index(address.into()),
        }
    }

    /// Has the processor fetch what it reads next, once the first is here.
    pub fn fetch_range(&self, client: &Client) {
        let (v4, v6) = self.first_tables(client);
        match client.address {
            IpAddr::V4(address) => v4.fetch_range(address.into()),
            IpAddr::V6(address) => v6.fetch_range(address.into()),
        }
    }

    /// How many different plans there are, and how many ranges of addresses they stand in.
    pub fn size(&self) -> (usize, usize) {
        let sheets = self.sheets.iter().map(|sheet| sheet.v4.len() + sheet.v6.len());
        let districts = self.terrain.districts.iter().map(|it| it.v4.len() + it.v6.len());
        (self.plans.len(), sheets.chain(districts).sum())
    }

    /// The tables that are looked up first for this client.
    fn first_tables(&self, client: &Client) -> (&RangeTable<u32>, &RangeTable<u128>) {
        match &self.terrain.districts {
            Some(districts) => (&districts.v4, &districts.v6),
            None => {
                let sheet = &self.sheets[self.resolver_class(client)];
                (&sheet.v4, &sheet.v6)
            }
        }
    }

    fn resolver_class(&self, client: &Client) -> usize {
        match &self.terrain.resolvers {
            None => 0,
            Some(Resolvers { v4, v6, .. }) => look_up(v4, v6, client.resolver).0 as usize,
        }
    }

    #[cfg(test)]
    pub(super) fn shares_its_sheets_with(&self, other: &Chart) -> bool {
        let mut pairs = self.sheets.iter().zip(&other.sheets);
        pairs.all(|(one, other)| Arc::ptr_eq(one, other))
    }
}

fn look_up(v4: &RangeTable<u32>, v6: &RangeTable<u128>, address: IpAddr) -> (u32, u8) {
    match address {
        IpAddr::V4(address) => v4.lookup(address.into()),
        IpAddr::V6(address) => v6.lookup(address.into()),
    }
}

/// What the rules lead to, for resolvers of one class. What the same rules lead to in many places is
/// worked out once.
struct Offers<'f> {
    survey: &'f Survey,
    /// By the terrain's `holds`.
    offers: Vec<Offer<'f>>,
}

/// What the rules that hold in a place lead to.
enum Offer<'f> {
    /// A plan that does not depend on the place.
    Everywhere(Plan),
    /// A pool that steers by place.
    ByPlace {
        pool: PoolId,
        slate: Slate<'f>,
        /// What each group is given.
        allotment: Option<&'f Allotment>,
    },
}

impl<'f> Offers<'f> {
    fn new(
        policy: &Policy,
        resolver: &[bool],
        survey: &'f Survey,
        facts: &Facts<'f>,
    ) -> Offers<'f> {
        let offers = survey.terrain.holds.iter().map(|here| {
            let Some((pool, slate)) = slate_for(policy, Holding { here, resolver }, facts) else {
                return Offer::Everywhere(Plan::no_data());
            };
            if facts.pool(pool).steers_by_place() {
                return Offer::ByPlace { pool, slate, allotment: facts.allotment(pool) };
            }
            let mut chosen = Vec::new();
            slate.choose(facts.pool(pool).members_in_order(), &mut chosen);
            Offer::Everywhere(slate.plan(&chosen).simplified())
        });
        Offers { survey, offers: offers.collect() }
    }

    /// What is given to the clients of a district, if they are given out.
    fn part(&self, district: District) -> Option<(u32, &'f Part)> {
        match &self.offers[district.holds as usize] {
            Offer::ByPlace { allotment: Some(allotment), .. } => {
                let GroupId(group) = district.group;
                let number = *allotment.by_group.get(group as usize)?;
                Some((number, allotment.parts.get(number as usize)?))
            }
            _ => None,
        }
    }

    /// By cell: the number of the plan, where the district does not decide; none where all do.
    fn plan_cells(&self, plans: &mut Interned<Plan>) -> Box<[u32]> {
        let terrain = &self.survey.terrain;
        let list = terrain.districts.as_ref().map_or(&[][..], |districts| &districts.list);
        if !list.is_empty() && list.iter().all(|district| self.part(*district).is_some()) {
            return Box::default();
        }
        let mut by_members: Vec<HashMap<Vec<u16>, u32, RandomState>> =
            self.offers.iter().map(|_| HashMap::default()).collect();
        let mut everywhere: Vec<Option<u32>> = vec![None; self.offers.len()];
        let mut chosen = Vec::new();
        let cells = terrain.cells.iter().enumerate().map(|(cell, &Cell { holds, district })| {
            let district = list.get(district as usize);
            if district.is_some_and(|district| self.part(*district).is_some()) {
                return ELSEWHERE;
            }
            match &self.offers[holds as usize] {
                Offer::Everywhere(plan) => {
                    *everywhere[holds as usize].get_or_insert_with(|| plans.number(plan.clone()))
                }
                Offer::ByPlace { pool, slate, .. } => {
                    let members = self.survey.members_by_distance(*pool, cell);
                    let members = members.expect("a pool that steers by place was surveyed");
                    slate.choose(members.iter().copied(), &mut chosen);
                    let known = &mut by_members[holds as usize];
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

    /// By district: its seat.
    fn plan_districts(&self, districts: &Districts, plans: &mut Interned<Plan>) -> Box<[Seat]> {
        let mut by_part: Vec<HashMap<u32, u32, RandomState>> =
            self.offers.iter().map(|_| HashMap::default()).collect();
        let mut by_given: Vec<HashMap<Given, u32, RandomState>> =
            self.offers.iter().map(|_| HashMap::default()).collect();
        let seats = districts.list.iter().map(|&district| {
            let District { holds, group } = district;
            let (Offer::ByPlace { slate, .. }, Some((number, part))) =
                (&self.offers[holds as usize], self.part(district))
            else {
                return Seat { plan: ELSEWHERE, group };
            };
            let known = &mut by_given[holds as usize];
            let plan = *by_part[holds as usize].entry(number).or_insert_with(|| {
                let given = slate.choose_for(part);
                if let Some(plan) = known.get(&given) {
                    return *plan;
                }
                let plan = plans.number(slate.plan_of(&given).simplified());
                known.insert(given, plan);
                plan
            });
            Seat { plan, group }
        });
        seats.collect()
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
        let (v4, v6) = match cells.is_empty() {
            true => (RangeTable::constant(ELSEWHERE), RangeTable::constant(ELSEWHERE)),
            false => terrain.spread(world, &cells),
        };
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
