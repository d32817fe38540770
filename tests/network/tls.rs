//! TLS is verified, with the authorities of the settings; client certificates are shown.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

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
struct Authority {
    folder: tempfile::TempDir,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
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

fn names(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

fn trusting(authority: &Authority) -> TransportOptions {
    TransportOptions {
        tls: Tls {
            ca: Some(authority.file("ca.pem")),
            ..Tls::default()
        },
        ..options()
    }
}

async fn refused(options: &TransportOptions, url: &str) -> String {
    let Fault { kind, what } = attempt(options, url).await.unwrap_err();
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

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, 0, 0, 0, 0, stream], payload].concat()
}

/// Starts an HTTP/2 server that answers the first request of every connection with these bytes, and counts.
async fn serve_http2(authority: &Authority, answer: Vec<u8>) -> (SocketAddr, Arc<AtomicUsize>) {
    let (certificate, key) = authority.issue(&names("localhost"));
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let address = each(move |stream| {
        let (acceptor, answer, counted) = (acceptor.clone(), answer.clone(), Arc::clone(&counted));
        async move {
            const SETTINGS: u8 = 4;
            const HEADERS: u8 = 1;
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.unwrap();
            stream.write_all(&frame(SETTINGS, 0, &[])).await.unwrap();
            let mut head = [0; 9];
            while stream.read_exact(&mut head).await.is_ok() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; usize::try_from(length).unwrap()];
                if stream.read_exact(&mut payload).await.is_err() {
                    return;
                }
                if head[3] == HEADERS {
                    counted.fetch_add(1, Ordering::SeqCst);
                    stream.write_all(&answer).await.unwrap();
                }
            }
        }
    })
    .await;
    (address, requests)
}

#[tokio::test]
async fn http2_tells_requests_that_were_never_looked_at_from_those_that_were() {
    const RST_STREAM: u8 = 3;
    const GOAWAY: u8 = 7;
    const INTERNAL_ERROR: [u8; 4] = [0, 0, 0, 2];
    const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
    let last_stream = |last: u8, code: [u8; 4]| [[0, 0, 0, last], code].concat();
    for (answer, kind) in [
        (frame(RST_STREAM, 1, &REFUSED_STREAM), FaultKind::Connect),
        (
            frame(RST_STREAM, 1, &INTERNAL_ERROR),
            FaultKind::Interrupted,
        ),
        (
            frame(GOAWAY, 0, &last_stream(0, INTERNAL_ERROR)),
            FaultKind::Interrupted,
        ),
    ] {
        let authority = Authority::new();
        let (address, requests) = serve_http2(&authority, answer).await;
        let url = format!("https://localhost:{}", address.port());
        let fault = attempt(&trusting(&authority), &url).await.unwrap_err();
        assert_eq!(fault.kind, kind, "{}", fault.what);
        assert_eq!(requests.load(Ordering::SeqCst), 1, "tried once");
    }
}
