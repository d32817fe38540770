//! TLS is verified, with the authorities of the settings; client certificates are shown.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use stoker::{
    gate::{
        http::TransportOptions,
        transport::{Fault, FaultKind},
    },
    manifest::Tls,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
        server::WebPkiClientVerifier,
    },
};

use super::server::{attempt, each, options, read_request};

/// A private authority, with its certificate in a file.
pub(super) struct Authority {
    folder: tempfile::TempDir,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Two authorities of one name would be told apart only by their signatures.
        let name = format!("authority {}", folder.path().display());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        fs_err::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self {
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
            folder,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns what a server needs that speaks these protocols over TLS.
    pub(super) fn acceptor(&self, name: &str, protocols: &[&[u8]]) -> TlsAcceptor {
        let (certificate, key) = self.issue(&names(name));
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    fn issue(&self, params: &CertificateParams) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// Starts a server; it answers one request per connection over HTTP/1.1.
    async fn serve(&self, params: &CertificateParams, wants_client: bool) -> SocketAddr {
        let (certificate, key) = self.issue(params);
        let builder = ServerConfig::builder();
        let builder = if wants_client {
            let mut roots = RootCertStore::empty();
            roots.add(self.certificate.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
                .build()
                .unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = builder
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        each(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    read_request(&mut stream).await;
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
                    stream.write_all(answer).await.ok();
                    stream.shutdown().await.ok();
                }
            }
        })
        .await
    }
}

pub(super) fn names(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

pub(super) fn trusting(authority: &Authority) -> TransportOptions {
    TransportOptions {
        tls: Tls {
            ca: Some(authority.file("ca.pem")),
            ..Tls::default()
        },
        ..options()
    }
}

async fn refused(options: &TransportOptions, url: &str) -> String {
    let Fault { kind, what, .. } = attempt(options, url).await.unwrap_err();
    assert_eq!(kind, FaultKind::Tls, "{what}");
    assert!(!kind.may_have_been_sent());
    what
}

#[tokio::test]
async fn a_private_authority_is_trusted_only_when_named() {
    let authority = Authority::new();
    let address = authority.serve(&names("localhost"), false).await;
    let url = format!("https://localhost:{}", address.port());
    assert_eq!(
        attempt(&trusting(&authority), &url).await.unwrap().body(),
        "{}"
    );
    let what = refused(&options(), &url).await;
    assert!(
        what.contains("an authority that is not trusted here"),
        "{what}"
    );
    assert!(what.contains("`tls: {ca: FILE}`"), "{what}");
}

/// Serves a self-signed certificate that the client trusts as an authority.
async fn self_signed(
    params: CertificateParams,
) -> (SocketAddr, TransportOptions, tempfile::TempDir) {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("self.pem");
    fs_err::write(&ca, certificate.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let address = each(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                read_request(&mut stream).await;
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
                stream.write_all(answer).await.ok();
                stream.shutdown().await.ok();
            }
        }
    })
    .await;
    let options = TransportOptions {
        tls: Tls {
            ca: Some(ca),
            ..Tls::default()
        },
        ..options()
    };
    (address, options, folder)
}

#[tokio::test]
async fn a_self_signed_certificate_is_taken_or_its_reason_is_named() {
    let mut authority = names("localhost");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (address, options, _folder) = self_signed(authority).await;
    let url = format!("https://localhost:{}", address.port());
    let fault = attempt(&options, &url).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Tls);
    assert!(
        fault
            .what
            .contains("an authority's (self-signed, with `CA:TRUE`)"),
        "{fault}"
    );
    assert!(fault.hint().contains("CA:FALSE"), "{}", fault.hint());

    // What the hint says helps.
    let mut leaf = names("localhost");
    leaf.is_ca = IsCa::ExplicitNoCa;
    let (address, options, _folder) = self_signed(leaf).await;
    let url = format!("https://localhost:{}", address.port());
    assert_eq!(attempt(&options, &url).await.unwrap().body(), "{}");

    let mut nameless = CertificateParams::new(Vec::new()).unwrap();
    nameless.is_ca = IsCa::ExplicitNoCa;
    let (address, options, _folder) = self_signed(nameless).await;
    let url = format!("https://localhost:{}", address.port());
    let fault = attempt(&options, &url).await.unwrap_err();
    assert!(fault.what.contains("names no host"), "{fault}");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let authority = Authority::new();
    let address = authority.serve(&names("other.example"), false).await;
    let url = format!("https://localhost:{}", address.port());
    let what = refused(&trusting(&authority), &url).await;
    assert!(
        what.ends_with("its certificate is for another host name"),
        "{what}"
    );
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_refused() {
    let authority = Authority::new();
    let mut params = names("localhost");
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let address = authority.serve(&params, false).await;
    let url = format!("https://localhost:{}", address.port());
    let what = refused(&trusting(&authority), &url).await;
    assert!(what.ends_with("its certificate has expired"), "{what}");
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_named_as_such() {
    let address = each(|mut stream| async move {
        stream.read_u8().await.ok();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .ok();
        while stream.read_u8().await.is_ok() {}
    })
    .await;
    let url = format!("https://localhost:{}", address.port());
    let what = refused(&options(), &url).await;
    assert!(what.contains("it does not speak TLS"), "{what}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_missed() {
    let authority = Authority::new();
    let address = authority.serve(&names("localhost"), true).await;
    let url = format!("https://localhost:{}", address.port());
    let what = refused(&trusting(&authority), &url).await;
    assert!(what.contains("it asks for a client certificate"), "{what}");

    let with_client = |issuer: &Authority| {
        let (certificate, key) = issuer.issue(&names("client"));
        fs_err::write(authority.file("client.pem"), certificate.pem()).unwrap();
        fs_err::write(authority.file("key.pem"), key.serialize_pem()).unwrap();
        let mut options = trusting(&authority);
        options.tls.certificate = Some(authority.file("client.pem"));
        options.tls.key = Some(authority.file("key.pem"));
        options
    };
    assert!(attempt(&with_client(&authority), &url).await.is_ok());
    let what = refused(&with_client(&Authority::new()), &url).await;
    assert!(
        what.ends_with("it refuses the client's certificate"),
        "{what}"
    );
}

#[tokio::test]
async fn a_host_that_never_completes_a_handshake_got_no_request() {
    let silent = each(|stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let options = TransportOptions {
        timeout: Duration::from_millis(500),
        ..options()
    };
    let url = format!("https://{silent}");
    let fault = attempt(&options, &url).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Connect);
    assert_eq!(fault.what, format!("{silent}: no connection in time"));
}
