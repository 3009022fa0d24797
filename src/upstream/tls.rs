//! TLS to the upstream: rustls with the ring provider, trust from the system or a file, a client certificate if asked.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use tokio_rustls::TlsConnector;

use super::settings::Tls;

/// What a TLS connection to the upstream is made with.
#[derive(Clone)]
pub struct Connector {
    /// Shakes hands.
    pub connector: TlsConnector,
    /// The name that the upstream has to prove.
    pub name: ServerName<'static>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Reads the files that `tls` names; `host` is the upstream's.
///
/// # Errors
/// One line on which file or name is wrong, and how.
pub fn connector(tls: &Tls, host: &str) -> Result<Connector, String> {
    let builder = builder(roots(tls.ca_file.as_deref(), "tls.ca_file")?)?;
    let config = match (&tls.cert_file, &tls.key_file) {
        (Some(certificate), Some(key)) => {
            let read = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
                pem::Error::NoItemsFound => wrong(key, "it holds no private key in PEM form"),
                error => wrong(key, &error.to_string()),
            })?;
            builder
                .with_client_auth_cert(certificates(certificate)?, read)
                .map_err(|error| wrong(certificate, &error.to_string()))?
        }
        _ => builder.with_no_client_auth(),
    };
    let name = tls.server_name.as_deref().unwrap_or(host);
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| format!("{name:?} is not a name that a certificate can have"))?;
    let connector = TlsConnector::from(Arc::new(config));
    Ok(Connector { connector, name })
}

/// What another client of nearside's is made with that trusts the authorities in `ca_file`, or the system's where there is
/// none; `key` is what the operator sets that file with.
///
/// # Errors
/// One line on which file is wrong, and how.
pub fn client(ca_file: Option<&Path>, key: &str) -> Result<ClientConfig, String> {
    Ok(builder(roots(ca_file, key)?)?.with_no_client_auth())
}

/// The same for a client that speaks no TLS and has to be given something: it trusts nobody.
///
/// # Errors
/// One line on what the library refuses.
pub fn unused() -> Result<ClientConfig, String> {
    Ok(builder(RootCertStore::empty())?.with_no_client_auth())
}

fn roots(ca_file: Option<&Path>, key: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        for certificate in certificates(path)? {
            let added = roots.add(certificate);
            added.map_err(|error| wrong(path, &error.to_string()))?;
        }
    } else {
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err(format!(
                "no certificate authorities are installed on this system; give {key}"
            ));
        }
    }
    Ok(roots)
}

fn builder(roots: RootCertStore) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| wrong(path, &error.to_string()))?
        .collect();
    let found = found.map_err(|error| wrong(path, &error.to_string()))?;
    if found.is_empty() {
        return Err(wrong(path, "it holds no certificate in PEM form"));
    }
    Ok(found)
}

fn wrong(path: &Path, what: &str) -> String {
    format!("cannot use {}: {what}", path.display())
}
