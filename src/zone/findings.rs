//! Collects what is wrong in one zone.

use super::{Place, Problem};

/// So many errors, and so many warnings, are told of one zone.
const TOLD: usize = 100;

/// The problems of one zone.
#[derive(Debug)]
pub(super) struct Findings {
    zone: usize,
    problems: Vec<Problem>,
    errors: usize,
    warnings: usize,
    /// The source in which errors are warnings.
    transferred: Option<usize>,
}

impl Findings {
    /// Nothing found yet in the zone with this index.
    pub(super) fn new(zone: usize) -> Findings {
        Findings { zone, problems: Vec::new(), errors: 0, warnings: 0, transferred: None }
    }

    /// From now on nothing in this source keeps the zone from being served: a primary has sent it.
    pub(super) fn forgive(&mut self, source: usize) {
        self.transferred = Some(source);
    }

    /// Something that keeps the zone from being served, unless it comes from a primary.
    pub(super) fn error(&mut self, place: Place, message: String, help: impl Into<Option<String>>) {
        if matches!(place, Place::Source { source, .. } if self.transferred == Some(source)) {
            return self.warning(place, message, help);
        }
        self.errors += 1;
        if self.errors <= TOLD {
            self.push(false, place, message, help.into());
        }
    }

    /// Something doubtful.
    pub(super) fn warning(
        &mut self,
        place: Place,
        message: String,
        help: impl Into<Option<String>>,
    ) {
        self.warnings += 1;
        if self.warnings <= TOLD {
            self.push(true, place, message, help.into());
        }
    }

    /// Something that is missing: an error, unless a primary could have taken it away.
    pub(super) fn lack(&mut self, place: Place, message: String, help: impl Into<Option<String>>) {
        self.error_unless(self.transferred.is_some(), place, message, help);
    }

    /// An error, or a warning if it is forgiven.
    pub(super) fn error_unless(
        &mut self,
        is_forgiven: bool,
        place: Place,
        message: String,
        help: impl Into<Option<String>>,
    ) {
        match is_forgiven {
            true => self.warning(place, message, help),
            false => self.error(place, message, help),
        }
    }

    /// True when the zone cannot be served.
    pub(super) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// True when no further error would be told.
    pub(super) fn is_full(&self) -> bool {
        self.errors > TOLD
    }

    /// The problems, in the order of their places: the zone, its texts, its steered names.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| match &problem.place {
            Place::Zone => (0, 0, 0),
            Place::Source { source, span } => (1, *source, span.start),
            Place::Steered(index) => (2, *index, 0),
        });
        for (count, is_warning, kind) in
            [(self.errors, false, "errors"), (self.warnings, true, "warnings")]
        {
            if count > TOLD {
                let message = format!("the zone has more {kind} than these {TOLD}");
                self.push(is_warning, Place::Zone, message, None);
            }
        }
        self.problems
    }

    fn push(&mut self, is_warning: bool, place: Place, message: String, help: Option<String>) {
        self.problems.push(Problem { zone: self.zone, is_warning, place, message, help });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_are_told_and_the_last_says_so() {
        let mut findings = Findings::new(3);
        for n in 0..TOLD + 5 {
            findings.error(Place::Steered(n), "bad".into(), None);
        }
        findings.warning(Place::Zone, "doubtful".into(), None);
        assert!(findings.has_errors());
        let problems = findings.into_problems();
        assert_eq!(problems.len(), TOLD + 2);
        assert!(problems[0].is_warning && problems[0].zone == 3);
        assert_eq!(problems[TOLD + 1].message, "the zone has more errors than these 100");
    }
}
