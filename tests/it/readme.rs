//! Every example in the README does what the README says.

use std::path::{Path, PathBuf};

use crate::support::server::portolan;

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
    put("portolan.toml", &server.replace("# networks", "networks").replace("# token", "token"));
    put("zones/example.com.toml", &zone.replace("# records_file", "records_file"));
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
