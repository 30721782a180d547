//! Every example in the README and in `docs/` does what the text says.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::demo;
use crate::support::peers::{Peer, PeerZone, write};
use crate::support::server::{DNS_PORT, portolan};
use crate::support::{Server, needs, until};

/// Commands are not run again and again without rest.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Of the key that the examples have.
const SECRET: &str = "kp4/24gyYsEzbuTVJRUMoqGFmN3LYgVDzJ/3oRSP7ys=";

/// For a document that is not about zones.
const SMALL_ZONE: &str = "origin = \"example.com.\"\nrecords = \"\"\"
@ SOA ns1 hostmaster 2026112101 2h 15m 2w 5m\n@ NS ns1\n@ NS ns2
ns1 A 198.51.100.53\nns2 A 203.0.113.53\n\"\"\"\n";

/// What a fenced block says.
struct Block {
    /// Its language, and behind it the file that it is, if it is one.
    info: String,
    text: String,
}

/// The blocks of a document, in order.
fn blocks(document: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(root().join(document)).expect("the document");
    let fenced = text.split("\n```").skip(1).step_by(2);
    let block = |fenced: &str| {
        let (info, text) = fenced.split_once('\n').expect("a line after the fence");
        Block { info: info.trim().into(), text: format!("{text}\n") }
    };
    fenced.map(block).collect()
}

/// The commands of a document, and what each prints.
fn commands(document: &str) -> Vec<(String, Vec<String>)> {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    let blocks = blocks(document).into_iter().filter(|block| block.info == "console");
    for line in blocks.flat_map(|block| block.text.lines().map(String::from).collect::<Vec<_>>()) {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.into(), Vec::new())),
            (None, Some((_, printed))) => printed.push(line),
            (None, None) => panic!("{document}: a console begins with a command, not {line:?}"),
        }
    }
    commands
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).into()
}

fn documents() -> Vec<String> {
    let docs = std::fs::read_dir(root().join("docs")).expect("the documents");
    let names = docs.map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| format!("docs/{}", name.to_string_lossy()));
    let mut documents: Vec<String> = names.filter(|name| name.ends_with(".md")).collect();
    documents.insert(0, "README.md".into());
    documents
}

/// The files that the examples show or name, each as it is or with what stands there as a comment
/// made true: that is an example, too.
fn put_files(document: &str, directory: &Path, uncommented: bool) {
    let put = |file: &str, text: &str| {
        let path = directory.join(file);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(&path, text).expect("a file");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(path, private).expect("a mode");
    };
    put("zones/example.com.zone", "more A 198.51.100.26\n");
    put("xfr.key", &format!("{SECRET}\n"));
    put("admin.token", "a-long-enough-secret-for-this-example\n");
    std::fs::create_dir_all(directory.join("geoip")).expect("a directory");
    let link = std::os::unix::fs::symlink::<PathBuf, PathBuf>;
    let database = Path::new("geoip/world.mmdb");
    link(root().join(database), directory.join(database)).expect("a link");
    // Small files are as any document shows them; without a configuration of its own, a document
    // is about the README's.
    let mut shown: Vec<(String, String)> =
        documents().iter().flat_map(|name| files(name)).collect();
    shown.retain(|(file, _)| !is_configuration(file));
    let own = files(document);
    if !own.iter().any(|(file, _)| file == "portolan.toml") {
        shown.extend(files("README.md"));
    }
    if !shown.iter().chain(&own).any(|(file, _)| file.starts_with("zones/")) {
        shown.push(("zones/example.com.toml".into(), SMALL_ZONE.into()));
    }
    for (file, text) in shown.into_iter().chain(own) {
        let text = if uncommented { with_comments_made_true(&text) } else { text };
        // Nobody is there: `check` would ask whichever server runs meanwhile what it serves.
        put(&file, &text.replace("127.0.0.1:8053", "127.0.0.1:1"));
    }
}

/// The files that a document shows.
fn files(document: &str) -> Vec<(String, String)> {
    let files = blocks(document).into_iter().filter_map(|Block { info, text }| {
        let (_, file) = info.split_once(' ')?;
        Some((file.to_owned(), text))
    });
    files.collect()
}

fn is_configuration(file: &str) -> bool {
    file == "portolan.toml" || file.starts_with("zones/")
}

/// Lines such as `# key = value` without the mark.
fn with_comments_made_true(text: &str) -> String {
    let line = |line: &str| {
        let is_key = |rest: &str| {
            let key = rest.split('=').next().unwrap_or_default().trim_end();
            rest.contains(" = ") && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        };
        line.strip_prefix("# ").filter(|rest| is_key(rest)).unwrap_or(line).to_owned() + "\n"
    };
    text.lines().map(line).collect()
}

#[test]
fn the_files_of_every_document_are_without_errors_and_warnings() {
    for document in documents() {
        let files = files(&document);
        // The small files of the others are among the README's.
        if !files.iter().any(|(file, _)| is_configuration(file)) {
            continue;
        }
        let has_comments = files.iter().any(|(_, text)| with_comments_made_true(text) != *text);
        for uncommented in [false, true].into_iter().take(1 + usize::from(has_comments)) {
            let directory = tempfile::tempdir().expect("a temporary directory");
            put_files(&document, directory.path(), uncommented);
            let output = portolan()
                .args(["check", "--config"])
                .arg(directory.path().join("portolan.toml"))
                .output()
                .expect("the binary runs");
            let text = String::from_utf8_lossy(&output.stdout);
            // No primary has sent anything yet.
            let is_good = |text: &str| {
                text.contains("0 errors, 0 warnings")
                    || (text.contains("0 errors, 1 warning") && text.contains("nothing is kept of"))
            };
            assert!(output.status.success() && is_good(&text), "{document}: {text}");
        }
    }
}

#[test]
fn every_link_of_a_document_leads_to_a_file() {
    for document in documents() {
        let text = std::fs::read_to_string(root().join(&document)).expect("the document");
        let place = root().join(&document);
        for link in text.split("](").skip(1) {
            let link = link.split([')', '#']).next().unwrap_or_default();
            let file = place.parent().expect("a directory").join(link);
            assert!(link.contains("://") || file.exists(), "{document}: {link}");
        }
    }
}

#[test]
fn the_commands_to_try_in_the_demo_print_what_the_documents_say() {
    let Some(_demo) = demo::start("readme") else { return };
    for (command, wanted) in ["README.md", "docs/capacity.md"].into_iter().flat_map(commands) {
        // Reports and checks take their time after a lever was pulled.
        until(&command, || {
            prints(&root(), &command, &wanted) || {
                std::thread::sleep(LOOK_EVERY);
                false
            }
        });
    }
}

#[test]
fn a_server_with_the_files_of_a_document_answers_as_the_document_says() {
    if !needs("readme", &["dig", "nsd"]) {
        return;
    }
    for document in ["docs/dns.md", "docs/zones.md"] {
        // The addresses of the examples are the test's own, so that others may run meanwhile.
        let empty = Server::files("");
        let here = empty.addresses().host(1).to_string();
        // Of a resolver no more is needed than one answer.
        let cdn = PeerZone {
            origin: "cdn.example.net.",
            text: "@ 300 SOA ns h 1 2h 15m 2w 5m\n@ 300 NS ns\ncustomer 300 A 198.51.100.200\n",
        };
        let resolver = Peer::nsd(empty.addresses().host(53), &[cdn]);
        put_files(document, empty.path("").as_path(), false);
        for (file, text) in files(document) {
            let text = text.replace("127.0.0.53:53", &resolver.dns().to_string());
            empty.write(&file, &text.replace("127.0.0.1", &here));
        }
        let server = empty.start();
        for (command, wanted) in commands(document) {
            let (at, command) = (server.path(""), command.replace("127.0.0.1", &here));
            let wanted: Vec<_> =
                wanted.iter().map(|line| line.replace("127.0.0.1", &here)).collect();
            assert!(prints(&at, &command, &wanted), "{document}");
        }
    }
}

#[test]
fn a_zone_that_stays_where_it_is_is_steered_as_the_document_says() {
    if !needs("readme", &["dig", "knotd"]) {
        return;
    }
    let document = "docs/transfers.md";
    let empty = Server::files("");
    let (here, there) = (empty.addresses().host(1), empty.addresses().host(5));
    // Where the example has its servers, and where the test has them.
    let moved = |text: &str| {
        text.replace("198.51.100.53:53", &format!("{here}:5353"))
            .replace("@198.51.100.53", &format!("@{here} -p 5353"))
            .replace("address: 198.51.100.53", &format!("address: {here}@5353"))
            .replace("203.0.113.5:53", &format!("{there}:5353"))
            .replace("address = \"203.0.113.5\"", &format!("address = \"{there}:5353\""))
            .replace("\"203.0.113.53\"", &format!("\"{there}:5353\""))
            .replace("via: 203.0.113.5", &format!("via: {there}"))
            .replace("127.0.0.1", &here.to_string())
    };
    put_files(document, &empty.path(""), false);
    let mut conf = String::new();
    for (file, text) in files(document) {
        match &file[..] {
            "knot.conf" => conf = moved(&text).replace("SECRET", SECRET),
            _ => drop(empty.write(&file, &moved(&text))),
        }
    }
    let _primary = knot(there, &conf);
    let server = empty.start();
    for (command, wanted) in commands(document) {
        let wanted: Vec<String> = wanted.iter().map(|line| moved(line)).collect();
        assert!(prints(&server.path(""), &moved(&command), &wanted), "{command}");
    }
}

/// Knot with a zone, configured with these lines besides those that any test needs.
fn knot(address: Ipv4Addr, lines: &str) -> Peer {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = directory.path().display();
    let conf = format!(
        "server:\n  rundir: \"{at}\"\n  listen: {address}@{DNS_PORT}\n  udp-workers: 1\n\
         \x20 tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: \"{at}\"\n\
         template:\n  - id: default\n    storage: \"{at}\"\n{lines}"
    );
    let text = "$TTL 300\n@ SOA ns1 hostmaster 2026112101 2h 15m 2w 5m\n@ NS ns1\n@ NS ns2\n\
                ns1 A 198.51.100.53\nns2 A 203.0.113.5\n@ MX 10 mail\nmail A 198.51.100.25\n\
                www A 198.51.100.80\n";
    write(directory.path(), "knot.conf", &conf);
    write(directory.path(), "example.com.zone", text);
    let peer = Peer::spawn(directory, (address, DNS_PORT).into(), "knotd", &["-c", "knot.conf"]);
    peer.wait_for(&[PeerZone { origin: "example.com.", text }])
}

/// Runs a command as a shell does, and compares line by line; `…` stands for anything.
fn prints(directory: &Path, command: &str, wanted: &[String]) -> bool {
    let output = Command::new("sh")
        .args([
            "-c",
            &format!("portolan() {{ {} \"$@\"; }}; {command}", env!("CARGO_BIN_EXE_portolan")),
        ])
        .env("NO_COLOR", "1")
        .current_dir(directory)
        .output()
        .expect("sh runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    let alike = output.status.success() && are_like(&lines, wanted);
    if !alike {
        eprintln!("{command}\nwanted: {wanted:#?}\nprinted: {lines:#?}");
    }
    alike
}

/// A line `…` stands for any number of lines.
fn are_like(lines: &[&str], wanted: &[String]) -> bool {
    match (lines, wanted) {
        (_, [dots, rest @ ..]) if dots == "…" => {
            (0..=lines.len()).any(|from| are_like(&lines[from..], rest))
        }
        ([line, lines @ ..], [wanted, rest @ ..]) => is_like(line, wanted) && are_like(lines, rest),
        (lines, wanted) => lines.is_empty() && wanted.is_empty(),
    }
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
