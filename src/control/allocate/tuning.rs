//! All constants of the allocation, with their units and reasons.

/// All constants of the allocation. The defaults are meant for everybody; they are here so that
/// the simulator can try others.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuning {
    /// From one plan to the next, in seconds.
    pub tick_s: f64,

    // -- cost --
    /// What a unit of demand must gain to be moved, in milliseconds.
    pub stick_ms: f64,
    /// The cost of load near the wall: how many standard deviations of the load's error lie
    /// between the load and the capacity, and what a unit costs from there on, in milliseconds.
    /// It is what an overload would cost, times the chance of one (a newsvendor's margin).
    pub tiers: Vec<(f64, f64)>,
    /// The same above the capacity, by the load as a share of it. They rise, so that what
    /// nobody has room for is shared in proportion to the capacities.
    pub overload_tiers: Vec<(f64, f64)>,
    /// The least and the most that the error of a load is taken for, as a share of the capacity.
    pub error_bounds: (f64, f64),
    /// How fast the error of a load's prediction is smoothed, a report.
    pub error_smooth: f64,
    /// How fast its envelope rises, a report.
    pub error_attack: f64,
    /// How fast its envelope falls, a report.
    pub error_release: f64,
    /// How much of the capacity is never planned for: what happens within a report's interval.
    pub margin: f64,

    // -- demand --
    /// How many of the heaviest rows are estimated jointly, with all their covariances.
    pub joint_rows: usize,
    /// The prior standard deviation of a row's demand around its share of the whole, in
    /// logarithms.
    pub prior_error: f64,
    /// The same, common to all rows: how many requests follow an answer is not known.
    pub prior_scale_error: f64,
    /// How far the queries are believed to tell the rows' demands apart once the loads do, from 0
    /// to 1; before, they are all there is.
    pub follow: f64,
    /// The most by which clients who are new raise all demand at one look, as a share of it. Who
    /// asks for many names of clients must not look like many clients for longer than a report.
    pub most_new: f64,
    /// How much a row's demand wanders in a minute, alone, in logarithms.
    pub wander_own: f64,
    /// The same, together with the rest of its country.
    pub wander_country: f64,
    /// The same, together with all that are nearest to the same datacenter: the time of day.
    pub wander_region: f64,
    /// How much load is expected that no answer explains, as a share of the reported load.
    pub background: f64,
    /// In how many seconds an unexplained load is given up if nothing supports it.
    pub background_s: f64,
    /// A report that lies further from the prediction than this many standard deviations says
    /// that demand has changed faster than demand wanders.
    pub surprise: f64,
    /// The most by which one report changes a demand, in logarithms.
    pub step: f64,
    /// The report noise assumed before it is known, as a share of the load.
    pub report_noise: f64,
    /// A trend is looked at over so many seconds …
    pub trend_s: f64,
    /// … and planned for if it promises at least this share of the demand.
    pub trend_share: f64,

    // -- the in-flight table --
    /// The most clients that are remembered.
    pub max_keys: usize,
    /// What is remembered of a client's earlier visits fades by this factor a visit.
    pub memory: f64,
    /// The worth of what one expects of a client before it came, in visits. Rates are spread over
    /// orders of magnitude, so that it is little.
    pub prior_visits: f64,
    /// How exactly is known how long a client waits after its answer has expired, in seconds: the
    /// ledgers are read as often, and caches count whole seconds. Of those who come back sooner, none
    /// is heavier than another.
    pub resolution_s: f64,
    /// A client that has been silent for this long is forgotten, in seconds.
    pub forget_s: f64,
    /// A silent client's demand halves in this time, in seconds.
    pub fade_s: f64,
    /// A client that overstays its TTL by this keeps the old answer, as far as can be told.
    pub overstay_s: f64,

    // -- datacenters --
    /// Under this utilisation the true capacity is not inferred: the quotient is too rough.
    pub infer_above: f64,
    /// A capacity inferred within this share of the reported one is noise.
    pub infer_slack: f64,
    /// In how many seconds an inferred capacity follows.
    pub infer_s: f64,
    /// A datacenter that returns begins with this share of its capacity …
    pub slow_start_share: f64,
    /// … and has all of it after this many seconds.
    pub slow_start_s: f64,
    /// A drained datacenter's capacity falls to nothing in this many seconds.
    pub drain_s: f64,
    /// A report of this age, in seconds, is late: nothing is learned from it, and each second
    /// adds [`late_error`](Self::late_error) to the error of the load.
    pub late_s: f64,
    /// See [`late_s`](Self::late_s); a share of the capacity a second.
    pub late_error: f64,
    /// A report of this age, in seconds, is stale …
    pub stale_s: f64,
    /// … and the capacity counts by this share.
    pub stale_share: f64,
    /// A report of this age, in seconds, is old …
    pub old_s: f64,
    /// … and the capacity counts by this share.
    pub old_share: f64,
    /// When all reports have been stale for this long, in seconds, the configuration counts.
    pub abandon_s: f64,
    /// More than this share of the capacity reported down …
    pub panic_share: f64,
    /// … within this many seconds is not believed …
    pub panic_within_s: f64,
    /// … until it has stood for this many seconds.
    pub panic_confirm_s: f64,

    // -- plans --
    /// A plan that moves less than this share of the demand is not published.
    pub least_change: f64,
    /// A plan that moves more than this share of the demand without an event is refused.
    pub most_change: f64,
    /// From this share on, a row counts as unsplit.
    pub unsplit: f64,
    /// A smaller share of a row is dropped.
    pub least_share: f64,
    /// Within this, a share counts as unchanged.
    pub same_share: f64,
    /// Within this, so does the load that follows from it; a share of the capacity.
    pub same_load: f64,
    /// The most rows that are solved for; the lighter ones follow the prices.
    pub max_rows: usize,
    /// From one look at what the loss of each datacenter would mean to the next, in seconds.
    pub loss_s: f64,
    /// Nearer to its wall than this, a datacenter's clients get the short TTL; a share of the
    /// capacity.
    pub ttl_near: f64,
    /// After a change, the short TTL is given for this many seconds.
    pub ttl_after_s: f64,
    /// A client with at least this share of a datacenter's capacity deserves a group of its own.
    pub promote_share: f64,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            tick_s: 5.0,
            stick_ms: 6.5,
            tiers: vec![
                (2.2, 6.0),
                (1.85, 30.0),
                (1.5, 120.0),
                (1.1, 360.0),
                (0.75, 900.0),
                (0.35, 1_800.0),
            ],
            overload_tiers: vec![(1.0, 2_000.0), (1.1, 4_000.0), (1.35, 8_000.0)],
            error_bounds: (0.012, 0.05),
            error_smooth: 0.25,
            error_attack: 0.5,
            error_release: 0.002,
            margin: 0.008,
            joint_rows: 320,
            prior_error: 0.5,
            prior_scale_error: 0.2,
            follow: 0.0,
            most_new: 0.1,
            wander_own: 0.01,
            wander_country: 0.01,
            wander_region: 0.005,
            background: 0.02,
            background_s: 1_800.0,
            surprise: 3.0,
            step: 0.7,
            report_noise: 0.02,
            trend_s: 25.0,
            trend_share: 0.08,
            max_keys: 1 << 19,
            memory: 0.98,
            prior_visits: 0.2,
            resolution_s: 0.1,
            forget_s: 7_200.0,
            fade_s: 600.0,
            overstay_s: 10.0,
            infer_above: 0.2,
            infer_slack: 0.05,
            infer_s: 10.0,
            slow_start_share: 0.1,
            slow_start_s: 300.0,
            drain_s: 60.0,
            late_s: 15.0,
            late_error: 0.001,
            stale_s: 60.0,
            stale_share: 0.9,
            old_s: 300.0,
            old_share: 0.7,
            abandon_s: 900.0,
            panic_share: 0.5,
            panic_within_s: 30.0,
            panic_confirm_s: 30.0,
            least_change: 0.001,
            most_change: 0.3,
            unsplit: 0.99,
            least_share: 0.004,
            same_share: 0.005,
            same_load: 0.004,
            max_rows: 20_000,
            loss_s: 60.0,
            ttl_near: 0.06,
            ttl_after_s: 60.0,
            promote_share: 0.02,
        }
    }
}
