//! The settings of a transport, and what can be wrong with them.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ::http::{HeaderMap, HeaderName, HeaderValue, header};
use reqwest::{Certificate, Client, ClientBuilder, Identity, NoProxy, Proxy, redirect};
use url::Url;

use crate::{gate::AnswerBudget, manifest::Tls, small_file};

/// The time for which an idle connection is kept. Shorter than any usual server's patience (Node.js closes after 5 s,
/// Tomcat 20 s, nginx 75 s): a request that meets a connection just closed has an unknown fate.
const IDLE: Duration = Duration::from_secs(4);

/// The settings of a transport.
#[derive(Clone)]
pub struct TransportOptions {
    /// Certificate authorities and the client's certificate.
    pub tls: Tls,
    /// A proxy, `http`, `https`, `socks5` or `socks5h`; it goes before those of the environment.
    pub proxy: Option<Url>,
    /// The time that an attempt may take, to the last byte of the response.
    pub timeout: Duration,
    /// The time that opening a connection may take, TLS included.
    pub connect_timeout: Duration,
    /// Added to every request that does not set them itself. Shown nowhere.
    pub headers: BTreeMap<String, String>,
    /// The largest response body, in bytes after decompression, whatever was sent.
    pub max_response: usize,
    /// The memory that the answers of all transports share.
    pub answers: Arc<AnswerBudget>,
    /// The `User-Agent`.
    pub user_agent: String,
    /// The largest number of requests under way; as many connections are kept.
    pub concurrency: usize,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            tls: Tls::default(),
            proxy: None,
            // Google's own limit for a FHIR bundle is about as long.
            timeout: Duration::from_mins(1),
            connect_timeout: Duration::from_secs(10),
            headers: BTreeMap::new(),
            // Far above what a store answers to a load: Google's bundles end at 50 MB.
            max_response: 256 << 20,
            answers: Arc::default(),
            user_agent: concat!("stoker/", env!("CARGO_PKG_VERSION")).to_owned(),
            concurrency: 64,
        }
    }
}

// A proxy's URL may hold a password, and an API key travels in a header.
impl fmt::Debug for TransportOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportOptions")
            .field("tls", &self.tls)
            .field("proxy", &self.proxy_place())
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("headers", &self.headers.keys())
            .field("max_response", &self.max_response)
            .field("answers", &self.answers)
            .field("user_agent", &self.user_agent)
            .field("concurrency", &self.concurrency)
            .finish()
    }
}

/// The settings of a transport that cannot be used, and the reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpSetupError {
    /// A file of the TLS settings cannot be read.
    #[error("{setting} {} cannot be read: {why}", path.display())]
    Unreadable {
        /// The setting, such as `tls.ca`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        why: small_file::SmallFileError,
    },
    /// A file of the TLS settings does not hold what it should.
    #[error("{setting} {} {why}", path.display())]
    Pem {
        /// The setting, such as `tls.ca`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The fault of the file, in words.
        why: &'static str,
    },
    /// A client certificate without its key, or the reverse.
    #[error(
        "tls names a client's {present} without its {missing}; set both `certificate` and `key`"
    )]
    HalfIdentity {
        /// The one that is set.
        present: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// The proxy cannot be used.
    #[error("the proxy is not usable; write `http://HOST:PORT`, or with https, socks5 or socks5h")]
    Proxy,
    /// A header cannot be sent.
    #[error("header `{name}` {why}")]
    Header {
        /// Its name; never its value.
        name: String,
        /// The reason.
        why: &'static str,
    },
    /// The system's certificates cannot be loaded.
    #[error(
        "TLS cannot be set up: no certificate authorities found on this system; name some with `tls: {{ca: FILE}}`"
    )]
    System,
}

impl TransportOptions {
    /// Starts a client with everything but proxies.
    pub(super) fn builder(&self) -> Result<ClientBuilder, HttpSetupError> {
        let mut builder = Client::builder()
            .retry(reqwest::retry::never())
            .redirect(redirect::Policy::none())
            .referer(false)
            .gzip(true)
            .zstd(true)
            .tcp_nodelay(true)
            .timeout(self.timeout)
            // Always the first of the two to run out: a host that does not answer got no request.
            .connect_timeout(self.connect_timeout.min(self.timeout * 9 / 10))
            .pool_max_idle_per_host(self.concurrency)
            .pool_idle_timeout(IDLE)
            .default_headers(self.header_map()?)
            .user_agent(self.user_agent.as_str());
        if let Some(path) = &self.tls.ca {
            builder = builder.tls_certs_merge(authorities("tls.ca", path)?);
        }
        if let Some(identity) = self.identity()? {
            builder = builder.identity(identity);
        }
        Ok(builder)
    }

    /// Returns the proxy of the settings as `host:port`.
    pub(super) fn proxy_place(&self) -> Option<String> {
        let url = self.proxy.as_ref()?;
        // 1080 is what reqwest takes for SOCKS (RFC 1928, section 3).
        let port = url.port_or_known_default().unwrap_or(1080);
        Some(format!("{}:{port}", url.host_str()?))
    }

    /// Adds the proxy of the settings, if there is one.
    pub(super) fn proxied(&self, builder: ClientBuilder) -> Result<ClientBuilder, HttpSetupError> {
        let Some(url) = &self.proxy else {
            return Ok(builder);
        };
        if !matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") || !url.has_host() {
            return Err(HttpSetupError::Proxy);
        }
        let proxy = Proxy::all(url.clone()).map_err(|_| HttpSetupError::Proxy)?;
        Ok(builder.proxy(proxy.no_proxy(NoProxy::from_env())))
    }

    /// Builds the client. Two faults show only here: certificates that do not fit, and the system's.
    pub(super) fn build(&self, builder: ClientBuilder) -> Result<Client, HttpSetupError> {
        builder.build().map_err(|_| match &self.tls.key {
            Some(key) => pem(
                "tls.key",
                key,
                "does not belong to the certificate, or one of the two is of a kind that is not supported",
            ),
            None => HttpSetupError::System,
        })
    }

    fn header_map(&self) -> Result<HeaderMap, HttpSetupError> {
        let mut map = HeaderMap::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            let error = |why| HttpSetupError::Header {
                name: name.clone(),
                why,
            };
            let key = HeaderName::try_from(name.as_str())
                .map_err(|_| error("is not a name that a header can have"))?;
            if RESERVED.contains(&key) {
                return Err(error("is set by the connection itself"));
            }
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| error("has a value that a header cannot carry"))?;
            // API keys travel in headers of any name.
            value.set_sensitive(true);
            map.insert(key, value);
        }
        Ok(map)
    }

    fn identity(&self) -> Result<Option<Identity>, HttpSetupError> {
        let (certificate, key) = match (&self.tls.certificate, &self.tls.key) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(key)) => (certificate, key),
            (certificate, _) => {
                let (present, missing) = match certificate {
                    Some(_) => ("certificate", "key"),
                    None => ("key", "certificate"),
                };
                return Err(HttpSetupError::HalfIdentity { present, missing });
            }
        };
        authorities("tls.certificate", certificate)?;
        let mut text = read("tls.key", key)?;
        let holds = |label: &str| {
            let label = label.as_bytes();
            text.windows(label.len()).any(|window| window == label)
        };
        if holds("BEGIN ENCRYPTED PRIVATE KEY") || holds("Proc-Type: 4,ENCRYPTED") {
            let why = "is encrypted; decrypt it with `openssl pkcs8 -in FILE -out FILE`";
            return Err(pem("tls.key", key, why));
        }
        if !holds("PRIVATE KEY-----") {
            return Err(pem("tls.key", key, "holds no private key in PEM"));
        }
        text.push(b'\n');
        text.extend(read("tls.certificate", certificate)?);
        // The certificate was read without fault above, so what is left to fail is the key.
        Identity::from_pem(&text).map(Some).map_err(|_| {
            pem(
                "tls.key",
                key,
                "holds no private key in PEM that can be read",
            )
        })
    }
}

/// Headers that the connection owns (RFC 9110, section 7.6.1; RFC 9112, section 6).
const RESERVED: [HeaderName; 7] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::ACCEPT_ENCODING,
];

fn pem(setting: &'static str, path: &Path, why: &'static str) -> HttpSetupError {
    HttpSetupError::Pem {
        setting,
        path: path.to_owned(),
        why,
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, HttpSetupError> {
    small_file::read(path, small_file::LARGEST).map_err(|why| HttpSetupError::Unreadable {
        setting,
        path: path.to_owned(),
        why,
    })
}

/// Reads certificates, and tries each: reqwest takes anything in PEM armour and fails later, namelessly.
fn authorities(setting: &'static str, path: &Path) -> Result<Vec<Certificate>, HttpSetupError> {
    let text = read(setting, path)?;
    let certificates = Certificate::from_pem_bundle(&text)
        .map_err(|_| pem(setting, path, "holds a certificate that is not valid PEM"))?;
    if certificates.is_empty() {
        return Err(pem(setting, path, "holds no certificate in PEM"));
    }
    Client::builder()
        .no_proxy()
        .tls_certs_only(certificates.iter().cloned())
        .build()
        .map_err(|_| pem(setting, path, "holds a certificate that is damaged"))?;
    Ok(certificates)
}
