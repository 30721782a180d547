//! A log of queries: who asks how much.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

use super::world::Group;
use crate::decide::Groups;
use crate::geo;

const LONGEST_LINE: u64 = 1 << 16;
const EXPECTED: &str = "expected `time,subnet` or `time,subnet,name`, or JSON like \
                        {\"time\": 12.0, \"subnet\": \"203.0.113.0/24\"}";

/// How often each client asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryLog {
    queries: HashMap<IpAddr, u64>,
}

#[derive(Deserialize)]
struct Form {
    #[serde(default)]
    query: Option<Asked>,
    #[serde(flatten)]
    asked: Option<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    subnet: String,
    #[serde(default)]
    name: Option<String>,
}

impl QueryLog {
    /// Reads a log: a line a query, as `time,subnet[,name]` or as JSON, the lines that
    /// [`Drive`](super::drive::Drive) takes among them; reports and what checks say are passed over.
    /// Only queries for `name` count, if one is given. A first line of words is a heading.
    ///
    /// # Errors
    ///
    /// The number of the first line that is none, and what was expected.
    pub fn read(input: &mut impl BufRead, name: Option<&str>) -> Result<QueryLog, String> {
        let bare = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
        let wanted = name.map(bare);
        let (mut log, mut line) = (QueryLog::default(), String::new());
        for number in 1.. {
            line.clear();
            let fail = |what: &str| format!("line {number}: {what}; {EXPECTED}");
            let told = |error: io::Error| fail(&error.to_string());
            if input.by_ref().take(LONGEST_LINE).read_line(&mut line).map_err(told)? == 0 {
                break;
            }
            let text = line.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (subnet, name) = match text.starts_with('{') {
                true => match json(text).map_err(|error| fail(&error))? {
                    Some(Asked { subnet, name }) => (subnet, name),
                    None => continue,
                },
                false => {
                    let mut fields = text.split(',').map(str::trim);
                    let (time, subnet) = (fields.next(), fields.next());
                    let is_time = time.is_some_and(|time| time.parse::<f64>().is_ok());
                    match subnet {
                        _ if !is_time && number == 1 => continue,
                        Some(subnet) if is_time => {
                            (subnet.to_string(), fields.next().map(String::from))
                        }
                        _ => return Err(fail("no query")),
                    }
                }
            };
            let net = subnet.parse::<IpNet>().map(|net| net.network());
            let Ok(client) = net.or_else(|_| subnet.parse::<IpAddr>()) else {
                return Err(fail(&format!("`{subnet}` is not a subnet")));
            };
            let named = name.as_deref().map(bare);
            if wanted.is_none() || named.is_none() || wanted == named {
                *log.queries.entry(client).or_default() += 1;
            }
        }
        Ok(log)
    }

    /// How many queries there are.
    pub fn total(&self) -> u64 {
        self.queries.values().sum()
    }

    /// The clients by group, and how many queries are of clients whose place is not known. A group's
    /// peak is its number of queries.
    pub fn groups(&self, world: &geo::World, groups: &Groups) -> (Vec<Group>, u64) {
        let (mut counts, mut lost) = (vec![0; groups.list().len()], 0);
        for (client, count) in &self.queries {
            let group = groups.group_of(world, *client);
            match groups.group(group).location.coordinates {
                Some(_) => counts[group.0 as usize] += count,
                None => lost += count,
            }
        }
        let asking = groups.list().iter().zip(counts).filter(|(_, count)| *count > 0);
        let placed = asking.filter_map(|(group, count)| {
            let country = group.location.country.as_ref().map(|country| country.as_str());
            Some(Group {
                name: group.name.to_string(),
                country: country.unwrap_or_default().to_string(),
                at: group.location.coordinates?,
                peak: count as f64,
            })
        });
        (placed.collect(), lost)
    }
}

/// The query of a JSON line; none where it is something else that may stand there.
fn json(text: &str) -> Result<Option<Asked>, String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if value.get("report").is_some() || value.get("health").is_some() {
        return Ok(None);
    }
    let form: Form = serde_json::from_value(value).map_err(|error| error.to_string())?;
    form.query.or(form.asked).map(Some).ok_or_else(|| "no query".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, name: Option<&str>) -> Result<QueryLog, String> {
        QueryLog::read(&mut text.as_bytes(), name)
    }

    #[test]
    fn lines_of_every_kind_are_counted_by_client() {
        let text = "time,subnet,name\n\
                    1.5,203.0.113.7/24,www.example.com\n\
                    2,203.0.113.0/24\n\
                    {\"time\": 3, \"subnet\": \"2001:db8::/56\", \"name\": \"WWW.example.com.\"}\n\
                    {\"time\": 3, \"query\": {\"name\": \"other.example.com\", \"subnet\": \"203.0.113.0/24\"}}\n\
                    {\"time\": 3, \"report\": {\"datacenter\": \"fra\", \"load\": 1}}\n\n";
        let log = read(text, None).unwrap();
        assert_eq!(log.total(), 4);
        assert_eq!(log.queries[&"203.0.113.0".parse::<IpAddr>().unwrap()], 3);
        assert_eq!(read(text, Some("www.example.com.")).unwrap().total(), 3);
    }

    #[test]
    fn a_line_that_is_no_query_is_told_with_its_number() {
        for (text, said) in [
            ("1,203.0.113.0/24\nfra,203.0.113.0/24\n", "line 2: no query; expected"),
            ("1,here\n", "line 1: `here` is not a subnet; expected"),
            ("1\n", "line 1: no query"),
            ("{\"time\": 1}\n", "line 1: no query"),
            ("{\"time\": \n", "line 1: EOF"),
        ] {
            let error = read(text, None).unwrap_err();
            assert!(error.starts_with(said), "{text}: {error}");
        }
    }
}
