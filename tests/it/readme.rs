//! Every example in the README does what the README says.

use std::path::{Path, PathBuf};

use std::process::Command;
use std::time::Duration;

use crate::demo;
use crate::support::server::portolan;
use crate::support::until;

/// Commands are not run again and again without rest.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// The code blocks of one language, in order.
fn blocks(language: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let fence = format!("```{language}\n");
    let blocks = readme.split(&fence[..]).skip(1);
    blocks.map(|rest| rest.split("```").next().expect("a block").to_string()).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).into()
}

#[test]
fn the_configuration_of_the_readme_is_without_errors_and_warnings() {
    let [server, zone, networks] = &blocks("toml")[..] else { panic!("three files") };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let put = |file: &str, text: &str| {
        let path = directory.path().join(file);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    };
    // What stands there as a comment is an example too.
    let server = server.replace("# networks", "networks").replace("# token", "token");
    put("portolan.toml", &server.replace("# latency", "latency"));
    let zone = zone.replace("# records_file", "records_file");
    put("zones/example.com.toml", &zone.replace("# capacity", "capacity"));
    let [latencies] = &blocks("csv")[..] else { panic!("one table") };
    put("latency.csv", latencies);
    put("zones/example.com.zone", "more A 198.51.100.26\n");
    put("geoip/networks.toml", networks);
    put("admin.token", "a-long-enough-secret-for-this-example\n");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(directory.path().join("admin.token"), private).expect("a mode");
    let database = root().join("geoip/world.mmdb");
    std::os::unix::fs::symlink(database, directory.path().join("geoip/world.mmdb"))
        .expect("a link");

    let output = portolan()
        .args(["check", "--config"])
        .arg(directory.path().join("portolan.toml"))
        .output()
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("0 errors, 0 warnings"), "{text}");
}

#[test]
fn the_commands_of_the_readme_print_what_it_says() {
    let Some(_demo) = demo::start("readme") else { return };
    for block in blocks("console") {
        let mut wanted: Vec<&str> = Vec::new();
        let mut command = None;
        for line in block.lines().chain(["$ "]) {
            let Some(next) = line.strip_prefix("$ ") else {
                wanted.push(line);
                continue;
            };
            if let Some(command) = command.replace(next) {
                // Reports and checks take their time after a lever was pulled.
                until(command, || {
                    prints(command, &wanted) || {
                        std::thread::sleep(LOOK_EVERY);
                        false
                    }
                });
            }
            wanted.clear();
        }
    }
}

/// Runs a command as a shell does, and compares line by line; `…` stands for anything.
fn prints(command: &str, wanted: &[&str]) -> bool {
    let output = Command::new("sh")
        .args([
            "-c",
            &format!("portolan() {{ {} \"$@\"; }}; {command}", env!("CARGO_BIN_EXE_portolan")),
        ])
        .env("NO_COLOR", "1")
        .current_dir(root())
        .output()
        .expect("sh runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    let alike = output.status.success()
        && lines.len() == wanted.len()
        && lines.iter().zip(wanted).all(|(line, wanted)| is_like(line, wanted));
    if !alike {
        eprintln!("{command}\nwanted: {wanted:#?}\nprinted: {lines:#?}");
    }
    alike
}

fn is_like(line: &str, wanted: &str) -> bool {
    let mut rest = line;
    let mut parts = wanted.split('…');
    let begin = parts.next().unwrap_or_default();
    let Some(after) = rest.strip_prefix(begin) else { return false };
    rest = after;
    let mut is_open = false;
    for part in parts {
        is_open = part.is_empty();
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    is_open || rest.is_empty()
}
