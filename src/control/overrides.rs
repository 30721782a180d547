//! The operator's overrides: up, down or drained by word, until cleared or expired.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ControlError;
use crate::decide::{Pool, Standing, Steering};

/// The most overrides that are kept.
const MAX_OVERRIDES: usize = 10_000;
/// The greatest weight of a backend.
const MOST_WEIGHT: u32 = 1_000_000;

/// What an override is about: `datacenter/fra`, `pool/example.com/web`,
/// `member/example.com/web/fra`, `l4/web/10.0.0.5:443`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// Every member in a datacenter.
    Datacenter(String),
    /// Every member of a pool.
    Pool {
        /// The zone's origin, without the final dot.
        zone: String,
        /// The pool's name.
        pool: String,
    },
    /// One datacenter's part in a pool.
    Member {
        /// The zone's origin, without the final dot.
        zone: String,
        /// The pool's name.
        pool: String,
        /// The datacenter's name.
        datacenter: String,
    },
    /// A backend of an L4 service.
    L4 {
        /// The service's name.
        service: String,
        /// The backend's address and port.
        backend: String,
    },
}

/// What an override does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Counts as up, whatever the checks say.
    ForceUp,
    /// Counts as down, whatever the checks say.
    ForceDown,
    /// Takes no new clients.
    Drain,
    /// A backend stands behind the service that the files do not name.
    Add {
        /// Its share among its equals.
        weight: u32,
        /// Takes flows only while no other that is not a backup can.
        backup: bool,
    },
    /// A backend that the files name does not stand behind the service.
    Remove,
    /// A backend has another weight than the files say.
    Weight {
        /// Its share among its equals.
        weight: u32,
    },
}

/// The names of the actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionName {
    /// [`Action::ForceUp`]
    ForceUp,
    /// [`Action::ForceDown`]
    ForceDown,
    /// [`Action::Drain`]
    Drain,
    /// [`Action::Add`]
    Add,
    /// [`Action::Remove`]
    Remove,
    /// [`Action::Weight`]
    Weight,
}

/// What of its target an override changes: each aspect can be overridden, and cleared, by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// Whether it is up and takes new clients.
    Standing,
    /// Whether it is a backend at all.
    Membership,
    /// A backend's weight.
    Weight,
}

/// An override in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Override {
    /// About what.
    pub target: Target,
    /// What it does.
    pub action: Action,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// When it was set: seconds since 1970 (UTC).
    pub since: u64,
    /// When it ends: seconds since 1970 (UTC); none: when cleared.
    pub until: Option<u64>,
}

/// An override as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    target: Target,
    action: ActionName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backup: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    since: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
}

/// The overrides in force, at most one for each aspect of a target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    by_target: BTreeMap<(Target, Aspect), Override>,
}

impl Overrides {
    /// All of them, by target.
    pub fn list(&self) -> impl Iterator<Item = &Override> {
        self.by_target.values()
    }

    /// Takes one in; it replaces an earlier one of the same aspect of the same target.
    pub fn set(&mut self, new: Override) -> Result<(), ControlError> {
        let key = (new.target.clone(), new.action.aspect());
        if self.by_target.len() >= MAX_OVERRIDES && !self.by_target.contains_key(&key) {
            return Err(ControlError::TooMany(format!(
                "{MAX_OVERRIDES} overrides are in force, and no more are kept: clear some"
            )));
        }
        self.by_target.insert(key, new);
        Ok(())
    }

    /// True when this very one is in force.
    pub fn has(&self, one: &Override) -> bool {
        self.by_target.get(&(one.target.clone(), one.action.aspect())) == Some(one)
    }

    /// Takes back what is said of that aspect of a target, or of all; returns whether anything was.
    pub fn clear(&mut self, target: &Target, only: Option<Aspect>) -> bool {
        let before = self.by_target.len();
        self.by_target.retain(|(named, aspect), _| {
            named != target || only.is_some_and(|only| only != *aspect)
        });
        self.by_target.len() < before
    }

    /// Moves the beginning and the end of each that had begun by `seen`, in seconds since 1970 (UTC),
    /// by so many seconds; returns whether there were any.
    pub fn shift(&mut self, by: i64, seen: u64) -> bool {
        let mut has_moved = false;
        for one in self.by_target.values_mut().filter(|one| one.since <= seen) {
            one.since = one.since.saturating_add_signed(by);
            one.until = one.until.map(|until| until.saturating_add_signed(by));
            has_moved = true;
        }
        has_moved
    }

    /// Removes and returns those that have ended by `now`, in seconds since 1970 (UTC).
    pub fn expire(&mut self, now: u64) -> Vec<Override> {
        let (ended, kept) = std::mem::take(&mut self.by_target)
            .into_iter()
            .partition(|(_, one)| one.until.is_some_and(|until| until <= now));
        self.by_target = kept;
        let ended: BTreeMap<(Target, Aspect), Override> = ended;
        ended.into_values().collect()
    }

    /// The operator's word on every member, by `MemberId`: that on the member itself, else on its
    /// pool, else on its datacenter.
    pub fn words<'a>(
        &'a self,
        steering: &'a Steering,
    ) -> impl Iterator<Item = Option<&'a Override>> + 'a {
        // Most of the time there is none, and nothing need be spelled out.
        let is_empty = self.by_target.is_empty();
        let members = steering.pools.iter().flat_map(move |pool| {
            pool.members.iter().map(move |member| {
                let datacenter = &steering.datacenters[usize::from(member.datacenter.0)].name;
                (!is_empty).then(|| {
                    [
                        Target::of_member(pool, datacenter),
                        Target::of_pool(pool),
                        Target::Datacenter(datacenter.clone()),
                    ]
                    .map(|target| (target, Aspect::Standing))
                })
            })
        });
        members.map(|targets| targets?.iter().find_map(|target| self.by_target.get(target)))
    }
}

impl Action {
    /// What it makes of a member.
    pub fn standing(self) -> Standing {
        match self {
            Action::ForceUp => Standing::ForcedUp,
            Action::ForceDown => Standing::ForcedDown,
            Action::Drain => Standing::Drained,
            Action::Add { .. } | Action::Remove | Action::Weight { .. } => Standing::Normal,
        }
    }

    /// The action of that name, with what else it takes.
    pub fn named(
        name: ActionName,
        weight: Option<u32>,
        backup: Option<bool>,
    ) -> Result<Action, String> {
        if weight.is_some_and(|weight| weight > MOST_WEIGHT) {
            return Err(format!("a weight is a number from 0 to {MOST_WEIGHT}"));
        }
        match (name, weight, backup) {
            (ActionName::ForceUp, None, None) => Ok(Action::ForceUp),
            (ActionName::ForceDown, None, None) => Ok(Action::ForceDown),
            (ActionName::Drain, None, None) => Ok(Action::Drain),
            (ActionName::Remove, None, None) => Ok(Action::Remove),
            (ActionName::Add, weight, backup) => {
                let (weight, backup) = (weight.unwrap_or(1), backup.unwrap_or(false));
                Ok(Action::Add { weight, backup })
            }
            (ActionName::Weight, Some(weight), None) => Ok(Action::Weight { weight }),
            (ActionName::Weight, None, _) => Err("the action `weight` takes a `weight`".into()),
            _ => {
                Err("`weight` goes with the actions `add` and `weight`, `backup` with `add`".into())
            }
        }
    }

    /// Its name, and the weight and the role as a backup that it takes.
    pub fn parts(self) -> (ActionName, Option<u32>, Option<bool>) {
        match self {
            Action::ForceUp => (ActionName::ForceUp, None, None),
            Action::ForceDown => (ActionName::ForceDown, None, None),
            Action::Drain => (ActionName::Drain, None, None),
            Action::Add { weight, backup } => (ActionName::Add, Some(weight), Some(backup)),
            Action::Remove => (ActionName::Remove, None, None),
            Action::Weight { weight } => (ActionName::Weight, Some(weight), None),
        }
    }

    /// What of its target it changes.
    pub fn aspect(self) -> Aspect {
        match self {
            Action::ForceUp | Action::ForceDown | Action::Drain => Aspect::Standing,
            Action::Add { .. } | Action::Remove => Aspect::Membership,
            Action::Weight { .. } => Aspect::Weight,
        }
    }
}

impl TryFrom<Written> for Override {
    type Error = String;

    fn try_from(written: Written) -> Result<Override, String> {
        let Written { target, action, weight, backup, reason, since, until } = written;
        let action = Action::named(action, weight, backup)?;
        Ok(Override { target, action, reason, since, until })
    }
}

impl From<Override> for Written {
    fn from(over: Override) -> Written {
        let Override { target, action, reason, since, until } = over;
        let (action, weight, backup) = action.parts();
        Written { target, action, weight, backup, reason, since, until }
    }
}

/// Says what is known instead, when the configuration has no such target, or that an action is not
/// for it. What L4 services there are is not known here.
pub fn check_target(
    target: &Target,
    action: Action,
    steering: &Steering,
) -> Result<(), ControlError> {
    if action.aspect() != Aspect::Standing && !matches!(target, Target::L4 { .. }) {
        let error = format!("{target} is no backend: only l4/SERVICE/ADDRESS:PORT can be {action}");
        return Err(ControlError::Misplaced(error));
    }
    let known: Vec<Target> = match target {
        Target::L4 { .. } => return Ok(()),
        Target::Datacenter(_) => {
            let names = steering.datacenters.iter().map(|datacenter| datacenter.name.clone());
            names.map(Target::Datacenter).collect()
        }
        Target::Pool { .. } => steering.pools.iter().map(Target::of_pool).collect(),
        Target::Member { .. } => {
            let members = steering.pools.iter().flat_map(|pool| {
                pool.members.iter().map(move |member| {
                    let datacenter = &steering.datacenters[usize::from(member.datacenter.0)];
                    Target::of_member(pool, &datacenter.name)
                })
            });
            members.collect()
        }
    };
    if known.contains(target) {
        return Ok(());
    }
    let text = target.to_string();
    let nearest = known
        .iter()
        .map(ToString::to_string)
        .min_by_key(|known| strsim::damerau_levenshtein(known, &text));
    Err(ControlError::UnknownTarget(match nearest {
        Some(nearest) => format!("there is no {text}; the nearest that exists is {nearest}"),
        None => format!("there is no {text}, nor anything of its kind"),
    }))
}

/// An origin as targets write it: lower case, without the final dot.
fn plain(origin: &str) -> String {
    origin.trim_end_matches('.').to_ascii_lowercase()
}

impl Target {
    /// What an override of a pool names.
    pub fn of_pool(pool: &Pool) -> Target {
        Target::Pool { zone: plain(&pool.zone.to_string()), pool: pool.name.clone() }
    }

    /// What an override of a pool's member in that datacenter names.
    pub fn of_member(pool: &Pool, datacenter: &str) -> Target {
        Target::Member {
            zone: plain(&pool.zone.to_string()),
            pool: pool.name.clone(),
            datacenter: datacenter.into(),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::ForceUp => f.write_str("forced up"),
            Action::ForceDown => f.write_str("forced down"),
            Action::Drain => f.write_str("drained"),
            Action::Add { weight, backup: false } => write!(f, "added with weight {weight}"),
            Action::Add { weight, backup: true } => {
                write!(f, "added as a backup with weight {weight}")
            }
            Action::Remove => f.write_str("removed"),
            Action::Weight { weight } => write!(f, "given the weight {weight}"),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            ["datacenter", name] if !name.is_empty() => Ok(Target::Datacenter(name.into())),
            ["pool", origin, pool] => Ok(Target::Pool { zone: plain(origin), pool: pool.into() }),
            ["member", origin, pool, datacenter] => Ok(Target::Member {
                zone: plain(origin),
                pool: pool.into(),
                datacenter: datacenter.into(),
            }),
            ["l4", service, backend] => {
                // However it is spelled, it is the same one.
                let address = backend.parse::<SocketAddr>().map(|address| address.to_string());
                let backend = address.unwrap_or_else(|_| backend.into());
                Ok(Target::L4 { service: service.into(), backend })
            }
            _ => Err(format!(
                "`{text}` is not a target: expected datacenter/NAME, pool/ZONE/POOL, \
                 member/ZONE/POOL/DATACENTER or l4/SERVICE/ADDRESS:PORT"
            )),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Target, String> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> String {
        target.to_string()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Datacenter(name) => write!(f, "datacenter/{name}"),
            Target::Pool { zone, pool } => write!(f, "pool/{zone}/{pool}"),
            Target::Member { zone, pool, datacenter } => {
                write!(f, "member/{zone}/{pool}/{datacenter}")
            }
            Target::L4 { service, backend } => write!(f, "l4/{service}/{backend}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Datacenter, DatacenterId, Member, MemberId, Steer, WhenAllDown};
    use crate::geo::Location;

    /// One pool, example.com/web, with members in fra and iad.
    fn steering() -> Steering {
        let datacenter = |name: &str| Datacenter {
            name: name.into(),
            location: Location::default(),
            bias: 0,
            cost_ms: 0.0,
        };
        let member = |index: u16| Member {
            id: MemberId(index.into()),
            datacenter: DatacenterId(index),
            weight: 1,
            target: crate::decide::Target::Addresses { v4: Box::new([]), v6: Box::new([]) },
        };
        let pool = Pool {
            zone: "Example.com.".parse().unwrap(),
            name: "web".into(),
            is_twin: false,
            steer: Steer::Failover,
            ttl: 30,
            ttl_min: 30,
            share: 1.0,
            answers: 1,
            min_healthy: 1,
            when_all_down: WhenAllDown::AnswerAll,
            members: Box::new([member(0), member(1)]),
        };
        Steering {
            datacenters: Box::new([datacenter("fra"), datacenter("iad")]),
            pools: Box::new([pool]),
            policies: Box::new([]),
        }
    }

    fn word(target: &str, action: Action) -> Override {
        let target = target.parse().unwrap();
        Override { target, action, reason: None, since: 0, until: None }
    }

    #[test]
    fn a_target_survives_a_round_trip_through_text() {
        for text in [
            "datacenter/fra",
            "pool/example.com/web",
            "member/example.com/web/fra",
            "l4/web/10.0.0.5:443",
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        let spelled: Target = "l4/web/[2001:DB8:0::5]:443".parse().unwrap();
        assert_eq!(spelled.to_string(), "l4/web/[2001:db8::5]:443");
        for text in ["", "fra", "datacenter/", "pool/example.com", "member/a/b/c/d"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_narrowest_word_on_a_member_counts() {
        let steering = steering();
        let mut overrides = Overrides::default();
        let standing = |overrides: &Overrides| {
            let words = overrides.words(&steering);
            words
                .map(|word| word.map_or(Standing::Normal, |word| word.action.standing()))
                .collect::<Vec<_>>()
        };
        assert_eq!(standing(&overrides), [Standing::Normal; 2]);
        overrides.set(word("datacenter/fra", Action::ForceDown)).unwrap();
        assert_eq!(standing(&overrides), [Standing::ForcedDown, Standing::Normal]);
        overrides.set(word("pool/EXAMPLE.com./web", Action::Drain)).unwrap();
        assert_eq!(standing(&overrides), [Standing::Drained; 2]);
        overrides.set(word("member/example.com/web/fra", Action::ForceUp)).unwrap();
        assert_eq!(standing(&overrides), [Standing::ForcedUp, Standing::Drained]);
        assert!(overrides.clear(&"pool/example.com/web".parse().unwrap(), None));
        assert_eq!(standing(&overrides), [Standing::ForcedUp, Standing::Normal]);
    }

    #[test]
    fn what_does_not_exist_is_refused_with_the_nearest_that_does() {
        let check = |text: &str| check_target(&text.parse().unwrap(), Action::Drain, &steering());
        assert_eq!(check("member/example.com/web/iad"), Ok(()));
        let error = check("member/example.com/web/ida").unwrap_err().to_string();
        assert!(error.ends_with("member/example.com/web/iad"), "{error}");
    }

    #[test]
    fn each_aspect_of_a_backend_is_overridden_and_cleared_by_itself() {
        let backend = "l4/web/198.51.100.7:443";
        let target: Target = backend.parse().unwrap();
        let add = Action::Add { weight: 2, backup: true };
        let mut overrides = Overrides::default();
        for action in [add, Action::Drain, Action::Weight { weight: 5 }, Action::ForceUp] {
            overrides.set(word(backend, action)).unwrap();
        }
        let actions = |overrides: &Overrides| -> Vec<Action> {
            overrides.list().map(|one| one.action).collect()
        };
        assert_eq!(actions(&overrides), [Action::ForceUp, add, Action::Weight { weight: 5 }]);
        assert!(overrides.clear(&target, Some(Aspect::Standing)));
        assert!(!overrides.clear(&target, Some(Aspect::Standing)));
        assert_eq!(actions(&overrides), [add, Action::Weight { weight: 5 }]);
        assert!(overrides.clear(&target, None));
        assert_eq!(actions(&overrides), []);
        let misplaced = check_target(&"datacenter/fra".parse().unwrap(), add, &steering());
        assert!(matches!(misplaced, Err(ControlError::Misplaced(_))), "{misplaced:?}");
    }

    #[test]
    fn an_override_survives_a_round_trip_through_json() {
        for action in [
            Action::ForceUp,
            Action::ForceDown,
            Action::Drain,
            Action::Add { weight: 0, backup: false },
            Action::Remove,
            Action::Weight { weight: MOST_WEIGHT },
        ] {
            let one = word("l4/web/198.51.100.7:443", action);
            let text = serde_json::to_string(&one).unwrap();
            assert_eq!(serde_json::from_str::<Override>(&text).unwrap(), one, "{text}");
        }
        let before = r#"{"target":"datacenter/fra","action":"drain","since":7}"#;
        let drained = serde_json::from_str::<Override>(before).unwrap();
        assert_eq!((drained.action, drained.since), (Action::Drain, 7));
        for wrong in [
            r#"{"target":"l4/a/b","action":"weight","since":7}"#,
            r#"{"target":"l4/a/b","action":"weight","weight":1000001,"since":7}"#,
            r#"{"target":"l4/a/b","action":"drain","weight":3,"since":7}"#,
            r#"{"target":"l4/a/b","action":"remove","backup":true,"since":7}"#,
        ] {
            assert!(serde_json::from_str::<Override>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn overrides_are_bounded_in_number_and_in_time() {
        let mut overrides = Overrides::default();
        for n in 0..MAX_OVERRIDES {
            overrides.set(word(&format!("datacenter/d{n}"), Action::Drain)).unwrap();
        }
        assert!(overrides.set(word("datacenter/one-more", Action::Drain)).is_err());
        assert!(overrides.set(word("datacenter/d7", Action::ForceUp)).is_ok());
        let mut ending = word("datacenter/d8", Action::Drain);
        ending.until = Some(50);
        overrides.set(ending.clone()).unwrap();
        assert_eq!(overrides.expire(49), []);
        assert_eq!(overrides.expire(50), [ending]);
    }
}
