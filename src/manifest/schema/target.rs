//! A target as it is written: its store, and how to talk to it.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::{
    Attempts, Auth, BytesRate, Concurrency, Dicomweb, DurationText, Ensure, Fhir, Google, Local,
    Mllp, NonEmpty, OrVariable, RateText, Requests, WebUrl,
};

/// Defines the settings that a target and the defaults of targets share, once.
macro_rules! target {
    ($(#[$meta:meta])* $name:ident { $($own:tt)* }) => {
        map! {
            $(#[$meta])*
            $name {
                $($own)*
                /// How to prove who we are: `google` for Google stores unless set, else `none`.
                #[schemars(extend("examples" = ["none", {"bearer": {"env": "FHIR_TOKEN"}}]))]
                auth: Option<Auth>,
                /// TLS settings. Certificates are always verified.
                #[schemars(extend("examples" = [{"ca": "certs/ca.pem"}]))]
                tls: Option<Tls>,
                /// The URL of a proxy for this target. Without it the environment's proxies hold.
                #[schemars(extend("examples" = ["http://proxy.example:3128"]))]
                proxy: Option<WebUrl>,
                /// Headers added to every request. Credentials belong to `auth`.
                #[schemars(extend("examples" = [{"X-Tenant": "${TENANT}"}]))]
                headers: Option<BTreeMap<String, NonEmpty>>,
                /// The project that pays for the quota (`x-goog-user-project`).
                #[schemars(extend("examples" = ["my-project"]))]
                quota_project: Option<NonEmpty>,
                /// The highest number of operations in any sliding second or minute; a Bundle costs its entries. Without it the speed is
                /// found by what the store takes.
                #[schemars(extend("examples" = ["500/s", "30000/min"]))]
                rate: Option<RateText>,
                /// The highest number of bytes of request bodies in any second or minute.
                #[schemars(extend("examples" = ["10 MB/s"]))]
                bytes_rate: Option<BytesRate>,
                /// Requests in flight: a number, or `{ min, max }` to find the best between them (the default, 1 and 256).
                #[schemars(extend("examples" = [8, {"min": 4, "max": 64}], "default" = {"min": 1, "max": 256}))]
                concurrency: Option<Concurrency>,
                /// How long one request may take, from its first byte to the last of its answer; then it is tried again. A body that is read from a file while it is sent, and an answer of more than 64 MiB, may take longer as long as they move.
                #[schemars(extend("examples" = ["2m"], "default" = "60s"))]
                timeout: Option<DurationText>,
                /// How often, and after which waits, a request is tried again that failed for a reason that may pass.
                #[schemars(extend("examples" = [{"attempts": 5, "base": "1s", "max": "1m"}]))]
                retry: Option<Retry>,
                /// End the run when the target has been down for this time. It can be resumed.
                #[schemars(extend("examples" = ["1h"], "default" = "10m"))]
                give_up_after: Option<DurationText>,
            }
        }
    };
}

target! {
    /// A store to load: exactly one of `google`, `fhir`, `dicomweb`, `mllp` and `local`, and how to talk to it.
    #[schemars(extend("oneOf" = [
        {"required": ["google"]}, {"required": ["fhir"]}, {"required": ["dicomweb"]}, {"required": ["mllp"]}, {"required": ["local"]}
    ]))]
    Target {
        /// A store of the Google Cloud Healthcare API.
        #[schemars(extend("examples" = [{"project": "${PROJECT}", "location": "us-central1", "dataset": "demo", "fhir_store": "r4"}]))]
        google: Option<Google>,
        /// Any FHIR R4 server.
        #[schemars(extend("examples" = [{"url": "https://fhir.example/r4"}]))]
        fhir: Option<Fhir>,
        /// Any DICOMweb server.
        #[schemars(extend("examples" = [{"url": "https://pacs.example/dicom-web"}]))]
        dicomweb: Option<Dicomweb>,
        /// Any receiver of HL7v2 messages over MLLP; with `tls`, over TLS.
        #[schemars(extend("examples" = [{"address": "mllp.example:2575"}]))]
        mllp: Option<Mllp>,
        /// The embedded local store: its directory, or its directory and settings.
        #[schemars(extend("examples" = [".stoker/store"]))]
        local: Option<Local>,
        /// Create the dataset and the store when they are missing: `true`, or the settings of the store. For `google` only.
        #[schemars(extend("examples" = [true, {"version": "R4", "enableUpdateCreate": true}], "default" = false))]
        ensure: Option<Ensure>,
    }
}

target! {
    /// Settings for all targets.
    TargetDefaults {}
}

map! {
    /// TLS settings.
    Tls {
        /// A PEM file of certificate authorities trusted besides the system's.
        #[schemars(extend("examples" = ["certs/ca.pem"]))]
        ca: Option<NonEmpty>,
        /// A PEM file with the client's certificate chain.
        #[schemars(extend("examples" = ["certs/client.pem"]))]
        certificate: Option<NonEmpty>,
        /// A PEM file with the client's private key.
        #[schemars(extend("examples" = ["certs/client-key.pem"]))]
        key: Option<NonEmpty>,
    }
}

map! {
    /// Requests in flight: as many as the store takes best, between two numbers.
    ConcurrencyRange {
        /// The lower bound, however little the store takes.
        #[schemars(extend("examples" = [4], "default" = 1))]
        min: Option<OrVariable<Requests>>,
        /// The upper bound, however much it takes.
        #[schemars(extend("examples" = [64], "default" = 256))]
        max: Option<OrVariable<Requests>>,
    }
}

map! {
    /// How attempts are repeated: waits double from `base` to `max`, and are jittered.
    Retry {
        /// Attempts for one record, the first included.
        #[schemars(extend("examples" = [5], "default" = 8))]
        attempts: Option<OrVariable<Attempts>>,
        /// The upper bound of the first wait; it doubles from there.
        #[schemars(extend("examples" = ["1s"], "default" = "500ms"))]
        base: Option<DurationText>,
        /// No wait is longer, unless the server asks for it.
        #[schemars(extend("examples" = ["1m"], "default" = "32s"))]
        max: Option<DurationText>,
    }
}
