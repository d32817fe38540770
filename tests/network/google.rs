//! Google's credential files against token servers of our own: all kinds that can be pointed at one.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use stoker::{
    auth::{self, Credentials, Error},
    manifest::Auth,
};

use super::server::Mock;

/// Stands in every secret of the files, and in what the token servers say when they refuse.
const SECRET: &str = "sesame-4711";

/// A folder with credential files, and the environment of a test.
struct Bench {
    folder: tempfile::TempDir,
    env: HashMap<String, String>,
}

impl Bench {
    fn new() -> Self {
        // Keeps the tests away from metadata servers; without PATH, also from the login of `gcloud`.
        let env = HashMap::from([("NO_GCE_CHECK".to_owned(), "true".to_owned())]);
        Self {
            folder: tempfile::tempdir().unwrap(),
            env,
        }
    }

    fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    fn file(&self, name: &str, json: &Value) -> PathBuf {
        let path = self.folder.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, json.to_string()).unwrap();
        path
    }

    async fn open(&self, credentials: Option<PathBuf>) -> Result<Arc<dyn Credentials>, Error> {
        let env = |name: &str| self.env.get(name).cloned();
        let opened = auth::open(&Auth::Google { credentials }, &env).await;
        match &opened {
            Ok(credentials) => assert!(!format!("{credentials:?}").contains(SECRET)),
            Err(error) => assert!(!format!("{error:?} {error}").contains(SECRET), "{error:?}"),
        }
        opened
    }

    async fn refusal(&self, json: &Value) -> Error {
        let path = self.file("refused.json", json);
        let error = self.open(Some(path)).await.unwrap_err();
        Error {
            what: error
                .what
                .replace(&self.folder.path().display().to_string(), "DIR"),
            ..error
        }
    }
}

async fn header(credentials: &Arc<dyn Credentials>) -> String {
    let value = credentials.header().await.unwrap().unwrap();
    assert!(value.is_sensitive() && !format!("{value:?}").contains(SECRET));
    value.to_str().unwrap().to_owned()
}

async fn failure(credentials: &Arc<dyn Credentials>) -> Error {
    let error = credentials.header().await.unwrap_err();
    assert!(!format!("{error:?} {error}").contains(SECRET), "{error:?}");
    error
}

/// A token server that numbers its tokens.
async fn tokens() -> Mock {
    Mock::start(|number, _| {
        let token = json!({
            "access_token": format!("{SECRET}-{number}"), "expires_in": 3600, "token_type": "Bearer",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        });
        (200, token.to_string())
    })
    .await
}

async fn refusing(status: u16) -> Mock {
    Mock::start(move |_, _| {
        let answer = json!({ "error": "invalid_grant", "error_description": SECRET });
        (status, answer.to_string())
    })
    .await
}

fn key_file(server: &Mock) -> Value {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    json!({
        "type": "service_account", "project_id": "clinic", "private_key_id": "1",
        "private_key": key.serialize_pem(),
        "client_email": "loader@clinic.example", "token_uri": server.url("/token"),
    })
}

fn user_file(server: &Mock) -> Value {
    json!({
        "type": "authorized_user", "client_id": "id", "client_secret": SECRET,
        "refresh_token": SECRET, "quota_project_id": "billed", "token_uri": server.url("/token"),
    })
}

/// The claims of a JWT.
fn claims(jwt: &str) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let part = jwt.split('.').nth(1).unwrap().trim_end_matches('=');
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-healthcare";

#[tokio::test]
async fn a_service_account_key_is_exchanged_kept_and_renewed_when_refused() {
    let server = tokens().await;
    let bench = Bench::new();
    let path = bench.file("key.json", &key_file(&server));
    let account = bench.open(Some(path)).await.unwrap();
    assert!(
        server.seen().is_empty(),
        "no token is fetched before one is needed"
    );
    assert_eq!(header(&account).await, "Bearer sesame-4711-0");
    assert_eq!(header(&account).await, "Bearer sesame-4711-0");
    assert_eq!(server.seen().len(), 1);
    let request = server.seen()[0].clone();
    let assertion = request.split_once("assertion=").unwrap().1;
    let claims = claims(&assertion.replace("%3D", "="));
    assert_eq!(claims["scope"], SCOPE);
    assert_eq!(claims["iss"], "loader@clinic.example");

    // Many requests are answered 401 at once: one new token for all.
    for _ in 0..5 {
        assert!(account.refused());
        assert_eq!(header(&account).await, "Bearer sesame-4711-1");
    }
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn requests_that_wait_for_a_token_share_it() {
    let server = tokens().await;
    let bench = Bench::new();
    let path = bench.file("key.json", &key_file(&server));
    let account = bench.open(Some(path)).await.unwrap();
    let headers = futures::future::join_all((0..16).map(|_| header(&account))).await;
    assert!(
        headers
            .iter()
            .all(|header| header == "Bearer sesame-4711-0")
    );
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn behind_a_proxy_a_service_account_signs_its_own_token() {
    let server = tokens().await;
    let bench = Bench::new().set("HTTPS_PROXY", "http://proxy.example:3128");
    let path = bench.file("key.json", &key_file(&server));
    let account = bench.open(Some(path)).await.unwrap();
    let token = header(&account).await;
    assert_eq!(
        claims(token.strip_prefix("Bearer ").unwrap())["scope"],
        SCOPE
    );
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_user_is_refreshed_and_found_where_gcloud_left_it() {
    let server = tokens().await;
    let name = "application_default_credentials.json";
    let bench = Bench::new();
    let path = bench.file(name, &user_file(&server));
    bench.file(&format!("home/.config/gcloud/{name}"), &user_file(&server));
    let folder = bench.folder.path().display().to_string();
    let places = [
        (Bench::new(), Some(path.clone())),
        (
            Bench::new().set("GOOGLE_APPLICATION_CREDENTIALS", path.display().to_string()),
            None,
        ),
        (Bench::new().set("CLOUDSDK_CONFIG", folder.clone()), None),
        (Bench::new().set("HOME", format!("{folder}/home")), None),
    ];
    for (number, (bench, explicit)) in places.into_iter().enumerate() {
        let user = bench.open(explicit).await.unwrap();
        assert_eq!(header(&user).await, format!("Bearer sesame-4711-{number}"));
        assert_eq!(user.quota_project(), Some("billed"));
        assert!(server.seen()[number].contains("\"grant_type\":\"refresh_token\""));
        assert!(!server.seen()[number].contains(SCOPE));
    }
    let bench = Bench::new().set("GOOGLE_CLOUD_QUOTA_PROJECT", "other");
    let user = bench.open(Some(path.clone())).await.unwrap();
    assert_eq!(user.quota_project(), Some("other"));
    // What no header can have would be left out, and another project would pay.
    let wrong = Bench::new().set("GOOGLE_CLOUD_QUOTA_PROJECT", "other\n");
    let error = wrong.open(Some(path)).await.unwrap_err();
    assert!(error.what.contains("quota project"), "{}", error.what);
    assert_eq!(header(&user).await, "Bearer sesame-4711-4");
    assert!(user.refused());
    assert_eq!(header(&user).await, "Bearer sesame-4711-5");
}

#[tokio::test]
async fn a_login_that_ran_out_says_so() {
    let server = refusing(400).await;
    let bench = Bench::new();
    let path = bench.file("user.json", &user_file(&server));
    let user = bench.open(Some(path.clone())).await.unwrap();
    let error = failure(&user).await;
    assert_eq!(
        error.what.replace(&path.display().to_string(), "PATH"),
        "no token from credential file PATH (authorized_user, named by --credentials or the manifest): \
         the token server answered 400 (invalid_grant)"
    );
    assert!(
        error
            .hint
            .unwrap()
            .contains("gcloud auth application-default login")
    );
    assert!(!error.transient);
}

#[tokio::test]
async fn a_refused_key_says_so() {
    let server = refusing(401).await;
    let bench = Bench::new();
    let path = bench.file("key.json", &key_file(&server));
    let account = bench.open(Some(path)).await.unwrap();
    let error = failure(&account).await;
    assert!(error.what.ends_with("the token server refused"), "{error}");
    assert!(!error.transient);
}

#[tokio::test]
async fn a_token_server_that_cannot_be_reached_may_come_back() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut file = key_file(&tokens().await);
    file["token_uri"] = json!(format!("http://{}/token", closed.local_addr().unwrap()));
    drop(closed);
    let bench = Bench::new();
    let path = bench.file("key.json", &file);
    let account = bench.open(Some(path.clone())).await.unwrap();
    let error = failure(&account).await;
    assert!(
        error
            .what
            .ends_with("the token server could not be reached"),
        "{error}"
    );
    assert!(error.transient);
    // The next attempt begins anew, from the file.
    file["token_uri"] = json!(tokens().await.url("/token"));
    bench.file("key.json", &file);
    assert_eq!(header(&account).await, "Bearer sesame-4711-0");
}

fn federated(server: &Mock, source: &Value) -> Value {
    json!({
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": server.url("/sts"), "credential_source": source,
    })
}

#[tokio::test]
async fn workload_identity_federation_exchanges_a_token_from_a_file() {
    let server = tokens().await;
    let bench = Bench::new();
    let subject = bench.file("subject", &json!(null));
    fs_err::write(&subject, "subject-of-the-job").unwrap();
    let path = bench.file("wif.json", &federated(&server, &json!({ "file": subject })));
    let job = bench.open(Some(path)).await.unwrap();
    assert_eq!(header(&job).await, "Bearer sesame-4711-0");
    let request = server.seen()[0].clone();
    assert!(
        request.contains("subject_token=subject-of-the-job"),
        "{request}"
    );
    assert!(request.contains("cloud-healthcare"), "{request}");
    assert!(job.refused());
    assert_eq!(header(&job).await, "Bearer sesame-4711-1");
}

#[tokio::test]
async fn workload_identity_federation_says_what_failed() {
    let bench = Bench::new();
    let server = refusing(400).await;
    let subject = bench.file("subject", &json!("x"));
    let path = bench.file("wif.json", &federated(&server, &json!({ "file": subject })));
    let job = bench.open(Some(path)).await.unwrap();
    let error = failure(&job).await;
    assert!(
        error
            .what
            .ends_with("the token server answered 400 (invalid_grant)"),
        "{error}"
    );

    let absent = federated(&server, &json!({ "file": "/nowhere/subject" }));
    let path = bench.file("absent.json", &absent);
    let job = bench.open(Some(path)).await.unwrap();
    let error = failure(&job).await;
    assert!(
        error
            .what
            .ends_with("the subject token cannot be read: entity not found"),
        "{error}"
    );
}

#[tokio::test]
async fn a_program_as_the_source_of_a_subject_may_have_a_timeout() {
    let source = json!({ "executable": { "command": "/bin/true", "timeout_millis": 5000 } });
    let bench = Bench::new();
    let path = bench.file("wif.json", &federated(&tokens().await, &source));
    bench.open(Some(path)).await.unwrap();
}

/// Answers the source's token first, then the impersonated account's.
async fn impersonation() -> Mock {
    Mock::start(|_, request| {
        let answer = if request.contains(":generateAccessToken") {
            json!({ "accessToken": "sesame-4711-impersonated", "expireTime": "2999-01-01T00:00:00Z" })
        } else {
            json!({
                "access_token": "sesame-4711-source", "expires_in": 3600, "token_type": "Bearer",
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            })
        };
        (200, answer.to_string())
    })
    .await
}

const IMPERSONATE: &str =
    "/v1/projects/-/serviceAccounts/loader@clinic.example:generateAccessToken";

#[tokio::test]
async fn a_service_account_is_impersonated() {
    let server = impersonation().await;
    let file = json!({
        "type": "impersonated_service_account", "delegates": [], "quota_project_id": "billed",
        "service_account_impersonation_url": server.url(IMPERSONATE),
        "source_credentials": user_file(&server),
    });
    let bench = Bench::new();
    let path = bench.file("impersonated.json", &file);
    let account = bench.open(Some(path)).await.unwrap();
    assert_eq!(header(&account).await, "Bearer sesame-4711-impersonated");
    assert_eq!(account.quota_project(), Some("billed"));
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert!(
        seen[1].contains("authorization: Bearer sesame-4711-source"),
        "{}",
        seen[1]
    );
    assert!(seen[1].contains(SCOPE), "{}", seen[1]);
}

#[tokio::test]
async fn a_federated_job_may_impersonate_too() {
    let server = impersonation().await;
    let bench = Bench::new();
    let subject = bench.file("subject", &json!("x"));
    let mut file = federated(&server, &json!({ "file": subject }));
    file["service_account_impersonation_url"] = json!(server.url(IMPERSONATE));
    let path = bench.file("wif.json", &file);
    let job = bench.open(Some(path)).await.unwrap();
    assert_eq!(header(&job).await, "Bearer sesame-4711-impersonated");
}

#[tokio::test]
async fn a_metadata_server_is_asked_where_the_environment_says() {
    let server = tokens().await;
    let bench = Bench::new().set("GCE_METADATA_HOST", server.address.to_string());
    let machine = bench.open(None).await.unwrap();
    assert_eq!(header(&machine).await, "Bearer sesame-4711-0");
    assert!(
        server.seen()[0].contains("/computeMetadata/v1/instance/service-accounts/default/token")
    );
    assert!(
        server.seen()[0]
            .to_ascii_lowercase()
            .contains("metadata-flavor: google")
    );
    assert!(machine.refused());
    assert_eq!(header(&machine).await, "Bearer sesame-4711-1");
}

#[tokio::test]
async fn files_that_are_no_credentials_are_refused_without_their_content() {
    let bench = Bench::new();
    let named = "credential file DIR/refused.json (named by --credentials or the manifest)";
    for (json, why) in [
        (
            json!({ "resourceType": SECRET }),
            "it has no `type`, so it is not a Google credential file",
        ),
        (
            json!({ "type": SECRET }),
            "its `type` is none that Google hands out",
        ),
        (
            json!({ "type": "gdch_service_account" }),
            "credentials of type `gdch_service_account` are not supported",
        ),
        (
            json!({ "type": "service_account", "private_key": SECRET, "token_uri": "https://a.example/" }),
            "a field of a service account key is missing: it needs client_email, private_key and token_uri",
        ),
        (
            json!({ "type": "service_account", "client_email": "a", "private_key": SECRET,
                    "token_uri": "https://a.example/" }),
            "its private_key is not an RSA key in PKCS#8 PEM",
        ),
        (
            json!({ "type": "service_account", "client_email": "a", "private_key": SECRET, "token_uri": "x y" }),
            "its token_uri is missing or not a URL",
        ),
        (
            json!({ "type": "authorized_user", "refresh_token": SECRET }),
            "it lacks fields that credentials of type `authorized_user` need, or holds wrong ones",
        ),
        (
            json!({ "type": "external_account", "client_secret": SECRET }),
            "it lacks fields that credentials of type `external_account` need, or holds wrong ones",
        ),
        (
            json!({ "type": "impersonated_service_account", "source_credentials": SECRET }),
            "it lacks fields that credentials of type `impersonated_service_account` need, or holds wrong ones",
        ),
    ] {
        let error = bench.refusal(&json).await;
        assert_eq!(error.what, format!("{named}: {why}"));
        assert!(error.hint.is_some() && !error.transient);
    }
    let absent = bench
        .open(Some("/nowhere/key.json".into()))
        .await
        .unwrap_err();
    assert!(absent.what.ends_with(": there is no such file"), "{absent}");
}

#[tokio::test]
async fn a_search_that_finds_nothing_says_where_it_looked() {
    let bench = Bench::new().set("HOME", "/nowhere");
    let error = bench.open(None).await.unwrap_err();
    assert_eq!(
        error.what,
        "no Google credentials found: no --credentials, GOOGLE_APPLICATION_CREDENTIALS not set, \
         no file /nowhere/.config/gcloud/application_default_credentials.json, \
         the metadata server not asked (NO_GCE_CHECK), no `gcloud` command"
    );
    assert_eq!(
        error.hint.unwrap(),
        "run `gcloud auth application-default login`, or name a key file with --credentials"
    );
}
