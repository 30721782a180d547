//! What the names in a zone file stand for: checks, pools, and the names to be steered.

use std::collections::HashMap;

use toml::Spanned;

use crate::config::check::CheckForm;
use crate::config::nearest::nearest;
use crate::config::reader::Reader;
use crate::config::steering::ZoneFile;
use crate::config::zone_file::ZoneForm;
use crate::decide::PoolId;
use crate::dns::Name;

/// The zone whose pools and names are compiled.
pub(super) struct InZone<'f> {
    pub index: usize,
    pub reader: &'f Reader,
    pub form: &'f ZoneForm,
    pub origin: Name,
    pub first_pool: u32,
    pools: HashMap<&'f str, usize>,
    checks: HashMap<&'f str, usize>,
    pool_is_used: Vec<bool>,
    check_is_used: Vec<bool>,
}

impl<'f> InZone<'f> {
    /// The zone of the file with this index, whose pools are numbered from `first_pool` on.
    pub fn new(index: usize, file: &'f ZoneFile, first_pool: u32) -> InZone<'f> {
        let form = &file.form;
        let pools = form.pools.iter().map(|pool| pool.name.get_ref().as_str());
        let checks = form.checks.iter().map(|(name, _)| name.get_ref().as_str());
        InZone {
            index,
            reader: &file.reader,
            form,
            origin: form.origin.as_ref().map_or_else(Name::root, |origin| origin.get_ref().clone()),
            first_pool,
            pools: pools.zip(0..).collect(),
            checks: checks.zip(0..).collect(),
            pool_is_used: vec![false; form.pools.len()],
            check_is_used: vec![false; form.checks.len()],
        }
    }

    /// The check of that name; none if it is unknown, or not to be made out.
    pub fn check(&mut self, name: &Spanned<String>) -> Option<&'f CheckForm> {
        let checks = &self.form.checks;
        if let Some(&at) = self.checks.get(name.get_ref().as_str()) {
            self.check_is_used[at] = true;
            return checks[at].1.as_ref();
        }
        let known: Vec<&str> = checks.iter().map(|(name, _)| name.get_ref().as_str()).collect();
        self.unknown("check", name, &known, format!("add a [checks.{}]", name.get_ref()));
        None
    }

    /// The pool of that name.
    pub fn pool(&mut self, name: &Spanned<String>) -> Option<PoolId> {
        let pools = &self.form.pools;
        if let Some(&at) = self.pools.get(name.get_ref().as_str()) {
            self.pool_is_used[at] = true;
            return Some(PoolId(self.first_pool + at as u32));
        }
        let known: Vec<&str> = pools.iter().map(|pool| pool.name.get_ref().as_str()).collect();
        self.unknown("pool", name, &known, format!("add a [pools.{}]", name.get_ref()));
        None
    }

    /// Reports a name that stands for nothing.
    pub fn unknown(&self, kind: &str, name: &Spanned<String>, known: &[&str], help: String) {
        let error = self.reader.error(name.span(), format!("unknown {kind} `{}`", name.get_ref()));
        self.reader.report(match nearest(name.get_ref(), known.iter().copied()) {
            Some(near) => error.label(format!("did you mean \"{near}\"?")),
            None => error.label(format!("there is no such {kind}")).help(help),
        });
    }

    /// The name itself, which must be in the zone.
    pub fn owner(&self, written: &Spanned<String>) -> Option<Name> {
        let text = written.get_ref();
        let error = match Name::parse_relative(text, &self.origin) {
            Ok(owner) if owner.is_at_or_below(&self.origin) => return Some(owner),
            Ok(_) => {
                let error =
                    self.reader.error(written.span(), format!("`{text}` is not in this zone"));
                error.label(format!("expected a name at or below {}", self.origin))
            }
            Err(why) => {
                let message = format!("`{text}` is not a domain name: {why}");
                self.reader.error(written.span(), message)
            }
        };
        self.reader.report(error);
        None
    }

    /// Warns of pools and checks to which nothing leads, unless an error may be the reason.
    pub fn warn_of_unused(&self) {
        if self.reader.has_errors() {
            return;
        }
        let pools = self.form.pools.iter().map(|pool| &pool.name).zip(&self.pool_is_used);
        let checks = self.form.checks.iter().map(|(name, _)| name).zip(&self.check_is_used);
        let unused = pools.map(|entry| ("pool", entry)).chain(checks.map(|entry| ("check", entry)));
        for (kind, (name, _)) in unused.filter(|(_, (_, used))| !**used) {
            let message = format!("{kind} `{}` is not used", name.get_ref());
            let user = if kind == "pool" { "name" } else { "pool" };
            let warning = self.reader.warning(name.span(), message);
            self.reader.report(warning.label(format!("no {user} leads to it")));
        }
    }
}
