//! Zones: from master-file text to a checked, compiled, immutable form in which a look-up does not
//! scan.

mod additional;
mod check;
mod compile;
pub mod contents;
mod digest;
mod directory;
mod entry;
mod findings;
mod generate;
mod include;
pub mod lookup;
mod master_file;
mod name_table;
mod name_text;
mod overlay;
mod rdata;
mod service;
mod tree;
mod ttl;

pub use additional::{Extra, What};
pub use compile::compile;
pub use contents::{Contents, Records};
pub use include::includes;
pub use lookup::{Condition, Delegation, Lookup, NameSearch, Redirection, Zone, Zones};
pub use service::{Hints, Service};

use crate::decide::{DefaultAnswer, PolicyId};
use crate::dns::Name;

/// What a zone is compiled from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The apex.
    pub origin: Name,
    /// The TTL of records that give none, in seconds.
    pub default_ttl: u32,
    /// Master-file texts, read one after another; each begins at the origin. Behind them, in any
    /// order in which a text comes before what it includes, those that they include.
    pub sources: Vec<Source>,
    /// The names whose addresses are decided per client.
    pub steered: Vec<Steered>,
    /// What the sources and the steered names are laid over.
    pub base: Base,
    /// Other servers may take the zone, so that its contents are kept in the form they get.
    pub is_transferred: bool,
}

/// What a zone's own records and steered names are laid over.
#[derive(Clone, Debug, Default)]
pub enum Base {
    /// Nothing: they are all of the zone.
    #[default]
    Nothing,
    /// What a primary has sent: the last of the sources.
    Transferred,
    /// What a primary has not sent yet: the zone has no data.
    Awaited,
    /// What a primary has sent too long ago: the zone has no data any more.
    Expired,
}

impl Settings {
    /// The index of the source that a primary has sent.
    fn transferred(&self) -> Option<usize> {
        matches!(self.base, Base::Transferred).then(|| self.sources.len().checked_sub(1)).flatten()
    }
}

/// A master-file text.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file it was read from.
    pub file: std::path::PathBuf,
    /// Its text (RFC 1035 §5).
    pub text: String,
    /// The `$INCLUDE` that asks for it; none of a text that is read for itself.
    pub included_by: Option<Inclusion>,
}

/// A `$INCLUDE` in a master-file text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The text that it stands in, by index.
    pub source: usize,
    /// The bytes that name the file.
    pub span: std::ops::Range<usize>,
}

/// A name whose addresses are decided per client.
#[derive(Clone, Debug)]
pub struct Steered {
    /// The name.
    pub owner: Name,
    /// What decides.
    pub policy: PolicyId,
    /// The TTL of its negative answers is at most this, in seconds.
    pub ttl: u32,
    /// True when an answer may be a CNAME, so that no other record may stand there.
    pub may_be_cname: bool,
    /// What other servers get for it when they take the zone.
    pub default: Option<DefaultAnswer>,
}

/// Something wrong in a zone, or doubtful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which of the zones given, by index.
    pub zone: usize,
    /// A doubt does not keep the zone from being served.
    pub is_warning: bool,
    /// Where, if it is in one place.
    pub place: Place,
    /// What is wrong, in one line without a full stop.
    pub message: String,
    /// What was expected, or a way out.
    pub help: Option<String>,
}

/// Where a problem is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the zone as a whole.
    Zone,
    /// In one of its sources.
    Source {
        /// Which, by index.
        source: usize,
        /// The bytes of its text.
        span: std::ops::Range<usize>,
    },
    /// At one of its steered names, by index.
    Steered(usize),
}
