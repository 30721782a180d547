//! Pools that answer with the addresses behind names: at the apex, and where a name asks for it.

use std::collections::HashMap;

use super::in_zone::InZone;
use crate::config::server::DatacenterForm;
use crate::config::zone_file::{
    MemberForm, NameForm, PoolForm, TargetForm, WhenAllDownForm, ZoneForm,
};
use crate::control::flatten::{AddressCheck, FlattenedName};
use crate::decide::{Member, MemberId, Pool, PoolId, ResolvedId, Target, WhenAllDown};
use crate::dns::Name;

/// More names would not be asked for in time.
const MOST_NAMES: usize = 10_000;

/// The names that are resolved, by [`ResolvedId`].
#[derive(Debug)]
pub(super) struct Names<'f> {
    datacenters: &'f [DatacenterForm],
    list: Vec<FlattenedName>,
    by_key: HashMap<Box<[u8]>, Vec<ResolvedId>>,
}

/// By whom the pools of a zone file are used.
#[derive(Debug)]
pub(super) struct Uses {
    /// By the form's index: a steered name that is not flattened comes to it.
    plainly: Vec<bool>,
    /// By the form's index: one that is flattened does.
    flat: Vec<bool>,
    /// By the form's index: the pool that answers in its place where names are flattened.
    flattened: Vec<PoolId>,
    /// The forms of the pools that stand twice, in the order of their second numbers.
    twins: Vec<usize>,
    first_pool: u32,
}

impl Uses {
    /// Of the pools of this file, of which the first has the number `first_pool`.
    pub fn of(form: &ZoneForm, origin: &Name, first_pool: u32) -> Uses {
        let index: HashMap<&str, usize> =
            form.pools.iter().map(|pool| pool.name.get_ref().as_str()).zip(0..).collect();
        let (mut plainly, mut flat) =
            (vec![false; form.pools.len()], vec![false; form.pools.len()]);
        for name in &form.names {
            let used = if flattens(name, origin) { &mut flat } else { &mut plainly };
            let rules = name.rules.iter().filter_map(|rule| rule.pool.as_ref());
            for pool in rules.filter_map(|pool| index.get(pool.get_ref().as_str())) {
                let mut next = Some(*pool);
                // Where it was before, it went on from there.
                while let Some(at) = next.filter(|at| !used[*at]) {
                    used[at] = true;
                    next = fallback(&form.pools[at], &index);
                }
            }
        }
        let mut uses = Uses {
            flattened: (first_pool..).map(PoolId).take(form.pools.len()).collect(),
            twins: Vec::new(),
            plainly,
            flat,
            first_pool,
        };
        let first_twin = first_pool + form.pools.len() as u32;
        for at in 0..form.pools.len() {
            if uses.flat[at] && uses.plainly[at] && comes_to_a_name(form, at, &index) {
                uses.flattened[at] = PoolId(first_twin + uses.twins.len() as u32);
                uses.twins.push(at);
            }
        }
        uses
    }

    /// True when this pool never answers with a CNAME: all names that come to it are flattened.
    pub fn is_only_flattened(&self, pool: PoolId) -> bool {
        let at = pool.0.checked_sub(self.first_pool).map(|at| at as usize);
        at.is_some_and(|at| self.flat.get(at) == Some(&true) && !self.plainly[at])
    }

    /// The pool that answers in the place of this one where names are flattened.
    pub fn flattened(&self, pool: PoolId) -> PoolId {
        let at = pool.0.checked_sub(self.first_pool);
        at.and_then(|at| self.flattened.get(at as usize)).copied().unwrap_or(pool)
    }
}

/// True when a name is answered with the addresses behind its pools' names.
pub(super) fn flattens(name: &NameForm, origin: &Name) -> bool {
    let is_apex = || Name::parse_relative(name.owner.get_ref(), origin).is_ok_and(|n| n == *origin);
    match &name.flatten {
        Some(flatten) => *flatten.get_ref(),
        None => is_apex(),
    }
}

fn fallback(pool: &PoolForm, index: &HashMap<&str, usize>) -> Option<usize> {
    match &pool.when_all_down {
        WhenAllDownForm::Pool(next) => index.get(next.get_ref().as_str()).copied(),
        WhenAllDownForm::AnswerAll | WhenAllDownForm::NoData => None,
    }
}

fn comes_to_a_name(form: &ZoneForm, pool: usize, index: &HashMap<&str, usize>) -> bool {
    let mut next = Some(pool);
    // Pools that stand in for each other in a circle are refused elsewhere.
    for _ in 0..=form.pools.len() {
        let Some(at) = next else { return false };
        let is_name = |target: &TargetForm| matches!(target, TargetForm::Cname(_));
        if form.pools[at].members.iter().filter_map(|it| it.target.as_ref()).any(is_name) {
            return true;
        }
        next = fallback(&form.pools[at], index);
    }
    false
}

impl<'f> Names<'f> {
    /// None yet; members are in these datacenters.
    pub fn new(datacenters: &'f [DatacenterForm]) -> Names<'f> {
        Names { datacenters, list: Vec::new(), by_key: HashMap::new() }
    }

    /// Makes of the pools of a zone, the last in `pools`, those that answer with addresses. `members`
    /// is the number of the next member.
    pub fn flatten_pools(
        &mut self,
        zone: &InZone<'_>,
        uses: &Uses,
        pools: &mut Vec<Pool>,
        members: &mut u32,
    ) {
        for (at, form) in zone.form.pools.iter().enumerate() {
            let id = (zone.first_pool as usize) + at;
            if uses.is_only_flattened(PoolId(id as u32)) {
                let flat = self.flatten_pool(zone, uses, form, &pools[id]);
                pools[id] = flat;
            }
        }
        for &at in &uses.twins {
            let plain = &pools[zone.first_pool as usize + at];
            let mut twin = self.flatten_pool(zone, uses, &zone.form.pools[at], plain);
            twin.is_twin = true;
            for member in &mut twin.members {
                member.id = MemberId(*members);
                *members += 1;
            }
            pools.push(twin);
        }
    }

    fn flatten_pool(
        &mut self,
        zone: &InZone<'_>,
        uses: &Uses,
        form: &PoolForm,
        plain: &Pool,
    ) -> Pool {
        let when_all_down = match plain.when_all_down {
            WhenAllDown::Pool(next) => WhenAllDown::Pool(uses.flattened(next)),
            other => other,
        };
        let members = plain.members.iter().map(|member| {
            let target = match &member.target {
                Target::Cname { name, probe } => {
                    let watch = match probe {
                        Some(_) => None,
                        None => watch(zone, form, member, name, self.datacenters),
                    };
                    warn_of_own(zone, form, name);
                    let resolved = self.number(zone, form, name, watch);
                    Target::Flattened { name: name.clone(), resolved, probe: *probe }
                }
                other => other.clone(),
            };
            Member { target, ..member.clone() }
        });
        Pool { members: members.collect(), when_all_down, ..plain.clone() }
    }

    fn number(
        &mut self,
        zone: &InZone<'_>,
        form: &PoolForm,
        name: &Name,
        watch: Option<AddressCheck>,
    ) -> ResolvedId {
        let wanted = FlattenedName { name: name.clone(), watch };
        let same_name = self.by_key.entry(name.to_key()).or_default();
        let same =
            same_name.iter().find(|id| self.list[id.0 as usize].is_watched_as(&wanted)).copied();
        if let Some(id) = same {
            return id;
        }
        if self.list.len() == MOST_NAMES {
            let message = format!("more than {MOST_NAMES} names are to be resolved");
            let error = zone.reader.error(form.name.span(), message);
            zone.reader.report(error.label("a member of this pool is the first too many"));
        }
        let id = ResolvedId(self.list.len() as u32);
        same_name.push(id);
        self.list.push(wanted);
        id
    }

    /// The names, by [`ResolvedId`].
    pub fn into_inner(self) -> Vec<FlattenedName> {
        self.list
    }
}

/// Warns of a name in the zone itself: what is steered there is not steered for the client then.
fn warn_of_own(zone: &InZone<'_>, form: &PoolForm, name: &Name) {
    if !name.is_at_or_below(&zone.origin) {
        return;
    }
    let is_it = |text: &str| Name::parse_relative(text, &zone.origin).is_ok_and(|it| it == *name);
    for member in &form.members {
        if let Some(TargetForm::Cname(text)) = &member.target
            && is_it(text.get_ref())
        {
            let message =
                format!("{name} is in this zone, and a resolver is asked for its addresses");
            let warning = zone.reader.warning(text.span(), message);
            let warning = warning.label("they are those that the resolver is given");
            zone.reader.report(warning.help("use a pool with `addresses` instead"));
        }
    }
}

/// How the addresses of a member are watched; none: they are not, or an error was reported.
fn watch(
    zone: &InZone<'_>,
    form: &PoolForm,
    member: &Member,
    name: &Name,
    datacenters: &[DatacenterForm],
) -> Option<AddressCheck> {
    let wanted = form.check.as_ref()?;
    let known = zone.form.checks.iter().find(|(known, _)| known.get_ref() == wanted.get_ref());
    let check = known?.1.as_ref()?;
    let Some(port) = check.port else {
        let is_name = |form: &&MemberForm| matches!(form.target, Some(TargetForm::Cname(_)));
        let written = form.members.iter().find(is_name);
        let span = written.map_or_else(|| form.name.span(), |member| member.span.clone());
        let message = format!("the port to probe at the addresses of {name} is not known");
        let error = zone.reader.error(span, message);
        let error = error
            .label(format!("a check of kind {} has no port of its own", check.check.kind.name()));
        let help = format!("add `port = …` to [checks.{}]", wanted.get_ref());
        zone.reader.report(error.help(help));
        return None;
    };
    let datacenter = datacenters.get(usize::from(member.datacenter.0));
    let datacenter = datacenter.map_or("", |form| form.name.get_ref().as_str());
    let origin = zone.origin.to_string();
    let title = format!("{}/{}/{datacenter}", origin.trim_end_matches('.'), form.name.get_ref());
    Some(AddressCheck { title, check: check.check.clone(), port })
}
