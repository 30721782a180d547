//! The directives `$ORIGIN`, `$TTL`, `$INCLUDE` and `$GENERATE`.

use super::{Flaw, Include, Reader, TextRecord, read_ttl};
use crate::zone::entry::{Entries, Entry, Token};
use crate::zone::generate::{MOST_RECORDS, MOST_RECORDS_OF_A_ZONE, Numbers, Template};
use crate::zone::ttl::{self, TtlError};

const INCLUDE: &str = "`$INCLUDE FILE`, or `$INCLUDE FILE ORIGIN`";
const GENERATE: &str =
    "`$GENERATE START-STOP OWNER TYPE DATA`, such as `$GENERATE 1-9 host-$ A 198.51.100.$`";

impl Reader<'_> {
    /// Reads a directive; gives what is to be included, if it says so.
    pub(super) fn read_directive(
        &mut self,
        tokens: &[Token],
        take: &mut impl FnMut(TextRecord<'_>),
    ) -> Result<Option<Include>, Flaw> {
        match self.word(&tokens[0]).to_ascii_uppercase().as_str() {
            "$ORIGIN" => {
                let [name] = arguments(tokens, "`$ORIGIN NAME`")?;
                self.state.origin = self.read_name(name)?;
            }
            "$TTL" => {
                let [argument] = arguments(tokens, "`$TTL TTL`, such as `$TTL 1h`")?;
                let word = self.word(argument);
                let parsed = ttl::parse(word).unwrap_or(Err(TtlError::Malformed));
                self.state.ttl = read_ttl(argument, word, parsed)?;
            }
            "$INCLUDE" => {
                let (file, origin) = match tokens {
                    [_, _, origin] => (&tokens[1], Some(self.read_name(origin)?)),
                    _ => {
                        let [file] = arguments(tokens, INCLUDE)?;
                        (file, None)
                    }
                };
                return Ok(Some(Include { file: file.span.clone(), origin }));
            }
            "$GENERATE" => self.generate(tokens, take)?,
            _ => {
                return Err(Flaw::new(
                    &tokens[0],
                    format!("`{}` is not a directive", self.word(&tokens[0])),
                    "the directives are $ORIGIN, $TTL, $INCLUDE and $GENERATE; an owner that begins with a dollar sign is written `\\$`",
                ));
            }
        }
        Ok(None)
    }

    /// Makes the records of a `$GENERATE`. They stand where the directive stands.
    fn generate(
        &mut self,
        tokens: &[Token],
        take: &mut impl FnMut(TextRecord<'_>),
    ) -> Result<(), Flaw> {
        let [_, range, owner, rest @ ..] = tokens else {
            let last = &tokens[tokens.len() - 1];
            return Err(Flaw::new(last, "$GENERATE ends here", format!("write {GENERATE}")));
        };
        let (Some(first), Some(last)) = (rest.first(), rest.last()) else {
            return Err(Flaw::new(owner, "$GENERATE ends here", format!("write {GENERATE}")));
        };
        let numbers = Numbers::parse(self.word(range)).map_err(|message| {
            Flaw::new(range, message, "write START-STOP or START-STOP/STEP, such as `0-254/2`")
        })?;
        self.count(range, numbers)?;
        let data = Token { span: first.span.start..last.span.end, quoted: false };
        // BIND wants data of several words in quotes, which are not part of them then; `\"` is a
        // quote that is.
        let data_text = match rest.split_last() {
            Some((only, head)) if only.quoted => {
                let head_text = &self.text[first.span.start..only.span.start];
                let inside = &self.text[only.span.start + 1..only.span.end - 1];
                match head.iter().any(|token| token.quoted) || !self.is_head(head) {
                    true => self.word(&data).to_string(),
                    false => head_text.to_string() + &inside.replace("\\\"", "\""),
                }
            }
            _ => self.word(&data).to_string(),
        };
        let owner_form = self.template(owner, self.word(owner), true)?;
        let data_form = self.template(&data, &data_text, data_text == self.word(&data))?;
        let mut line = String::new();
        for number in numbers.iter() {
            line.clear();
            let has_owner = owner_form.write(number, &mut line);
            line.push(' ');
            if !has_owner || !data_form.write(number, &mut line) {
                return Err(Flaw::new(
                    if has_owner { &data } else { owner },
                    format!("{number} and its offset are below zero, which has no such form"),
                    "only decimal numbers have a sign: begin with a greater number",
                ));
            }
            self.read_generated(&line, owner, &data, take)?;
        }
        Ok(())
    }

    /// True when these are at most TTL, class and type, so that one token of data follows.
    fn is_head(&self, tokens: &[Token]) -> bool {
        let Some((rtype, before)) = tokens.split_last() else { return false };
        let is_before = |token: &Token| {
            let word = self.word(token);
            ttl::parse(word).is_some() || super::parse_class(word).is_some()
        };
        super::parse_type(self.word(rtype)).is_some() && before.iter().all(is_before)
    }

    /// Counts the records that will be made.
    fn count(&mut self, range: &Token, numbers: Numbers) -> Result<(), Flaw> {
        let count = numbers.count();
        if count > MOST_RECORDS {
            return Err(Flaw::new(
                range,
                format!("{count} records of one $GENERATE are too many"),
                format!("one makes at most {MOST_RECORDS}: write several"),
            ));
        }
        self.generated = self.generated.saturating_add(count);
        if self.generated > MOST_RECORDS_OF_A_ZONE {
            return Err(Flaw::new(
                range,
                "the zone has too many records that are generated",
                format!(
                    "at most {MOST_RECORDS_OF_A_ZONE} are: write a wildcard, or split the zone"
                ),
            ));
        }
        Ok(())
    }

    /// The template that `text` is; it stands at `token`, and is what stands there if `is_verbatim`.
    fn template<'w>(
        &self,
        token: &Token,
        text: &'w str,
        is_verbatim: bool,
    ) -> Result<Template<'w>, Flaw> {
        Template::parse(text).map_err(|error| {
            let start = token.span.start;
            let span = match is_verbatim {
                true => start + error.span.start..start + error.span.end,
                false => token.span.clone(),
            };
            let help = "write `${OFFSET,WIDTH,BASE}`, where BASE is one of d, o, x, X, n and N";
            Flaw::new(&Token { span, quoted: false }, error.message, help)
        })
    }

    /// Reads one record that was made.
    fn read_generated(
        &mut self,
        line: &str,
        owner: &Token,
        data: &Token,
        take: &mut impl FnMut(TextRecord<'_>),
    ) -> Result<(), Flaw> {
        let state = super::State { owner: None, ..self.state.clone() };
        let rdata = std::mem::take(&mut self.rdata);
        let mut reader = Reader { text: line, apex: self.apex, state, generated: 0, rdata };
        let mut entries = Entries::new(line);
        let mut take = |record: TextRecord<'_>| {
            let (owner_span, rdata_span) = (owner.span.clone(), data.span.clone());
            take(TextRecord { owner_span, rdata_span, ..record });
        };
        let read = match entries.next_entry() {
            Some(Ok(entry)) if !entry.is_indented => {
                let first = &entry.tokens[0];
                let owner_end = first.span.end;
                let read = reader.read_owned(first, &entry, &mut take);
                read.map_err(|flaw| (flaw.span.start < owner_end, flaw.message, flaw.help))
            }
            Some(Err(malformed)) => {
                Err((false, malformed.message.to_string(), Some(malformed.help.to_string())))
            }
            _ => {
                let help = Some(format!("write {GENERATE}"));
                Err((true, "what is generated has no owner".to_string(), help))
            }
        };
        self.rdata = reader.rdata;
        read.map_err(|(is_owner, message, help)| Flaw {
            span: if is_owner { owner.span.clone() } else { data.span.clone() },
            message: format!("{message}, in `{}`, which is generated here", shortened(line)),
            help,
        })
    }

    /// Reads a record that begins with its owner.
    fn read_owned(
        &mut self,
        first: &Token,
        entry: &Entry<'_>,
        take: &mut impl FnMut(TextRecord<'_>),
    ) -> Result<(), Flaw> {
        let name = self.read_owner(first)?;
        self.state.owner = Some(super::Owner { name: Some(name) });
        self.read_record(false, first, &entry.tokens[1..], take)
    }
}

/// The one argument of a directive.
fn arguments<'t>(tokens: &'t [Token], form: &str) -> Result<[&'t Token; 1], Flaw> {
    match tokens {
        [_, argument] => Ok([argument]),
        [_, _, .., extra] => {
            Err(Flaw::new(extra, "this is too much in a directive", format!("write {form}")))
        }
        rest => {
            let span = rest.first().map_or(0..0, |only| only.span.clone());
            let message = "the directive needs a value".to_string();
            Err(Flaw { span, message, help: Some(format!("write {form}")) })
        }
    }
}

/// At most 80 characters of a line.
fn shortened(line: &str) -> String {
    // A string or parentheses may go on over further lines.
    let first = line.lines().next().unwrap_or_default();
    match first.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &first[..end]),
        None if first.len() < line.len() => format!("{first}…"),
        None => first.to_string(),
    }
}
