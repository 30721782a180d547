//! Who is let in, and how fast: asked before anything is made of a new flow.

mod prefixes;
mod rate;

pub use prefixes::Prefixes;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::settings::{Access, ServiceSettings};
use rate::Rate;

/// What stands at the door of a service.
#[derive(Debug)]
pub struct Admission {
    allow: Option<Prefixes>,
    deny: Prefixes,
    /// Shared with the one before, if the limit is the same: what was let in still counts.
    rate: Option<Arc<Rate>>,
}

/// Why a flow is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// Its source is denied, or not among those that are allowed.
    Denied,
    /// Its source has brought too many of late.
    TooManyOfSource,
    /// Too many have come of late from all together.
    TooMany,
}

impl Admission {
    /// As the settings say. What `before` has let in counts on for as long as the limit is the same.
    pub fn new(settings: &ServiceSettings, before: Option<&Admission>) -> Admission {
        let Access { allow, deny } = &settings.access;
        let before = before.and_then(|before| before.rate.as_ref());
        let rate = settings.rate_limit.map(|limit| {
            let same = before.filter(|rate| rate.limit() == limit);
            same.cloned().unwrap_or_else(|| Arc::new(Rate::new(limit)))
        });
        let allow = (!allow.is_empty()).then(|| Prefixes::new(allow));
        Admission { allow, deny: Prefixes::new(deny), rate }
    }

    /// Lets a new flow of this source in, or not; one that is let in counts.
    pub fn admit(&self, source: IpAddr, now: Instant) -> Result<(), Refusal> {
        let source = source.to_canonical();
        self.look_up(source)?;
        self.rate.as_ref().map_or(Ok(()), |rate| rate.take(source, now))
    }

    /// Whether a new flow of this source would be let in.
    pub fn would_admit(&self, source: IpAddr, now: Instant) -> Result<(), Refusal> {
        let source = source.to_canonical();
        self.look_up(source)?;
        self.rate.as_ref().map_or(Ok(()), |rate| rate.look(source, now))
    }

    fn look_up(&self, source: IpAddr) -> Result<(), Refusal> {
        let is_allowed = self.allow.as_ref().is_none_or(|allow| allow.contains(source));
        match is_allowed && !self.deny.contains(source) {
            true => Ok(()),
            false => Err(Refusal::Denied),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::l4::settings::RateLimit;

    fn settings(allow: &[&str], deny: &[&str], per_source: Option<f64>) -> ServiceSettings {
        let mut settings = ServiceSettings::new("web", Vec::new(), Vec::new());
        let parsed = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        settings.access = Access { allow: parsed(allow), deny: parsed(deny) };
        settings.rate_limit = per_source.map(|rate| RateLimit {
            per_source: Some(rate),
            total: None,
            burst_seconds: 1.0,
        });
        settings
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn deny_wins_and_without_allow_everybody_else_is_let_in() {
        let now = Instant::now();
        let both = settings(&["198.51.100.0/24"], &["198.51.100.66/32"], None);
        let both = Admission::new(&both, None);
        assert_eq!(both.admit(ip("198.51.100.7"), now), Ok(()));
        assert_eq!(both.admit(ip("::ffff:198.51.100.7"), now), Ok(()));
        assert_eq!(both.admit(ip("198.51.100.66"), now), Err(Refusal::Denied));
        assert_eq!(both.admit(ip("203.0.113.1"), now), Err(Refusal::Denied));
        assert_eq!(both.admit(ip("2001:db8::1"), now), Err(Refusal::Denied));
        let deny = Admission::new(&settings(&[], &["2001:db8::/32"], None), None);
        assert_eq!(deny.admit(ip("2001:db8::1"), now), Err(Refusal::Denied));
        assert_eq!(deny.admit(ip("2001:db9::1"), now), Ok(()));
        assert_eq!(deny.admit(ip("198.51.100.66"), now), Ok(()));
    }

    #[test]
    fn who_is_denied_does_not_count_and_a_look_does_not_either() {
        let now = Instant::now();
        let admission = Admission::new(&settings(&[], &["198.51.100.66/32"], Some(1.0)), None);
        assert_eq!(admission.admit(ip("198.51.100.66"), now), Err(Refusal::Denied));
        for _ in 0..3 {
            assert_eq!(admission.would_admit(ip("198.51.100.7"), now), Ok(()));
        }
        assert_eq!(admission.admit(ip("198.51.100.7"), now), Ok(()));
        let refused = Err(Refusal::TooManyOfSource);
        assert_eq!(admission.would_admit(ip("198.51.100.7"), now), refused);
        assert_eq!(admission.admit(ip("198.51.100.7"), now), refused);
    }

    #[test]
    fn a_reload_forgets_what_was_let_in_only_when_the_limit_is_another() {
        let now = Instant::now() + Duration::from_secs(1);
        let first = Admission::new(&settings(&[], &[], Some(1.0)), None);
        assert_eq!(first.admit(ip("198.51.100.7"), now), Ok(()));
        let deny = settings(&[], &["203.0.113.0/24"], Some(1.0));
        let same = Admission::new(&deny, Some(&first));
        assert_eq!(same.admit(ip("198.51.100.7"), now), Err(Refusal::TooManyOfSource));
        let other = Admission::new(&settings(&[], &[], Some(2.0)), Some(&same));
        assert_eq!(other.admit(ip("198.51.100.7"), now), Ok(()));
    }
}
