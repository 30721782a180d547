//! Scores of many seeds as a table that can be read.

use std::fmt::Write;

use serde::Serialize;

use super::score::Score;

/// The scores of one policy.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What stands first in the row.
    pub title: String,
    /// The seeds, one for each score.
    pub seeds: Vec<u64>,
    /// What they gave.
    pub scores: Vec<Score>,
}

impl Row {
    fn mean(&self, of: impl Fn(&Score) -> f64) -> f64 {
        self.scores.iter().map(of).sum::<f64>() / self.scores.len().max(1) as f64
    }

    fn median(&self, of: impl Fn(&Score) -> f64) -> f64 {
        let mut values: Vec<f64> = self.scores.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    }

    fn bounds(&self, of: impl Fn(&Score) -> f64 + Copy) -> (f64, f64) {
        let values = || self.scores.iter().map(of);
        (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
    }
}

const HEAD: [&str; 11] = [
    "policy",
    "rtt mean/p50/p95 ms",
    "ratio (min-max)",
    "score (min-max)",
    "overload s",
    "outside/median (max)",
    "dropped %",
    "worst",
    "churn/h",
    "recovery s",
    "queries M",
];

/// The rows, in columns: means over the seeds.
pub fn table(rows: &[Row]) -> String {
    let mut lines: Vec<Vec<String>> = vec![HEAD.map(String::from).to_vec()];
    lines.extend(rows.iter().map(|row| line(row).to_vec()));
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let _ = write!(text, "{:1$}", line[0], widths[0]);
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    }
    text
}

fn line(row: &Row) -> [String; 11] {
    let ratio = row.bounds(|score| score.ratio);
    let score = row.bounds(|score| score.score);
    [
        row.title.clone(),
        format!(
            "{:.1} / {:.1} / {:.0}",
            row.mean(|score| score.rtt_mean_ms),
            row.mean(|score| score.rtt_p50_ms),
            row.mean(|score| score.rtt_p95_ms)
        ),
        format!("{:.3} ({:.3}-{:.3})", row.mean(|score| score.ratio), ratio.0, ratio.1),
        format!("{:.3} ({:.3}-{:.3})", row.mean(|score| score.score), score.0, score.1),
        format!("{:.0}", row.mean(|score| f64::from(score.overload_s))),
        format!(
            "{:.0} / {:.0} ({:.0})",
            row.mean(|score| f64::from(score.overload_outside_s)),
            row.median(|score| f64::from(score.overload_outside_s)),
            row.bounds(|score| f64::from(score.overload_outside_s)).1
        ),
        format!("{:.3}", 100.0 * row.mean(|score| score.dropped)),
        format!("{:.2}", row.bounds(|score| score.worst_utilisation).1),
        format!("{:.2}", row.mean(|score| score.churn_per_hour)),
        format!("{:.0}", row.bounds(|score| score.recovery_s).1),
        format!("{:.1}", row.mean(|score| score.queries as f64) / 1e6),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_holds_the_means_and_the_columns_are_aligned() {
        let score =
            |ratio: f64, outside| Score { ratio, overload_outside_s: outside, ..Score::default() };
        let scores = vec![score(1.0, 0), score(1.5, 0), score(2.0, 30)];
        let row = |title: &str| Row {
            title: title.to_string(),
            seeds: vec![1, 2, 3],
            scores: scores.clone(),
        };
        let text = table(&[row("one"), row("another one")]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{text}");
        assert!(lines[1].starts_with("one  ") && lines[1].contains("1.500 (1.000-2.000)"));
        assert!(lines[2].contains("10 / 0 (30)"), "{text}");
    }
}
