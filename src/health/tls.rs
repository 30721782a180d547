//! Whom an HTTPS client trusts: one certificate verifier, and the authorities it reads once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::sync::Mutex;

/// The largest `ca_file` that is read, in bytes; a system's own list has a quarter of a megabyte.
const MAX_CA_FILE_BYTES: u64 = 8 << 20;

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// The authorities that were read, each list once, for all clients that share it.
///
/// A `ca_file` that changes on disk is read again; if it cannot be, what was read before still
/// counts.
#[derive(Debug, Default)]
pub struct Trust {
    read: Mutex<HashMap<Option<PathBuf>, Authorities>>,
}

/// Which certificates a client accepts.
#[derive(Clone, Debug)]
pub enum Accept {
    /// Those that the authorities signed for this name; none: for the name in the URL.
    Valid {
        /// Authorities in PEM; none: the system's.
        ca_file: Option<PathBuf>,
        /// The name.
        name: Option<ServerName<'static>>,
    },
    /// Any.
    Any,
    /// None: for clients that never speak TLS.
    Nothing,
}

#[derive(Debug)]
struct Authorities {
    verifier: Arc<WebPkiServerVerifier>,
    stamp: Stamp,
}

/// A file's time and size, by which a change is noticed.
type Stamp = Option<(SystemTime, u64)>;

impl Trust {
    /// The TLS side of an HTTP/1.1 client that accepts these certificates. The error says what is
    /// wrong with the authorities.
    pub async fn client_config(&self, accept: Accept) -> Result<ClientConfig, String> {
        let (authorities, name) = match accept {
            Accept::Valid { ca_file, name } => (Some(self.authorities(ca_file).await?), name),
            Accept::Any => (None, None),
            Accept::Nothing => return Ok(config(ServerCertificate::nothing())),
        };
        Ok(config(ServerCertificate { accept: Whose::of(authorities), name }))
    }

    async fn authorities(
        &self,
        ca_file: Option<PathBuf>,
    ) -> Result<Arc<WebPkiServerVerifier>, String> {
        // Locked while reading: of a thousand probes that start together, one reads.
        let mut read = self.read.lock().await;
        let stamp = ca_file.as_deref().and_then(stamp);
        if let Some(known) = read.get_mut(&ca_file) {
            if known.stamp != stamp {
                known.stamp = stamp;
                match load(ca_file).await {
                    Ok(verifier) => known.verifier = verifier,
                    Err(error) => {
                        tracing::warn!(%error, "the authorities read before are kept");
                    }
                }
            }
            return Ok(Arc::clone(&known.verifier));
        }
        let verifier = load(ca_file.clone()).await?;
        read.insert(ca_file, Authorities { verifier: Arc::clone(&verifier), stamp });
        Ok(verifier)
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

async fn load(ca_file: Option<PathBuf>) -> Result<Arc<WebPkiServerVerifier>, String> {
    let load = move || match ca_file {
        Some(path) => from_file(&path),
        None => from_system(),
    };
    tokio::task::spawn_blocking(load).await.map_err(|error| error.to_string())?
}

fn from_file(path: &Path) -> Result<Arc<WebPkiServerVerifier>, String> {
    let wrong = |what: &dyn std::fmt::Display| format!("ca_file {}: {what}", path.display());
    let size = std::fs::metadata(path).map_err(|error| wrong(&error))?.len();
    if size > MAX_CA_FILE_BYTES {
        return Err(wrong(&format_args!(
            "{size} bytes, expected at most {MAX_CA_FILE_BYTES} bytes of certificates in PEM"
        )));
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() {
        return Err(wrong(&"holds no certificate, expected at least one in PEM"));
    }
    verifier(roots)
}

fn from_system() -> Result<Arc<WebPkiServerVerifier>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err("the system has no list of certificate authorities: install one (Debian: \
                    ca-certificates) or set `ca_file`"
            .into());
    }
    verifier(roots)
}

fn verifier(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, String> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&PROVIDER))
        .build()
        .map_err(|error| error.to_string())
}

fn config(verifier: ServerCertificate) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
        .with_safe_default_protocol_versions()
        .expect("the provider supports TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    // A resumed session shows no certificate, and an expired one would go unnoticed.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// Verifies a server's certificate, if wanted for another name than the one that was sent.
#[derive(Debug)]
struct ServerCertificate {
    accept: Whose,
    name: Option<ServerName<'static>>,
}

#[derive(Debug)]
enum Whose {
    Nobodys,
    Anybodys,
    Signed(Arc<WebPkiServerVerifier>),
}

impl Whose {
    fn of(authorities: Option<Arc<WebPkiServerVerifier>>) -> Whose {
        authorities.map_or(Whose::Anybodys, Whose::Signed)
    }
}

impl ServerCertificate {
    fn nothing() -> ServerCertificate {
        ServerCertificate { accept: Whose::Nobodys, name: None }
    }
}

impl ServerCertVerifier for ServerCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = self.name.as_ref().unwrap_or(server_name);
        match &self.accept {
            Whose::Nobodys => Err(Error::General("TLS was not expected here".into())),
            Whose::Anybodys => Ok(ServerCertVerified::assertion()),
            Whose::Signed(authorities) => {
                authorities.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &PROVIDER.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &PROVIDER.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}
