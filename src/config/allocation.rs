//! The shape of `[allocation]` in `portolan.toml`: how clients are allotted by capacity.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::reader::{Reader, Table, Value};
use crate::control::AllocationSettings;

/// What `[allocation]` says.
#[derive(Debug)]
pub(super) struct AllocationForm {
    /// Its header.
    pub span: Range<usize>,
    pub settings: AllocationSettings,
    /// The table of measured latencies.
    pub latency: Option<Spanned<PathBuf>>,
}

const INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
const MOST_RAMP: Duration = Duration::from_secs(24 * 3600);

/// Reads the table.
pub(super) fn read(mut table: Table<'_>) -> AllocationForm {
    let default = AllocationSettings::default();
    let (least, most) = INTERVAL;
    let interval = table.take("interval").and_then(|value| value.duration(least..=most));
    let interval = interval.unwrap_or(default.interval);
    let reader = table.reader();
    let mut ramp = |key| {
        let value = table.take(key)?;
        let ramp = value.duration(Duration::ZERO..=MOST_RAMP)?;
        warn_of_short_ramp(reader, &value, ramp, interval);
        Some(ramp)
    };
    let settings = AllocationSettings {
        interval,
        drain: ramp("drain").unwrap_or(default.drain),
        slow_start: ramp("slow_start").unwrap_or(default.slow_start),
    };
    let latency = table.take("latency").and_then(|value| value.path());
    let form = AllocationForm { span: table.span(), settings, latency };
    table.finish();
    form
}

fn warn_of_short_ramp(reader: &Reader, value: &Value<'_>, ramp: Duration, interval: Duration) {
    if ramp.is_zero() || ramp >= interval {
        return;
    }
    let key = value.key();
    let warning = reader.warning(value.span(), format!("`{key}` is shorter than `interval`"));
    let warning = warning.label("it ends before the first step of it");
    let help = format!("write \"0s\" for no {}", key.replace('_', " "));
    reader.report(warning.help(help));
}
