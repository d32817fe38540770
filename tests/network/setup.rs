//! Settings that cannot work are refused by name; proxies and headers do what they say.

use std::{collections::BTreeMap, path::PathBuf};

use stoker::{
    gate::http::{HttpSetupError, HttpTransport, TransportOptions},
    manifest::Tls,
};

use super::server::{CONTENT, Mock, attempt, options};

fn refusal(options: &TransportOptions) -> String {
    let error: HttpSetupError = HttpTransport::new(options).unwrap_err();
    let text = error.to_string();
    assert!(!format!("{text} {error:?}").contains(CONTENT), "{text}");
    text
}

fn with_headers(name: &str, value: &str) -> TransportOptions {
    TransportOptions {
        headers: BTreeMap::from([(name.to_owned(), value.to_owned())]),
        ..options()
    }
}

#[tokio::test]
async fn extra_headers_are_sent_and_wrong_ones_refused_without_their_value() {
    let mock = Mock::start(|_, _| (200, "{}".into())).await;
    attempt(&with_headers("X-Tenant", "clinic"), &mock.url(""))
        .await
        .unwrap();
    assert!(mock.seen()[0].contains("x-tenant: clinic\r\n"));

    assert_eq!(
        refusal(&with_headers("X-Key", &format!("{CONTENT}\n"))),
        "header `X-Key` has a value that a header cannot carry"
    );
    assert_eq!(
        refusal(&with_headers("X Key", CONTENT)),
        "header `X Key` is not a name that a header can have"
    );
    assert_eq!(
        refusal(&with_headers("Host", CONTENT)),
        "header `Host` is set by the connection itself"
    );
}

#[tokio::test]
async fn a_proxy_gets_the_requests_but_not_those_to_this_machine() {
    let proxy = Mock::start(|_, _| (200, "{\"by\":\"proxy\"}".into())).await;
    let options = TransportOptions {
        proxy: Some(proxy.url("").parse().unwrap()),
        ..options()
    };
    let response = attempt(&options, "http://store.example").await.unwrap();
    assert_eq!(response.body(), "{\"by\":\"proxy\"}");
    assert!(proxy.seen()[0].starts_with("POST http://store.example/fhir/"));

    let target = Mock::start(|_, _| (200, "{\"by\":\"target\"}".into())).await;
    let response = attempt(&options, &target.url("")).await.unwrap();
    assert_eq!(response.body(), "{\"by\":\"target\"}");
    assert_eq!(proxy.seen().len(), 1);

    // A tunnel that the proxy refuses: nothing was sent to the target.
    let refusing = Mock::start(|_, _| (403, "no".into())).await;
    let options = TransportOptions {
        proxy: Some(refusing.url("").parse().unwrap()),
        ..options
    };
    let fault = attempt(&options, "https://store.example")
        .await
        .unwrap_err();
    let what = fault.what.replace(&refusing.address.to_string(), "PROXY");
    assert_eq!(
        what,
        "store.example:443 (through the proxy PROXY): the proxy refused to connect"
    );
    assert!(refusing.seen()[0].starts_with("CONNECT store.example:443"));
    assert!(!refusing.seen()[0].contains("uthorization"));
}

#[test]
fn a_proxy_of_an_unknown_kind_is_refused_without_its_password() {
    let options = TransportOptions {
        proxy: Some(
            format!("ftp://user:{CONTENT}@proxy.example")
                .parse()
                .unwrap(),
        ),
        ..options()
    };
    assert!(refusal(&options).starts_with("the proxy is not usable; write `http://HOST:PORT`"));
}

#[test]
fn passwords_and_keys_of_the_settings_are_not_shown() {
    let options = TransportOptions {
        proxy: Some(
            format!("http://user:{CONTENT}@proxy.example")
                .parse()
                .unwrap(),
        ),
        ..with_headers("X-Key", CONTENT)
    };
    let transport = HttpTransport::new(&options).unwrap();
    let text = format!("{options:?} {transport:?}");
    assert!(
        text.contains("proxy.example:80") && text.contains("X-Key"),
        "{text}"
    );
    assert!(!text.contains(CONTENT), "{text}");
}

#[test]
fn files_of_the_tls_settings_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["client".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let file = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        fs_err::write(&path, text).unwrap();
        path
    };
    let refused = |tls: Tls| {
        refusal(&TransportOptions { tls, ..options() })
            .replace(&folder.path().display().to_string(), "DIR")
    };
    let ca = |path: PathBuf| Tls {
        ca: Some(path),
        ..Tls::default()
    };
    let identity = |key: PathBuf| Tls {
        certificate: Some(folder.path().join("client.pem")),
        key: Some(key),
        ..Tls::default()
    };
    file("client.pem", &certificate.pem());

    assert_eq!(
        refused(ca(folder.path().join("absent.pem"))),
        "tls.ca DIR/absent.pem cannot be read: there is no such file"
    );
    assert_eq!(
        refused(ca(file("empty.pem", CONTENT))),
        "tls.ca DIR/empty.pem holds no certificate in PEM"
    );
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(
        refused(ca(file("damaged.pem", damaged))),
        "tls.ca DIR/damaged.pem holds a certificate that is damaged"
    );
    assert_eq!(
        refused(Tls {
            certificate: Some(file("alone.pem", &certificate.pem())),
            ..Tls::default()
        }),
        "tls names a client's certificate without its key; set both `certificate` and `key`"
    );
    assert_eq!(
        refused(identity(file("none.pem", CONTENT))),
        "tls.key DIR/none.pem holds no private key in PEM"
    );
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert_eq!(
        refused(identity(file("encrypted.pem", encrypted))),
        "tls.key DIR/encrypted.pem is encrypted; decrypt it with `openssl pkcs8 -in FILE -out FILE`"
    );
    assert!(
        refused(identity(file("other.pem", &other.serialize_pem())))
            .starts_with("tls.key DIR/other.pem does not belong to the certificate")
    );
    HttpTransport::new(&TransportOptions {
        tls: identity(file("key.pem", &key.serialize_pem())),
        ..options()
    })
    .unwrap();
}
