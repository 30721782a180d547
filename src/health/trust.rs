//! Whom a probe over TLS trusts: one certificate verifier, and the authorities it reads once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use thiserror::Error as ThisError;
use tokio::sync::Mutex;

use super::{TlsCheck, certificate};

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

impl Shown {
    /// The last second in which it is valid, since 1970 (UTC); none while none was read.
    pub fn certificate_ends(&self) -> Option<u64> {
        Some(self.0.load(Relaxed)).filter(|end| *end > 0)
    }

    fn note(&self, end: Option<u64>) {
        self.0.store(end.unwrap_or(0), Relaxed);
    }
}

/// The TLS side of a client that never speaks TLS.
pub fn no_tls() -> ClientConfig {
    let name = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
    let accept = Whose::Nobodys;
    config(ServerCertificate { accept, name, min_days: None, shown: Shown::default() })
}

/// A DNS name or an address, as a server's name.
pub fn named(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| format!("`{name}` is not a server name: expected a DNS name or an address"))
}

/// What the server of a client has last shown: a certificate, and when it ends. One whose
/// signatures are refused counts as none.
#[derive(Clone, Debug, Default)]
pub struct Shown(Arc<AtomicU64>);

#[derive(Debug)]
struct Authorities {
    verifier: Arc<WebPkiServerVerifier>,
    stamp: Stamp,
}

/// A file's time and size, by which a change is noticed.
type Stamp = Option<(SystemTime, u64)>;

impl Trust {
    /// The TLS side of a client of the server of that name, which accepts what `check` accepts and
    /// offers these protocols (ALPN). The error says what is wrong with the authorities.
    pub async fn client_config(
        &self,
        check: &TlsCheck,
        name: ServerName<'static>,
        protocols: &[&str],
        shown: &Shown,
    ) -> Result<ClientConfig, String> {
        let accept = match check.verify {
            true => Whose::Signed(self.authorities(check.ca_file.clone()).await?),
            false => Whose::Anybodys,
        };
        let sends_name = matches!(name, ServerName::DnsName(_));
        let (min_days, shown) = (check.min_days, shown.clone());
        let mut config = config(ServerCertificate { accept, name, min_days, shown });
        // An address is never sent as a name (RFC 6066 §3).
        config.enable_sni = sends_name;
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(config)
    }

    /// The same for the server at that address, by the name that the check gives or else by its
    /// address; with that name.
    pub async fn client(
        &self,
        check: &TlsCheck,
        address: IpAddr,
        protocols: &[&str],
        shown: &Shown,
    ) -> Result<(ServerName<'static>, ClientConfig), String> {
        let name = match &check.server_name {
            Some(name) => named(name)?,
            None => ServerName::IpAddress(address.into()),
        };
        let config = self.client_config(check, name.clone(), protocols, shown).await?;
        Ok((name, config))
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
    config
}

/// Verifies a server's certificate for the name that is wanted, whichever was sent.
#[derive(Debug)]
struct ServerCertificate {
    accept: Whose,
    name: ServerName<'static>,
    min_days: Option<u32>,
    shown: Shown,
}

#[derive(Debug)]
enum Whose {
    Nobodys,
    Anybodys,
    Signed(Arc<WebPkiServerVerifier>),
}

/// The certificate's end is too near.
#[derive(Debug, ThisError)]
enum Expiry {
    #[error("the certificate expired {0} days ago, wanted at least {1} days to go")]
    Past(u64, u32),
    #[error("the certificate expires in {0} days, wanted at least {1}")]
    Near(u64, u32),
    #[error("the certificate does not say when it expires")]
    Unsaid,
}

impl ServerCertificate {
    /// Whether it is good for long enough.
    fn check_expiry(&self, certificate: &[u8], now: UnixTime) -> Result<(), Expiry> {
        const DAY: u64 = 24 * 3600;
        let end = certificate::not_after(certificate);
        self.shown.note(end);
        let Some(wanted) = self.min_days else { return Ok(()) };
        let end = end.ok_or(Expiry::Unsaid)?;
        match end.checked_sub(now.as_secs()).map(|left| left / DAY) {
            Some(days) if days >= u64::from(wanted) => Ok(()),
            Some(days) => Err(Expiry::Near(days, wanted)),
            None => Err(Expiry::Past((now.as_secs() - end) / DAY, wanted)),
        }
    }
}

impl ServerCertVerifier for ServerCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _sent_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.accept {
            Whose::Nobodys => return Err(Error::General("TLS was not expected here".into())),
            Whose::Anybodys => {}
            Whose::Signed(authorities) => {
                let name = &self.name;
                authorities
                    .verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
                    .inspect_err(|_| self.shown.note(None))?;
            }
        }
        self.check_expiry(end_entity, now)
            .map_err(|expiry| CertificateError::Other(OtherError(Arc::new(expiry))))?;
        Ok(ServerCertVerified::assertion())
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
