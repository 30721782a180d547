//! What happens: timed events, as data.

use serde::{Deserialize, Serialize};

/// What happens in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// How long it lasts.
    pub seconds: u32,
    /// The hour of the day, UTC, at which it begins; absent: such that the world's busiest hour is in
    /// its middle.
    #[serde(default)]
    pub start_hour: Option<f64>,
    /// The number of DNS servers that know nothing of each other; each is asked by its part of the
    /// resolvers.
    #[serde(default = "one")]
    pub nodes: usize,
    /// The part of the resolvers that seem to be elsewhere than their clients are.
    #[serde(default)]
    pub mislocated: f64,
    /// In the order of time.
    #[serde(default)]
    pub events: Vec<Event>,
}

fn one() -> usize {
    1
}

/// Something happens at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Seconds after the beginning.
    pub at: f64,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// What can happen. Datacenters and countries that the world does not have are passed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Happening {
    /// A datacenter serves nothing any more, and reports nothing.
    Dies {
        /// Its name.
        datacenter: String,
    },
    /// It serves again.
    Returns {
        /// Its name.
        datacenter: String,
    },
    /// A country's demand becomes `factor` times the usual one, over `ramp` seconds.
    Surge {
        /// ISO 3166-1 alpha-2.
        country: String,
        /// Of the usual demand.
        factor: f64,
        /// Seconds.
        ramp: f64,
    },
    /// A datacenter's capacity becomes `factor` times the first one.
    Capacity {
        /// Its name.
        datacenter: String,
        /// Of the first capacity.
        factor: f64,
        /// False: the capacity in the reports stays what it was; only the utilisation tells.
        reported: bool,
    },
    /// No reports come any more; from all datacenters if none is named.
    ReportsStop {
        /// A name.
        datacenter: Option<String>,
    },
    /// They come again.
    ReportsResume {
        /// A name.
        datacenter: Option<String>,
    },
    /// A datacenter takes `ms` longer and fails a part of the requests, and its checks succeed
    /// nevertheless.
    Sick {
        /// Its name.
        datacenter: String,
        /// Added to each round trip.
        ms: f64,
        /// The part of the requests that fail.
        errors: f64,
    },
    /// The checks of these datacenters fail though they serve.
    ChecksFail {
        /// Names.
        datacenters: Vec<String>,
    },
    /// All checks tell the truth again.
    ChecksRecover,
}

impl Happening {
    /// Seconds until it is wholly there.
    pub fn ramp(&self) -> f64 {
        match self {
            Happening::Surge { ramp, .. } => *ramp,
            _ => 0.0,
        }
    }
}

/// The names of the built-in scenarios.
pub const NAMES: [&str; 14] = [
    "calm",
    "mix",
    "silent",
    "frozen-one",
    "frozen-all",
    "partition",
    "mislocated",
    "two-deaths",
    "grey",
    "flapping",
    "attack",
    "new",
    "panic",
    "steady",
];

impl Scenario {
    /// A built-in scenario.
    pub fn named(name: &str) -> Option<Scenario> {
        let mut scenario = Scenario {
            name: name.to_string(),
            seconds: 10_800,
            // East Asia's evening and India's are the world's busiest hours.
            start_hour: Some(12.0),
            nodes: 1,
            mislocated: 0.0,
            events: Vec::new(),
        };
        let events = match name {
            // A day on which nothing happens; and three hours of it.
            "calm" => {
                scenario.seconds = 86_400;
                vec![]
            }
            "steady" => vec![],
            "mix" => mix(true),
            // As `mix`, but nobody is told of Ashburn's loss.
            "silent" => mix(false),
            "frozen-one" => with(mix(true), [stop(900.0, Some("mumbai"))]),
            "frozen-all" => with(mix(true), [stop(900.0, None)]),
            "partition" => {
                scenario.nodes = 4;
                mix(true)
            }
            "mislocated" => {
                scenario.mislocated = 0.15;
                mix(true)
            }
            "two-deaths" => vec![dies(1800.0, "frankfurt"), dies(1800.0, "singapore")]
                .into_iter()
                .chain([returns(5400.0, "frankfurt"), returns(5400.0, "singapore")])
                .collect(),
            "grey" => vec![
                at(
                    1800.0,
                    Happening::Sick { datacenter: "frankfurt".into(), ms: 150.0, errors: 0.05 },
                ),
                at(
                    5400.0,
                    Happening::Sick { datacenter: "frankfurt".into(), ms: 0.0, errors: 0.0 },
                ),
            ],
            // Forty minutes of 25 seconds down, 50 seconds up.
            "flapping" => (0..32)
                .flat_map(|turn| {
                    let begin = 1800.0 + 75.0 * f64::from(turn);
                    [dies(begin, "frankfurt"), returns(begin + 25.0, "frankfurt")]
                })
                .collect(),
            "attack" => vec![surge(1800.0, "VN", 8.0, 1200.0), surge(6000.0, "VN", 1.0, 60.0)],
            "new" => vec![dies(0.0, "frankfurt"), returns(3600.0, "frankfurt")],
            "panic" => {
                let all =
                    super::world::metros().filter(|name| *name != "tokyo" && *name != "sydney");
                let fail = Happening::ChecksFail { datacenters: all.map(String::from).collect() };
                vec![at(1800.0, fail), at(2400.0, Happening::ChecksRecover)]
            }
            _ => return None,
        };
        scenario.events = events;
        Some(scenario)
    }

    /// The seconds that are forgiven: from each event until its ramp is over, the last answers from
    /// before have expired, and 20 s have been had to notice.
    pub(super) fn forgiven(&self, ttl: f64) -> Vec<(f64, f64)> {
        let window = |event: &Event| (event.at, event.at + event.what.ramp() + ttl + 20.0);
        self.events.iter().map(window).collect()
    }
}

/// A datacenter dies, a country triples, another datacenter loses half its capacity.
fn mix(reported: bool) -> Vec<Event> {
    let capacity = |time, factor| {
        let datacenter = "ashburn".to_string();
        at(time, Happening::Capacity { datacenter, factor, reported })
    };
    vec![
        dies(1800.0, "frankfurt"),
        returns(3600.0, "frankfurt"),
        surge(5400.0, "BR", 3.0, 120.0),
        surge(6600.0, "BR", 1.0, 0.0),
        capacity(8100.0, 0.5),
        capacity(9300.0, 1.0),
    ]
}

fn with(mut events: Vec<Event>, more: impl IntoIterator<Item = Event>) -> Vec<Event> {
    events.extend(more);
    events.sort_by(|a, b| a.at.total_cmp(&b.at));
    events
}

fn at(at: f64, what: Happening) -> Event {
    Event { at, what }
}

fn dies(time: f64, datacenter: &str) -> Event {
    at(time, Happening::Dies { datacenter: datacenter.to_string() })
}

fn returns(time: f64, datacenter: &str) -> Event {
    at(time, Happening::Returns { datacenter: datacenter.to_string() })
}

fn surge(time: f64, country: &str, factor: f64, ramp: f64) -> Event {
    at(time, Happening::Surge { country: country.to_string(), factor, ramp })
}

fn stop(time: f64, datacenter: Option<&str>) -> Event {
    at(time, Happening::ReportsStop { datacenter: datacenter.map(String::from) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_scenario_is_in_order_and_survives_json() {
        for name in NAMES {
            let scenario = Scenario::named(name).unwrap();
            assert!(scenario.events.is_sorted_by(|a, b| a.at <= b.at), "{name}");
            assert!(scenario.events.iter().all(|event| event.at < f64::from(scenario.seconds)));
            let text = serde_json::to_string(&scenario).unwrap();
            assert_eq!(serde_json::from_str::<Scenario>(&text).unwrap(), scenario);
        }
        assert_eq!(Scenario::named("no such"), None);
    }

    #[test]
    fn the_forgiven_seconds_of_mix_are_those_of_its_events() {
        let windows = Scenario::named("mix").unwrap().forgiven(30.0);
        let forgiven: f64 = windows.iter().map(|(from, to)| to - from).sum();
        assert_eq!(forgiven, 6.0 * 50.0 + 120.0);
    }
}
