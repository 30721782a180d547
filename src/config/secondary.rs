//! Zones that are taken from a primary: `primary` in a zone file, and what is kept of them.

use std::path::Path;
use std::time::SystemTime;

use super::keys::KeyForm;
use super::peer;
use super::steering::ZoneFile;
use crate::control::SecondarySettings;
use crate::control::secondary::{Kept, Primary, storage};
use crate::transfer::Keys;
use crate::transfer::announcers::{Announcer, Announcers};
use crate::zone::{self, Base};

/// Where zones are kept, and the keys that are shared with their primaries.
pub(super) struct Secondary<'f> {
    pub storage: &'f Path,
    pub keys: &'f Keys,
    pub key_forms: &'f [KeyForm],
}

impl Secondary<'_> {
    /// Puts what is kept of a zone below `overlay`, which is what its file says. None when the
    /// zone is not taken from a primary, or an error was reported.
    pub fn lay(&self, file: &ZoneFile, overlay: &mut zone::Settings) -> Option<SecondarySettings> {
        let (reader, form) = (&file.reader, &file.form);
        let first = form.primaries.first()?;
        overlay.base = Base::Awaited;
        let primaries: Option<Vec<Primary>> = form
            .primaries
            .iter()
            .map(|form| {
                let key = match &form.key {
                    Some(name) => Some(peer::key(name, self.keys, self.key_forms, reader)?),
                    None => None,
                };
                Some(Primary { address: form.address, key })
            })
            .collect();
        let path = storage::path(self.storage, &overlay.origin);
        let own = overlay.clone();
        let origin = &own.origin;
        let warn = |message: String, label: &str| {
            reader.report(reader.warning(first.span.clone(), message).label(label));
        };
        let awaited = "it is answered with SERVFAIL until its primary has sent it";
        let mut kept = None;
        match storage::read(&path, origin) {
            Ok(Some(stored)) => {
                let is_expired = stored.is_expired(SystemTime::now());
                let storage::Stored { text, soa, confirmed } = stored;
                kept = Some(Kept { soa, confirmed, is_expired });
                if is_expired {
                    overlay.base = Base::Expired;
                    let message = format!("what is kept of {origin} has expired");
                    warn(message, "it is answered with SERVFAIL until its primary confirms it");
                } else {
                    overlay.base = Base::Transferred;
                    let source = zone::Source { file: path.clone(), text, included_by: None };
                    overlay.sources.push(source);
                }
            }
            Ok(None) => {
                warn(format!("nothing is kept of {origin} so far"), awaited);
            }
            Err(why) => {
                warn(format!("{} cannot be used: {why}", path.display()), awaited);
            }
        }
        Some(SecondarySettings { overlay: own, primaries: primaries?, file: path, kept })
    }
}

/// The primaries, as those who may announce new versions.
pub(super) fn announcers(zones: &[SecondarySettings]) -> Announcers {
    let announcer =
        |primary: &Primary| Announcer { address: primary.address.ip(), key: primary.key.clone() };
    let zones = zones.iter();
    zones
        .map(|zone| (&zone.overlay.origin, zone.primaries.iter().map(announcer).collect()))
        .collect()
}
