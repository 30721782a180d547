//! Master-file text (RFC 1035 §5) to records with positions; every error of a text is found.

use std::collections::HashMap;
use std::ops::Range;

use super::entry::{Entries, Entry, Token};
use super::findings::Findings;
use super::rdata;
use super::ttl::{self, TtlError};
use super::{Place, Source, name_text};
use crate::dns::{Name, Rtype};

/// A record as it stands in a text.
#[derive(Debug)]
pub(super) struct TextRecord<'r> {
    /// The owner, at or below the zone's origin.
    pub(super) owner: &'r Name,
    /// Its type: one that may stand in a zone.
    pub(super) rtype: Rtype,
    /// Its TTL, in seconds.
    pub(super) ttl: u32,
    /// Its RDATA, well-formed and uncompressed.
    pub(super) rdata: &'r [u8],
    /// The bytes of its owner in the text, or of its type where the owner before goes on.
    pub(super) owner_span: Range<usize>,
    /// The bytes of its RDATA in the text.
    pub(super) rdata_span: Range<usize>,
}

/// Reads the texts of the zone `apex` and hands over their records, each with the index of its text:
/// one after another, and each that is included where its `$INCLUDE` stands.
pub(super) fn read(
    sources: &[Source],
    apex: &Name,
    default_ttl: u32,
    findings: &mut Findings,
    take: impl FnMut(usize, TextRecord<'_>),
) {
    let mut included = HashMap::new();
    for (index, source) in sources.iter().enumerate() {
        if let Some(by) = &source.included_by {
            included.insert((by.source, by.span.start), index);
        }
    }
    let mut texts = Texts { sources, included, apex, findings, generated: 0, take };
    for (index, source) in sources.iter().enumerate() {
        if source.included_by.is_none() {
            let state = State { origin: apex.clone(), ttl: default_ttl, owner: None };
            texts.read(index, state);
        }
    }
}

/// All texts of a zone, while they are read.
struct Texts<'s, F> {
    sources: &'s [Source],
    /// From a text and the place in it where another is named to the index of that.
    included: HashMap<(usize, usize), usize>,
    apex: &'s Name,
    findings: &'s mut Findings,
    /// How many records `$GENERATE` has made.
    generated: u32,
    take: F,
}

impl<F: FnMut(usize, TextRecord<'_>)> Texts<'_, F> {
    /// Reads a text and what it includes; gives the TTL that holds behind it.
    fn read(&mut self, index: usize, state: State) -> u32 {
        let text = self.sources[index].text.as_str();
        if u32::try_from(text.len()).is_err() {
            let message = "the text is longer than 4 GiB".to_string();
            self.findings.error(Place::Zone, message, "split the zone".to_string());
            return state.ttl;
        }
        let apex = self.apex;
        let mut reader = Reader { text, apex, state, generated: self.generated, rdata: Vec::new() };
        let mut entries = Entries::new(text);
        while let Some(next) = entries.next_entry() {
            let result = match next {
                Ok(entry) => reader.read_entry(&entry, &mut |record| (self.take)(index, record)),
                Err(malformed) => Err(Flaw {
                    span: malformed.span,
                    message: malformed.message.to_string(),
                    help: Some(malformed.help.to_string()),
                }),
            };
            let result = result.and_then(|include| {
                let Some(include) = include else { return Ok(()) };
                self.generated = reader.generated;
                reader.state.ttl = self.include(index, include, &reader.state)?;
                reader.generated = self.generated;
                Ok(())
            });
            if let Err(flaw) = result {
                let place = Place::Source { source: index, span: flaw.span };
                self.findings.error(place, flaw.message, flaw.help);
            }
            if self.findings.is_full() {
                break;
            }
        }
        self.generated = reader.generated;
        reader.state.ttl
    }

    /// Reads the text that the one with index `index` includes. Origin and owner are what they were
    /// afterwards; the TTL stays.
    fn include(&mut self, index: usize, include: Include, state: &State) -> Result<u32, Flaw> {
        match self.included.get(&(index, include.file.start)) {
            // What is included comes later, so that nothing includes itself.
            Some(&included) if included > index => {
                let origin = include.origin.unwrap_or_else(|| state.origin.clone());
                Ok(self.read(included, State { origin, ..state.clone() }))
            }
            _ => Err(Flaw {
                message: "the text to be included is not here".to_string(),
                help: Some("files are included where zones are read from files".to_string()),
                span: include.file,
            }),
        }
    }
}

/// What a `$INCLUDE` asks for.
struct Include {
    /// The bytes that name the file.
    file: Range<usize>,
    /// What relative names in it are relative to, if given.
    origin: Option<Name>,
}

/// What is wrong with an entry.
struct Flaw {
    span: Range<usize>,
    message: String,
    help: Option<String>,
}

impl Flaw {
    fn new(token: &Token, message: impl Into<String>, help: impl Into<String>) -> Flaw {
        Flaw { span: token.span.clone(), message: message.into(), help: Some(help.into()) }
    }
}

/// Reads the entries of one text.
struct Reader<'t> {
    text: &'t str,
    apex: &'t Name,
    state: State,
    /// How many records `$GENERATE` has made in the whole zone.
    generated: u32,
    rdata: Vec<u8>,
}

/// What an entry takes over from those before it.
#[derive(Clone)]
struct State {
    origin: Name,
    ttl: u32,
    owner: Option<Owner>,
}

/// The owner that indented entries belong to.
#[derive(Clone)]
struct Owner {
    /// None when it was refused, and the records with it.
    name: Option<Name>,
}

impl<'t> Reader<'t> {
    fn read_entry(
        &mut self,
        entry: &Entry<'_>,
        take: &mut impl FnMut(TextRecord<'_>),
    ) -> Result<Option<Include>, Flaw> {
        let first = &entry.tokens[0];
        if !entry.is_indented && !first.quoted && self.word(first).starts_with('$') {
            return self.read_directive(entry.tokens, take);
        }
        let rest = if entry.is_indented {
            if self.state.owner.is_none() {
                return Err(Flaw::new(
                    first,
                    "the line begins with a blank, but there is no record before it whose owner could go on",
                    "write the owner at the very beginning of the line; `@` is the origin",
                ));
            }
            entry.tokens
        } else {
            self.state.owner = Some(Owner { name: None });
            let name = self.read_owner(first)?;
            self.state.owner = Some(Owner { name: Some(name) });
            &entry.tokens[1..]
        };
        self.read_record(entry.is_indented, first, rest, take)?;
        Ok(None)
    }

    fn read_owner(&self, token: &Token) -> Result<Name, Flaw> {
        let name = self.read_name(token)?;
        if !name.is_at_or_below(self.apex) {
            let origin = self.apex;
            return Err(Flaw::new(
                token,
                format!("{name} is not in the zone {origin}"),
                format!(
                    "a record belongs to the zone in whose origin its owner ends; names without a final dot are below {}",
                    self.state.origin
                ),
            ));
        }
        Ok(name)
    }

    fn read_record(
        &mut self,
        is_indented: bool,
        first: &Token,
        tokens: &[Token],
        take: &mut impl FnMut(TextRecord<'_>),
    ) -> Result<(), Flaw> {
        let (ttl, type_at, rtype) = self.read_head(is_indented, first, tokens)?;
        let data = &tokens[type_at + 1..];
        if data.is_empty() && !rdata::may_be_empty(rtype) {
            return Err(Flaw::new(
                &tokens[type_at],
                format!("{rtype} is not followed by its data"),
                rdata::expectation(rtype),
            ));
        }
        let data_first = data.first().unwrap_or(&tokens[type_at]);
        let data_last = data.last().unwrap_or(data_first);
        self.rdata.clear();
        rdata::read(rtype, self.text, data, &self.state.origin, &mut self.rdata).map_err(
            |error| Flaw { span: error.span, message: error.message, help: Some(error.help) },
        )?;
        // Where the owner was refused, that was said already.
        if let Some(Owner { name: Some(owner) }) = &self.state.owner {
            take(TextRecord {
                owner,
                rtype,
                ttl: ttl.unwrap_or(self.state.ttl),
                rdata: &self.rdata,
                owner_span: if is_indented {
                    tokens[type_at].span.clone()
                } else {
                    first.span.clone()
                },
                rdata_span: data_first.span.start..data_last.span.end,
            });
        }
        Ok(())
    }

    /// TTL and class, each at most once and in any order, then the type: what was given as TTL,
    /// and which token is the type.
    fn read_head(
        &self,
        is_indented: bool,
        first: &Token,
        tokens: &[Token],
    ) -> Result<(Option<u32>, usize, Rtype), Flaw> {
        let mut ttl = None;
        let mut has_class = false;
        for (at, token) in tokens.iter().enumerate() {
            let word = self.word(token);
            if let Some(seconds) = ttl::parse(word) {
                let seconds = read_ttl(token, word, seconds)?;
                if ttl.replace(seconds).is_some() {
                    return Err(Flaw::new(
                        token,
                        "a second TTL in one record",
                        "a record is written `OWNER TTL CLASS TYPE DATA`; TTL and class may be left out",
                    ));
                }
            } else if let Some(is_in) = parse_class(word) {
                if !is_in || has_class {
                    return Err(Flaw::new(
                        token,
                        if is_in {
                            "a second class in one record"
                        } else {
                            "only class IN is served"
                        },
                        "leave the class out, or write `IN` once",
                    ));
                }
                has_class = true;
            } else {
                return match parse_type(word) {
                    Some(rtype) if may_stand_in_zone(rtype) => Ok((ttl, at, rtype)),
                    Some(rtype) => Err(Flaw::new(
                        token,
                        format!("{rtype} is not a type of records in a zone"),
                        "remove the record",
                    )),
                    None => Err(self.no_type(is_indented && at == 0, first, token)),
                };
            }
        }
        Err(Flaw::new(
            tokens.last().unwrap_or(first),
            "the record ends before its type",
            "a record is written `OWNER TTL CLASS TYPE DATA`; TTL and class may be left out",
        ))
    }

    /// Says what may have been meant where a type was expected.
    fn no_type(&self, looks_like_owner: bool, first: &Token, token: &Token) -> Flaw {
        let word = self.word(token);
        let first = self.word(first);
        let help = if looks_like_owner {
            "the line begins with a blank, so it goes on with the owner before it: remove the blank if this is an owner".to_string()
        } else if let Some(nearest) = nearest_type(word) {
            format!("did you mean `{nearest}`? A type without a name is written `TYPE65400`")
        } else if parse_type(first).is_some() {
            format!(
                "`{first}` at the beginning of a line is an owner: put a blank before it if it is the type"
            )
        } else {
            "a record is written `OWNER TTL CLASS TYPE DATA`; a type without a name is written `TYPE65400`".to_string()
        };
        Flaw::new(token, format!("`{word}` is not a record type"), help)
    }

    fn read_name(&self, token: &Token) -> Result<Name, Flaw> {
        name_text::read(self.text, token, &self.state.origin)
            .map_err(|(message, help)| Flaw::new(token, message, help))
    }

    fn word(&self, token: &Token) -> &'t str {
        &self.text[token.span.clone()]
    }
}

fn read_ttl(token: &Token, word: &str, parsed: Result<u32, TtlError>) -> Result<u32, Flaw> {
    parsed.map_err(|error| match error {
        TtlError::TooLong => Flaw::new(
            token,
            format!("the TTL `{word}` is too long"),
            format!("a TTL is at most {} seconds (RFC 2181 §8)", ttl::MAX_TTL),
        ),
        TtlError::Malformed => Flaw::new(
            token,
            format!("`{word}` is neither a TTL nor a record type"),
            "a TTL is a number of seconds, or numbers with units such as `1h30m`; a record is written `OWNER TTL CLASS TYPE DATA`",
        ),
    })
}

/// Whether the class is IN; none when the word is no class.
fn parse_class(word: &str) -> Option<bool> {
    let is = |class: &str| word.eq_ignore_ascii_case(class);
    if is("IN") || is("CLASS1") {
        return Some(true);
    }
    let generic = word.get(..5).is_some_and(|prefix| prefix.eq_ignore_ascii_case("CLASS"))
        && word.len() > 5
        && word[5..].bytes().all(|byte| byte.is_ascii_digit());
    (is("CH") || is("CS") || is("HS") || generic).then_some(false)
}

/// The type that a word is.
pub(super) fn parse_type(word: &str) -> Option<Rtype> {
    if word.eq_ignore_ascii_case("NSAP-PTR") {
        return Some(Rtype(23));
    }
    let known = word.to_ascii_uppercase().parse::<domain::base::iana::Rtype>().ok();
    known.map(|rtype| Rtype(rtype.to_int())).or_else(|| Rtype::from_mnemonic(word))
}

/// Not the types of queries and of single messages (RFC 6895 §3.1), nor OPT, nor type 0.
fn may_stand_in_zone(rtype: Rtype) -> bool {
    !matches!(rtype.0, 0 | 41 | 128..=255)
}

/// The type that a misspelt one may be.
fn nearest_type(word: &str) -> Option<&'static str> {
    const KNOWN: [&str; 26] = [
        "A", "AAAA", "NS", "CNAME", "SOA", "PTR", "MX", "TXT", "SRV", "CAA", "HTTPS", "SVCB",
        "NAPTR", "TLSA", "SSHFP", "DS", "DNAME", "HINFO", "RP", "LOC", "URI", "SPF", "CDS", "CERT",
        "DNSKEY", "CSYNC",
    ];
    let word = word.to_ascii_uppercase();
    let distance = |known: &&str| strsim::damerau_levenshtein(known, &word);
    let nearest = KNOWN.into_iter().min_by_key(distance)?;
    (distance(&nearest) < nearest.len().min(2 + nearest.len() / 3)).then_some(nearest)
}

mod directives;
#[cfg(test)]
mod tests;
