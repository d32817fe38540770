//! TLS of an MLLP connection: verified by the system's authorities and those of the settings, with a client's certificate where
//! one is given.

use std::{io, path::Path, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, AlertDescription, ClientConfig, RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

use crate::{
    gate::transport::{AUTHORITY_AS_SERVER, Fault, FaultKind, NAMELESS, NOT_VALID_YET},
    manifest::Tls,
    small_file,
};

/// The reason why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MllpSetupError {
    /// A file cannot be read.
    #[error("{setting} {} cannot be read: {why}", path.display())]
    Unreadable {
        /// The setting, such as `tls.ca`.
        setting: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// The reason.
        #[source]
        why: small_file::SmallFileError,
    },
    /// A file does not hold what it should.
    #[error("{setting} {} {why}", path.display())]
    File {
        /// The setting, such as `tls.ca`.
        setting: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// The fault of the file, in words.
        why: &'static str,
    },
    /// A client certificate without its key, or the reverse.
    #[error(
        "tls names a client's certificate without its key, or the reverse; set both `certificate` and `key`"
    )]
    HalfIdentity,
    /// The host cannot stand in a certificate.
    #[error("`{0}` is no host that a certificate can name")]
    Host(String),
    /// No authorities.
    #[error("no certificate authorities found on this system; name some with `tls: {{ca: FILE}}`")]
    System,
    /// The certificate and the key do not fit together.
    #[error(
        "the client's certificate and its key do not belong together, or are of a kind that is not supported"
    )]
    Identity,
}

/// The words for a refusal by the receiver in TLS.
pub(super) const ALERT: &str =
    "the receiver refuses: it may want a client's certificate (`tls: {certificate, key}`)";

/// Tells whether a receiver has refused who connects. Of TLS 1.3 that comes behind the greeting, and nothing that was sent by then
/// has been looked at.
pub(super) fn is_alert(error: &io::Error) -> bool {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(
        inner,
        Some(rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
        ))
    )
}

/// The TLS of connections to one receiver.
pub(super) struct Encryption {
    connector: TlsConnector,
    name: ServerName<'static>,
    address: String,
}

impl std::fmt::Debug for Encryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encryption")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Encryption {
    pub(super) fn new(address: &str, tls: &Tls) -> Result<Self, MllpSetupError> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| MllpSetupError::Host(host.to_owned()))?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = &tls.ca {
            for certificate in certificates("tls.ca", path)? {
                roots.add(certificate).map_err(|_| MllpSetupError::File {
                    setting: "tls.ca",
                    path: path.clone(),
                    why: "holds a certificate that is damaged",
                })?;
            }
        }
        if roots.is_empty() {
            return Err(MllpSetupError::System);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| MllpSetupError::System)?
            .with_root_certificates(roots);
        let config = match (&tls.certificate, &tls.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let chain = certificates("tls.certificate", certificate)?;
                let pem = read("tls.key", key)?;
                let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| MllpSetupError::File {
                    setting: "tls.key",
                    path: key.clone(),
                    why: "holds no private key in PEM that can be read; an encrypted one has to be decrypted first",
                })?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|_| MllpSetupError::Identity)?
            }
            _ => return Err(MllpSetupError::HalfIdentity),
        };
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name,
            address: address.to_owned(),
        })
    }

    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }

    /// Says why TLS was not to be had. A connection that was cut may be had later; what is not verified never.
    pub(super) fn fault(&self, error: &io::Error) -> Fault {
        let address = &self.address;
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let why = match inner {
            Some(rustls::Error::InvalidCertificate(why)) => match why {
                rustls::CertificateError::UnknownIssuer => {
                    "its certificate is of an authority that is not trusted; name a private one with `tls: {ca: FILE}`"
                }
                rustls::CertificateError::Expired
                | rustls::CertificateError::ExpiredContext { .. } => "its certificate has expired",
                rustls::CertificateError::NotValidForNameContext { presented, .. }
                    if presented.is_empty() =>
                {
                    NAMELESS
                }
                rustls::CertificateError::NotValidForName
                | rustls::CertificateError::NotValidForNameContext { .. } => {
                    "its certificate is for another host"
                }
                rustls::CertificateError::NotValidYet
                | rustls::CertificateError::NotValidYetContext { .. } => NOT_VALID_YET,
                rustls::CertificateError::Other(other)
                    if other.to_string().contains("CaUsedAsEndEntity") =>
                {
                    AUTHORITY_AS_SERVER
                }
                _ => "its certificate is not valid",
            },
            Some(rustls::Error::AlertReceived(_)) => ALERT,
            Some(rustls::Error::InvalidMessage(_)) => "the receiver does not speak TLS",
            Some(_) => "the two do not agree",
            None => {
                return Fault::new(
                    FaultKind::Connect,
                    format!("the connection to {address} was lost during the greeting of TLS"),
                );
            }
        };
        Fault::new(FaultKind::Tls, format!("TLS with {address} failed: {why}"))
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, MllpSetupError> {
    small_file::read(path, small_file::LARGEST).map_err(|why| MllpSetupError::Unreadable {
        setting,
        path: path.to_owned(),
        why,
    })
}

fn certificates(
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, MllpSetupError> {
    let refused = |why| MllpSetupError::File {
        setting,
        path: path.to_owned(),
        why,
    };
    let found = CertificateDer::pem_slice_iter(&read(setting, path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| refused("holds a certificate that is not valid PEM"))?;
    if found.is_empty() {
        return Err(refused("holds no certificate in PEM"));
    }
    Ok(found)
}
