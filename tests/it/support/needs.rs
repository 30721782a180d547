//! What a test needs of the machine, and the record of what could not run for want of it.

use std::io::Write;
use std::path::Path;

/// True when every program is installed; else the test is recorded as not run, and must return.
pub fn needs(test: &str, programs: &[&str]) -> bool {
    let missing: Vec<&str> =
        programs.iter().copied().filter(|program| !installed(program)).collect();
    if missing.is_empty() {
        return true;
    }
    not_run(test, &format!("{} not installed", missing.join(", ")));
    false
}

/// Records that a test could not run, for the last lines of `tests/run`.
pub fn not_run(test: &str, why: &str) {
    let line = format!("not run: {test}: {why}\n");
    eprint!("{line}");
    if let Some(record) = std::env::var_os("PORTOLAN_NOT_RUN") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(record);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the record can be written");
    }
}

/// The path of a program, also in the directories for administrators' programs.
pub fn installed(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin"]).any(|dir| Path::new(dir).join(program).is_file())
}
