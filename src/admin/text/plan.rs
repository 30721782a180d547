//! The allocation in words.

use super::status::span;
use super::table::{Cell, Tone, lay_out};
use super::{count, word};
use crate::admin::view::plan::{
    Loss, PlanState, PlanView, PlannedDatacenter, PlannedGroup, PlannedPool, PlannedState,
};

/// How the plan is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// With colours, for a terminal.
    pub colours: bool,
    /// With all client groups that were sent, instead of the heaviest.
    pub all: bool,
}

/// So many of the heaviest groups are shown.
const MOST_GROUPS: usize = 20;
/// So many of the groups that are split.
const MOST_SPLIT: usize = 40;

/// The allocation that is served.
pub fn plan(plan: &PlanView, style: Style) -> String {
    let paint = |text: &str, tone: Tone| tone.paint(text, style.colours);
    let mut text = heading(plan, style);
    if !plan.datacenters.is_empty() {
        let rows = plan.datacenters.iter().map(datacenter_row);
        text += &section("DATACENTERS", DATACENTER_HEADS, rows, style);
        text += &inferred(plan, style);
    }
    let losses = plan.datacenters.iter().filter_map(|one| Some((&one.name, one.loss.as_ref()?)));
    let losses: Vec<Vec<Cell>> = losses.map(|(name, loss)| loss_row(name, loss)).collect();
    if !losses.is_empty() {
        text += &section("IF A DATACENTER IS LOST", LOSS_HEADS, losses, style);
    }
    if !plan.pools.is_empty() {
        text += &section("POOLS", POOL_HEADS, plan.pools.iter().map(pool_row), style);
    }
    let names_pool = plan.pools.len() > 1;
    let most = |most: usize| if style.all { usize::MAX } else { most };
    let split: Vec<&PlannedGroup> = plan.groups.iter().filter(|one| one.parts.len() > 1).collect();
    if !split.is_empty() {
        let shown = split.len().min(most(MOST_SPLIT));
        let title = title("CLIENT GROUPS THAT ARE SPLIT", shown, plan.groups_split);
        let rows = split[..shown].iter().map(|group| group_row(group, names_pool));
        text += &section(&title, GROUP_HEADS, rows, style);
    }
    let whole: Vec<&PlannedGroup> = plan.groups.iter().filter(|one| one.parts.len() <= 1).collect();
    if !whole.is_empty() {
        let shown = whole.len().min(most(MOST_GROUPS));
        let total = plan.groups_total.saturating_sub(plan.groups_split);
        let title = title("CLIENT GROUPS", shown, total);
        let rows = whole[..shown].iter().map(|group| group_row(group, names_pool));
        text += &section(&title, GROUP_HEADS, rows, style);
    }
    if !plan.work.promoted.is_empty() {
        let promoted = plan.work.promoted.join(", ");
        text += &format!("\n{} {promoted}\n", paint("groups of their own:", Tone::Soft));
    }
    text
}

const DATACENTER_HEADS: &[&str] =
    &["NAME", "STATE", ">REPORTED", ">PREDICTED", ">PLANNED", ">CAPACITY", ">WALL", ">PRICE"];
const LOSS_HEADS: &[&str] = &["LOST", "WHAT HAPPENS", "FULLEST THEN", "ITS CLIENTS GO TO"];
const POOL_HEADS: &[&str] = &["POOL", ">DEMAND", ">SHARE", ">SPLIT GROUPS"];
const GROUP_HEADS: &[&str] = &["GROUP", ">DEMAND", ">TTL", "SENT TO"];

fn heading(plan: &PlanView, style: Style) -> String {
    let paint = |text: &str, tone: Tone| tone.paint(text, style.colours);
    let (state, tone) = match plan.state {
        PlanState::None => ("there is no plan", Tone::Doubt),
        PlanState::Calm => ("calm: every datacenter is under its wall", Tone::Good),
        PlanState::NearWall => {
            ("a datacenter is at its wall: others take what it cannot", Tone::Doubt)
        }
        PlanState::Overloaded => ("there is more demand than capacity", Tone::Bad),
        PlanState::Panic => ("so much is down at once that it is not believed yet", Tone::Bad),
        PlanState::FailStatic => ("no report is live: the last plan is held", Tone::Bad),
    };
    let mut text = paint(state, tone);
    if let Some(reason) = &plan.reason {
        text += &format!(" ({reason})");
    }
    text.push('\n');
    if plan.state == PlanState::None {
        return text;
    }
    let mut facts = Vec::new();
    let unit = plan.unit.as_deref().map(|unit| format!(" {unit}")).unwrap_or_default();
    facts.push(format!(
        "{}{unit} expected from {}",
        amount(plan.demand),
        groups(plan.groups_total)
    ));
    let work = &plan.work;
    if let Some(age) = plan.age_seconds {
        let took = work.last_solve_seconds * 1e3;
        facts.push(format!("worked out {} ago in {took:.1} ms", span(age)));
    }
    text += &format!("{}\n", facts.join("; "));
    if let (Some(refusal), 1..) = (&work.last_refusal, work.refused_total) {
        let plans = count(work.refused_total as usize, "plan");
        let said = format!("warning: {plans} did not pass the checks; the latest: {refusal}");
        text += &format!("{}\n", paint(&said, Tone::Bad));
    }
    if work.answers_missed_total > 0 {
        let (missed, seen) = (work.answers_missed_total, work.answers_total);
        let said = format!("warning: {missed} answers went by uncounted, {seen} were counted");
        text += &format!("{}\n", paint(&said, Tone::Doubt));
    }
    text
}

fn section(
    title: &str,
    heads: &[&str],
    rows: impl IntoIterator<Item = Vec<Cell>>,
    style: Style,
) -> String {
    let head = |head: &&str| match head.strip_prefix('>') {
        Some(head) => Cell::number(head),
        None => Cell::from(*head),
    };
    let heads = heads.iter().map(|one| head(one).toned(Tone::Soft)).collect();
    let rows: Vec<Vec<Cell>> = std::iter::once(heads).chain(rows).collect();
    format!("\n{title}\n{}", lay_out(2, &rows, style.colours))
}

fn title(what: &str, shown: usize, of: usize) -> String {
    if shown < of {
        format!("{what} (the {shown} heaviest of {of})")
    } else {
        format!("{what} ({of})")
    }
}

fn groups(number: usize) -> String {
    count(number, "client group")
}

/// The datacenters that can take less than they say.
fn inferred(plan: &PlanView, style: Style) -> String {
    let known = plan.datacenters.iter().filter_map(|one| Some((&one.name, one.inferred_capacity?)));
    let said = known.map(|(name, capacity)| {
        let said =
            format!("{name}: its load and utilisation tell a capacity of {}", amount(capacity));
        format!("  {}\n", Tone::Doubt.paint(&said, style.colours))
    });
    said.collect()
}

fn datacenter_row(one: &PlannedDatacenter) -> Vec<Cell> {
    let tone = match one.state {
        PlannedState::Up => Tone::Good,
        PlannedState::Ramping | PlannedState::Draining => Tone::Doubt,
        PlannedState::Down => Tone::Bad,
    };
    let load = |load: f64| {
        let tone = match one.capacity {
            Some(capacity) if load > capacity => Tone::Bad,
            Some(capacity) if load > capacity * one.wall => Tone::Doubt,
            _ => Tone::Plain,
        };
        Cell::number(&amount(load)).toned(tone)
    };
    vec![
        Cell::from(one.name.as_str()),
        Cell::from(word(&one.state).as_str()).toned(tone),
        one.reported_load.map_or_else(|| Cell::number("–").toned(Tone::Doubt), load),
        load(one.predicted_load),
        load(one.planned_load),
        Cell::number(&one.capacity.map_or_else(|| "unlimited".into(), amount)),
        Cell::number(&percent(one.wall)),
        Cell::number(&format!("{:.1} ms", one.price_ms)),
    ]
}

/// What the loss of a datacenter would mean.
fn loss_row(lost: &str, loss: &Loss) -> Vec<Cell> {
    let happens = match loss.survives {
        true => Cell::from("the others take it").toned(Tone::Good),
        false => {
            let (over, part) = (amount(loss.overflow), percent(loss.overflow_fraction));
            Cell::from(&format!("{over} too much, {part} of all")[..]).toned(Tone::Bad)
        }
    };
    let fullest = loss.fullest.as_ref();
    let fullest = fullest.map(|(name, part)| format!("{name}, at {}", percent(*part)));
    let goes_to = loss.goes_to.iter().map(|(name, more)| format!("{name} +{}", amount(*more)));
    vec![
        Cell::from(lost),
        happens,
        Cell::from(&fullest.unwrap_or_default()[..]),
        Cell::from(&goes_to.collect::<Vec<_>>().join(", ")[..]),
    ]
}

fn pool_row(pool: &PlannedPool) -> Vec<Cell> {
    vec![
        Cell::from(format!("{} of {}", pool.pool, pool.zone).as_str()),
        Cell::number(&amount(pool.demand)),
        Cell::number(&percent(pool.share)),
        Cell::number(&pool.groups_split.to_string()),
    ]
}

fn group_row(group: &PlannedGroup, names_pool: bool) -> Vec<Cell> {
    let parts = group.parts.iter().map(|part| match group.parts.len() {
        1 => format!("{} ({:.0} ms)", part.datacenter, part.cost_ms),
        _ => format!("{} {} ({:.0} ms)", part.datacenter, percent(part.share), part.cost_ms),
    });
    let parts = parts.collect::<Vec<_>>().join(", ");
    let name = match names_pool {
        true => format!("{} · {} of {}", group.group, group.pool, group.zone),
        false => group.group.clone(),
    };
    vec![
        Cell::from(name.as_str()),
        Cell::number(&amount(group.demand)),
        Cell::number(&format!("{} s", group.ttl)),
        Cell::from(parts.as_str()),
    ]
}

/// A share in percent: `0.4 %`, `37 %`.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 9.95 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

/// A load: `0`, `3.5`, `81`, `40,000`.
pub fn amount(number: f64) -> String {
    if number.abs() < 9.95 {
        let text = format!("{number:.1}");
        return text.strip_suffix(".0").map_or(text.clone(), String::from);
    }
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0.0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::plan::{PlanWork, PlannedPart};

    fn datacenter(name: &str, load: f64, loss: Option<Loss>) -> PlannedDatacenter {
        PlannedDatacenter {
            name: name.into(),
            state: PlannedState::Up,
            capacity: Some(100.0),
            inferred_capacity: None,
            planned_load: load,
            predicted_load: (load - 1.0).max(0.0),
            reported_load: Some(load - 0.5),
            wall: 0.93,
            price_ms: 12.25,
            loss,
        }
    }

    fn group(name: &str, demand: f64, parts: &[(&str, f64)]) -> PlannedGroup {
        let part = |&(name, share): &(&str, f64)| PlannedPart {
            datacenter: name.into(),
            share,
            cost_ms: 20.0,
        };
        PlannedGroup {
            group: name.into(),
            zone: "example.com.".into(),
            pool: "web".into(),
            demand,
            ttl: 30,
            parts: parts.iter().map(part).collect(),
        }
    }

    fn example() -> PlanView {
        let fullest = |name: &str, part| Some((name.to_string(), part));
        let lost = |survives, overflow: f64, goes_to: &[(&str, f64)], fullest| {
            let overflow_fraction = overflow / 140.0;
            let goes_to = goes_to.iter().map(|(name, more)| (name.to_string(), *more)).collect();
            Some(Loss { survives, overflow, overflow_fraction, goes_to, fullest })
        };
        PlanView {
            state: PlanState::NearWall,
            reason: Some("fra".into()),
            age_seconds: Some(3.25),
            demand: 140.0,
            unit: Some("requests/s".into()),
            datacenters: vec![
                datacenter(
                    "fra",
                    93.0,
                    lost(false, 40.0, &[("iad", 90.0), ("nrt", 3.0)], fullest("iad", 1.4)),
                ),
                datacenter("iad", 47.0, lost(true, 0.0, &[], fullest("fra", 0.9))),
                PlannedDatacenter {
                    state: PlannedState::Down,
                    reported_load: None,
                    capacity: Some(55.0),
                    inferred_capacity: Some(55.0),
                    ..datacenter("nrt", 0.0, None)
                },
            ],
            pools: vec![PlannedPool {
                zone: "example.com.".into(),
                pool: "web".into(),
                demand: 140.0,
                share: 1.0,
                groups_split: 1,
            }],
            groups: vec![
                group("DE", 60.0, &[("fra", 1.0)]),
                group("FR", 40.0, &[("fra", 0.75), ("iad", 0.25)]),
                group("US/CA", 0.25, &[("iad", 1.0)]),
            ],
            groups_total: 200,
            groups_split: 1,
            work: PlanWork { last_solve_seconds: 0.0042, ..PlanWork::default() },
        }
    }

    #[test]
    fn a_plan_is_told_in_tables() {
        let told = plan(&example(), Style::default());
        let wanted = "\
a datacenter is at its wall: others take what it cannot (fra)
140 requests/s expected from 200 client groups; worked out 3.2 s ago in 4.2 ms

DATACENTERS
  NAME  STATE  REPORTED  PREDICTED  PLANNED  CAPACITY  WALL    PRICE
  fra   up           92         92       93       100  93 %  12.2 ms
  iad   up           46         46       47       100  93 %  12.2 ms
  nrt   down          –          0        0        55  93 %  12.2 ms
  nrt: its load and utilisation tell a capacity of 55

IF A DATACENTER IS LOST
  LOST  WHAT HAPPENS              FULLEST THEN   ITS CLIENTS GO TO
  fra   40 too much, 29 % of all  iad, at 140 %  iad +90, nrt +3
  iad   the others take it        fra, at 90 %

POOLS
  POOL                 DEMAND  SHARE  SPLIT GROUPS
  web of example.com.     140  100 %             1

CLIENT GROUPS THAT ARE SPLIT (1)
  GROUP  DEMAND   TTL  SENT TO
  FR         40  30 s  fra 75 % (20 ms), iad 25 % (20 ms)

CLIENT GROUPS (the 2 heaviest of 199)
  GROUP  DEMAND   TTL  SENT TO
  DE         60  30 s  fra (20 ms)
  US/CA     0.2  30 s  iad (20 ms)
";
        assert_eq!(told, wanted);
    }

    #[test]
    fn colours_change_nothing_else() {
        let style = Style { colours: true, all: true };
        let coloured = plan(&example(), style);
        assert!(coloured.contains("\u{1b}[31m"), "what is bad is red");
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once("\u{1b}[") {
            plain += before;
            rest = after.split_once('m').expect("the end of a colour").1;
        }
        plain += rest;
        assert_eq!(plain, plan(&example(), Style { colours: false, all: true }));
    }

    #[test]
    fn without_a_plan_it_is_said_why() {
        let none = PlanView {
            state: PlanState::None,
            reason: Some("no capacity is known".into()),
            age_seconds: None,
            demand: 0.0,
            unit: None,
            datacenters: Vec::new(),
            pools: Vec::new(),
            groups: Vec::new(),
            groups_total: 0,
            groups_split: 0,
            work: PlanWork::default(),
        };
        assert_eq!(plan(&none, Style::default()), "there is no plan (no capacity is known)\n");
    }

    #[test]
    fn amounts_are_short_and_keep_their_size() {
        let said = [0.0, 0.04, 3.5, 9.96, 81.4, 999.6, 40_000.0, 1_234_567.0, -12.0].map(amount);
        assert_eq!(said, ["0", "0", "3.5", "10", "81", "1,000", "40,000", "1,234,567", "-12"]);
        assert_eq!(
            [0.0, 0.004, 0.0994, 0.37, 1.4].map(percent),
            ["0 %", "0.4 %", "9.9 %", "37 %", "140 %"]
        );
    }
}
