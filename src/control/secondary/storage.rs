//! Where what a primary has sent is kept over a restart: a master file a zone. The time of its last
//! change says when the primary last confirmed it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use xxhash_rust::xxh3::xxh3_64;

use crate::dns::{Name, Rtype};
use crate::transfer::records::Records;
use crate::transfer::soa::Soa;

/// The largest file that is read, in bytes.
const LIMIT: u64 = 1 << 30;
/// The SOA record stands in so many bytes at the beginning, which are all ASCII.
const HEAD_BYTES: u64 = 8192;
/// The last line of a file: what is cut short is not served.
const END: &str = "; the end\n";
/// The longest name of a file that is taken from the zone's.
const LONGEST_NAME: usize = 200;

/// A zone that was kept.
#[derive(Clone, Debug)]
pub struct Stored {
    /// A master file.
    pub text: String,
    /// Its SOA record.
    pub soa: Soa,
    /// When it was last confirmed.
    pub confirmed: SystemTime,
}

impl Stored {
    /// How long ago it was confirmed. What is in the future was so now.
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.confirmed).unwrap_or_default()
    }

    /// Whether it was confirmed too long ago to be served.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.age(now)
            >= super::Schedule::new(Some((&self.soa, Duration::ZERO)), Duration::ZERO)
                .expires()
                .unwrap_or_default()
    }
}

/// The file of a zone in the directory `storage`.
pub fn path(storage: &Path, origin: &Name) -> PathBuf {
    let mut name = String::new();
    for byte in
        origin.to_string().to_ascii_lowercase().strip_suffix('.').unwrap_or_default().bytes()
    {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    if name.is_empty() {
        name.push('%');
    }
    if name.len() > LONGEST_NAME {
        name.truncate(LONGEST_NAME - 17);
        name.push_str(&format!("%{:016x}", xxh3_64(&origin.to_key())));
    }
    storage.join(name + ".zone")
}

/// Reads what is kept of a zone, if anything is.
///
/// # Errors
/// Why it cannot be used, in words.
pub fn read(path: &Path, origin: &Name) -> Result<Option<Stored>, String> {
    match read_some(path, origin, LIMIT)? {
        Some(stored) if !stored.text.ends_with(END) => {
            Err("its end is missing: it is cut short, or not written by Portolan".into())
        }
        stored => Ok(stored),
    }
}

/// The SOA record of what is kept, if anything is that can be used.
pub fn soa(path: &Path, origin: &Name) -> Option<Soa> {
    read_some(path, origin, HEAD_BYTES).ok()?.map(|stored| stored.soa)
}

fn read_some(path: &Path, origin: &Name, limit: u64) -> Result<Option<Stored>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut text = String::new();
    let read = || -> io::Result<SystemTime> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        file.take(limit).read_to_string(&mut text)?;
        metadata.modified()
    };
    let confirmed = read().map_err(|error| error.to_string())?;
    let first = text.lines().find(|line| !line.starts_with(';')).unwrap_or_default();
    let first = Records::from_text(first).unwrap_or_default();
    let soa = first.iter().find(|record| {
        record.rtype == Rtype::SOA && record.owner.eq_ignore_ascii_case(origin.as_wire())
    });
    match soa.and_then(|soa| Soa::read(soa.rdata)) {
        Some(soa) => Ok(Some(Stored { text, soa, confirmed })),
        None => Err(format!("it does not begin with the SOA record of {origin}")),
    }
}

/// Writes a zone that has just come: beside the file first, then in its place, so that neither a
/// crash nor a full disk loses what it held.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let new = path.with_extension("zone.new");
    let written = write_whole(&new, text).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written?;
    // The new name itself must survive a crash.
    File::open(directory)?.sync_all()
}

/// Notes that what is kept was confirmed just now.
pub fn confirm(path: &Path, now: SystemTime) -> io::Result<()> {
    File::options().append(true).open(path)?.set_modified(now)
}

/// The text that is kept of a zone: its records, the SOA record first.
pub fn text(origin: &Name, records: &Records) -> String {
    let head = format!(
        "; What a primary has sent of {origin} It is written anew whenever the primary has a newer \
         version;\n; the time of the file's last change says when that was last asked.\n"
    );
    head + &records.to_text() + END
}

fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::records::Record;

    fn origin() -> Name {
        "example.com.".parse().unwrap()
    }

    fn zone() -> String {
        let mut records = Records::default();
        let numbers: Vec<u8> =
            [7, 100, 10, 1000, 5_u32].into_iter().flat_map(u32::to_be_bytes).collect();
        let rdata = [&[0, 0][..], &numbers].concat();
        let owner = origin();
        let owner = owner.as_wire();
        records.push(Record { owner, rtype: Rtype::SOA, ttl: 1, rdata: &rdata });
        records.push(Record { owner, rtype: Rtype::A, ttl: 1, rdata: &[198, 51, 100, 1] });
        text(&origin(), &records)
    }

    #[test]
    fn a_zone_is_kept_in_a_directory_that_is_made_and_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(&directory.path().join("a/b"), &origin());
        assert!(path.ends_with("a/b/example.com.zone"));
        assert!(read(&path, &origin()).unwrap().is_none());
        write(&path, &zone()).unwrap();
        let stored = read(&path, &origin()).unwrap().unwrap();
        assert_eq!((stored.text.as_str(), stored.soa.serial), (zone().as_str(), 7));
        let now = SystemTime::now();
        assert!(!stored.is_expired(now));
        assert!(stored.is_expired(now + Duration::from_secs(1001)));
        assert_eq!(stored.age(now - Duration::from_secs(60)), Duration::ZERO);
        let later = now - Duration::from_secs(500);
        confirm(&path, later).unwrap();
        assert_eq!(soa(&path, &origin()), Some(stored.soa));
        let age = read(&path, &origin()).unwrap().unwrap().age(now);
        assert_eq!(age.as_secs(), 500);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_zone_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.zone");
        for text in ["", "; nothing\n", "@ SOA a b 1 2 3 4 5", &zone().replace("example", "sample")]
        {
            fs::write(&path, text).unwrap();
            assert!(read(&path, &origin()).unwrap_err().contains("SOA record"), "{text}");
        }
        let whole = zone();
        for cut in [1, 20, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(read(&path, &origin()).is_err(), "{cut}");
        }
        fs::write(&path, [0xff, b'\n']).unwrap();
        assert!(read(&path, &origin()).is_err());
        assert!(read(directory.path(), &origin()).is_err());
    }

    #[test]
    fn every_zone_has_a_file_of_its_own_in_the_directory() {
        let name = |origin: &str| {
            let path = path(Path::new("kept"), &origin.parse().unwrap());
            assert_eq!(path.parent(), Some(Path::new("kept")));
            path.file_name().unwrap().to_str().unwrap().to_string()
        };
        assert_eq!(name("."), "%.zone");
        assert_eq!(name("Example.COM."), "example.com.zone");
        assert_eq!(name("a/b."), "a%2fb.zone");
        assert_eq!(name(r"\.\.."), "%5c.%5c..zone");
        let long = format!("{0}.{0}.{0}.", "a".repeat(63));
        let other = format!("{0}.{0}.b{1}.", "a".repeat(63), "a".repeat(62));
        let longest =
            |last: &str| format!("{}{last}.", format!("{}.", r"\001".repeat(60)).repeat(4));
        assert_ne!(name(&long), name(&other));
        assert!(name(&longest("a")).len() < 255);
        assert_ne!(name(&longest("a")), name(&longest("b")));
    }
}
