//! The file in which overrides survive a restart.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::overrides::{Override, Overrides};

/// The form of the file.
const VERSION: u32 = 1;

/// Where overrides are kept.
#[derive(Clone, Debug)]
pub struct OverrideFile {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Contents {
    version: u32,
    overrides: Vec<Override>,
}

impl OverrideFile {
    /// At that path; the file need not exist.
    pub fn new(path: PathBuf) -> OverrideFile {
        OverrideFile { path }
    }

    /// Reads the overrides that have not ended by `now` (seconds since 1970, UTC). A file that
    /// cannot be understood is put aside, and what is wrong is returned beside no overrides: a
    /// server must start all the same.
    pub fn load(&self, now: u64) -> (Overrides, Option<String>) {
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Default::default(),
            Err(error) => return (Overrides::default(), Some(self.unreadable(&error))),
        };
        match understand(&text) {
            Ok(mut overrides) => {
                overrides.expire(now);
                (overrides, None)
            }
            Err(error) => {
                let aside = self.path.with_extension("json.bad");
                let put = std::fs::rename(&self.path, &aside);
                let put = put.map(|()| format!("; it is kept as {}", aside.display()));
                let put = put.unwrap_or_default();
                (Overrides::default(), Some(self.unreadable(&error) + &put))
            }
        }
    }

    /// Writes all of them: beside the file first, then in its place, so that neither a crash nor a
    /// full disk loses what it held.
    pub fn save(&self, overrides: &Overrides) -> io::Result<()> {
        let contents =
            Contents { version: VERSION, overrides: overrides.list().cloned().collect() };
        let text = serde_json::to_vec_pretty(&contents)?;
        let new = self.path.with_extension("json.new");
        let written = write(&new, &text).and_then(|()| std::fs::rename(&new, &self.path));
        if written.is_err() {
            let _ = std::fs::remove_file(&new);
        }
        written?;
        // The new name itself must survive a crash.
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn unreadable(&self, error: &dyn std::fmt::Display) -> String {
        format!("the overrides in {} cannot be read: {error}", self.path.display())
    }
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text)?;
    file.sync_all()
}

fn understand(text: &[u8]) -> Result<Overrides, String> {
    let contents: Contents = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if contents.version != VERSION {
        return Err(format!("version {} is not {VERSION}", contents.version));
    }
    let mut overrides = Overrides::default();
    for one in contents.overrides {
        overrides.set(one).map_err(|error| error.to_string())?;
    }
    Ok(overrides)
}

#[cfg(test)]
mod tests {
    use super::super::overrides::Action;
    use super::*;

    fn one(target: &str, until: Option<u64>) -> Override {
        Override {
            target: target.parse().unwrap(),
            action: Action::Drain,
            reason: Some("because".into()),
            since: 10,
            until,
        }
    }

    fn some() -> Overrides {
        let mut overrides = Overrides::default();
        overrides.set(one("datacenter/fra", None)).unwrap();
        overrides.set(one("member/example.com/web/iad", Some(100))).unwrap();
        overrides
    }

    #[test]
    fn what_was_saved_is_loaded_but_for_what_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let file = OverrideFile::new(directory.path().join("overrides.json"));
        assert_eq!(file.load(0), Default::default());
        file.save(&some()).unwrap();
        assert_eq!(file.load(99), (some(), None));
        let (left, warning) = file.load(100);
        assert_eq!((left.list().count(), warning), (1, None));
    }

    #[test]
    fn a_file_that_is_cut_or_strange_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("overrides.json");
        let file = OverrideFile::new(path.clone());
        file.save(&some()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for text in [&whole[..whole.len() / 2], b"", b"{\"version\":2,\"overrides\":[]}", b"\xff"] {
            std::fs::write(&path, text).unwrap();
            let (overrides, warning) = file.load(0);
            assert_eq!(overrides, Overrides::default());
            assert!(warning.unwrap().contains("cannot be read"));
            let aside = std::fs::read(directory.path().join("overrides.json.bad")).unwrap();
            assert_eq!(aside, text);
        }
    }

    #[test]
    fn what_cannot_be_written_loses_nothing_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("overrides.json");
        let file = OverrideFile::new(path.clone());
        file.save(&some()).unwrap();
        // The place of the new file is taken by a directory: it cannot be written.
        std::fs::create_dir(directory.path().join("overrides.json.new")).unwrap();
        assert!(file.save(&Overrides::default()).is_err());
        assert_eq!(file.load(0), (some(), None));
    }
}
