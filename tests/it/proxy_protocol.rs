//! The PROXY protocol and server names between Portolan and servers of other makes: HAProxy and
//! nginx as those who speak first and those who are told, curl and openssl as clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::peers::{Peer, write};
use crate::support::{Addresses, Server, needs, until};

const HTTP: u16 = 8080;
const TLS: u16 = 8443;
/// Whom the client stands for.
const CLIENT: u8 = 99;

/// Answers what it was told of the connection: whom it stands for, where that went to, and the
/// unique id in it.
fn haproxy_that_is_told(address: Ipv4Addr) -> Peer {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let told = "%[src] %[dst] %[dst_port] %[fc_pp_unique_id]";
    let conf = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n\
         frontend told\n bind {address}:{HTTP} accept-proxy\n\
         \x20http-request return status 200 content-type text/plain lf-string \"{told}\"\n"
    );
    haproxy(directory, &conf, address)
}

fn haproxy(directory: tempfile::TempDir, conf: &str, address: Ipv4Addr) -> Peer {
    write(directory.path(), "haproxy.cfg", conf);
    Peer::spawn(directory, (address, HTTP).into(), "haproxy", &["-db", "-f", "haproxy.cfg"])
}

/// The same by nginx, which knows nothing of unique ids.
fn nginx_that_is_told(address: Ipv4Addr) -> Peer {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = directory.path().display();
    let told = "$proxy_protocol_addr $proxy_protocol_server_addr $proxy_protocol_server_port";
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|path| format!(" {path}_temp_path {at}/{path};\n"))
        .collect();
    let conf = format!(
        "daemon off; worker_processes 1; pid {at}/pid; error_log stderr;\nevents {{}}\nhttp {{\n\
         \x20access_log off;\n{paths} server {{\n  listen {address}:{HTTP} proxy_protocol;\n\
         \x20 location / {{ return 200 \"{told} \"; }}\n }}\n}}\n"
    );
    write(directory.path(), "nginx.conf", &conf);
    let conf = directory.path().join("nginx.conf");
    let conf = conf.to_str().expect("a path in UTF-8").to_owned();
    Peer::spawn(directory, (address, HTTP).into(), "nginx", &["-e", "stderr", "-c", &conf])
}

/// A proxy of HAProxy's that says for whom it speaks.
fn haproxy_that_tells(address: Ipv4Addr, to: SocketAddr, how: &str) -> Peer {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let conf = format!(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n\
         listen tells\n bind {address}:{HTTP}\n unique-id-format id-%cp\n\
         \x20server one {to} {how}\n"
    );
    haproxy(directory, &conf, address)
}

/// What curl gets there, coming from `client`; when nothing listens yet, or nobody is told of, it
/// is tried again.
fn curl(client: Ipv4Addr, arguments: &[&str]) -> String {
    let mut text = String::new();
    until("curl is answered", || {
        let output = Command::new("curl")
            .args(["-sS", "-f", "-m", "5", "--interface", &client.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("curl runs");
        text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success()
    });
    text
}

/// Two services that take headers and send others: to HAProxy as version 2, to nginx as version 1.
fn between(net: Addresses) -> Server {
    let service = |name: &str, at: u8, backend: u8, version: &str| {
        format!(
            "[[l4.services]]\nname = \"{name}\"\nlisten = \"{}:{HTTP}\"\n\
             accept_proxy = [\"127.0.0.0/8\"]\nsend_proxy = \"{version}\"\n\
             backends = [{{ address = \"{}:{HTTP}\" }}]\n",
            net.host(at),
            net.host(backend),
        )
    };
    let services = service("haproxy", 10, 20, "v2") + &service("nginx", 11, 21, "v1");
    Server::files(&services).start()
}

#[test]
fn whom_haproxy_and_curl_speak_for_is_told_to_haproxy_and_nginx() {
    if !needs("the PROXY protocol between makes", &["haproxy", "nginx", "curl"]) {
        return;
    }
    let net = Addresses::new();
    let _told = [haproxy_that_is_told(net.host(20)), nginx_that_is_told(net.host(21))];
    let _server = between(net);
    let client = net.host(CLIENT);
    for (at, is_haproxy) in [(10, true), (11, false)] {
        let vip = SocketAddr::from((net.host(at), HTTP));
        let said = curl(client, &["--haproxy-protocol", &format!("http://{vip}/")]);
        assert_eq!(said, format!("{client} {} {HTTP} ", net.host(at)), "curl, version 1");
        let ways =
            ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"];
        for (host, how) in (30..).zip(ways) {
            let proxy = net.host(host + at);
            let _proxy = haproxy_that_tells(proxy, vip, how);
            let said = curl(client, &[&format!("http://{proxy}:{HTTP}/")]);
            let rest = said.strip_prefix(&format!("{client} {proxy} {HTTP} "));
            let id = rest.unwrap_or_else(|| panic!("{how}: {said}"));
            let is_passed = is_haproxy && how.contains("unique-id");
            assert_eq!(id.starts_with("id-"), is_passed, "{how}: {said}");
        }
    }
}

#[test]
fn who_says_nothing_of_a_client_where_a_header_is_owed_gets_nothing() {
    if !needs("a PROXY header that is owed", &["curl"]) {
        return;
    }
    let net = Addresses::new();
    let _server = between(net);
    let url = format!("http://{}:{HTTP}/", net.host(10));
    let output = Command::new("curl").args(["-sS", "-m", "5", &url]).output().expect("curl runs");
    // Reset while it waits for an answer.
    assert_eq!(output.status.code(), Some(56), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A TLS server whose certificate is for that name.
fn tls_server(address: Ipv4Addr, name: &str) -> Peer {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut make = Command::new("openssl");
    make.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    make.args(["-nodes", "-days", "2", "-subj", &format!("/CN={name}")]);
    make.args(["-keyout", "key", "-out", "certificate"]).current_dir(directory.path());
    let made = make.output().expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let at = format!("{address}:{TLS}");
    let arguments = ["s_server", "-accept", &at, "-cert", "certificate", "-key", "key", "-quiet"];
    Peer::spawn(directory, (address, TLS).into(), "openssl", &arguments)
}

/// Whose certificate a client is shown that asks for that server.
fn shown_to(vip: &str, server_name: &[&str], directory: &Path) -> String {
    let mut shown = String::new();
    until("a TLS server answers", || {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", vip])
            .args(server_name)
            .current_dir(directory)
            .stdin(Stdio::null())
            .output()
            .expect("openssl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let subject = text.lines().find_map(|line| line.strip_prefix("subject="));
        shown = subject.unwrap_or_default().replace("CN = ", "");
        !shown.is_empty()
    });
    shown
}

#[test]
fn openssls_clients_come_to_the_server_that_they_ask_for() {
    if !needs("routes by server name", &["openssl"]) {
        return;
    }
    let net = Addresses::new();
    let names = ["default", "api", "below"];
    let servers: Vec<Peer> =
        (20..).zip(names).map(|(host, name)| tls_server(net.host(host), name)).collect();
    let backend = |host: u8| format!("backends = [{{ address = \"{}:{TLS}\" }}]\n", net.host(host));
    let _server = Server::files(&format!(
        "[[l4.services]]\nname = \"web\"\nlisten = \"{}:{TLS}\"\n{}routes = [\n\
         {{ server_name = \"api.example.com\", service = \"api\" }},\n\
         {{ server_name = [\"*.example.com\", \"*.example.net\"], service = \"below\" }},\n]\n\
         [[l4.services]]\nname = \"api\"\n{}[[l4.services]]\nname = \"below\"\n{}",
        net.host(10),
        backend(20),
        backend(21),
        backend(22),
    ))
    .start();
    let vip = format!("{}:{TLS}", net.host(10));
    let shown = |server_name: &[&str]| shown_to(&vip, server_name, servers[0].path());
    assert_eq!(shown(&["-servername", "api.example.com"]), "api");
    assert_eq!(shown(&["-servername", "API.Example.COM"]), "api");
    assert_eq!(shown(&["-servername", "www.example.com"]), "below");
    assert_eq!(shown(&["-servername", "a.b.example.net", "-tls1_2"]), "below");
    assert_eq!(shown(&["-servername", "example.net"]), "default");
    assert_eq!(shown(&["-noservername"]), "default");
}
