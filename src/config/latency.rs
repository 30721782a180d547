//! The table of measured latencies: a file of comma-separated values, read with every problem's place.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use ipnet::IpNet;

use super::diagnostic::{Diagnostic, Severity};
use super::nearest::{among, nearest};
use super::source::Source;
use crate::decide::DatacenterId;
use crate::decide::latency::Scope;
use crate::geo::{self, Code};

/// A measured latency, in milliseconds.
pub(super) type Measured = (Scope, DatacenterId, f32);

/// The most rows.
const MOST_ROWS: usize = 1_000_000;
/// The most latencies.
const MOST_MEASURED: usize = 10_000_000;
/// The largest latency, in milliseconds.
const MOST_MS: f32 = 60_000.0;
/// After so many errors, the rest of the file is not looked at.
const MOST_ERRORS: usize = 20;

/// Reads the table; `datacenters` by their numbers, none when they could not be made out.
pub(super) fn read(
    source: &Arc<Source>,
    datacenters: Option<&[&str]>,
) -> (Vec<Measured>, Vec<Diagnostic>) {
    let mut table = Reading { source, problems: Vec::new() };
    let measured = table.whole(datacenters);
    (measured, table.problems)
}

/// A file that is being read.
struct Reading<'s> {
    source: &'s Arc<Source>,
    problems: Vec<Diagnostic>,
}

/// A field, without white space and quotes around it.
#[derive(Clone, Copy)]
struct Field<'s> {
    text: &'s str,
    /// Where it stands in the file.
    start: usize,
}

impl Field<'_> {
    fn span(&self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }
}

impl<'s> Reading<'s> {
    fn whole(&mut self, datacenters: Option<&[&str]>) -> Vec<Measured> {
        let source: &'s Source = self.source;
        let mut lines = lines(source.text());
        let Some((start, header)) = lines.next() else {
            let error = Diagnostic::error(self.source, 0..0, "the table of latencies is empty");
            self.problems.push(error.label("expected a header: `client,fra,iad`"));
            return Vec::new();
        };
        let columns = self.header(&fields(header, start), datacenters);
        let mut measured = Vec::new();
        let mut seen: HashMap<Scope, usize> = HashMap::new();
        let (mut row, mut rows) = (Vec::with_capacity(columns.len() + 1), 0);
        for (start, line) in lines {
            rows += 1;
            let errors = self.problems.iter().filter(|p| p.severity == Severity::Error).count();
            let bound = match () {
                _ if rows > MOST_ROWS => format!("there are more than {MOST_ROWS} rows"),
                _ if measured.len() > MOST_MEASURED => {
                    format!("there are more than {MOST_MEASURED} latencies")
                }
                _ if errors >= MOST_ERRORS => "so many errors: the rest was not looked at".into(),
                _ => String::new(),
            };
            if !bound.is_empty() {
                self.error::<()>(start..start + line.len(), bound, "");
                break;
            }
            row.clear();
            row.extend(fields_of(line, start));
            let Some(scope) = self.scope(&row[0]) else { continue };
            match seen.entry(scope.clone()) {
                Entry::Vacant(place) => _ = place.insert(start),
                Entry::Occupied(first) => {
                    let (line, _) = self.source.line_and_column(*first.get());
                    let message = format!("`{}` stands in the table twice", row[0].text);
                    self.error::<()>(row[0].span(), message, &format!("it is in line {line}, too"));
                    continue;
                }
            }
            if row.len() != columns.len() + 1 {
                let (is, wanted) = (row.len(), columns.len() + 1);
                let message = format!("the row has {is} fields, but the header {wanted}");
                let label = "expected one a datacenter; one that was not measured is empty";
                self.error::<()>(start..start + line.len(), message, label);
                continue;
            }
            for (field, column) in row[1..].iter().zip(&columns) {
                if let (Some(ms), Some(datacenter)) = (self.ms(field), column) {
                    measured.push((scope.clone(), *datacenter, ms));
                }
            }
        }
        if rows == 0 {
            let span = start..start + header.len();
            let warning = Diagnostic::warning(self.source, span, "there is nothing in the table");
            self.problems.push(warning.label("no row follows the header"));
        }
        measured
    }

    /// The datacenters of the columns; none for those that are not known.
    fn header(
        &mut self,
        fields: &[Field<'s>],
        datacenters: Option<&[&str]>,
    ) -> Vec<Option<DatacenterId>> {
        if fields[0].text != "client" {
            let message = "the table of latencies has no header";
            self.error::<()>(
                fields[0].span(),
                message,
                "expected `client`, and then the datacenters",
            );
        }
        let mut columns: Vec<Option<DatacenterId>> = Vec::with_capacity(fields.len());
        for field in &fields[1..] {
            let known = datacenters.unwrap_or_default();
            let at = known.iter().position(|name| *name == field.text);
            let id = at.and_then(|at| u16::try_from(at).ok()).map(DatacenterId);
            if id.is_none() && datacenters.is_some() {
                let label = match nearest(field.text, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if known.is_empty() => "there are no datacenters".into(),
                    None => format!("expected one of {}", among(known)),
                };
                self.error::<()>(
                    field.span(),
                    format!("unknown datacenter `{}`", field.text),
                    &label,
                );
            }
            if id.is_some() && columns.contains(&id) {
                let message = format!("datacenter `{}` has two columns", field.text);
                self.error::<()>(field.span(), message, "remove one of them");
            }
            columns.push(id);
        }
        columns
    }

    fn scope(&mut self, field: &Field<'s>) -> Option<Scope> {
        let text = field.text;
        if text.contains('/') || text.contains(':') || text.starts_with(|c: char| c.is_numeric()) {
            if let Some((country, region)) = text.split_once('/')
                && !country.contains([':', '.'])
            {
                let country = self.country(field, country)?;
                if region.is_empty() {
                    return self.error(field.span(), "the region is empty", "expected `US/CA`");
                }
                // A region is the same in capitals.
                return Some(Scope::Region(country, region.to_lowercase().into()));
            }
            return self.prefix(field);
        }
        let number = text.get(..2).filter(|start| start.eq_ignore_ascii_case("as"));
        if let Some(number) = number.and_then(|_| text.get(2..)).filter(|rest| !rest.is_empty()) {
            return match number.parse() {
                Ok(number) if number != 0 => Some(Scope::Asn(number)),
                _ => self.error(
                    field.span(),
                    format!("`{text}` is not the number of an autonomous system"),
                    "expected one such as `AS64500`",
                ),
            };
        }
        self.country(field, text).map(Scope::Country)
    }

    fn prefix(&mut self, field: &Field<'s>) -> Option<Scope> {
        let text = field.text;
        let prefix = text.parse::<IpNet>().ok();
        let Some(prefix) = prefix.or_else(|| text.parse().ok().map(std::net::IpAddr::into)) else {
            let message = format!("`{text}` is not a prefix");
            return self.error(field.span(), message, "expected one such as `203.0.113.0/24`");
        };
        if prefix.trunc() != prefix {
            let message = format!("`{text}` has bits set beyond its length");
            let label = format!("did you mean `{}`?", prefix.trunc());
            return self.error(field.span(), message, &label);
        }
        Some(Scope::Prefix(prefix))
    }

    fn country(&mut self, field: &Field<'s>, text: &str) -> Option<Code> {
        let code = text.parse::<Code>().ok().filter(|code| geo::country(*code).is_some());
        if code.is_none() {
            let message = format!("`{text}` is neither a prefix, nor an AS, nor a country");
            let label = match text.to_ascii_uppercase().as_str() {
                "UK" => "did you mean `GB`?",
                "EL" => "did you mean `GR`?",
                _ => "expected `203.0.113.0/24`, `AS64500`, `US/CA` or `DE`",
            };
            return self.error(field.span(), message, label);
        }
        code
    }

    /// A latency; none if it was not measured, or an error was reported.
    fn ms(&mut self, field: &Field<'s>) -> Option<f32> {
        if field.text.is_empty() {
            return None;
        }
        match field.text.parse::<f32>() {
            Ok(ms) if (0.0..=MOST_MS).contains(&ms) => Some(ms),
            Ok(_) => {
                let message = format!("the latency `{}` is out of range", field.text);
                let label = format!("expected milliseconds from 0 to {MOST_MS}");
                self.error(field.span(), message, &label)
            }
            Err(_) => {
                let message = format!("`{}` is not a latency", field.text);
                self.error(field.span(), message, "expected milliseconds, such as `12.5`")
            }
        }
    }

    fn error<T>(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        label: &str,
    ) -> Option<T> {
        self.problems.push(Diagnostic::error(self.source, span, message).label(label));
        None
    }
}

/// The lines with something in them besides comments, and where each begins.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut next = 0;
    let lines = text.split_inclusive('\n').map(move |line| {
        let start = next;
        next += line.len();
        // A file may begin with a byte order mark.
        let mark =
            if start == 0 && line.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        (start + mark, line[mark..].trim_end_matches(['\n', '\r']))
    });
    lines.filter(|(_, line)| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with('#')
    })
}

fn fields(line: &str, start: usize) -> Vec<Field<'_>> {
    fields_of(line, start).collect()
}

/// The fields of a line; in quotes, a comma is part of one.
fn fields_of(line: &str, start: usize) -> impl Iterator<Item = Field<'_>> {
    let mut is_quoted = false;
    let mut at = start;
    let parts = line.split(move |c| {
        is_quoted ^= c == '"';
        c == ',' && !is_quoted
    });
    parts.map(move |part| {
        let begin = at;
        at += part.len() + 1;
        let text = part.trim();
        let start = begin + (part.len() - part.trim_start().len());
        match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            Some(inner) => Field { text: inner, start: start + 1 },
            None => Field { text, start },
        }
    })
}
