//! How busy the machine is: from `/proc`, or from a control group (version 2) if there is one.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How busy the machine was, each from 0 to 1 where 1 is all of it; none: not known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// The part of the processors' time, since the sample before.
    pub cpu: Option<f64>,
    /// The part of the memory that cannot be had without pain: caches count as free.
    pub memory: Option<f64>,
    /// Runnable and blocked tasks for each processor, the mean of a minute. It may be more than 1.
    pub load: Option<f64>,
}

/// Takes samples.
#[derive(Debug)]
pub struct Sampler {
    proc: PathBuf,
    cgroup: Option<PathBuf>,
    before: Option<(Instant, Cpu)>,
}

/// In less time than this the processors' time says little: it is counted in hundredths of a second,
/// and to measure takes some itself.
const LEAST: Duration = Duration::from_millis(50);
/// Where a container sees the limits that it lives under.
const OWN_CGROUP: &str = "/sys/fs/cgroup";

impl Sampler {
    /// Of a control group, by its directory; of none: of the container this runs in, if it has
    /// limits, or else of the machine.
    pub fn new(cgroup: Option<PathBuf>) -> io::Result<Sampler> {
        if let Some(path) = &cgroup {
            // A mistyped path must not pass for a machine that is idle.
            std::fs::metadata(path.join("cpu.stat"))?;
        }
        let own = Path::new(OWN_CGROUP);
        let cgroup = cgroup.or_else(|| has_limits(own).then(|| own.to_owned()));
        let sampler = Sampler { proc: "/proc".into(), cgroup, before: None };
        sampler.times()?;
        Ok(sampler)
    }

    /// A sample, now. The first says nothing of the processors, nor does one that follows at once.
    pub fn take(&mut self, now: Instant) -> Sample {
        let passed = self.before.map(|(then, _)| now.saturating_duration_since(then));
        let times =
            if passed.is_some_and(|passed| passed < LEAST) { None } else { self.times().ok() };
        let cpu = times.and_then(|cpu| {
            let before = self.before.replace((now, cpu));
            before.and_then(|(then, before)| cpu.since(before, now.saturating_duration_since(then)))
        });
        // The load is the whole machine's, whatever the limits are.
        let load = match self.cgroup {
            Some(_) => None,
            None => self.read("loadavg").ok().and_then(|text| load(&text)),
        };
        Sample { cpu, memory: self.memory(), load: load.map(|load| load / processors()) }
    }

    fn times(&self) -> io::Result<Cpu> {
        let cpu = match &self.cgroup {
            Some(cgroup) => {
                let limit = std::fs::read_to_string(cgroup.join("cpu.max"));
                let limit = limit.ok().and_then(|text| processors_allowed(&text));
                let text = std::fs::read_to_string(cgroup.join("cpu.stat"))?;
                let used = field(&text, "usage_usec").map(Duration::from_micros);
                used.map(|used| Cpu::Used { used, of: limit.unwrap_or_else(processors) })
            }
            None => machine_times(&self.read("stat")?),
        };
        cpu.ok_or_else(|| io::Error::other("the processors' times are not understood"))
    }

    fn memory(&self) -> Option<f64> {
        let machine = self.read("meminfo").ok()?;
        let total = field(&machine, "MemTotal:")?.checked_mul(1024)?;
        let Some(cgroup) = &self.cgroup else {
            let available = field(&machine, "MemAvailable:")?.checked_mul(1024)?;
            return part(total.saturating_sub(available), total);
        };
        let read = |name: &str| std::fs::read_to_string(cgroup.join(name)).ok();
        let limit = read("memory.max").and_then(|text| text.trim().parse().ok()).unwrap_or(total);
        let used: u64 = read("memory.current")?.trim().parse().ok()?;
        // What has been read from files and not looked at since is given up first.
        let cache = read("memory.stat").and_then(|text| field(&text, "inactive_file"));
        part(used.saturating_sub(cache.unwrap_or(0)), limit.min(total))
    }

    fn read(&self, name: &str) -> io::Result<String> {
        std::fs::read_to_string(self.proc.join(name))
    }
}

/// True for a control group that is told what it may use.
fn has_limits(cgroup: &Path) -> bool {
    let is_limited = |name: &str| {
        let limit = std::fs::read_to_string(cgroup.join(name));
        limit.is_ok_and(|limit| !limit.starts_with("max"))
    };
    is_limited("memory.max") || is_limited("cpu.max")
}

/// The processors' time since some moment.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cpu {
    /// Ticks of all processors together.
    Ticks { busy: u64, all: u64 },
    /// Processor time that was used, of what so many processors can give.
    Used { used: Duration, of: f64 },
}

impl Cpu {
    /// The part that was used since `before`, `time` ago.
    fn since(self, before: Cpu, time: Duration) -> Option<f64> {
        match (self, before) {
            (Cpu::Ticks { busy, all }, Cpu::Ticks { busy: busy_before, all: all_before }) => {
                part(busy.saturating_sub(busy_before), all.checked_sub(all_before)?)
            }
            (Cpu::Used { used, of }, Cpu::Used { used: before, .. }) => {
                let part = used.saturating_sub(before).as_secs_f64() / (time.as_secs_f64() * of);
                part.is_finite().then_some(part.min(1.0))
            }
            _ => None,
        }
    }
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, in ticks.
/// What follows is counted in these already.
fn machine_times(text: &str) -> Option<Cpu> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let mut ticks = [0_u64; 8];
    for (ticks, word) in ticks.iter_mut().zip(line.split_ascii_whitespace()) {
        *ticks = word.parse().ok()?;
    }
    let all = ticks.iter().try_fold(0_u64, |sum, ticks| sum.checked_add(*ticks))?;
    let idle = ticks[3].checked_add(ticks[4])?;
    Some(Cpu::Ticks { busy: all - idle, all })
}

/// The first of the three means of `/proc/loadavg`.
fn load(text: &str) -> Option<f64> {
    let load: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    (load.is_finite() && load >= 0.0).then_some(load)
}

/// How many processors a `cpu.max` allows: a quota and a period, or `max` and a period.
fn processors_allowed(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

/// The number behind a name, in a file with one on each line.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_ascii_whitespace);
    lines.find_map(|mut words| (words.next()? == name).then(|| words.next()?.parse().ok())?)
}

fn part(of: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (of as f64 / whole as f64).min(1.0))
}

fn processors() -> f64 {
    std::thread::available_parallelism().map_or(1, |count| count.get()) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAT: &str = "cpu  100 0 50 800 50 0 0 0 7 0\ncpu0 1 2 3\nintr 5\n";
    const LATER: &str = "cpu  160 10 60 810 50 0 5 5 7 0\n";

    #[test]
    fn the_processors_were_busy_for_all_ticks_but_the_idle_and_the_waiting() {
        let (before, after) = (machine_times(STAT).unwrap(), machine_times(LATER).unwrap());
        assert_eq!(before, Cpu::Ticks { busy: 150, all: 1000 });
        assert_eq!(after.since(before, Duration::ZERO), Some(0.9));
        assert_eq!(before.since(before, Duration::from_secs(1)), None, "no time has passed");
    }

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    #[test]
    fn a_machine_is_sampled_from_proc_and_caches_are_free_memory() {
        let meminfo = "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 750 kB\n";
        let proc =
            directory(&[("stat", STAT), ("meminfo", meminfo), ("loadavg", "3.00 2 1 1/2 3")]);
        let mut sampler = Sampler { proc: proc.path().into(), cgroup: None, before: None };
        let start = Instant::now();
        let first = sampler.take(start);
        assert_eq!((first.cpu, first.memory), (None, Some(0.25)));
        assert_eq!(first.load, Some(3.0 / processors()));
        std::fs::write(proc.path().join("stat"), LATER).unwrap();
        assert_eq!(sampler.take(start + Duration::from_secs(1)).cpu, Some(0.9));
        std::fs::write(proc.path().join("stat"), "cpu x").unwrap();
        assert_eq!(sampler.take(start + Duration::from_secs(2)).cpu, None);
    }

    #[test]
    fn a_control_group_is_measured_by_its_own_limits() {
        let proc = directory(&[("meminfo", "MemTotal: 1000 kB\nMemAvailable: 1 kB\n")]);
        let cgroup = directory(&[
            ("cpu.max", "50000 100000\n"),
            ("cpu.stat", "usage_usec 1000000\nuser_usec 1\n"),
            ("memory.max", "409600\n"),
            ("memory.current", "307200\n"),
            ("memory.stat", "anon 1\ninactive_file 102400\n"),
        ]);
        let path = Some(cgroup.path().to_owned());
        let mut sampler = Sampler { proc: proc.path().into(), cgroup: path, before: None };
        let start = Instant::now();
        assert_eq!(sampler.take(start), Sample { cpu: None, memory: Some(0.5), load: None });
        std::fs::write(cgroup.path().join("cpu.stat"), "usage_usec 1200000\n").unwrap();
        // 0.2 s of the 0.5 s that half a processor gives in one.
        let cpu = sampler.take(start + Duration::from_secs(1)).cpu.unwrap();
        assert!((cpu - 0.4).abs() < 1e-9, "{cpu}");
        std::fs::write(cgroup.path().join("memory.max"), "max\n").unwrap();
        assert_eq!(sampler.take(start).memory, Some(0.2), "of the machine's");
    }

    #[test]
    fn two_samples_at_a_time_say_nothing_of_the_processors() {
        let proc = directory(&[("meminfo", "MemTotal: 1000 kB\nMemAvailable: 1 kB\n")]);
        let cgroup = directory(&[("cpu.max", "100000 100000"), ("cpu.stat", "usage_usec 100\n")]);
        let path = Some(cgroup.path().to_owned());
        let mut sampler = Sampler { proc: proc.path().into(), cgroup: path, before: None };
        let start = Instant::now();
        assert_eq!(sampler.take(start).cpu, None);
        // What the measurement itself has taken is all there was.
        std::fs::write(cgroup.path().join("cpu.stat"), "usage_usec 200\n").unwrap();
        assert_eq!(sampler.take(start + Duration::from_micros(100)).cpu, None);
        std::fs::write(cgroup.path().join("cpu.stat"), "usage_usec 250100\n").unwrap();
        let cpu = sampler.take(start + Duration::from_secs(1)).cpu.unwrap();
        assert!((cpu - 0.25).abs() < 1e-9, "{cpu}");
    }

    #[test]
    fn a_container_without_limits_is_measured_as_the_machine() {
        let max = ("memory.max", "max\n");
        assert!(!has_limits(directory(&[]).path()));
        assert!(!has_limits(directory(&[max, ("cpu.max", "max 100000\n")]).path()));
        assert!(has_limits(directory(&[max, ("cpu.max", "50000 100000\n")]).path()));
        assert!(has_limits(directory(&[("memory.max", "4096\n")]).path()));
    }

    #[test]
    fn a_control_group_that_is_not_there_is_an_error() {
        assert!(Sampler::new(Some("/nonexistent".into())).is_err());
    }

    #[test]
    fn this_machine_can_be_sampled() {
        let mut sampler = Sampler::new(None).unwrap();
        let sample = sampler.take(Instant::now());
        assert!(sample.memory.is_some_and(|memory| (0.0..=1.0).contains(&memory)), "{sample:?}");
    }

    proptest! {
        #[test]
        fn whatever_stands_in_the_files_nothing_panics(text: String, numbers: [u64; 10]) {
            let numbers = numbers.map(|number| number.to_string()).join(" ");
            for text in [&text, &format!("cpu {text}"), &format!("cpu {numbers}"), &numbers] {
                let _ = (machine_times(text), load(text), processors_allowed(text));
                let _ = field(text, "usage_usec");
            }
        }
    }
}
