//! The server's certificate: made once, by an authority of its own that signs nothing else and whose key is forgotten.

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What a server proves itself with, and what its clients check that by.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Certificate of the authority, in PEM.
    pub authority: String,
    /// For the listener.
    pub server: Arc<ServerConfig>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("{0}")]
    File(#[from] std::io::Error),
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The file holds something else.
    #[error("the file is damaged ({0}): remove it, and the kubeconfig files that were made with it are void")]
    Damaged(String),
}

impl Identity {
    /// The identity for an address of listening, from its file in `folder`; made if there is none.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn open(folder: &Path, address: IpAddr) -> Result<Self, IdentityError> {
        let path = folder.join(format!("tls-{address}.pem"));
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let text = make(address)?;
                store(&path, &text)?;
                Self::parse(&text)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a file of certificate, authority and key.
    fn parse(text: &str) -> Result<Self, IdentityError> {
        let damaged = |error: &dyn std::fmt::Display| IdentityError::Damaged(error.to_string());
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        let chain = chain.map_err(|error| damaged(&error))?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| damaged(&error))?;
        let authority = text.rfind(BEGIN).zip(text.rfind(END)).filter(|_| chain.len() == 2);
        let (start, end) = authority.ok_or_else(|| damaged(&"two certificates are expected"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| damaged(&error))?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            authority: format!("{}\n", &text[start..end + END.len()]),
            server: Arc::new(server),
        })
    }
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Key, certificate and authority, in this order.
fn make(address: IpAddr) -> Result<String, IdentityError> {
    let named = |name: &str| {
        let mut names = DistinguishedName::new();
        names.push(DnType::CommonName, name);
        names
    };
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::default();
    authority.distinguished_name = named("devcluster");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let authority = authority.self_signed(&authority_key)?;

    let key = KeyPair::generate()?;
    let mut names = vec![
        "localhost".to_string(),
        "127.0.0.1".into(),
        "::1".into(),
        address.to_string(),
    ];
    names.sort();
    names.dedup();
    let mut server = CertificateParams::new(names)?;
    server.distinguished_name = named("kube-apiserver");
    let server = server.signed_by(&key, &authority, &authority_key)?;
    Ok([key.serialize_pem(), server.pem(), authority.pem()].concat())
}

/// Writes a file for its owner only, whole or not at all.
fn store(path: &Path, text: &str) -> std::io::Result<()> {
    let partial = path.with_extension("pem.partial");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&partial, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_stays_the_same_and_a_damaged_file_is_told_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let address = "127.0.0.1".parse().expect("an address");
        let first = Identity::open(folder.path(), address).expect("made");
        let second = Identity::open(folder.path(), address).expect("read");
        assert_eq!(first.authority, second.authority);
        let path = folder.path().join("tls-127.0.0.1.pem");
        std::fs::write(&path, "nothing").expect("written");
        let error = Identity::open(folder.path(), address).expect_err("damaged");
        assert!(error.to_string().contains("damaged"), "{error}");
    }
}
