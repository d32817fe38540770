//! Servers for the binary: each answers everything as a test says, on a port that the system chooses.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// Status, further header lines (each with its end), body.
type Answer = (u16, &'static str, &'static str);

/// Starts a server; `answer` is given the request line. Returns its URL, and the request lines that came so far.
pub(super) fn start(
    answer: impl Fn(&str) -> Answer + Send + 'static,
) -> (String, impl Fn() -> Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/fhir", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    // Ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.unwrap(), |line| {
                kept.lock().unwrap().push(line.to_owned());
                answer(line)
            });
        }
    });
    (url, move || seen.lock().unwrap().clone())
}

/// Starts a server that answers requests side by side, also those whose client is gone; `answer` is given the request line. Returns
/// its URL.
pub(super) fn start_side_by_side(
    answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/fhir", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || serve(stream.unwrap(), |line| answer(line)));
        }
    });
    url
}

/// Starts a server of TLS whose certificate a private authority issued. Returns its URL and that authority's PEM.
pub(super) fn start_tls(body: &'static str) -> (String, String) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &Issuer::new(authority, authority_key))
        .unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "https://localhost:{}/fhir",
        listener.local_addr().unwrap().port()
    );
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            serve(StreamOwned::new(connection, stream.unwrap()), |_| {
                (200, "", body)
            });
        }
    });
    (url, pem)
}

/// Starts a server that answers byte by byte what it is told to; `answer` is given the head and the body of a request.
pub(super) fn start_raw<A: AsRef<[u8]>>(
    answer: impl Fn(&str, &str) -> A + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/fhir", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            exchange(stream.unwrap(), |head, body| answer(head, body));
        }
    });
    url
}

/// Puts a response together.
pub(super) fn response(status: &str, head: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/fhir+json\r\nContent-Length: {}\r\nConnection: close\r\n{head}\r\n{body}",
        body.len()
    )
}

fn serve(stream: impl Read + Write, answer: impl Fn(&str) -> Answer) {
    exchange(stream, |head, _| {
        let (status, further, body) = answer(head.lines().next().unwrap_or_default());
        response(&format!("{status} Any"), further, body)
    });
}

/// Reads one request, answers it, closes. A client that goes away in between is not this server's concern.
fn exchange<A: AsRef<[u8]>>(stream: impl Read + Write, answer: impl Fn(&str, &str) -> A) {
    let mut stream = BufReader::new(stream);
    let (mut head, mut line, mut length) = (String::new(), String::new(), 0);
    // The first byte of a TLS handshake (RFC 8446 §5.1), which has no lines: answered in plain text, as web servers do.
    let is_handshake = stream
        .fill_buf()
        .is_ok_and(|start| start.first() == Some(&22));
    if !is_handshake {
        loop {
            line.clear();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end();
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
            head.push_str(line);
            head.push('\n');
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok();
    let answer = answer(&head, &String::from_utf8_lossy(&body));
    let stream = stream.get_mut();
    stream.write_all(answer.as_ref()).ok();
    stream.flush().ok();
}
