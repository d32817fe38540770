//! The local store itself: what it answers, and what it keeps.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::path::Path;
use stoker::emulator::{Opened, Options, Server, open};

const PARENT: &str = "v1/projects/p/locations/l/datasets";

struct Site {
    server: Server,
    http: reqwest::Client,
    fhir: String,
}

fn options(dir: &Path, token: Option<&str>) -> Result<Options> {
    Ok(Options {
        dir: dir.join("store"),
        bind: "127.0.0.1:0".parse()?,
        token: token.map(Into::into),
    })
}

async fn start(dir: &Path) -> Result<Site> {
    let Opened::Started(server) = open(options(dir, None)?).await? else {
        bail!("another process holds a fresh directory");
    };
    let fhir = format!("{}{PARENT}/d/fhirStores/f/fhir", server.url());
    Ok(Site {
        server,
        http: reqwest::Client::new(),
        fhir,
    })
}

/// A site with a dataset and an R4 store that takes client ids.
async fn site(dir: &Path) -> Result<Site> {
    let site = start(dir).await?;
    let url = site.server.url().clone();
    let (status, operation) = site
        .send("POST", &format!("{url}{PARENT}?datasetId=d"), &[], "")
        .await?;
    assert_eq!(status, 200);
    let name = operation["name"]
        .as_str()
        .context("an operation has a name")?;
    let (_, done) = site
        .send("GET", &format!("{url}v1/{name}"), &[], "")
        .await?;
    assert_eq!(done["done"], true);
    let create = format!("{url}{PARENT}/d/fhirStores?fhirStoreId=f");
    let body = r#"{"version":"R4","enableUpdateCreate":true}"#;
    assert_eq!(site.send("POST", &create, &[], body).await?.0, 200);
    assert_eq!(site.send("POST", &create, &[], body).await?.0, 409);
    assert_eq!(
        site.send(
            "POST",
            &create.replace("=f", "=g"),
            &[],
            r#"{"version":"R5"}"#
        )
        .await?
        .0,
        400
    );
    assert_eq!(
        site.send("POST", &create.replace("/d/", "/none/"), &[], body)
            .await?
            .0,
        403
    );
    Ok(site)
}

impl Site {
    async fn text(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<(u16, String)> {
        let mut request = self
            .http
            .request(method.parse()?, url)
            .body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    async fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<(u16, Value)> {
        let (status, text) = self.text(method, url, headers, body).await?;
        Ok((
            status,
            serde_json::from_str(&text).with_context(|| format!("{status}: {text}"))?,
        ))
    }

    async fn fhir(&self, method: &str, path: &str, body: &Value) -> Result<(u16, Value)> {
        self.send(
            method,
            &format!("{}{path}", self.fhir),
            &[],
            &body.to_string(),
        )
        .await
    }
}

#[tokio::test]
async fn keeps_versions_and_the_text_of_numbers() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let site = site(dir.path()).await?;
    let url = format!("{}/Observation", site.fhir);
    let body = r#"{"resourceType":"Observation","id":"mine","valueQuantity":{"value":20.00}}"#;
    let (status, text) = site.text("POST", &url, &[], body).await?;
    assert_eq!(status, 201);
    assert!(
        text.contains("20.00") && text.starts_with("{\"id\""),
        "{text}"
    );
    let first: Value = serde_json::from_str(&text)?;
    let id = first["id"].as_str().context("id")?;
    assert_ne!(id, "mine");
    let path = format!("/Observation/{id}");
    let (status, second) = site.fhir("PUT", &path, &first).await?;
    assert_eq!(status, 200);
    assert_ne!(first["meta"]["versionId"], second["meta"]["versionId"]);
    let old = format!(
        "{path}/_history/{}",
        first["meta"]["versionId"].as_str().context("versionId")?
    );
    assert_eq!(
        site.fhir("GET", &old, &Value::Null).await?,
        (200, first.clone())
    );
    assert_eq!(
        site.fhir("GET", &format!("{path}/_history"), &Value::Null)
            .await?
            .1["total"],
        2
    );
    let stale = [("if-match", "W/\"x\"")];
    assert_eq!(
        site.send("PUT", &format!("{url}/{id}"), &stale, &first.to_string())
            .await?
            .0,
        412
    );
    assert_eq!(site.fhir("PUT", "/Observation/other", &first).await?.0, 400);
    assert_eq!(
        site.fhir("DELETE", &path, &Value::Null).await?,
        (200, json!({}))
    );
    assert_eq!(site.fhir("GET", &path, &Value::Null).await?.0, 410);
    assert_eq!(
        site.fhir("GET", "/Observation/never", &Value::Null)
            .await?
            .0,
        404
    );
    for bad in [
        "{",
        "[]",
        "{\"resourceType\":\"Patient\"}",
        "{\"resourceType\":\"Observation\"}x",
    ] {
        assert_eq!(site.text("POST", &url, &[], bad).await?.0, 400, "{bad}");
    }
    let deep = format!(
        "{{\"resourceType\":\"Observation\",\"x\":{}{}}}",
        "[".repeat(5000),
        "]".repeat(5000)
    );
    assert_eq!(site.text("POST", &url, &[], &deep).await?.0, 400);
    site.server.stop().await;
    Ok(())
}

#[tokio::test]
async fn creates_once_by_identifier() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let site = site(dir.path()).await?;
    let url = format!("{}/Patient", site.fhir);
    let body =
        json!({"resourceType": "Patient", "identifier": [{"system": "urn:s", "value": "1"}]})
            .to_string();
    let once = [("if-none-exist", "identifier=urn%3As%7C1")];
    let (status, first) = site.send("POST", &url, &once, &body).await?;
    assert_eq!(status, 201);
    assert_eq!(site.send("POST", &url, &once, &body).await?, (200, first));
    site.send("POST", &url, &[], &body).await?;
    let (status, outcome) = site.send("POST", &url, &once, &body).await?;
    assert_eq!(status, 412);
    assert_eq!(outcome["issue"][0]["details"]["text"], "ambiguous_query");
    Ok(())
}

fn entry(full_url: &str, method: &str, url: &str, resource: &Value) -> Value {
    json!({"fullUrl": full_url, "resource": resource, "request": {"method": method, "url": url}})
}

#[tokio::test]
async fn transaction_rewrites_and_rolls_back() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let site = site(dir.path()).await?;
    let observation = json!({"resourceType": "Observation", "subject": {"reference": "urn:uuid:a"}, "code": {"text": "urn:uuid:b"},
        "text": {"status": "generated", "div": "<div><a href=\"urn:uuid:a\">x</a></div>"}});
    let patient = json!({"resourceType": "Patient", "identifier": [{"value": "7"}]});
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        entry("urn:uuid:o", "POST", "Observation", &observation), entry("urn:uuid:a", "POST", "Patient", &patient)]});
    let (status, answer) = site.fhir("POST", "", &bundle).await?;
    assert_eq!(status, 200, "{answer}");
    let location = answer["entry"][1]["response"]["location"]
        .as_str()
        .context("location")?;
    let id = location.split('/').rev().nth(2).context("id")?;
    let (_, found) = site.fhir("GET", "/Observation", &Value::Null).await?;
    let stored = &found["entry"][0]["resource"];
    assert_eq!(stored["subject"]["reference"], format!("Patient/{id}"));
    assert_eq!(
        stored["text"]["div"],
        format!("<div><a href=\"Patient/{id}\">x</a></div>")
    );
    assert_eq!(stored["code"]["text"], "urn:uuid:b");

    let by = |value: &str| json!({"resourceType": "Observation", "subject": {"reference": format!("Patient?identifier={value}")}});
    let bundle = |value: &str| {
        json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        entry("", "PUT", "Patient/p", &json!({"resourceType": "Patient", "id": "p"})), entry("", "POST", "Observation", &by(value))]})
    };
    let (status, outcome) = site.fhir("POST", "", &bundle("none")).await?;
    assert_eq!(status, 400);
    assert_eq!(outcome["issue"][0]["details"]["text"], "invalid_references");
    assert_eq!(site.fhir("POST", "", &bundle("7")).await?.0, 200);
    let (_, metrics) = site
        .send(
            "GET",
            &site.fhir.replace("/f/fhir", "/f:getFHIRStoreMetrics"),
            &[],
            "",
        )
        .await?;
    assert_eq!(
        metrics["metrics"][0],
        json!({"resourceType": "Observation", "count": "2"})
    );
    let mut bad = bundle("7");
    bad["entry"][1] = entry(
        "",
        "PUT",
        "Patient/q",
        &json!({"resourceType": "Patient", "id": "p"}),
    );
    bad["entry"][0] = entry(
        "",
        "PUT",
        "Patient/r",
        &json!({"resourceType": "Patient", "id": "r"}),
    );
    assert_eq!(site.fhir("POST", "", &bad).await?.0, 400);
    assert_eq!(site.fhir("GET", "/Patient/r", &Value::Null).await?.0, 404);
    bad["type"] = "batch".into();
    let (status, answer) = site.fhir("POST", "", &bad).await?;
    assert_eq!(status, 200);
    assert_eq!(answer["entry"][0]["response"]["status"], "201 Created");
    assert_eq!(answer["entry"][1]["response"]["status"], "400 Bad Request");
    Ok(())
}

#[tokio::test]
async fn pages_search_and_survives_a_restart() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let site = site(dir.path()).await?;
    for id in ["a", "b", "c"] {
        let patient = json!({"resourceType": "Patient", "id": id, "meta": {"tag": [{"system": "s", "code": "t"}]}});
        assert_eq!(
            site.fhir("PUT", &format!("/Patient/{id}"), &patient)
                .await?
                .0,
            201
        );
    }
    let http = site.http.clone();
    let Opened::Running { url, pid, .. } = open(options(dir.path(), None)?).await? else {
        bail!("two servers on one directory");
    };
    assert_eq!((&url, pid), (site.server.url(), std::process::id()));
    site.server.stop().await;
    drop(http);
    let site = start(dir.path()).await?;
    let mut next = Some(format!("{}/Patient?_tag=s%7Ct&_count=2", site.fhir));
    let mut ids = Vec::new();
    while let Some(url) = next {
        let (_, page) = site.send("GET", &url, &[], "").await?;
        assert_eq!(page["total"], 3);
        ids.extend(
            page["entry"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|e| e["resource"]["id"].clone()),
        );
        next = page["link"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|l| l["relation"] == "next")
            .and_then(|l| l["url"].as_str().map(str::to_owned));
    }
    assert_eq!(ids, ["a", "b", "c"]);
    let (_, statement) = site.fhir("GET", "/metadata", &Value::Null).await?;
    assert_eq!(statement["rest"][0]["resource"][0]["updateCreate"], true);
    Ok(())
}

#[tokio::test]
async fn wants_its_token_and_a_local_host() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let Opened::Started(server) = open(options(dir.path(), Some("secret"))?).await? else {
        bail!("another process holds a fresh directory");
    };
    assert!(!format!("{server:?}").contains("secret"));
    let url = format!("{}{PARENT}", server.url());
    let http = reqwest::Client::new();
    assert_eq!(http.get(&url).send().await?.status(), 401);
    assert_eq!(
        http.get(&url).bearer_auth("secret").send().await?.status(),
        200
    );
    assert_eq!(
        http.get(&url)
            .bearer_auth("secret")
            .header("host", "evil.example")
            .send()
            .await?
            .status(),
        403
    );
    Ok(())
}
