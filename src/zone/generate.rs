//! `$GENERATE`: a range of numbers, and templates that a number is put into, as BIND defines them.

use std::ops::Range;

/// So many records one directive makes at most.
pub(super) const MOST_RECORDS: u32 = 65_536;
/// So many records all directives of a zone make at most.
pub(super) const MOST_RECORDS_OF_A_ZONE: u32 = 1 << 20;
/// The widest that a number is padded to, in characters.
const MOST_WIDTH: usize = 255;

/// The numbers of a directive, rising.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    start: i64,
    stop: i64,
    step: i64,
}

impl Numbers {
    /// Reads `START-STOP` or `START-STOP/STEP`.
    pub(super) fn parse(text: &str) -> Result<Numbers, String> {
        let form = || format!("`{text}` is not a range");
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, number(step).ok_or_else(form)?),
            None => (text, 1),
        };
        let (start, stop) = range.split_once('-').ok_or_else(form)?;
        let (start, stop) = (number(start).ok_or_else(form)?, number(stop).ok_or_else(form)?);
        if step == 0 {
            return Err(format!("the range `{text}` has the step 0"));
        }
        if start > stop {
            return Err(format!("the range `{text}` ends before it begins"));
        }
        Ok(Numbers { start, stop, step })
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        // Both are below 2³¹.
        ((self.stop - self.start) / self.step + 1) as u32
    }

    /// One after another.
    pub(super) fn iter(self) -> impl Iterator<Item = i64> {
        (self.start..=self.stop).step_by(self.step as usize)
    }
}

/// A number that BIND takes too.
fn number(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok()).flatten()?;
    (number <= i64::from(i32::MAX)).then_some(number)
}

/// A text into which a number is put.
#[derive(Debug)]
pub(super) struct Template<'t> {
    parts: Vec<Part<'t>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part<'t> {
    Text(&'t str),
    Number(Form),
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    /// Is added first.
    offset: i64,
    /// Zeros make it so long; in nibbles the dots between count.
    width: usize,
    base: Base,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    Decimal,
    Octal,
    Hex {
        is_upper: bool,
    },
    /// Hexadecimal digits, the last one first, with dots between: a name below `ip6.arpa.`
    Nibbles {
        is_upper: bool,
    },
}

/// What is wrong with a template, and in which of its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TemplateError {
    pub(super) span: Range<usize>,
    pub(super) message: String,
}

impl<'t> Template<'t> {
    /// Reads a template: `$` is the number, `${OFFSET,WIDTH,BASE}` the number in a form, and `\$`
    /// or `$$` a dollar sign.
    pub(super) fn parse(text: &'t str) -> Result<Template<'t>, TemplateError> {
        let mut parts = Vec::new();
        let (mut start, mut at) = (0, 0);
        let bytes = text.as_bytes();
        while let Some(&byte) = bytes.get(at) {
            match (byte, bytes.get(at + 1)) {
                // The escape stays: who reads what was generated takes it away.
                (b'\\', Some(_)) => at += 2,
                (b'$', next) => {
                    parts.push(Part::Text(&text[start..at]));
                    let begin = at;
                    at += 1;
                    match next {
                        Some(b'$') => {
                            at += 1;
                            parts.push(Part::Text("\\$"));
                        }
                        Some(b'{') => {
                            let close = text[at..].find('}').map(|close| at + close);
                            let form = close.and_then(|close| Form::parse(&text[at + 1..close]));
                            let (Some(close), Some(form)) = (close, form) else {
                                let span = begin..close.map_or(text.len(), |close| close + 1);
                                // A string may go on over further lines.
                                let word = text[span.clone()].lines().next().unwrap_or_default();
                                let message = format!("`{word}` is not a form of a number");
                                return Err(TemplateError { span, message });
                            };
                            parts.push(Part::Number(form));
                            at = close + 1;
                        }
                        _ => {
                            let form = Form { offset: 0, width: 0, base: Base::Decimal };
                            parts.push(Part::Number(form));
                        }
                    }
                    start = at;
                }
                _ => at += 1,
            }
        }
        parts.push(Part::Text(&text[start..]));
        Ok(Template { parts })
    }

    /// Appends the template with `number` put in; false when it has no such form.
    pub(super) fn write(&self, number: i64, out: &mut String) -> bool {
        self.parts.iter().all(|part| match part {
            Part::Text(text) => {
                out.push_str(text);
                true
            }
            Part::Number(form) => form.write(number, out),
        })
    }
}

impl Form {
    /// Reads what stands between the braces.
    fn parse(text: &str) -> Option<Form> {
        let mut items = text.splitn(3, ',');
        let offset = items.next()?;
        let (sign, digits) = match offset.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, offset.strip_prefix('+').unwrap_or(offset)),
        };
        let width = match items.next() {
            Some(width) => usize::try_from(number(width)?).ok()?,
            None => 0,
        };
        let base = match items.next() {
            None | Some("d") => Base::Decimal,
            Some("o") => Base::Octal,
            Some("x") => Base::Hex { is_upper: false },
            Some("X") => Base::Hex { is_upper: true },
            Some("n") => Base::Nibbles { is_upper: false },
            Some("N") => Base::Nibbles { is_upper: true },
            Some(_) => return None,
        };
        (width <= MOST_WIDTH).then_some(Form { offset: sign * number(digits)?, width, base })
    }

    /// Writes the number; false when it is below zero and the base has no sign.
    fn write(self, number: i64, out: &mut String) -> bool {
        use std::fmt::Write;
        let (number, width) = (number + self.offset, self.width);
        if number < 0 && self.base != Base::Decimal {
            return false;
        }
        // Writing to a string does not fail.
        let _ = match self.base {
            Base::Decimal => write!(out, "{number:0width$}"),
            Base::Octal => write!(out, "{number:0width$o}"),
            Base::Hex { is_upper: false } => write!(out, "{number:0width$x}"),
            Base::Hex { is_upper: true } => write!(out, "{number:0width$X}"),
            Base::Nibbles { is_upper } => {
                write_nibbles(number, width, is_upper, out);
                Ok(())
            }
        };
        true
    }
}

fn write_nibbles(mut number: i64, width: usize, is_upper: bool, out: &mut String) {
    let mut written = 0;
    loop {
        let digit = char::from_digit((number & 15) as u32, 16).unwrap_or('0');
        out.push(if is_upper { digit.to_ascii_uppercase() } else { digit });
        number >>= 4;
        written += 1;
        if number == 0 && written >= width {
            return;
        }
        out.push('.');
        written += 1;
        // A width that ends with a dot is full.
        if number == 0 && written >= width {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(template: &str, number: i64) -> String {
        let mut out = String::new();
        assert!(Template::parse(template).unwrap().write(number, &mut out));
        out
    }

    #[test]
    fn a_range_has_a_start_a_stop_and_maybe_a_step() {
        let numbers = |text| Numbers::parse(text).unwrap().iter().collect::<Vec<_>>();
        assert_eq!(numbers("1-3"), [1, 2, 3]);
        assert_eq!(numbers("0-7/3"), [0, 3, 6]);
        assert_eq!(numbers("5-5"), [5]);
        assert_eq!(Numbers::parse("0-7/3").unwrap().count(), 3);
        assert_eq!(Numbers::parse("0-2147483647").unwrap().count(), 1 << 31);
        for wrong in ["", "1", "1-", "-1", "2-1", "1-2/0", "1-2/", "a-b", "-1-2", "0-2147483648"] {
            assert!(Numbers::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_dollar_sign_is_the_number_unless_it_is_escaped() {
        assert_eq!(written("host-$", 7), "host-7");
        assert_eq!(written("$.$", 12), "12.12");
        assert_eq!(written(r"a$$b\$c\\$", 1), r"a\$b\$c\\1");
        assert_eq!(written("", 1), "");
        assert_eq!(written("ä$", 1), "ä1");
    }

    #[test]
    fn a_number_has_an_offset_a_width_and_a_base() {
        assert_eq!(written("${0}", 9), "9");
        assert_eq!(written("${-10}", 9), "-1");
        assert_eq!(written("${-10,3}", 9), "-01");
        assert_eq!(written("${+1,4,d}", 9), "0010");
        assert_eq!(written("${0,3,o}", 9), "011");
        assert_eq!(written("${0,2,x}/${0,2,X}", 171), "ab/AB");
        assert_eq!(written("${0,0,n}", 0x1ab), "b.a.1");
        assert_eq!(written("${0,7,N}", 0x1ab), "B.A.1.0");
        assert_eq!(written("${0,6,n}", 0x1ab), "b.a.1.");
        assert!(!Template::parse("${-2,1,x}").unwrap().write(1, &mut String::new()));
    }

    #[test]
    fn a_wrong_form_is_blamed() {
        for (template, blamed) in [
            ("a${", 1..3),
            ("a${1,2,q}b", 1..9),
            ("${}", 0..3),
            ("${1,}", 0..5),
            ("${1,-1}", 0..7),
            ("${1,256}", 0..8),
        ] {
            assert_eq!(Template::parse(template).unwrap_err().span, blamed, "{template}");
        }
    }
}
