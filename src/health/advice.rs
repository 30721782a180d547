//! What an agent says of its machine beyond up and down: weight, limit, drain.

use serde::Serialize;

/// What an agent has said of its machine, besides that it answers. What it has not said is none, and
/// a later line changes only what it names, as HAProxy's agent check has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Advice {
    /// How much of its configured weight the machine should have, in percent. More than 100 is more
    /// than its configured weight; 0 takes no new flows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_percent: Option<u16>,
    /// Flows at a time, at most; 0: no limit of the agent's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// What its operator wants of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub administrative: Option<Administrative>,
    /// True: it has said that it is down (`down`, `fail`, `stopped`). False: up. It counts at once,
    /// not after a number of checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<bool>,
}

/// What the operator of a machine wants of it, in the words of the agent's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Administrative {
    /// It works as usual.
    Ready,
    /// No new flows; those it has go on.
    Drain,
    /// It is out, as if it were down.
    Maint,
}

impl Advice {
    /// This, and over it what a later line says.
    pub fn then(self, later: Advice) -> Advice {
        Advice {
            weight_percent: later.weight_percent.or(self.weight_percent),
            max_connections: later.max_connections.or(self.max_connections),
            administrative: later.administrative.or(self.administrative),
            down: later.down.or(self.down),
        }
    }

    /// True if the machine is not to be used at all: it is down, or under maintenance.
    pub fn is_out(&self) -> bool {
        self.down == Some(true) || self.administrative == Some(Administrative::Maint)
    }

    /// True if no new flows should come, while those that are there go on.
    pub fn is_drained(&self) -> bool {
        self.weight_percent == Some(0) || self.administrative == Some(Administrative::Drain)
    }

    /// The limit of flows at a time, if it has set one.
    pub fn limit(&self) -> Option<u32> {
        self.max_connections.filter(|limit| *limit > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_line_changes_only_what_it_names() {
        let drained = Advice {
            weight_percent: Some(40),
            administrative: Some(Administrative::Drain),
            ..Advice::default()
        };
        let later = drained.then(Advice { weight_percent: Some(75), ..Advice::default() });
        assert_eq!(later.weight_percent, Some(75));
        assert!(later.is_drained(), "only `ready` ends a drain");
        let ready = Advice { administrative: Some(Administrative::Ready), ..Advice::default() };
        assert!(!later.then(ready).is_drained());
    }

    #[test]
    fn who_is_down_or_under_maintenance_is_out_and_who_has_no_weight_is_drained() {
        let said = |down, administrative, weight_percent| Advice {
            down,
            administrative,
            weight_percent,
            max_connections: None,
        };
        assert!(!Advice::default().is_out() && !Advice::default().is_drained());
        assert!(said(Some(true), None, None).is_out());
        assert!(said(Some(false), Some(Administrative::Maint), None).is_out());
        assert!(!said(Some(false), Some(Administrative::Ready), Some(0)).is_out());
        assert!(said(None, None, Some(0)).is_drained());
        assert!(!said(None, None, Some(1)).is_drained());
    }
}
