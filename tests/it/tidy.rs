//! The rules of the tree: a floor imports only the floors below it, and every file says on its
//! first line what it is for.

use std::path::{Path, PathBuf};

/// For each place under `src/`, what of ours it may import; `*`: everything.
const FLOORS: &[(&str, &[&str])] = &[
    ("datagram", &[]),
    ("dns", &[]),
    ("geo", &[]),
    ("handover", &[]),
    ("decide", &["dns", "geo"]),
    ("zone", &["dns", "decide"]),
    ("transfer", &["dns", "zone"]),
    ("snapshot", &["dns", "geo", "zone", "decide", "transfer"]),
    ("ledger", &["decide", "snapshot"]),
    ("answer", &["dns", "zone", "decide", "snapshot", "ledger", "transfer"]),
    ("transport", &["datagram", "dns", "answer", "snapshot", "ledger", "transfer", "handover"]),
    ("health", &[]),
    ("agent", &[]),
    ("resolve", &["dns"]),
    (
        "control",
        &["dns", "geo", "zone", "decide", "snapshot", "ledger", "health", "transfer", "resolve"],
    ),
    ("l4", &["datagram", "decide", "health", "handover"]),
    (
        "admin",
        &[
            "handover",
            "dns",
            "geo",
            "zone",
            "transfer",
            "resolve",
            "decide",
            "snapshot",
            "ledger",
            "answer",
            "transport",
            "health",
            "control",
            "l4",
        ],
    ),
    (
        "config",
        &[
            "handover",
            "dns",
            "geo",
            "zone",
            "transfer",
            "resolve",
            "decide",
            "snapshot",
            "ledger",
            "answer",
            "transport",
            "health",
            "control",
            "l4",
            "admin",
        ],
    ),
    ("daemon", &["*"]),
    (
        "simulate",
        &[
            "dns", "geo", "decide", "zone", "transfer", "resolve", "snapshot", "ledger", "answer",
            "health", "control",
        ],
    ),
    ("cli", &["*"]),
    ("main", &["*"]),
    ("lib", &["*"]),
];

/// Files in which `unsafe` may stand, each with its reason.
const UNSAFE: &[&str] = &[
    // recvmmsg and sendmmsg.
    "datagram.rs",
];

#[test]
fn a_floor_imports_only_the_floors_below_it() {
    let mut wrong = Vec::new();
    for (place, file, text) in sources() {
        if is_test(&file) {
            // A test may build what it asks from any floor.
            continue;
        }
        let Some((_, allowed)) = FLOORS.iter().find(|(name, _)| *name == place) else {
            wrong.push(format!("{}: `{place}` has no floor", file.display()));
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for imported in code.split("crate::").skip(1).flat_map(imports) {
                let known = FLOORS.iter().any(|(name, _)| *name == imported);
                if known
                    && imported != place
                    && !allowed.iter().any(|a| *a == "*" || *a == imported)
                {
                    let number = number + 1;
                    wrong.push(format!("{}:{number}: {place} imports {imported}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The module, or the modules in braces, at the beginning of what follows `crate::`.
fn imports(rest: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    match rest.strip_prefix('{') {
        Some(list) => list.split('}').next().unwrap_or_default().split(',').map(name).collect(),
        None => vec![name(rest)],
    }
}

#[test]
fn every_file_says_on_its_first_line_what_it_is_for() {
    let silent: Vec<_> =
        sources().into_iter().filter(|(_, _, text)| !text.starts_with("//! ")).collect();
    let silent: Vec<_> = silent.iter().map(|(_, file, _)| file.display().to_string()).collect();
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

#[test]
fn unsafe_code_stands_only_where_it_has_a_reason() {
    for (_, file, text) in sources() {
        let path = file.to_string_lossy();
        let has_unsafe = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains("unsafe {") || code.contains("unsafe impl") || code.contains("unsafe fn")
        });
        assert!(
            !has_unsafe || UNSAFE.iter().any(|allowed| path.ends_with(allowed)),
            "{path} has unsafe code"
        );
    }
}

#[test]
fn the_pure_floors_read_no_clock_and_open_nothing() {
    let pure = ["dns", "geo", "decide", "zone", "transfer", "snapshot", "ledger", "answer"];
    let forbidden = [
        "Instant::now",
        "SystemTime::now",
        "std::fs",
        "File::open",
        "UdpSocket",
        "TcpStream",
        "tokio::",
    ];
    // In control: what is known, what follows from it, and the allocation.
    let pure_parts = [
        "control/allocate/",
        "control/allotting.rs",
        "control/capacity.rs",
        "control/core.rs",
        "control/flatten",
        "control/layout.rs",
        "control/overrides.rs",
        "control/presence.rs",
        "control/publish.rs",
        "control/secondary/schedule.rs",
    ];
    for (place, file, text) in sources() {
        let path = file.to_string_lossy();
        let is_pure = pure.contains(&place.as_str())
            || pure_parts.iter().any(|part| path.contains(&format!("src/{part}")));
        if !is_pure || is_test(&file) {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in forbidden {
            assert!(!code.contains(word), "{} uses {word}", file.display());
        }
    }
}

/// The clock of the system may be set, by a day and in either direction: it dates what is told and
/// kept, and nothing is timed by it.
#[test]
fn the_clock_of_the_system_is_read_only_where_something_is_dated() {
    let dating = [
        // When it was started, when a flow ended, when it was measured, since when.
        "daemon.rs",
        "cli/demo/site.rs",
        "l4/access_log.rs",
        "admin/api.rs",
        "health/watch.rs",
        "control/notify.rs",
        // Events; and overrides, which move when the clock is set.
        "control/mod.rs",
        // Files: changed since they began to be read, kept since, and for how long after a restart.
        "config/load.rs",
        "config/secondary.rs",
        "control/secondary/storage.rs",
        "control/secondary/task.rs",
        // Signatures (TSIG).
        "control/secondary/exchange.rs",
        "transport/mod.rs",
    ];
    let dating = dating.map(|file| Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file));
    for (_, file, text) in sources() {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let is_dated = code.contains("SystemTime::now");
        assert!(!is_dated || is_test(&file) || dating.contains(&file), "{}", file.display());
    }
}

fn is_test(file: &Path) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let below = file.strip_prefix(root).unwrap_or(file);
    below.ends_with("tests.rs") || below.components().any(|c| c.as_os_str() == "tests")
}

/// Every source file: the place it belongs to, its path, its text.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut open = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).expect("src can be listed") {
            let path = entry.expect("src can be listed").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(&root).expect("under src");
                let first =
                    below.components().next().expect("a name").as_os_str().to_string_lossy();
                let place = first.trim_end_matches(".rs").to_string();
                let text = std::fs::read_to_string(&path).expect("a source file");
                sources.push((place, path, text));
            }
        }
    }
    sources
}
