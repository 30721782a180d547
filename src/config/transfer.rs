//! `[transfer]` of a zone file: who may take the zone, and who is told when it changes.

use ipnet::IpNet;
use toml::Spanned;

use super::keys::KeyForm;
use super::peer::{self, PeerForm};
use super::reader::{Reader, Table};
use super::zone_file::prefix;
use crate::transfer::{Access, Keys, NotifyTarget, ZoneTransfer};

/// What it says, so far as it could be made out.
#[derive(Debug)]
pub(super) struct TransferForm {
    pub allow: Vec<IpNet>,
    pub key: Option<Spanned<String>>,
    pub notify: Vec<PeerForm>,
}

/// Reads it.
pub(super) fn read(mut table: Table<'_>) -> TransferForm {
    let allow = table.take("allow");
    let allowed = allow.as_ref().map(|value| value.one_or_more()).unwrap_or_default();
    if let Some(value) = allow.filter(|_| allowed.is_empty()) {
        let error = value.error("`allow` is empty, so that nobody may take the zone");
        value.reject::<()>(error.label("expected at least one address or prefix, or no such key"));
    }
    let key = table.take("key").and_then(|value| value.filled_text());
    let notify = table.take("notify").map(|value| peer::read_all(&value)).unwrap_or_default();
    let form = TransferForm { allow: allowed.iter().filter_map(prefix).collect(), key, notify };
    if allowed.is_empty() && form.key.is_none() && !table.reader().has_errors() {
        let reader = table.reader();
        let warning = reader.warning(table.span(), "[transfer] lets nobody take the zone");
        let warning = warning.label("expected `allow` or `key`");
        reader.report(warning.help("add `allow = [\"198.51.100.53\"]`"));
    }
    table.finish();
    form
}

/// With the keys that it names; what is wrong is reported.
pub(super) fn compile(
    form: &TransferForm,
    keys: &Keys,
    key_forms: &[KeyForm],
    reader: &Reader,
) -> ZoneTransfer {
    let key_of = |name: &Spanned<String>| peer::key(name, keys, key_forms, reader);
    let key = form.key.as_ref().and_then(key_of);
    let target = |form: &PeerForm| NotifyTarget {
        address: form.address,
        key: form.key.as_ref().and_then(key_of),
    };
    ZoneTransfer {
        access: Access { allow: form.allow.clone().into(), key },
        notify: form.notify.iter().map(target).collect(),
    }
}
