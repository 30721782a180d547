//! Tables for a terminal: columns as wide as their widest cell, numbers on the right, tones.

use std::fmt::Write;

/// What a text means, for those who see colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Worth a look.
    Doubt,
    /// Something must be done.
    Bad,
    /// Less important than what is around it.
    Soft,
}

impl Tone {
    /// The text in the tone's colour (ECMA-48), if colours are wanted.
    pub fn paint(self, text: &str, colours: bool) -> String {
        let code = match self {
            Tone::Good => 32,
            Tone::Doubt => 33,
            Tone::Bad => 31,
            Tone::Soft => 2,
            Tone::Plain => return text.into(),
        };
        if colours && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.into()
        }
    }
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    is_number: bool,
    tone: Tone,
}

impl Cell {
    /// One that stands at the right of its column.
    pub fn number(text: &str) -> Cell {
        Cell { is_number: true, ..Cell::from(text) }
    }

    /// The same in a tone.
    pub fn toned(self, tone: Tone) -> Cell {
        Cell { tone, ..self }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell { text: text.into(), is_number: false, tone: Tone::Plain }
    }
}

/// Rows in columns, each line indented by `indent` spaces.
pub fn lay_out(indent: usize, rows: &[Vec<Cell>], colours: bool) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = " ".repeat(indent);
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width - cell.text.chars().count());
            let shown = cell.tone.paint(&cell.text, colours);
            let gap = if index == 0 { "" } else { "  " };
            let (before, after) =
                if cell.is_number { (pad.as_str(), "") } else { ("", pad.as_str()) };
            let _ = write!(line, "{gap}{before}{shown}{after}");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_on_the_right_and_colours_take_no_room() {
        let row = |name: &str, number: &str| {
            vec![Cell::from(name).toned(Tone::Good), Cell::number(number), Cell::from("x")]
        };
        let rows = [row("a", "1,000"), row("böse", "5")];
        assert_eq!(lay_out(1, &rows, false), " a     1,000  x\n böse      5  x\n");
        assert_eq!(lay_out(0, &rows[..1], true), "\u{1b}[32ma\u{1b}[0m  1,000  x\n");
    }
}
