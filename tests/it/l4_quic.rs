//! QUIC through the forwarder: real servers, whose connection ids name them, and real clients that
//! change their addresses.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use quinn::{
    ClientConfig, Connection, ConnectionError, ConnectionId, ConnectionIdGenerator, Endpoint,
    EndpointConfig, Incoming, ServerConfig, TokioRuntime, TransportConfig,
};
use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;

use crate::support::Server;

const BACKENDS: u8 = 4;
/// What takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(100);
/// The first version, and a draft of it, which is another.
const VERSIONS: [u32; 2] = [1, 0xff00_001d];

/// Makes connection ids as draft-ietf-quic-load-balancers has them, unencrypted, or empty ones.
struct Ids {
    server_id: Option<[u8; 2]>,
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let Some([high, low]) = self.server_id else { return ConnectionId::new(&[]) };
        let [a, b, c, d, e] = std::array::from_fn(|_| fastrand::u8(..));
        ConnectionId::new(&[fastrand::u8(..32), high, low, a, b, c, d, e])
    }

    fn cid_len(&self) -> usize {
        self.server_id.map_or(0, |_| 8)
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// What has come to a server, which says its number and where the client seems to be on each stream.
#[derive(Clone, Default)]
struct Backend {
    connections: Arc<AtomicUsize>,
    retries: Arc<AtomicUsize>,
}

/// Servers behind a forwarder, which gives each new client the next one.
struct World {
    server: Server,
    backends: Vec<Backend>,
    /// Who wants to connect is asked to come again (Retry).
    asks_again: Arc<AtomicBool>,
    trust: Arc<RootCertStore>,
}

impl World {
    fn start() -> World {
        let backends: String = (0..BACKENDS)
            .map(|number| {
                let last = 11 + number;
                format!("{{ address = \"{{net}}.{last}:4433\", server_id = \"ab0{number}\" }},\n")
            })
            .collect();
        let files = Server::files(&format!(
            "[[l4.services]]\nname = \"quic\"\nprotocol = \"udp\"\nlisten = \"{{net}}.100:4433\"\n\
             balance = \"round-robin\"\nquic = {{ server_id_bytes = 2 }}\nbackends = [{backends}]\n"
        ));
        let (net, asks_again) = (files.addresses(), Arc::new(AtomicBool::new(false)));
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["quic.example.com".into()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        let mut trust = RootCertStore::empty();
        trust.add(certificate.der().clone()).expect("a certificate");
        let start = |number| {
            let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
            let chain = vec![certificate.der().clone()];
            let mut config = ServerConfig::with_single_cert(chain, key).expect("a key that fits");
            config.transport = transport();
            let at = (net.host(11 + number), 4433).into();
            Backend::start(at, number, config, Arc::clone(&asks_again))
        };
        let backends = (0..BACKENDS).map(start).collect();
        World { server: files.start(), backends, asks_again, trust: Arc::new(trust) }
    }

    fn vip(&self) -> SocketAddr {
        (self.server.addresses().host(100), 4433).into()
    }

    /// A socket of a client, at an address that ends so.
    fn socket(&self, last: u8) -> UdpSocket {
        UdpSocket::bind((self.server.addresses().host(last), 0)).expect("a free port")
    }

    /// A client that speaks this version, with connection ids or without.
    fn client(&self, has_ids: bool, version: u32) -> Endpoint {
        let server_id = has_ids.then_some([0xff; 2]);
        let socket = self.socket(200);
        let config = endpoint_config(server_id, VERSIONS.into());
        let mut endpoint = Endpoint::new(config, None, socket, Arc::new(TokioRuntime))
            .expect("an endpoint can be made");
        let mut config =
            ClientConfig::with_root_certificates(Arc::clone(&self.trust)).expect("authorities");
        config.version(version).transport_config(transport());
        endpoint.set_default_client_config(config);
        endpoint
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, ConnectionError> {
        endpoint.connect(self.vip(), "quic.example.com").expect("a connection can be tried").await
    }

    fn count(&self, of: fn(&Backend) -> &Arc<AtomicUsize>) -> usize {
        self.backends.iter().map(|backend| of(backend).load(Relaxed)).sum()
    }
}

impl Backend {
    fn start(
        at: SocketAddr,
        number: u8,
        config: ServerConfig,
        asks_again: Arc<AtomicBool>,
    ) -> Backend {
        let socket = UdpSocket::bind(at).expect("an address of the test's own");
        let ids = endpoint_config(Some([0xab, number]), vec![VERSIONS[0]]);
        let endpoint = Endpoint::new(ids, Some(config), socket, Arc::new(TokioRuntime))
            .expect("an endpoint can be made");
        let backend = Backend::default();
        let Backend { connections, retries } = backend.clone();
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                if asks_again.load(Relaxed) && incoming.may_retry() {
                    retries.fetch_add(1, Relaxed);
                    incoming.retry().expect("it may");
                } else {
                    tokio::spawn(serve(incoming, number, Arc::clone(&connections)));
                }
            }
        });
        backend
    }
}

/// Answers on the streams of a connection until that ends.
async fn serve(
    incoming: Incoming,
    number: u8,
    connections: Arc<AtomicUsize>,
) -> Result<(), ConnectionError> {
    let connection = incoming.await?;
    connections.fetch_add(1, Relaxed);
    loop {
        let (mut answer, _) = connection.accept_bi().await?;
        let said = format!("{number} {}", connection.remote_address());
        let _ = answer.write_all(said.as_bytes()).await;
        let _ = answer.finish();
    }
}

fn endpoint_config(server_id: Option<[u8; 2]>, versions: Vec<u32>) -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.cid_generator(move || Box::new(Ids { server_id })).supported_versions(versions);
    config
}

/// A connection does not end before the test does.
fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(DEADLINE.try_into().expect("a time that fits")));
    Arc::new(transport)
}

/// Which backend answers, and where it takes the client to be.
async fn ask(connection: &Connection) -> (u8, SocketAddr) {
    let (mut question, mut answer) = connection.open_bi().await.expect("a connection that stands");
    question.write_all(b"who?").await.expect("a stream");
    let answer = answer.read_to_end(100).await.expect("an answer");
    let answer = String::from_utf8(answer).expect("a text");
    let (number, seen) = answer.split_once(' ').expect("two words");
    (number.parse().expect("a number"), seen.parse().expect("an address"))
}

async fn in_time<T>(act: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, act).await.expect("it does not hang")
}

#[tokio::test]
async fn a_quic_client_whose_address_changes_stays_with_its_server() {
    let world = World::start();
    let mut clients = 0;
    for (asks_again, has_ids) in [(false, true), (true, true), (false, false), (true, false)] {
        world.asks_again.store(asks_again, Relaxed);
        // As many as there are servers, so that who came to another at random would be seen.
        for _ in 0..BACKENDS {
            let endpoint = world.client(has_ids, VERSIONS[0]);
            let connection = in_time(world.connect(&endpoint)).await.expect("a connection");
            clients += 1;
            let (backend, mut seen) = in_time(ask(&connection)).await;
            // Another port, and then other addresses.
            for last in [200, 201, 202] {
                endpoint.rebind(world.socket(last)).expect("a socket");
                let (now, seen_now) = in_time(ask(&connection)).await;
                assert_eq!(now, backend, "{last} {asks_again} {has_ids}");
                assert_ne!(seen_now, seen, "by another session: {asks_again} {has_ids}");
                seen = seen_now;
            }
            connection.close(0u8.into(), b"");
        }
    }
    assert_eq!(world.count(|backend| &backend.connections), clients, "nobody had to come again");
    // Who takes the first request to be lost, on a busy machine, sends it again.
    assert!(world.count(|backend| &backend.retries) >= clients / 2);
}

#[tokio::test]
async fn a_quic_client_of_another_version_hears_which_there_are() {
    let world = World::start();
    let endpoint = world.client(true, VERSIONS[1]);
    let refused = in_time(world.connect(&endpoint)).await.expect_err("no server speaks that");
    assert!(matches!(refused, ConnectionError::VersionMismatch), "{refused}");
    assert_eq!(world.count(|backend| &backend.connections), 0);
}
