//! What must be so of a plan before it is served.

use super::Allocator;
use super::planner::Planned;

/// Loads this near to each other, as a share, are the same.
const SAME_LOAD: f64 = 1e-3;

impl Allocator {
    /// What must be so of every plan, however it came about.
    pub(super) fn check(&self, planned: &Planned, allowed: &[Vec<bool>]) -> Result<(), String> {
        for row in 0..self.ground.rows() {
            let pool = self.ground.pool_of(row);
            let parts = planned.shares.of(row);
            let name = || {
                let group = &self.ground.layout.groups[self.ground.group_of(row)].name;
                format!("group {group} of pool {}", self.ground.layout.pools[pool].name)
            };
            if self.ground.layout.pools[pool].members.is_empty() {
                continue;
            }
            let sum: f32 = parts.iter().map(|part| part.share).sum();
            if (sum - 1.0).abs() > 1e-3 {
                return Err(format!("the shares of {} sum to {sum}, not to 1", name()));
            }
            if parts.iter().any(|part| !allowed[pool][usize::from(part.member)]) {
                return Err(format!("{} has a share where it must not go", name()));
            }
        }
        Ok(())
    }

    /// Nobody is given more than it can take, and more than it has now, while one other has the
    /// room for all of that. `solved`: for each row, how much goes to which member, before whole
    /// prefixes are given out.
    pub(super) fn check_loads(
        &self,
        solved: &[Vec<(u16, f64)>],
        fixed: &[f64],
        capacities: &[Option<f64>],
        allowed: &[Vec<bool>],
    ) -> Result<(), String> {
        let datacenters = self.ground.datacenters();
        let at = |pool: usize, member: usize| {
            usize::from(self.ground.layout.pools[pool].members[member].datacenter.0)
        };
        let mut loads = fixed[..datacenters].to_vec();
        for (row, amounts) in solved.iter().enumerate() {
            let pool = self.ground.pool_of(row);
            amounts.iter().for_each(|&(member, amount)| loads[at(pool, member.into())] += amount);
        }
        for full in 0..datacenters {
            let Some(capacity) = capacities[full] else { continue };
            let before = self.latest.as_ref().map_or(0.0, |latest| latest.loads[full]);
            let most = (capacity * (1.0 + SAME_LOAD)).max(before).max(fixed[full]);
            let excess = loads[full] - most;
            if excess <= 0.0 {
                continue;
            }
            // By the datacenter: how much of what is here might go there.
            let mut may_go = vec![0.0; datacenters];
            for (row, amounts) in solved.iter().enumerate() {
                let pool = self.ground.pool_of(row);
                let here = amounts.iter().filter(|(member, _)| at(pool, (*member).into()) == full);
                let amount: f64 = here.map(|(_, amount)| amount).sum();
                for member in (0..allowed[pool].len()).filter(|member| allowed[pool][*member]) {
                    // A pool's share of a datacenter may be less than the datacenter's room.
                    let is_whole = usize::from(self.ground.sites[pool][member]) < datacenters;
                    if is_whole {
                        may_go[at(pool, member)] += amount;
                    }
                }
            }
            let has_room = |index: &usize| {
                let most = capacities[*index].unwrap_or(f64::INFINITY);
                *index != full && may_go[*index] >= excess && loads[*index] + excess < most
            };
            if let Some(free) = (0..datacenters).find(has_room) {
                let name = |index: usize| &*self.ground.layout.datacenters[index].name;
                return Err(format!(
                    "{} would get {excess:.1} more than it can take, which {} has room for",
                    name(full),
                    name(free)
                ));
            }
        }
        Ok(())
    }
}
