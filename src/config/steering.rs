//! From the forms of the zone files to datacenters, pools, policies and probes, by their numbers.

mod capacity;
mod flattening;
mod in_zone;
mod targets;

use std::collections::HashMap;
use std::net::IpAddr;

use capacity::Claims;
use flattening::{Names, Uses, flattens};
use in_zone::InZone;
use targets::Probes;
use toml::Spanned;

use super::nearest::among;
use super::reader::Reader;
use super::server::DatacenterForm;
use super::values::TtlBounds;
use super::zone_file::{
    DEFAULT_POOL_TTL, MemberForm, NameForm, PoolForm, TargetForm, WhenAllDownForm, ZoneForm,
};
use crate::control::flatten::FlattenedName;
use crate::decide::{
    Datacenter, DatacenterId, DefaultAnswer, Member, MemberId, Policy, PolicyId, Pool, PoolId,
    Rule, Steer, Steering, Target, WhenAllDown,
};
use crate::dns::Name;
use crate::health::Probe;
use crate::zone::Steered;

/// A zone file that was read, and who collects its problems.
#[derive(Debug)]
pub(super) struct ZoneFile {
    pub reader: Reader,
    pub form: ZoneForm,
}

/// What the zone files say of steering.
#[derive(Debug)]
pub(super) struct Compiled {
    pub steering: Steering,
    pub probes: Vec<Probe>,
    /// The names whose addresses are answered, by `ResolvedId`.
    pub flattened: Vec<FlattenedName>,
    /// The steered names of each zone file, with the index of each one's form.
    pub steered: Vec<Vec<(usize, Steered)>>,
    /// What first needs the location of clients: the file, and where in it.
    pub needs_location: Option<(usize, std::ops::Range<usize>)>,
}

/// More have no numbers.
pub(super) const MOST_DATACENTERS: usize = u16::MAX as usize;
/// Pools that steer by capacity should not have longer TTLs, in seconds.
const MOST_CAPACITY_TTL: u32 = 600;

/// Compiles them; problems go to the files' readers. With `datacenters_are_known` false, one that is
/// not among `datacenters` is no error, as their file could not be read whole. `has_resolvers`: names
/// can be resolved.
pub(super) fn compile<'f>(
    datacenters: &'f [DatacenterForm],
    datacenters_are_known: bool,
    has_resolvers: bool,
    zones: &'f [ZoneFile],
) -> Compiled {
    // That there are too many of them is said where they stand.
    let datacenters_are_known = datacenters_are_known && datacenters.len() <= MOST_DATACENTERS;
    let ids = datacenters.iter().zip(0..=u16::MAX).map(|(form, id)| {
        let located = form.location.coordinates.is_some();
        (form.name.get_ref().as_str(), (DatacenterId(id), located))
    });
    let mut compilation = Compilation {
        forms: datacenters,
        datacenters: ids.collect(),
        datacenters_are_known,
        pools: Vec::new(),
        members: 0,
        policies: Vec::new(),
        policy_ids: HashMap::new(),
        probes: Probes::default(),
        needs_location: None,
        claims: Claims::default(),
        names: Names::new(datacenters),
        has_resolvers,
    };
    let mut steered = Vec::with_capacity(zones.len());
    for (index, file) in zones.iter().enumerate() {
        steered.push(compilation.zone(index, file));
    }
    let steering = Steering {
        datacenters: datacenters
            .iter()
            .map(|form| Datacenter {
                name: form.name.get_ref().clone(),
                location: form.location.clone(),
                bias: form.bias,
                cost_ms: form.cost_ms,
            })
            .collect(),
        pools: compilation.pools.into(),
        policies: compilation.policies.into(),
    };
    // Where there are no datacenters, members stand for some that are not known, and nothing is
    // served.
    let servable = zones.iter().zip(&mut steered).filter(|_| !steering.datacenters.is_empty());
    for (file, names) in servable {
        for (form, steered) in names {
            let policy = &steering.policies[steered.policy.0 as usize];
            steered.default = DefaultAnswer::of(policy, &steering, steered.may_be_cname);
            if steered.default.is_none() && file.form.transfer.is_some() {
                warn_of_no_default(file, &file.form.names[*form]);
            }
        }
    }
    let needs_location = compilation.needs_location;
    let (probes, flattened) = (compilation.probes.into_inner(), compilation.names.into_inner());
    Compiled { steering, probes, flattened, steered, needs_location }
}

struct Compilation<'f> {
    forms: &'f [DatacenterForm],
    datacenters: HashMap<&'f str, (DatacenterId, bool)>,
    datacenters_are_known: bool,
    pools: Vec<Pool>,
    members: u32,
    policies: Vec<Policy>,
    policy_ids: HashMap<Policy, PolicyId>,
    probes: Probes,
    needs_location: Option<(usize, std::ops::Range<usize>)>,
    claims: Claims,
    names: Names<'f>,
    has_resolvers: bool,
}

impl<'f> Compilation<'f> {
    fn zone(&mut self, index: usize, file: &'f ZoneFile) -> Vec<(usize, Steered)> {
        let form = &file.form;
        let mut zone = InZone::new(index, file, self.pools.len() as u32);
        let uses = Uses::of(form, &zone.origin, zone.first_pool);
        for pool in &form.pools {
            let pool = self.pool(&mut zone, pool, &uses);
            self.pools.push(pool);
        }
        self.refuse_circles(&zone);
        self.names.flatten_pools(&zone, &uses, &mut self.pools, &mut self.members);
        let mut steered = Vec::new();
        for (at, name) in form.names.iter().enumerate() {
            steered.extend(self.name(&mut zone, name, &uses).map(|steered| (at, steered)));
        }
        zone.warn_of_unused();
        steered
    }

    fn pool(&mut self, zone: &mut InZone<'f>, form: &PoolForm, uses: &Uses) -> Pool {
        let reader = zone.reader;
        let check = form.check.as_ref().and_then(|name| zone.check(name));
        let by_distance = matches!(form.steer, Steer::Capacity | Steer::Nearest);
        if by_distance {
            self.needs_location.get_or_insert((zone.index, form.name.span()));
        }
        let mut members: Vec<Member> = Vec::new();
        for member in &form.members {
            let (datacenter, located) = self.datacenter(zone, member).unwrap_or_default();
            if let (Some(id), Some(name)) = (datacenter, &member.datacenter) {
                if members.iter().any(|other| other.datacenter == id) {
                    let message = format!("two members are in datacenter `{}`", name.get_ref());
                    let error = reader.error(name.span(), message);
                    let label = "give all its addresses in one member, or use two pools";
                    reader.report(error.label(label));
                    continue;
                }
                if by_distance && !located {
                    let message = format!("datacenter `{}` has no coordinates", name.get_ref());
                    let error = reader.error(name.span(), message);
                    let error = error.label(format!(
                        "`steer = \"{}\"` needs to know where it is",
                        if form.steer == Steer::Capacity { "capacity" } else { "nearest" }
                    ));
                    let name = name.get_ref();
                    reader.report(error.help(format!(
                        "add `location = {{ latitude = …, longitude = … }}` to [datacenters.{name}]"
                    )));
                }
            }
            if let Some(target) = self.probes.target(zone, form, check, member) {
                let id = MemberId(self.members);
                let datacenter = datacenter.unwrap_or(DatacenterId(0));
                members.push(Member { id, datacenter, weight: member.weight, target });
                self.members += 1;
            }
        }
        if self.datacenters_are_known && !reader.has_errors() {
            capacity::warn(reader, form, &members, self.forms);
            self.claims.add(reader, form, &members, self.forms);
        }
        let id = PoolId(self.pools.len() as u32);
        warn_of_members(reader, form, check.is_some() && !uses.is_only_flattened(id));
        warn_of_families(reader, form);
        if let Some(min) = &form.min_healthy
            && usize::from(*min.get_ref()) > form.members.len()
            && !form.members.is_empty()
        {
            let message = "`min_healthy` is more than there are members";
            let label = format!("expected at most {}", form.members.len());
            reader.report(reader.error(min.span(), message).label(label));
        }
        let when_all_down = match &form.when_all_down {
            WhenAllDownForm::AnswerAll => WhenAllDown::AnswerAll,
            WhenAllDownForm::NoData => WhenAllDown::NoData,
            WhenAllDownForm::Pool(name) => {
                zone.pool(name).map_or(WhenAllDown::NoData, WhenAllDown::Pool)
            }
        };
        let default = TtlBounds { min: DEFAULT_POOL_TTL, max: DEFAULT_POOL_TTL };
        let mut ttl = form.ttl.as_ref().map_or(default, |ttl| *ttl.get_ref());
        if form.steer != Steer::Capacity {
            ttl.min = ttl.max;
        }
        Pool {
            zone: zone.origin.clone(),
            name: form.name.get_ref().clone(),
            is_twin: false,
            steer: form.steer,
            ttl: ttl.max,
            ttl_min: ttl.min,
            share: form.capacity.as_ref().map_or(1.0, |share| *share.get_ref()),
            answers: form.answers,
            min_healthy: form.min_healthy.as_ref().map_or(1, |min| *min.get_ref()),
            when_all_down,
            members: members.into(),
        }
    }

    /// The datacenter of a member, and whether its coordinates are known.
    fn datacenter(
        &self,
        zone: &InZone<'_>,
        member: &MemberForm,
    ) -> Option<(Option<DatacenterId>, bool)> {
        let name = member.datacenter.as_ref()?;
        if let Some(&(id, located)) = self.datacenters.get(name.get_ref().as_str()) {
            return Some((Some(id), located));
        }
        if self.datacenters_are_known {
            let mut known: Vec<&str> = self.datacenters.keys().copied().collect();
            known.sort_unstable();
            let help = match known[..] {
                [] => "portolan.toml has no [datacenters.NAME]".into(),
                _ => format!("known datacenters: {}", among(&known)),
            };
            zone.unknown("datacenter", name, &known, help);
        }
        None
    }

    /// Reports pools that stand in for each other in a circle, each circle once.
    fn refuse_circles(&self, zone: &InZone<'_>) {
        let next = |pool: u32| match self.pools[pool as usize].when_all_down {
            WhenAllDown::Pool(PoolId(id)) if id < self.pools.len() as u32 => Some(id),
            _ => None,
        };
        for (start, form) in (zone.first_pool..).zip(&zone.form.pools) {
            let mut circle = vec![form.name.get_ref().as_str()];
            let mut at = next(start);
            while let Some(pool) = at
                && pool > start
                && circle.len() <= zone.form.pools.len()
            {
                circle.push(&self.pools[pool as usize].name);
                at = next(pool);
            }
            if at == Some(start)
                && let WhenAllDownForm::Pool(name) = &form.when_all_down
            {
                circle.push(form.name.get_ref());
                let error =
                    zone.reader.error(name.span(), "pools stand in for each other in a circle");
                zone.reader.report(error.label(circle.join(" → ")));
            }
        }
    }

    fn name(&mut self, zone: &mut InZone<'f>, form: &'f NameForm, uses: &Uses) -> Option<Steered> {
        let reader = zone.reader;
        let owner = zone.owner(&form.owner);
        let mut rules: Vec<Rule> = Vec::new();
        for rule in &form.rules {
            let pool = rule.pool.as_ref().and_then(|name| zone.pool(name));
            if rules.last().is_some_and(|previous| previous.matches.is_empty()) {
                let warning = reader.warning(rule.span.clone(), "the rule is never reached");
                reader.report(warning.label("the rule before it matches everybody"));
                break;
            }
            let matches = rule.matches.clone();
            if matches.network.is_empty() && matches.resolver.is_empty() && !matches.is_empty() {
                self.needs_location.get_or_insert((zone.index, rule.span.clone()));
            }
            // A pool that is not known was reported; the rule still counts as one.
            rules.push(Rule { matches, pool: pool.unwrap_or(PoolId(u32::MAX)) });
        }
        if let (Some(last), Some(form)) = (rules.last(), form.rules.last())
            && !last.matches.is_empty()
            && !rules.iter().any(|rule| rule.matches.is_empty())
        {
            let message = "clients that match no rule get no address";
            let warning = reader.warning(form.span.clone(), message);
            let warning = warning.label("the last rule does not match everybody");
            reader.report(warning.help("add a last rule without `match`: `{ pool = \"…\" }`"));
        }
        let owner = owner?;
        if flattens(form, &zone.origin) {
            for rule in &mut rules {
                rule.pool = uses.flattened(rule.pool);
            }
        }
        let Reached { ttl, cnames, flattened } = self.reach(&rules);
        self.check_flattening(zone, form, &owner, !flattened.is_empty());
        if cnames.contains(&owner) || flattened.contains(&owner) {
            let error =
                reader.error(form.owner.span(), "a pool of this name answers with this very name");
            reader.report(error.label(format!("a member has `cname = \"{owner}\"`")));
        }
        let may_be_cname = !cnames.is_empty();
        let policy = self.policy(Policy { rules: rules.into() });
        // The default answer needs all pools and datacenters.
        Some(Steered { owner, policy, ttl, may_be_cname, default: None })
    }

    fn check_flattening(&self, zone: &InZone<'_>, form: &NameForm, owner: &Name, is_needed: bool) {
        let reader = zone.reader;
        if is_needed && !self.has_resolvers {
            let message = format!("there is no resolver for the names that {owner} leads to");
            let error = reader.error(form.owner.span(), message);
            let error = error.label(match *owner == zone.origin {
                true => {
                    "no CNAME can stand at an origin: the addresses behind `cname` are answered"
                }
                false => "with `flatten`, the addresses behind `cname` are answered",
            });
            let help = "add `resolvers = [\"127.0.0.53:53\"]` to [dns] in portolan.toml";
            reader.report(error.help(help));
        }
        let asked_for = form.flatten.as_ref().filter(|flatten| *flatten.get_ref());
        if let (Some(flatten), false, false) = (asked_for, is_needed, reader.has_errors()) {
            let warning = reader.warning(flatten.span(), "`flatten` has no effect");
            reader.report(warning.label("no member that this name leads to is a `cname`"));
        }
    }

    fn policy(&mut self, policy: Policy) -> PolicyId {
        if let Some(&id) = self.policy_ids.get(&policy) {
            return id;
        }
        let id = PolicyId(self.policies.len() as u32);
        self.policies.push(policy.clone());
        self.policy_ids.insert(policy, id);
        id
    }

    fn reach(&self, rules: &[Rule]) -> Reached {
        let mut to_see: Vec<PoolId> = rules.iter().map(|rule| rule.pool).collect();
        let mut seen: Vec<PoolId> = Vec::new();
        let mut reached = Reached { ttl: u32::MAX, cnames: Vec::new(), flattened: Vec::new() };
        while let Some(id) = to_see.pop() {
            let Some(pool) = self.pools.get(id.0 as usize).filter(|_| !seen.contains(&id)) else {
                continue;
            };
            seen.push(id);
            reached.ttl = reached.ttl.min(pool.ttl_min);
            for member in &pool.members {
                match &member.target {
                    Target::Cname { name, .. } => reached.cnames.push(name.clone()),
                    Target::Flattened { name, .. } => reached.flattened.push(name.clone()),
                    Target::Addresses { .. } => {}
                }
            }
            if let WhenAllDown::Pool(next) = pool.when_all_down {
                to_see.push(next);
            }
        }
        reached
    }
}

/// What rules lead to.
struct Reached {
    /// The least TTL of the pools, in seconds.
    ttl: u32,
    /// Where their CNAMEs point.
    cnames: Vec<Name>,
    /// The names whose addresses they answer.
    flattened: Vec<Name>,
}

/// Warns of a name for which the servers that take the zone get nothing.
fn warn_of_no_default(file: &ZoneFile, name: &NameForm) {
    if file.reader.has_errors() {
        return;
    }
    let message = "other servers get no records for a steered name";
    let warning = file.reader.warning(name.owner.span(), message);
    let warning = warning.label("there is no default answer for those who take the zone");
    file.reader.report(warning.help(
        "the default answer comes from the rule without `match`, and from members that have \
         addresses and a weight",
    ));
}

fn warn_of_members(reader: &Reader, pool: &PoolForm, is_checked: bool) {
    if !pool.members.is_empty() && pool.members.iter().all(|member| member.weight == 0) {
        let warning = reader.warning(pool.members_span.clone(), "every member has weight 0");
        reader.report(warning.label("no client will be sent to any of them"));
    }
    for member in &pool.members {
        let is_cname = matches!(member.target, Some(TargetForm::Cname(_)));
        if is_checked && is_cname && member.probe.is_empty() {
            let warning = reader.warning(member.span.clone(), "a `cname` member is not checked");
            let warning = warning.label("it always counts as up");
            reader.report(warning.help("add `probe = \"10.1.0.2\"`: the address to check"));
        }
        if let (None, Some(probe)) = (&pool.check, member.probe.first()) {
            let warning =
                reader.warning(probe.span(), "`probe` is given, but the pool has no check");
            reader.report(warning.label("nothing is probed"));
        }
    }
}

/// Warns of members whose clients are told that there are no addresses of a family, though others
/// get some. Resolvers may take such an answer for everybody's (RFC 7871 §7.4).
fn warn_of_families(reader: &Reader, pool: &PoolForm) {
    // With `failover`, everybody is sent to the same member. Addresses that could not be read may be
    // of any family.
    if pool.steer == Steer::Failover || reader.has_errors() {
        return;
    }
    for (family, rtype) in [("IPv4", "A"), ("IPv6", "AAAA")] {
        let is_of = |address: &Spanned<IpAddr>| address.get_ref().is_ipv4() == (family == "IPv4");
        let has = |member: &MemberForm| match &member.target {
            Some(TargetForm::Addresses(all)) => Some(all.iter().any(is_of)),
            _ => None,
        };
        let with = pool.members.iter().filter(|member| has(member) == Some(true)).count();
        let mut without = pool.members.iter().filter(|member| has(member) == Some(false));
        let Some(first) = without.next().filter(|_| with > 0) else { continue };
        let more = match without.count() {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let message = format!("a member has no {family} address, but others of its pool do");
        let warning = reader.warning(first.span.clone(), message);
        let label = format!("its clients get no {rtype} record{more}");
        let pool = pool.name.get_ref();
        reader.report(warning.label(label).help(format!(
            "give every member of pool `{pool}` an {family} address, or none of them: a resolver \
             may keep \"no {rtype} record\" for all its clients"
        )));
    }
}
