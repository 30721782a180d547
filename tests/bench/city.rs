//! A database as large as the largest of the GeoIP2 City kind, made from nothing but chance: the
//! same shape of records, as many of them, and networks of every size, crowded here and there.

use fastrand::Rng;

/// Cities; each has a few records that differ in postal code and accuracy.
const CITIES: usize = 120_000;
const RECORDS_A_CITY: usize = 3;
const COUNTRIES: usize = 240;
/// Languages in which a name is given.
const LANGUAGES: [&str; 8] = ["de", "en", "es", "fr", "ja", "pt-BR", "ru", "zh-CN"];
const RECORD_BITS: usize = 28;

/// A database with about so many networks, two thirds of them IPv4. The same number gives the same
/// database.
pub fn city(networks: usize) -> Vec<u8> {
    let mut lots = Rng::with_seed(networks as u64);
    let records = (networks / 10).clamp(100, CITIES * RECORDS_A_CITY);
    let (data, offsets) = records_of(records / RECORDS_A_CITY, &mut lots);
    let mut tree = Tree::new();
    fill_v4(&mut tree, networks * 2 / 3, offsets.len(), &mut lots);
    fill_v6(&mut tree, networks / 3, offsets.len(), &mut lots);
    tree.write(&data, &offsets)
}

/// The IPv4 space in even parts, most of them one network, others cut into up to 256.
fn fill_v4(tree: &mut Tree, networks: usize, records: usize, lots: &mut Rng) {
    const CUTS: [(f64, u8); 4] = [(0.20, 2), (0.05, 4), (0.01, 6), (0.003, 8)];
    let more: f64 = CUTS.iter().map(|(share, bits)| share * f64::from((1 << bits) - 1)).sum();
    let parts = (networks as f64 / (1.0 + more)).log2().ceil().clamp(4.0, 24.0);
    let len = parts as u8;
    // The share of parts that may be cut, so that the number comes out.
    let crowded = (networks as f64 / parts.exp2() - 1.0) / more;
    let mut home = 0;
    for part in 0..1u128 << len {
        if lots.u8(..100) < 2 {
            home = lots.usize(..records);
        }
        let mut lot = lots.f64() / crowded;
        let cut = CUTS.iter().find(|(share, _)| {
            lot -= share;
            lot < 0.0
        });
        let bits = cut.map_or(0, |(_, bits)| *bits);
        for piece in 0..1u128 << bits {
            let network = (part << bits | piece) << (32 - len - bits);
            if lots.u8(..20) > 0 {
                tree.insert(network, 96 + len + bits, near_home(home, records, lots));
            }
        }
    }
}

/// Networks under 2000::/3: allocations of /32, some whole, some in many parts.
fn fill_v6(tree: &mut Tree, networks: usize, records: usize, lots: &mut Rng) {
    let mut left = networks as i64;
    let mut high: u128 = 0x2001_0db9;
    while left > 0 {
        let base = high << 96;
        let home = lots.usize(..records);
        let (len, parts) = match lots.u8(..10) {
            0..5 => (32, 1),
            5..8 => (40, lots.u32(2..64)),
            8 => (48, lots.u32(2..400)),
            _ => (56, lots.u32(2..400)),
        };
        for part in 0..parts {
            let step = 1u128 << (128 - u32::from(len));
            let spread = if len == 56 { 3 } else { 1 };
            let record = near_home(home, records, lots);
            tree.insert(base + step * u128::from(part * spread), len, record);
        }
        left -= i64::from(parts);
        high += lots.u128(1..4);
    }
}

/// Neighbours are often at the same place, or near; but as often anywhere.
fn near_home(home: usize, records: usize, lots: &mut Rng) -> usize {
    match lots.u8(..3) {
        0 => home,
        1 => (home + lots.usize(..30)) % records,
        _ => lots.usize(..records),
    }
}

/// The data section, and where in it each record begins.
fn records_of(cities: usize, lots: &mut Rng) -> (Vec<u8>, Vec<u32>) {
    let mut data = Data::default();
    let continents: Vec<u32> = ["AF", "AN", "AS", "EU", "NA", "OC", "SA"]
        .iter()
        .map(|code| {
            let at = data.begin_map(3);
            data.key("code");
            data.text(code);
            data.key("geoname_id");
            data.number(lots.u32(..10_000_000));
            data.key("names");
            data.names(code);
            at
        })
        .collect();
    let countries: Vec<u32> = (0..COUNTRIES)
        .map(|number| {
            let at = data.begin_map(3);
            data.key("geoname_id");
            data.number(lots.u32(..10_000_000));
            data.key("iso_code");
            let letters = [b'A' + (number / 26) as u8, b'A' + (number % 26) as u8];
            data.text(&String::from_utf8_lossy(&letters));
            data.key("names");
            data.names(&format!("Country {number}"));
            at
        })
        .collect();
    let mut offsets = Vec::with_capacity(cities * RECORDS_A_CITY);
    for number in 0..cities {
        let country = number * COUNTRIES / cities;
        let at_city = data.begin_map(2);
        data.key("geoname_id");
        data.number(lots.u32(..10_000_000));
        data.key("names");
        data.names(&format!("City {number}"));
        let region = data.begin_map(3);
        data.key("geoname_id");
        data.number(lots.u32(..10_000_000));
        data.key("iso_code");
        data.text(&format!("R{}", number % 20));
        data.key("names");
        data.names(&format!("Region {}", number % 20));
        let (latitude, longitude) = (lots.f64() * 120.0 - 50.0, lots.f64() * 360.0 - 180.0);
        for part in 0..RECORDS_A_CITY {
            offsets.push(data.begin_map(7));
            data.key("city");
            data.pointer(at_city);
            data.key("continent");
            data.pointer(continents[country % 7]);
            data.key("country");
            data.pointer(countries[country]);
            data.key("location");
            data.begin_map(4);
            data.key("accuracy_radius");
            data.number([5, 20, 100][part]);
            data.key("latitude");
            data.double((latitude * 1e4).round() / 1e4);
            data.key("longitude");
            data.double((longitude * 1e4).round() / 1e4);
            data.key("time_zone");
            data.text("Europe/Somewhere");
            data.key("postal");
            data.begin_map(1);
            data.key("code");
            data.text(&format!("{:05}", number * RECORDS_A_CITY + part));
            data.key("registered_country");
            data.pointer(countries[country]);
            data.key("subdivisions");
            data.head(11, 1);
            data.pointer(region);
        }
    }
    (data.bytes, offsets)
}

/// A data section under construction; keys are written once and pointed to, as MaxMind does.
#[derive(Default)]
struct Data {
    bytes: Vec<u8>,
    keys: std::collections::HashMap<String, u32>,
}

impl Data {
    fn head(&mut self, kind: u8, size: usize) {
        let (inline, more) = if size < 29 { (size as u8, None) } else { (29, Some(size - 29)) };
        match kind {
            ..8 => self.bytes.push(kind << 5 | inline),
            _ => self.bytes.extend([inline, kind - 7]),
        }
        self.bytes.extend(more.map(|more| u8::try_from(more).expect("a short value")));
    }

    fn begin_map(&mut self, fields: usize) -> u32 {
        let at = self.bytes.len() as u32;
        self.head(7, fields);
        at
    }

    fn key(&mut self, key: &str) {
        match self.keys.get(key) {
            Some(&at) => self.pointer(at),
            None => {
                self.keys.insert(key.into(), self.bytes.len() as u32);
                self.text(key);
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.head(2, text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, number: u32) {
        self.head(6, 4);
        self.bytes.extend(number.to_be_bytes());
    }

    fn double(&mut self, number: f64) {
        self.head(3, 8);
        self.bytes.extend(number.to_be_bytes());
    }

    fn pointer(&mut self, to: u32) {
        self.bytes.push(1 << 5 | 3 << 3);
        self.bytes.extend(to.to_be_bytes());
    }

    fn names(&mut self, name: &str) {
        self.head(7, LANGUAGES.len());
        for language in LANGUAGES {
            self.key(language);
            self.text(name);
        }
    }
}

/// A search tree under construction.
struct Tree {
    nodes: Vec<[u32; 2]>,
}

/// No network here.
const EMPTY: u32 = u32::MAX;
/// Set on the number of a record.
const RECORD: u32 = 1 << 31;

impl Tree {
    fn new() -> Tree {
        Tree { nodes: vec![[EMPTY; 2]] }
    }

    /// Gives a network that overlaps no other a record.
    fn insert(&mut self, bits: u128, len: u8, record: usize) {
        let mut node = 0;
        for depth in 0..len {
            let side = (bits >> (127 - depth) & 1) as usize;
            let to = self.nodes[node][side];
            if depth + 1 == len {
                assert!(to == EMPTY, "networks overlap");
                self.nodes[node][side] = RECORD | record as u32;
            } else if to == EMPTY {
                let next = self.nodes.len();
                self.nodes.push([EMPTY; 2]);
                self.nodes[node][side] = next as u32;
                node = next;
            } else {
                node = to as usize;
            }
        }
    }

    fn write(&self, data: &[u8], offsets: &[u32]) -> Vec<u8> {
        let nodes = self.nodes.len() as u32;
        let number = |to: u32| match to {
            EMPTY => nodes,
            to if to & RECORD != 0 => nodes + 16 + offsets[(to & !RECORD) as usize],
            to => to,
        };
        let mut bytes = Vec::with_capacity(self.nodes.len() * 7 + data.len() + 1000);
        for node in &self.nodes {
            let [left, right] = node.map(number);
            assert!(left >> RECORD_BITS == 0 && right >> RECORD_BITS == 0, "too large");
            bytes.extend_from_slice(&left.to_be_bytes()[1..]);
            bytes.push((left >> 24 << 4 | right >> 24) as u8);
            bytes.extend_from_slice(&right.to_be_bytes()[1..]);
        }
        bytes.extend_from_slice(&[0; 16]);
        bytes.extend_from_slice(data);
        bytes.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
        let mut metadata = Data::default();
        metadata.begin_map(9);
        let short = |metadata: &mut Data, key: &str, number: u16| {
            metadata.text(key);
            metadata.head(5, 2);
            metadata.bytes.extend(number.to_be_bytes());
        };
        short(&mut metadata, "binary_format_major_version", 2);
        short(&mut metadata, "binary_format_minor_version", 0);
        short(&mut metadata, "ip_version", 6);
        short(&mut metadata, "record_size", RECORD_BITS as u16);
        metadata.text("build_epoch");
        metadata.head(9, 8);
        metadata.bytes.extend(1u64.to_be_bytes());
        metadata.text("database_type");
        metadata.text("GeoIP2-City");
        metadata.text("description");
        metadata.begin_map(1);
        metadata.text("en");
        metadata.text("by chance");
        metadata.text("languages");
        metadata.head(11, LANGUAGES.len());
        LANGUAGES.iter().for_each(|language| metadata.text(language));
        metadata.text("node_count");
        metadata.number(nodes);
        bytes.extend(metadata.bytes);
        bytes
    }
}
