//! Runs side by side as an SVG: a panel a run, in it the course of every datacenter.

use std::fmt::Write;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 160.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 34.0;
/// From one name in the legend to the next.
const LINE: f64 = 14.0;
/// Distinguishable colours (Okabe and Ito), then the same ones dashed.
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#b8a800"];
/// What is more than this much of a capacity is drawn as this much.
const HIGHEST: f64 = 3.0;

/// One run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    /// What stands above it.
    pub title: String,
    /// Seconds from its left to its right end.
    pub seconds: f64,
    /// The courses, each of one datacenter.
    pub courses: Vec<Course>,
    /// What happened when, in seconds.
    pub marks: Vec<(f64, String)>,
}

/// The course of one datacenter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Course {
    /// Its name.
    pub name: String,
    /// Seconds, and the load over the capacity; none: it was not alive.
    pub points: Vec<(f64, Option<f64>)>,
}

/// All panels, one below the other.
pub fn svg(panels: &[Panel]) -> String {
    let heights: Vec<f64> = panels.iter().map(height).collect();
    let all: f64 = heights.iter().sum();
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {all}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{all}\" fill=\"#ffffff\"/>\n"
    );
    let mut top = 0.0;
    for (panel, height) in panels.iter().zip(heights) {
        let _ = writeln!(out, "<g transform=\"translate(0 {top})\">");
        draw(panel, height, &mut out);
        out += "</g>\n";
        top += height;
    }
    out += "</svg>\n";
    out
}

fn height(panel: &Panel) -> f64 {
    HEIGHT.max(TOP + BOTTOM + LINE * panel.courses.len() as f64)
}

fn draw(panel: &Panel, height: f64, out: &mut String) {
    let points = panel.courses.iter().flat_map(|course| &course.points);
    let most = points.filter_map(|(_, load)| *load).fold(1.0, f64::max);
    let highest = (1.1 * most).clamp(1.1, HIGHEST);
    let seconds = panel.seconds.max(1e-9);
    let x = |time: f64| LEFT + (WIDTH - LEFT - RIGHT) * (time / seconds).clamp(0.0, 1.0);
    let y =
        |load: f64| height - BOTTOM - (height - TOP - BOTTOM) * (load / highest).clamp(0.0, 1.0);
    let (right, bottom) = (WIDTH - RIGHT, height - BOTTOM);
    let _ = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"18\" font-size=\"13\" font-weight=\"bold\">{}</text>",
        escaped(&panel.title)
    );
    let step = if highest > 1.6 { 0.5 } else { 0.25 };
    let mut level = 0.0;
    while level <= highest {
        let (at, percent) = (y(level), level * 100.0);
        let is_capacity = (level - 1.0).abs() < 1e-9;
        let stroke = if is_capacity { "#aa0000" } else { "#dddddd" };
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"{stroke}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{percent:.0} %</text>",
            LEFT - 6.0,
            at + 4.0
        );
        level += step;
    }
    let every = every(seconds);
    let mut time = 0.0;
    while time <= seconds + 1e-9 {
        let _ = writeln!(
            out,
            "<path d=\"M{:.1} {bottom}v4\" stroke=\"#888888\"/>\
             <text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            x(time),
            x(time),
            bottom + 16.0,
            clock(time, every)
        );
        time += every;
    }
    for (time, what) in &panel.marks {
        let at = x(*time);
        let _ = writeln!(
            out,
            "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#888888\" stroke-dasharray=\"3 3\"/>\
             <text x=\"{:.1}\" y=\"{}\" fill=\"#555555\" \
             transform=\"rotate(90 {:.1} {})\">{}</text>",
            at + 3.0,
            TOP + 2.0,
            at + 3.0,
            TOP + 2.0,
            escaped(what)
        );
    }
    for (index, course) in panel.courses.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let dashes = match index / COLOURS.len() {
            0 => "",
            1 => " stroke-dasharray=\"6 2\"",
            _ => " stroke-dasharray=\"2 2\"",
        };
        let path = path(course, &x, &y);
        let _ = writeln!(
            out,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.4\"{dashes}/>"
        );
        let at = TOP + LINE * (index as f64 + 0.5);
        let _ = writeln!(
            out,
            "<path d=\"M{} {:.1}h18\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>\
             <text x=\"{}\" y=\"{at:.1}\">{}</text>",
            right + 12.0,
            at - 4.0,
            right + 36.0,
            escaped(&course.name)
        );
    }
}

/// A line with gaps where there is nothing.
fn path(course: &Course, x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) -> String {
    let (mut path, mut is_on) = (String::new(), false);
    for (time, load) in &course.points {
        let Some(load) = load.filter(|load| load.is_finite()) else {
            is_on = false;
            continue;
        };
        let step = if is_on { 'L' } else { 'M' };
        let _ = write!(path, "{step}{:.1} {:.1}", x(*time), y(load));
        is_on = true;
    }
    path
}

/// Seconds from one tick of the clock to the next: not more than a dozen.
fn every(seconds: f64) -> f64 {
    let steps = [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0];
    let fits = |step: &f64| seconds / step <= 12.0;
    steps.into_iter().find(fits).unwrap_or_else(|| (seconds / 12.0 / 3600.0).ceil() * 3600.0)
}

fn clock(time: f64, every: f64) -> String {
    let seconds = time.round() as u64;
    match every {
        every if every < 60.0 => format!("{seconds} s"),
        every if every < 3600.0 => format!("{}:{:02}", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} h", seconds / 3600),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(loads: &[Option<f64>]) -> Panel {
        let points = loads.iter().enumerate().map(|(second, load)| (second as f64, *load));
        let course = Course { name: "f<r>a".into(), points: points.collect() };
        Panel {
            title: "a & b".into(),
            seconds: loads.len() as f64,
            courses: vec![course],
            marks: vec![(1.0, "killed".into())],
        }
    }

    #[test]
    fn a_course_has_gaps_where_its_datacenter_is_dead_and_stays_in_its_panel() {
        let drawn = svg(&[panel(&[Some(0.5), Some(9.0), None, Some(0.5), Some(0.6)]), panel(&[])]);
        let course = drawn.lines().find(|line| line.contains("stroke-width=\"1.4\"")).unwrap();
        assert_eq!(course.matches('M').count(), 2, "{course}");
        assert!(!drawn.contains("-1") && !drawn.contains("NaN"), "{drawn}");
        assert!(drawn.contains("f&lt;r&gt;a") && drawn.contains("a &amp; b"));
        assert!(drawn.contains("killed") && drawn.contains("100 %"));
        assert_eq!(drawn.matches("<g ").count(), 2);
    }

    #[test]
    fn there_are_few_ticks_whatever_the_time() {
        for seconds in [5.0, 40.0, 700.0, 10_800.0, 86_400.0, 604_800.0] {
            assert!((3.0..=12.0).contains(&(seconds / every(seconds))), "{seconds}");
        }
        assert_eq!(clock(5400.0, 900.0), "1:30");
        assert_eq!(clock(7200.0, 3600.0), "2 h");
    }
}
