//! Tokens and passwords in variables and files.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use stoker::{
    auth::{self, Credentials, Error},
    manifest::{Auth, SecretPlace},
};

const SECRET: &str = "sesame-4711";

async fn open(auth: &Auth, variables: &[(&str, &str)]) -> Result<Arc<dyn Credentials>, Error> {
    let env = |name: &str| {
        variables
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    };
    let opened = auth::open(auth, &env).await;
    match &opened {
        Ok(credentials) => assert!(!format!("{credentials:?}").contains(SECRET)),
        Err(error) => assert!(!format!("{error:?} {error}").contains(SECRET), "{error:?}"),
    }
    opened
}

async fn header(credentials: &Arc<dyn Credentials>) -> String {
    let value = credentials.header().await.unwrap().unwrap();
    assert!(value.is_sensitive() && !format!("{value:?}").contains(SECRET));
    value.to_str().unwrap().to_owned()
}

fn bearer_in(path: &Path) -> Auth {
    Auth::Bearer(SecretPlace::File(path.to_owned()))
}

/// Writes a file, and sets its time, which may else be the same for two writes in a row.
fn write(path: &Path, text: &str, second: u64) {
    fs_err::write(path, text).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
    fs_err::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .into_file()
        .set_modified(time)
        .unwrap();
}

#[tokio::test]
async fn nobody_sends_nothing() {
    let nobody = open(&Auth::None, &[]).await.unwrap();
    assert!(nobody.header().await.unwrap().is_none());
    assert!(!nobody.refused() && nobody.quota_project().is_none());
}

#[tokio::test]
async fn a_token_in_a_variable_is_read_once() {
    let auth = Auth::Bearer(SecretPlace::Env("FHIR_TOKEN".to_owned()));
    let bearer = open(&auth, &[("FHIR_TOKEN", "sesame-4711\n")])
        .await
        .unwrap();
    assert_eq!(header(&bearer).await, "Bearer sesame-4711");
    assert!(!bearer.refused());

    let error = open(&auth, &[]).await.unwrap_err();
    assert_eq!(
        error.what,
        "variable FHIR_TOKEN is not set; it should hold a bearer token"
    );
    let error = open(&auth, &[("FHIR_TOKEN", "\n")]).await.unwrap_err();
    assert!(error.what.starts_with("variable FHIR_TOKEN is empty"));
    for wrong in [
        "Bearer sesame-4711",
        "sesame-4711\nsesame-4711",
        "sesame-4711\u{e9}",
    ] {
        let error = open(&auth, &[("FHIR_TOKEN", wrong)]).await.unwrap_err();
        assert!(
            error
                .what
                .starts_with("variable FHIR_TOKEN does not hold a bearer token")
        );
        assert!(error.hint.unwrap().contains("without `Bearer`"));
    }
}

#[tokio::test]
async fn a_token_in_a_file_is_read_again_when_it_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    write(&path, "sesame-4711\r\n", 1);
    let bearer = open(&bearer_in(&path), &[]).await.unwrap();
    assert_eq!(header(&bearer).await, "Bearer sesame-4711");
    // The same token again: nothing better to offer.
    assert!(!bearer.refused());
    write(&path, "renewed\n", 2);
    assert_eq!(header(&bearer).await, "Bearer renewed");
    // Answers to the old token may still come in.
    assert!(bearer.refused());

    fs_err::remove_file(&path).unwrap();
    let error = bearer.header().await.unwrap_err();
    assert!(error.transient);
    assert!(error.what.contains("there is no such file"), "{error}");
    write(&path, "back", 3);
    assert_eq!(header(&bearer).await, "Bearer back");
}

#[tokio::test]
async fn a_refused_token_is_read_again_though_the_file_looks_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    write(&path, "sesame-4711", 1);
    let bearer = open(&bearer_in(&path), &[]).await.unwrap();
    write(&path, "renewed", 1);
    assert_eq!(header(&bearer).await, "Bearer sesame-4711");
    assert!(bearer.refused());
    assert_eq!(header(&bearer).await, "Bearer renewed");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_still_refused_after_a_while_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    write(&path, "sesame-4711", 1);
    let bearer = open(&bearer_in(&path), &[]).await.unwrap();
    write(&path, "renewed", 2);
    assert!(bearer.refused());
    tokio::time::advance(Duration::from_secs(59)).await;
    assert!(bearer.refused());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(!bearer.refused());
    fs_err::remove_file(&path).unwrap();
    assert!(bearer.refused());
    assert!(bearer.header().await.is_err());
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let error = open(&bearer_in(Path::new("/nowhere/token")), &[])
        .await
        .unwrap_err();
    assert_eq!(
        error.what,
        "a bearer token could not be read from /nowhere/token: there is no such file"
    );
    assert!(!error.transient);
}

#[tokio::test]
async fn basic_authentication_is_that_of_rfc_7617() {
    let password = SecretPlace::Env("PASSWORD".to_owned());
    let auth = |user: &str| Auth::Basic {
        user: user.to_owned(),
        password: password.clone(),
    };
    let basic = open(&auth("Aladdin"), &[("PASSWORD", "open sesame")])
        .await
        .unwrap();
    assert_eq!(header(&basic).await, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    let error = open(&auth("a:b"), &[("PASSWORD", SECRET)])
        .await
        .unwrap_err();
    assert!(error.what.contains("colon"), "{error}");
}
