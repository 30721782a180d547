//! The loads of the datacenters over time, as an SVG: a small panel each.

use std::fmt::Write;

use super::run::{Outcome, SERIES_EVERY, Series};

/// Panels side by side.
const COLUMNS: usize = 3;
/// A panel with its margins, and the place of its plot in it: left, top, width, height.
const PANEL: (f64, f64) = (300.0, 128.0);
const PLOT: (f64, f64, f64, f64) = (34.0, 26.0, 256.0, 82.0);
/// Above all panels.
const HEAD: f64 = 48.0;
/// The most points a line is drawn with.
const MOST_POINTS: usize = 400;

/// Draws the loads of every datacenter against its capacity; loads over it are filled.
pub fn picture(title: &str, outcome: &Outcome) -> String {
    let rows = outcome.series.len().div_ceil(COLUMNS).max(1);
    let (width, height) = (COLUMNS as f64 * PANEL.0 + 10.0, HEAD + rows as f64 * PANEL.1 + 6.0);
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"11\" role=\"img\">\n\
         <title>{0}</title>\n\
         <style>\
         .paper{{fill:#fff}} text{{fill:#1f2933}} .dim{{fill:#6b7785}} .grid{{stroke:#e3e8ee}} \
         .capacity{{fill:none;stroke:#9aa5b1;stroke-width:1.2}} .room{{fill:#eef2f6}} \
         .load{{fill:none;stroke:#1d6fb8;stroke-width:1.4}} .over{{fill:#d6402b}} \
         @media (prefers-color-scheme: dark){{.paper{{fill:#14181d}} text{{fill:#e6eaef}} \
         .dim{{fill:#95a1ae}} .grid{{stroke:#2a323b}} .room{{fill:#1f262e}} \
         .capacity{{stroke:#5f6c79}} .load{{stroke:#62aef0}} .over{{fill:#f0654f}}}}\
         </style>\n\
         <rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>\n\
         <text x=\"12\" y=\"20\" font-size=\"14\" font-weight=\"600\">{0}</text>\n",
        escaped(title),
    );
    legend(&mut svg);
    for (index, series) in outcome.series.iter().enumerate() {
        let x = 5.0 + (index % COLUMNS) as f64 * PANEL.0;
        let y = HEAD + (index / COLUMNS) as f64 * PANEL.1;
        panel(&mut svg, series, x, y);
    }
    svg += "</svg>\n";
    svg
}

fn legend(svg: &mut String) {
    let _ = writeln!(
        svg,
        "<path class=\"load\" d=\"M12 34h18\"/><text x=\"35\" y=\"38\">load</text>\
         <path class=\"capacity\" d=\"M75 34h18\"/><text x=\"98\" y=\"38\">capacity</text>\
         <rect class=\"over\" x=\"160\" y=\"30\" width=\"18\" height=\"8\"/>\
         <text x=\"183\" y=\"38\">over capacity</text>\
         <text class=\"dim\" x=\"275\" y=\"38\">100 % is the capacity at the start</text>",
    );
}

fn panel(svg: &mut String, series: &Series, x: f64, y: f64) {
    let full = f64::from(series.capacity.first().copied().filter(|one| *one > 0.0).unwrap_or(1.0));
    let full = series.capacity.iter().fold(full, |most, one| most.max(f64::from(*one)));
    let part = |values: &[f32]| -> Vec<f64> {
        values.iter().map(|value| f64::from(*value) / full).collect()
    };
    let step = series.load.len().div_ceil(MOST_POINTS).max(1);
    let load = thinned(&part(&series.load), step);
    let capacity = thinned(&part(&series.capacity), step);
    let most = load.iter().fold(1.2f64, |most, one| most.max(*one)).min(3.0);
    let (left, top, width, height) = PLOT;
    let (left, top) = (x + left, y + top);
    let across = |point: usize| left + width * point as f64 / (load.len().max(2) - 1) as f64;
    let up = |value: f64| top + height * (1.0 - value.min(most) / most);
    let _ = writeln!(
        svg,
        "<g><text x=\"{left}\" y=\"{:.1}\" font-weight=\"600\">{}</text>",
        top - 8.0,
        escaped(&series.datacenter)
    );
    let _ = write!(svg, "<path class=\"room\" d=\"M{left} {:.1}", up(0.0));
    for (point, value) in capacity.iter().enumerate() {
        let _ = write!(svg, "L{:.1} {:.1}", across(point), up(*value));
    }
    let _ = writeln!(svg, "L{:.1} {:.1}Z\"/>", left + width, up(0.0));
    for value in [0.0, 0.5, 1.0] {
        let (height, percent) = (up(value), value * 100.0);
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{left} {height:.1}h{width}\"/><text class=\"dim\" \
             x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" font-size=\"9\">{percent}</text>",
            left - 4.0,
            height + 3.0
        );
    }
    hours(svg, series.load.len(), left, top);
    over(svg, &load, &capacity, &across, &up);
    line(svg, "capacity", &capacity, &across, &up);
    line(svg, "load", &load, &across, &up);
    svg.push_str("</g>\n");
}

/// Marks of time below a plot.
fn hours(svg: &mut String, points: usize, left: f64, top: f64) {
    if points == 0 {
        return;
    }
    let seconds = points as f64 * f64::from(SERIES_EVERY);
    let (unit, name) = if seconds > 7_200.0 { (3_600.0, "h") } else { (60.0, "min") };
    let units = seconds / unit;
    let every =
        [1.0, 2.0, 5.0, 6.0, 10.0, 20.0, 60.0].into_iter().find(|every| units / every <= 6.0);
    let every = every.unwrap_or(units);
    let mut at = 0.0;
    while at <= units {
        let _ = write!(
            svg,
            "<text class=\"dim\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"9\">{at}{}</text>",
            left + PLOT.2 * at / units,
            top + PLOT.3 + 12.0,
            if at == 0.0 { "" } else { name }
        );
        at += every;
    }
    svg.push('\n');
}

/// Fills what lies over the capacity.
fn over(
    svg: &mut String,
    load: &[f64],
    capacity: &[f64],
    across: &impl Fn(usize) -> f64,
    up: &impl Fn(f64) -> f64,
) {
    let mut path = String::new();
    for point in 0..load.len().saturating_sub(1) {
        let is_over = |point: usize| load[point] > 1.001 * capacity[point];
        if is_over(point) || is_over(point + 1) {
            let _ = write!(
                path,
                "M{0:.1} {1:.1}L{2:.1} {3:.1}L{2:.1} {4:.1}L{0:.1} {5:.1}Z",
                across(point),
                up(capacity[point]),
                across(point + 1),
                up(capacity[point + 1]),
                up(load[point + 1].max(capacity[point + 1])),
                up(load[point].max(capacity[point])),
            );
        }
    }
    if !path.is_empty() {
        let _ = writeln!(svg, "<path class=\"over\" d=\"{path}\"/>");
    }
}

fn line(
    svg: &mut String,
    class: &str,
    values: &[f64],
    across: &impl Fn(usize) -> f64,
    up: &impl Fn(f64) -> f64,
) {
    let _ = write!(svg, "<polyline class=\"{class}\" points=\"");
    for (point, value) in values.iter().enumerate() {
        let _ = write!(svg, "{:.1},{:.1} ", across(point), up(*value));
    }
    svg.push_str("\"/>\n");
}

/// The highest of so many neighbours at a time: an overload stays seen.
fn thinned(values: &[f64], step: usize) -> Vec<f64> {
    values.chunks(step).map(|some| some.iter().copied().fold(0.0, f64::max)).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::score::Score;
    use super::*;

    #[test]
    fn each_datacenter_has_a_panel_and_what_is_over_is_filled() {
        let series = |name: &str, load: f32| Series {
            datacenter: name.to_string(),
            load: vec![load; 1_080],
            capacity: vec![100.0; 1_080],
        };
        let series = vec![series("a<b", 50.0), series("full", 150.0)];
        let outcome = Outcome { score: Score::default(), series };
        let svg = picture("x & y", &outcome);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("x &amp; y") && svg.contains("a&lt;b"));
        assert_eq!(svg.matches("<polyline").count(), 4);
        assert_eq!(svg.matches("<path class=\"over\"").count(), 1);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn nothing_at_all_can_be_drawn() {
        let empty = Series { datacenter: "none".into(), load: vec![], capacity: vec![] };
        for series in [vec![], vec![empty]] {
            let svg = picture("empty", &Outcome { score: Score::default(), series });
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"), "{svg}");
        }
    }
}
