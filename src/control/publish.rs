//! From facts to snapshots: charts are made anew only for the policies that a change touches, and
//! old snapshots are dropped here, never on the hot path.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use super::Settings;
use super::allocate::Layout;
use super::layout::{layout, most_groups};
use crate::decide::{
    Chart, Facts, Found, Groups, HealthTable, PoolId, Resolved, ResolvedTable, ShareTable, Sheets,
    StandingTable, Steer, Survey, Target, survey_all,
};
use crate::snapshot::{EPOCHS, Published, Snapshot};
use crate::transfer::Journals;
use crate::zone::Zones;

/// What changes while the files stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// The probes' verdicts.
    pub health: HealthTable,
    /// The operator's word.
    pub standing: StandingTable,
    /// The addresses behind names.
    pub resolved: ResolvedTable,
    /// The datacenters' room, and what each group is given.
    pub shares: ShareTable,
}

/// The ground that charts are drawn on: what depends on the files alone.
#[derive(Debug)]
pub struct Ground {
    /// What the files say.
    pub settings: Arc<Settings>,
    /// The client groups.
    pub groups: Arc<Groups>,
    /// What there is to allocate.
    pub layout: Arc<Layout>,
    surveys: Arc<[Survey]>,
    /// By policy: the pools it can come to.
    reach: Vec<Vec<PoolId>>,
}

/// The writer of snapshots.
#[derive(Debug)]
pub struct Publisher {
    published: Published,
    ground: Ground,
    tables: Tables,
    /// Replaced snapshots that a worker may still hold.
    retired: Vec<Arc<Snapshot>>,
}

impl Ground {
    /// Surveys the world for every policy: the expensive part of a load. `promoted`: the prefixes
    /// that are client groups of their own. A reload that moves neither the world nor the pools
    /// keeps the surveys of `previous`.
    pub fn new(settings: Arc<Settings>, promoted: &[IpNet], previous: Option<&Ground>) -> Ground {
        let most = most_groups(&settings.steering);
        let previous = previous.filter(|old| Arc::ptr_eq(&old.settings.world, &settings.world));
        let groups = match previous.filter(|old| {
            most_groups(&old.settings.steering) == most && old.promoted().iter().eq(promoted.iter())
        }) {
            Some(old) => Arc::clone(&old.groups),
            None => Arc::new(Groups::form(&settings.world, most, promoted)),
        };
        let previous = previous.filter(|old| old.settings.steering == settings.steering);
        let previous = previous.filter(|old| Arc::ptr_eq(&old.groups, &groups));
        let surveys = match previous {
            Some(old) => Arc::clone(&old.surveys),
            None => survey_all(&settings.world, &groups, &settings.steering).into(),
        };
        let kept = previous.filter(|old| {
            old.settings.capacity == settings.capacity
                && old.settings.latencies == settings.latencies
        });
        let layout = match kept {
            Some(old) => Arc::clone(&old.layout),
            None => Arc::new(layout(&settings, &groups)),
        };
        let policies = settings.steering.policies.iter();
        let reach = policies.map(|policy| policy.reach(&settings.steering)).collect();
        Ground { settings, groups, layout, surveys, reach }
    }

    /// A second handle on the same ground, for a survey that is made while this one serves.
    pub fn share(&self) -> Ground {
        Ground {
            settings: Arc::clone(&self.settings),
            groups: Arc::clone(&self.groups),
            layout: Arc::clone(&self.layout),
            surveys: Arc::clone(&self.surveys),
            reach: self.reach.clone(),
        }
    }

    /// The prefixes that are client groups of their own.
    pub fn promoted(&self) -> Vec<IpNet> {
        self.groups.promoted().map(|(_, prefix)| prefix).collect()
    }

    fn facts<'a>(&'a self, tables: &'a Tables) -> Facts<'a> {
        Facts {
            world: &self.settings.world,
            groups: &self.groups,
            steering: &self.settings.steering,
            health: &tables.health,
            standing: &tables.standing,
            resolved: &tables.resolved,
            shares: &tables.shares,
        }
    }

    fn chart(&self, index: usize, tables: &Tables, sheets: &mut Sheets) -> Arc<Chart> {
        let policy = &self.settings.steering.policies[index];
        Arc::new(Chart::new(policy, &self.surveys[index], &self.facts(tables), sheets))
    }

    fn charts(&self, tables: &Tables) -> Box<[Arc<Chart>]> {
        let mut sheets = Sheets::default();
        (0..self.surveys.len()).map(|index| self.chart(index, tables, &mut sheets)).collect()
    }
}

impl Publisher {
    /// Publishes the first snapshot.
    pub fn new(ground: Ground, tables: Tables) -> Publisher {
        let first = snapshot((1, 0), &ground, &tables, ground.charts(&tables), Arc::default());
        let published = Arc::new(ArcSwap::from_pointee(first));
        Publisher { published, ground, tables, retired: Vec::new() }
    }

    /// Where the current snapshot is found.
    pub fn published(&self) -> Published {
        Arc::clone(&self.published)
    }

    /// What the files said when they were last good.
    pub fn ground(&self) -> &Ground {
        &self.ground
    }

    /// Publishes what new files say.
    pub fn replace(&mut self, ground: Ground, tables: Tables) {
        let charts = ground.charts(&tables);
        let current = self.published.load_full();
        let numbers = (current.generation + 1, (current.epoch + 1) % EPOCHS);
        let journals = match Arc::ptr_eq(&current.zones, &ground.settings.zones) {
            true => Arc::clone(&current.journals),
            false => Arc::new(current.journals.after(&current.zones, &ground.settings.zones)),
        };
        drop(current);
        let next = snapshot(numbers, &ground, &tables, charts, journals);
        self.ground = ground;
        self.tables = tables;
        self.publish(next);
    }

    /// Publishes other versions of the same zones; whatever else the files say stays.
    pub fn replace_zones(&mut self, zones: Arc<Zones>) {
        let settings =
            Settings { zones: Arc::clone(&zones), ..Settings::clone(&self.ground.settings) };
        self.ground.settings = Arc::new(settings);
        let current = self.published.load_full();
        let journals = Arc::new(current.journals.after(&current.zones, &zones));
        let generation = current.generation + 1;
        let next = Snapshot { generation, zones, journals, ..Snapshot::clone(&current) };
        drop(current);
        self.publish(next);
    }

    /// Publishes the tables, if they changed; says whether they did. Only charts of policies that
    /// can come to a changed member are made anew.
    pub fn update(&mut self, tables: Tables) -> bool {
        if tables == self.tables {
            return false;
        }
        let current = self.published.load_full();
        let (old, new) = (self.ground.facts(&self.tables), self.ground.facts(&tables));
        let mut sheets = Sheets::of(current.charts.iter().map(|chart| &**chart));
        let charts = self.ground.reach.iter().zip(&current.charts).enumerate();
        let charts = charts
            .map(|(index, (pools, chart))| match pools.iter().any(|p| differs(*p, &old, &new)) {
                true => self.ground.chart(index, &tables, &mut sheets),
                false => Arc::clone(chart),
            })
            .collect();
        let numbers = (current.generation + 1, current.epoch);
        let journals = Arc::clone(&current.journals);
        let next = snapshot(numbers, &self.ground, &tables, charts, journals);
        // What still refers to the old charts would keep them from being dropped.
        drop((current, sheets));
        self.tables = tables;
        self.publish(next);
        true
    }

    /// Drops the replaced snapshots that no worker holds any more.
    pub fn sweep(&mut self) {
        self.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
    }

    /// Of the snapshot being served.
    pub fn generation(&self) -> u64 {
        self.published.load().generation
    }

    /// Of the snapshot being served.
    pub fn epoch(&self) -> u8 {
        self.published.load().epoch
    }

    fn publish(&mut self, next: Snapshot) {
        self.retired.push(self.published.swap(Arc::new(next)));
        self.sweep();
    }
}

fn snapshot(
    (generation, epoch): (u64, u8),
    ground: &Ground,
    tables: &Tables,
    charts: Box<[Arc<Chart>]>,
    journals: Arc<Journals>,
) -> Snapshot {
    Snapshot {
        generation,
        epoch,
        zones: Arc::clone(&ground.settings.zones),
        identity: Arc::clone(&ground.settings.identity),
        announcers: Arc::clone(&ground.settings.announcers),
        keys: Arc::clone(&ground.settings.keys),
        transfers: Arc::clone(&ground.settings.transfers),
        journals,
        steering: Arc::clone(&ground.settings.steering),
        world: Arc::clone(&ground.settings.world),
        groups: Arc::clone(&ground.groups),
        health: Arc::new(tables.health.clone()),
        standing: Arc::new(tables.standing.clone()),
        resolved: Arc::new(tables.resolved.clone()),
        shares: Arc::new(tables.shares.clone()),
        charts,
    }
}

/// True when what a name was resolved to makes another answer of at most that TTL.
fn is_answered_otherwise(old: Option<&Resolved>, new: Option<&Resolved>, ttl: u32) -> bool {
    fn same<A: PartialEq>(old: &Found<A>, new: &Found<A>, ttl: u32) -> bool {
        old.addresses == new.addresses
            && old.validity.is_stale == new.validity.is_stale
            && old.validity.ttl.min(ttl) == new.validity.ttl.min(ttl)
    }
    match (old, new) {
        (Some(old), Some(new)) => !(same(&old.v4, &new.v4, ttl) && same(&old.v6, &new.v6, ttl)),
        (old, new) => old.is_some() != new.is_some(),
    }
}

/// True when a plan that comes to this pool may be another one.
fn differs(id: PoolId, old: &Facts, new: &Facts) -> bool {
    let pool = new.pool(id);
    if old.shares.allotment(id) != new.shares.allotment(id) {
        return true;
    }
    pool.members.iter().any(|member| {
        let probed = match &member.target {
            Target::Cname { probe, .. } => old.health.is_up(*probe) != new.health.is_up(*probe),
            Target::Addresses { v4, v6 } => {
                let probes = v4.iter().map(|(_, p)| *p).chain(v6.iter().map(|(_, p)| *p));
                probes.into_iter().any(|p| old.health.is_up(p) != new.health.is_up(p))
            }
            Target::Flattened { resolved, probe, .. } => {
                let (before, after) = (old.resolved.of(*resolved), new.resolved.of(*resolved));
                old.health.is_up(*probe) != new.health.is_up(*probe)
                    || is_answered_otherwise(before, after, pool.ttl)
            }
        };
        let room = |facts: &Facts| facts.shares.room(member.datacenter);
        probed
            || old.standing.of(member.id) != new.standing.of(member.id)
            // Where groups are given out, the room of a datacenter is in what they are given.
            || (pool.steer == Steer::Capacity
                && new.shares.allotment(id).is_none()
                && room(old) != room(new))
    })
}
