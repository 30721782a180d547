//! What the API says in JSON, in words for people.

pub mod explain;
pub mod flow;
pub mod overrides;
pub mod plan;
pub mod status;
pub mod table;

use std::fmt::Write;

/// Rows in columns, each line indented by `indent` spaces; the last column is not padded.
pub fn columns(indent: usize, rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = " ".repeat(indent);
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// One or many: `1 member`, `3 members`.
pub fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// The word that JSON has for it.
pub fn word<T: serde::Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).ok();
    value.and_then(|value| value.as_str().map(String::from)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<_>>();
        let rows = [row(&["a", "böse", "x"]), row(&["bcd", "e"]), row(&["f", "", "y"])];
        assert_eq!(columns(2, &rows), "  a    böse  x\n  bcd  e\n  f          y\n");
        assert_eq!(columns(2, &[]), "");
    }
}
