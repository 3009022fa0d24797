//! TLS to the upstream: rustls with the ring provider, trust from the system or a file, a client certificate if asked.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
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
    let mut roots = RootCertStore::empty();
    if let Some(path) = &tls.ca_file {
        for certificate in certificates(path)? {
            let added = roots.add(certificate);
            added.map_err(|error| wrong(path, &error.to_string()))?;
        }
    } else {
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let what = "no certificate authorities are installed on this system; give tls.ca_file";
            return Err(what.to_owned());
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
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
