//! Configurations as large as they come: fifty datacenters on a database of millions of networks,
//! and a hundred thousand names.

use std::fmt::Write;

use fastrand::Rng;

/// A configuration's files, but for what names the server's addresses.
pub struct Files {
    /// The rest of `portolan.toml`.
    pub server: String,
    /// `city.mmdb`, if it is used.
    pub database: Option<Vec<u8>>,
    /// The zone files by their names.
    pub zones: Vec<(String, String)>,
}

/// A database, and names in `example.com` that are steered over so
/// many datacenters: `nearest`, `capacity`, `hash`, and by `rules`. The member in `dcN` is answered
/// as 203.0.113.N and 2001:db8::N (in hexadecimal).
pub fn steered(database: Vec<u8>, datacenters: u8) -> Files {
    let mut lots = Rng::with_seed(u64::from(datacenters));
    let mut server = "[geoip]\ndatabases = [\"city.mmdb\"]\n".to_string();
    let mut members = String::new();
    for number in 1..=datacenters {
        let (north, east) = (lots.f64() * 110.0 - 45.0, lots.f64() * 360.0 - 180.0);
        let _ = writeln!(
            server,
            "[datacenters.dc{number}]\n\
             location = {{ latitude = {north:.2}, longitude = {east:.2} }}"
        );
        let _ = writeln!(
            members,
            "{{ datacenter = \"dc{number}\", \
             addresses = [\"203.0.113.{number}\", \"2001:db8::{number:x}\"] }},"
        );
    }
    let mut zone = records("example.com.", 0);
    for steer in ["nearest", "capacity", "hash"] {
        let _ = write!(
            zone,
            "[pools.{steer}]\nsteer = \"{steer}\"\nmembers = [\n{members}]\n\
             [names.{steer}]\npool = \"{steer}\"\n"
        );
    }
    zone += r#"
[names.rules]
rules = [
  { match = { country = ["DE", "FR"] }, pool = "hash" },
  { match = { continent = "EU" }, pool = "nearest" },
  { match = { network = ["198.51.100.0/24", "2001:db8::/32"] }, pool = "hash" },
  { pool = "capacity" },
]
"#;
    Files { server, database: Some(database), zones: vec![("example.com.toml".into(), zone)] }
}

/// So many zones of so many names each: `host-N.zoneM.example`.
pub fn names(zones: usize, names: usize) -> Files {
    let zones = (0..zones).map(|number| {
        let origin = format!("zone{number}.example.");
        (format!("zone{number}.toml"), records(&origin, names))
    });
    Files { server: String::new(), database: None, zones: zones.collect() }
}

/// The beginning of a zone file: its records.
fn records(origin: &str, names: usize) -> String {
    let mut text = format!(
        "origin = \"{origin}\"\nrecords = \"\"\"\n\
         @ SOA ns1 hostmaster 1 2h 15m 2w 5m\n@ NS ns1\nns1 A 198.51.100.53\n"
    );
    for number in 0..names {
        let last = number % 256;
        let _ = match number % 4 {
            0 => writeln!(
                text,
                "host-{number} A 198.51.100.{last}\nhost-{number} AAAA 2001:db8::{last:x}"
            ),
            1 => writeln!(text, "host-{number} MX 10 mail.example.net."),
            2 => writeln!(text, "host-{number} TXT \"number {number}\""),
            _ => writeln!(text, "a.b.host-{number} 1h A 203.0.113.{last}"),
        };
    }
    text + "\"\"\"\n"
}
