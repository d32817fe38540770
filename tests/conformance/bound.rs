//! A store, and what the core would know of it: a target, and records that are planned for it.

use std::{collections::HashMap, path::Path, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use stoker::{
    emulator::{Opened, Options, Server, open},
    event::{LoadId, Unobserved},
    manifest::{self, LoadSettings},
    plan::{
        self, PlanHeader, PlannedTarget,
        file::{self, PlanEntry},
    },
    record::{Packaging, Step, StepId, Stretch},
    source::Bodies,
    target::{self, Endpoint, Facts, HeldVersions, Naming, Parcel, Purpose, Said, Target},
};

/// A target with planned records.
pub(super) struct Bound {
    pub(super) target: Arc<dyn Target>,
    pub(super) settings: LoadSettings,
    steps: Vec<Step>,
    bodies: Bodies,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.target.base())
    }
}

/// What travels in one request.
pub(super) struct Travels<'a> {
    settings: &'a LoadSettings,
    steps: &'a [Step],
    packaging: Option<Packaging>,
    pub(super) replaces: HeldVersions,
    stretches: HashMap<StepId, Stretch>,
}

impl Travels<'_> {
    pub(super) fn of(&self) -> Parcel<'_> {
        Parcel {
            settings: self.settings,
            packaging: self.packaging,
            steps: self.steps,
            replaces: &self.replaces,
            stretches: &self.stretches,
        }
    }
}

impl Bound {
    /// Plans the only load of a manifest. `yaml` stands in `folder`.
    pub(super) fn planned(yaml: &str, folder: &Path) -> Self {
        let (manifest, _) = manifest::read_text(yaml, &folder.join("m.yaml"), &|_| None).unwrap();
        let settings = manifest.targets[0].clone();
        let endpoint = Endpoint::of(&settings, None).unwrap();
        let header = PlanHeader {
            version: plan::VERSION,
            stoker: "test".to_owned(),
            name: manifest.name.clone(),
            manifest: manifest.path.clone(),
            root: folder.to_owned(),
            created: jiff::Timestamp::UNIX_EPOCH,
            targets: vec![PlannedTarget {
                facts: Facts::documented(&settings.store),
                settings,
            }],
            loads: manifest.loads.clone(),
            run: manifest.run.clone(),
        };
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("plan");
        let mut writer = file::Writer::create(&path).unwrap();
        let surveyed = stoker::survey::survey(
            &header,
            &mut writer,
            None,
            scratch.path(),
            &Unobserved,
            &|| false,
            &mut |_, _| {},
        )
        .unwrap();
        let sources = surveyed.sources.iter();
        let sources = sources.map(|source| (source.id, source.path.clone().unwrap()));
        let bodies = Bodies::new(sources.collect());
        let saved = file::Saved::open(&path).unwrap();
        let steps = saved.steps(LoadId(0)).unwrap();
        let steps = steps.filter_map(|entry| match entry.unwrap() {
            PlanEntry::Step(step) => step.action.operation().map(|_| step),
            PlanEntry::Group(_) => None,
        });
        Self {
            target: target::of(&endpoint),
            settings: manifest.loads[0].clone(),
            steps: steps.collect(),
            bodies,
            client: reqwest::Client::new(),
            _folder: scratch,
        }
    }

    /// Returns a record of the plan, and its bytes as they go to the wire.
    pub(super) fn record(&self, at: usize) -> (Step, Bytes) {
        let step = self.steps[at].clone();
        let bytes = self.bodies.read(step.position.source, step.wire()).unwrap();
        let naming = Naming {
            settings: &self.settings,
            names: &|_| None,
            purpose: Purpose::Sending,
            is_linked: false,
            tag: None,
        };
        let body = self.target.rewrite(&step, &naming, bytes).unwrap();
        (step, body)
    }

    pub(super) fn parcel<'a>(
        &'a self,
        steps: &'a [Step],
        packaging: Option<Packaging>,
    ) -> Travels<'a> {
        Travels {
            settings: &self.settings,
            steps,
            packaging,
            replaces: super::no_versions(),
            stretches: HashMap::new(),
        }
    }

    /// Makes the request of some records.
    pub(super) fn request(
        &self,
        steps: &[Step],
        bodies: Vec<Bytes>,
        packaging: Option<Packaging>,
    ) -> Request<Bytes> {
        let parcel = self.parcel(steps, packaging);
        let mut bodies = bodies.into_iter();
        self.target.write(&parcel.of(), &mut bodies).unwrap()
    }

    /// Sends a request, and returns what came.
    pub(super) async fn call(&self, request: Request<Bytes>) -> Response<Bytes> {
        let request = reqwest::Request::try_from(request).unwrap();
        let answer = self.client.execute(request).await.unwrap();
        let mut response = Response::builder().status(answer.status());
        *response.headers_mut().unwrap() = answer.headers().clone();
        // The transport takes off a byte order mark.
        let body = answer.bytes().await.unwrap();
        let is_marked = body.starts_with(b"\xef\xbb\xbf{");
        let body = if is_marked { body.slice(3..) } else { body };
        response.body(body).unwrap()
    }

    /// Writes a record that the store takes; returns the id under which it has it.
    pub(super) async fn write(&self, step: &Step, body: Bytes) -> String {
        let steps = std::slice::from_ref(step);
        let answer = self.call(self.request(steps, vec![body], None)).await;
        assert!(answer.status().is_success(), "{answer:?}");
        let parcel = self.parcel(steps, None);
        let said = self.target.answers(&parcel.of(), &answer).unwrap();
        match said.into_iter().next().flatten().map(|answer| answer.said) {
            Some(Said::Taken(taken)) => taken.id.or_else(|| step.id.clone()).unwrap(),
            other => panic!("{other:?} of {answer:?}"),
        }
    }
}

/// The embedded store, with a store of each format.
pub(super) struct Local {
    server: Server,
    _dir: tempfile::TempDir,
}

impl Local {
    pub(super) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let Opened::Started(server) = open(Options::new(dir.path().to_owned())).await.unwrap()
        else {
            panic!("somebody has the directory");
        };
        let local = Self { server, _dir: dir };
        let datasets = "v1/projects/p/locations/l/datasets";
        local.make(&format!("{datasets}?datasetId=d"), "").await;
        for (path, body) in [
            (
                "fhirStores?fhirStoreId=s",
                r#"{"version": "R4", "enableUpdateCreate": true}"#,
            ),
            ("hl7V2Stores?hl7V2StoreId=s", "{}"),
            ("dicomStores?dicomStoreId=s", "{}"),
        ] {
            local.make(&format!("{datasets}/d/{path}"), body).await;
        }
        local
    }

    async fn make(&self, path: &str, body: &str) {
        let made = reqwest::Client::new()
            .post(format!("{}{path}", self.server.url()))
            .header("content-type", "application/json")
            .body(body.to_owned())
            .send();
        let made = made.await.unwrap();
        assert!(made.status().is_success(), "{}", made.text().await.unwrap());
    }

    /// Plans a load for its store of a kind.
    pub(super) fn bound(&self, kind: &str, load: &str) -> Bound {
        let url = self.server.url();
        let load = load.trim_start_matches('{');
        let yaml = format!(
            "version: 1\nname: conformance\ntargets:\n  t:\n    auth: none\n    google: {{ project: p, location: l, dataset: d, {kind}: s, endpoint: \"{url}\" }}\nloads: [{{ name: l, target: t, {load}]\n"
        );
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
        Bound::planned(&yaml, &folder)
    }
}
