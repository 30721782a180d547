//! What is to be assigned to where, and what it costs.

use thiserror::Error;

/// The most a unit of demand may cost at a site, in milliseconds; above, the site is forbidden.
pub const MAX_COST_MS: f32 = 1e9;

/// A transportation problem with convex costs of load:
///
/// minimise Σ x(r,s)·cost(r,s) + stick·Σ max(0, x(r,s) − previous(r,s)) + Σ F(s, load(s)),
/// where Σ x(r,s) over the sites is the row's demand, x ≥ 0, and the load of a site is what the
/// rows send to it and what its entries carry.
///
/// The unit of demand and load is the caller's, the same everywhere.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    /// Datacenters, and the entries of pools that may use only a part of one.
    pub sites: &'a [Site],
    /// What is to be assigned.
    pub rows: &'a [Row<'a>],
    /// Rows × sites, a row's costs one after another: milliseconds a unit. What is not finite, or
    /// beyond [`MAX_COST_MS`], forbids the site to the row.
    pub costs: &'a [f32],
    /// What a unit costs more where the row did not have it before, in milliseconds.
    pub stick_ms: f64,
}

/// A unit of demand: the clients of a group that ask for a pool.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Unique among the rows, and the same from one problem to the next: the order of equals.
    pub key: u64,
    /// How much, ≥ 0.
    pub demand: f64,
    /// What each site has of it now; usually the current shares times `demand`, so that growth
    /// is not taken for a move (then their sum may be off by rounding). 0 is as good as absent.
    pub previous: &'a [(u16, f64)],
}

/// A datacenter, or an entry to one that has bounds of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Unique among the sites, and the same from one problem to the next: the order of equals,
    /// and the name under which its price is remembered.
    pub key: u64,
    /// What a unit costs as the load grows: rising bounds and slopes, the last without bound.
    pub tiers: Vec<Tier>,
    /// The datacenter that this is an entry to: the load of the entry is part of its load. A
    /// parent has no parent.
    pub parent: Option<u16>,
}

/// A range of load within which every unit costs the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tier {
    /// The load at which the next tier begins; the last one's is [`f64::INFINITY`].
    pub up_to: f64,
    /// What a unit costs within, in milliseconds.
    pub slope_ms: f64,
}

/// Why a problem cannot be solved.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ProblemError {
    /// The matrix of costs is not rows × sites.
    #[error("{costs} costs are given for {rows} rows × {sites} sites")]
    Shape {
        /// How many rows there are.
        rows: usize,
        /// How many sites there are.
        sites: usize,
        /// How many costs there are.
        costs: usize,
    },
    /// More sites than can be numbered.
    #[error("{0} sites are too many: at most 65535 can be told apart")]
    TooManySites(usize),
    /// More rows than can be numbered.
    #[error("{0} rows are too many")]
    TooManyRows(usize),
    /// The stickiness is not a cost.
    #[error("a move cannot cost {0} ms: give a finite number, 0 or more")]
    Stick(f64),
    /// A demand that is negative, infinite or not a number.
    #[error("row {row} cannot demand {demand}: give a finite number, 0 or more")]
    Demand {
        /// Which row.
        row: usize,
        /// What it is said to demand.
        demand: f64,
    },
    /// All rows together demand more than a number can hold.
    #[error("the rows demand too much to be added up")]
    TooMuch,
    /// What a row had before names no site, or no amount.
    #[error("row {row} cannot have had {amount} at site {site}")]
    Previous {
        /// Which row.
        row: usize,
        /// Which site.
        site: u16,
        /// How much.
        amount: f64,
    },
    /// The tiers of a site do not rise, or do not go on for ever.
    #[error("site {0}: its tiers must rise, in bound and slope, and the last have no bound")]
    Tiers(usize),
    /// The parent of a site does not exist, or is an entry itself.
    #[error("site {0}: its parent is not a datacenter")]
    Parent(usize),
}

impl Problem<'_> {
    /// Whether it can be solved.
    pub fn check(&self) -> Result<(), ProblemError> {
        let (rows, sites, costs) = (self.rows.len(), self.sites.len(), self.costs.len());
        if rows.checked_mul(sites) != Some(costs) {
            return Err(ProblemError::Shape { rows, sites, costs });
        }
        if sites >= usize::from(u16::MAX) {
            return Err(ProblemError::TooManySites(sites));
        }
        if u32::try_from(rows).is_err() {
            return Err(ProblemError::TooManyRows(rows));
        }
        if !is_amount(self.stick_ms) {
            return Err(ProblemError::Stick(self.stick_ms));
        }
        for (index, site) in self.sites.iter().enumerate() {
            site.check(index, self.sites)?;
        }
        let mut total = 0.0;
        for (index, row) in self.rows.iter().enumerate() {
            if !is_amount(row.demand) {
                return Err(ProblemError::Demand { row: index, demand: row.demand });
            }
            for &(site, amount) in row.previous {
                if usize::from(site) >= sites || !is_amount(amount) {
                    return Err(ProblemError::Previous { row: index, site, amount });
                }
            }
            total += row.demand;
        }
        if total > MAX_TOTAL { Err(ProblemError::TooMuch) } else { Ok(()) }
    }

    /// What a row's units cost at each site.
    pub fn costs_of(&self, row: usize) -> &[f32] {
        let sites = self.sites.len();
        &self.costs[row * sites..][..sites]
    }
}

impl Site {
    fn check(&self, index: usize, sites: &[Site]) -> Result<(), ProblemError> {
        let rises = self
            .tiers
            .windows(2)
            .all(|pair| pair[0].up_to <= pair[1].up_to && pair[0].slope_ms <= pair[1].slope_ms);
        let slopes = self.tiers.iter().all(|tier| tier.slope_ms.abs() <= MAX_SLOPE_MS);
        let bounds = self.tiers.iter().all(|tier| tier.up_to >= 0.0);
        let ends = self.tiers.last().is_some_and(|tier| tier.up_to == f64::INFINITY);
        if !(rises && slopes && bounds && ends) {
            return Err(ProblemError::Tiers(index));
        }
        let is_datacenter = |parent: u16| {
            sites.get(usize::from(parent)).is_some_and(|parent| parent.parent.is_none())
        };
        if self.parent.is_some_and(|parent| !is_datacenter(parent)) {
            return Err(ProblemError::Parent(index));
        }
        Ok(())
    }
}

/// Beyond, the sums of a solution would not be finite.
const MAX_TOTAL: f64 = 1e200;
/// Beyond, nothing of a cost would be left in a sum.
const MAX_SLOPE_MS: f64 = 1e12;

fn is_amount(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

/// Whether a cost is one, and not a prohibition.
pub(super) fn is_allowed(cost: f32) -> bool {
    cost.abs() <= MAX_COST_MS
}
