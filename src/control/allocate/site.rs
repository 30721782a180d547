//! What a datacenter can take: reported, inferred, or configured; less while it returns, drains or
//! is silent.

use super::tuning::Tuning;

/// What a datacenter says of itself, as numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SiteReport {
    /// The most it can take, in units of load; none: what the configuration says.
    pub capacity: Option<f64>,
    /// What it is offered, with what it rejects.
    pub load: f64,
    /// What it rejects; 0 where it does not know.
    pub rejected: f64,
    /// What part of its scarcest resource is taken.
    pub utilisation: Option<f64>,
}

/// Whether a datacenter, or a member of a pool, takes clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Availability {
    /// It does.
    #[default]
    Up,
    /// Its checks say that it cannot.
    Down,
    /// The operator says that it must not.
    Off,
    /// Fewer and fewer.
    Draining,
}

/// How old a datacenter's report is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Freshness {
    Live,
    Late,
    Stale,
    Old,
    #[default]
    Never,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Site {
    pub configured: Option<f64>,
    pub report: Option<SiteReport>,
    /// When it was measured, in seconds.
    pub measured: f64,
    /// From the report before it to the latest, in seconds.
    pub elapsed: f64,
    /// `load / utilisation`, smoothed.
    pub inferred: Option<f64>,
    availability: Availability,
    /// Since when, in seconds; none: from the beginning.
    since: Option<f64>,
    /// When it began to return.
    ramp_since: Option<f64>,
    /// A reported fall of the capacity, or a load beyond it, that no plan knows yet.
    pub is_urgent: bool,
    /// The smoothed error of the predicted load, as a share of the capacity.
    error: f64,
    /// Its upper envelope.
    pub envelope: f64,
}

impl Site {
    pub fn new(configured: Option<f64>) -> Site {
        let configured = configured.filter(|capacity| capacity.is_finite() && *capacity >= 0.0);
        Site { configured, ..Site::default() }
    }

    /// The same, with another word of the configuration.
    pub fn configured_as(&self, configured: Option<f64>) -> Site {
        Site { configured, ..self.clone() }
    }

    pub fn availability(&self) -> Availability {
        self.availability
    }

    /// Since when it has been down; none if it is not.
    pub fn down_since(&self) -> Option<f64> {
        (self.availability == Availability::Down).then_some(self.since.unwrap_or(0.0))
    }

    pub fn set_availability(&mut self, now: f64, next: Availability) {
        if self.availability == next {
            return;
        }
        let was_out = matches!(self.availability, Availability::Down | Availability::Off);
        self.ramp_since = match next {
            Availability::Up if was_out => Some(now),
            _ => None,
        };
        self.availability = next;
        self.since = Some(now);
        self.is_urgent = true;
    }

    /// Takes a report in that was measured `age` seconds ago. False for one that is older than
    /// what is known.
    pub fn report(&mut self, now: f64, report: SiteReport, age: f64, tuning: &Tuning) -> bool {
        let is_amount = |value: f64| value.is_finite() && value >= 0.0;
        if !is_amount(report.load) || !is_amount(age) || !report.capacity.is_none_or(is_amount) {
            return false;
        }
        let measured = now - age;
        if self.report.is_some() && measured <= self.measured {
            return false;
        }
        let before = self.nominal();
        let elapsed = if self.report.is_some() { measured - self.measured } else { f64::INFINITY };
        (self.measured, self.elapsed) = (measured, elapsed);
        self.report = Some(report);
        let utilisation = report.utilisation.filter(|part| part.is_finite() && *part > 0.0);
        let served = (report.load - report.rejected).max(0.0);
        match utilisation {
            Some(part) if part >= tuning.infer_above => {
                let sample = served / part;
                let follow = 1.0 - (-elapsed / tuning.infer_s).exp();
                let last = self.inferred.unwrap_or(sample);
                // A great loss is believed at once.
                let follow = if sample < 0.8 * last { follow.max(0.7) } else { follow };
                self.inferred = Some(last + follow * (sample - last));
            }
            // Under little load, or without a word on it, nothing new is known.
            Some(_) => {}
            None => self.inferred = None,
        }
        let after = self.nominal_with(tuning);
        if before.is_some_and(|before| after.is_some_and(|after| after < 0.9 * before))
            || after.is_some_and(|after| report.load > after)
        {
            self.is_urgent = true;
        }
        true
    }

    /// Whether it has lately reported that it serves.
    pub fn is_serving(&self, now: f64, tuning: &Tuning) -> bool {
        self.freshness(now, tuning) == Freshness::Live
            && self.report.is_some_and(|report| report.load > report.rejected)
    }

    pub fn freshness(&self, now: f64, tuning: &Tuning) -> Freshness {
        if self.report.is_none() {
            return Freshness::Never;
        }
        match now - self.measured {
            age if age < tuning.late_s => Freshness::Live,
            age if age < tuning.stale_s => Freshness::Late,
            age if age < tuning.old_s => Freshness::Stale,
            _ => Freshness::Old,
        }
    }

    /// What it says it can take.
    fn nominal(&self) -> Option<f64> {
        self.report.and_then(|report| report.capacity).or(self.configured)
    }

    /// The same, or what its utilisation tells if that is clearly less.
    pub fn nominal_with(&self, tuning: &Tuning) -> Option<f64> {
        match (self.nominal(), self.inferred) {
            (Some(said), Some(inferred)) if inferred < (1.0 - tuning.infer_slack) * said => {
                Some(inferred)
            }
            (Some(said), _) => Some(said),
            (None, inferred) => inferred,
        }
    }

    /// What is planned with; none: no bound is known. `is_abandoned`: no report has come from
    /// anywhere for so long that the configuration counts again.
    pub fn effective(&self, now: f64, is_abandoned: bool, tuning: &Tuning) -> Option<f64> {
        let known = if is_abandoned && self.configured.is_some() {
            self.configured
        } else {
            let share = match self.freshness(now, tuning) {
                Freshness::Stale => tuning.stale_share,
                Freshness::Old => tuning.old_share,
                _ => 1.0,
            };
            self.nominal_with(tuning).map(|capacity| capacity * share)
        };
        known.map(|capacity| capacity * self.share(now, tuning))
    }

    /// What part of its capacity counts while it returns or drains.
    pub fn share(&self, now: f64, tuning: &Tuning) -> f64 {
        let since = now - self.since.unwrap_or(f64::NEG_INFINITY);
        match self.availability {
            Availability::Up => match self.ramp_since {
                Some(began) => {
                    let done = ((now - began) / tuning.slow_start_s.max(1e-9)).clamp(0.0, 1.0);
                    tuning.slow_start_share + (1.0 - tuning.slow_start_share) * done
                }
                None => 1.0,
            },
            Availability::Draining => (1.0 - since / tuning.drain_s.max(1e-9)).clamp(0.0, 1.0),
            Availability::Down | Availability::Off => 0.0,
        }
    }

    pub fn is_ramping(&self, now: f64, tuning: &Tuning) -> bool {
        self.availability == Availability::Up && self.share(now, tuning) < 1.0
    }

    /// Notes by how much the load was greater than planned, as a share of the capacity. What
    /// follows up fast and down slowly is the margin that this datacenter needs.
    pub fn note_error(&mut self, error: f64, tuning: &Tuning) {
        if !error.is_finite() {
            return;
        }
        // Smoothed first: an envelope of noise is mostly noise.
        self.error += tuning.error_smooth * (error.clamp(-1.0, 1.0) - self.error);
        let over = self.error.max(0.0);
        let follow = if over > self.envelope { tuning.error_attack } else { tuning.error_release };
        self.envelope += follow * (over - self.envelope);
    }

    /// The standard deviation that its load's error is taken for, as a share of its capacity.
    pub fn error(&self, now: f64, tuning: &Tuning) -> f64 {
        let (least, most) = tuning.error_bounds;
        let late = match self.report {
            Some(_) => (now - self.measured - tuning.late_s).max(0.0) * tuning.late_error,
            None => 0.0,
        };
        (self.envelope + late).clamp(least, most)
    }
}
