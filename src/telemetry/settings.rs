//! The wishes of OpenTelemetry's standard variables.
//!
//! As its specification wants it, an empty variable counts as unset, and one that cannot be used is told of and left out:
//! telemetry never keeps a run from its work. Values are not repeated in what is said of them: they may hold keys.

use std::{collections::BTreeMap, fmt, time::Duration};

use url::Url;

use crate::{diagnostic::Diagnostic, manifest::Tls};

/// The longest that an export may take, and the time between two exports of figures, where nothing is said (both the
/// specification's).
const TIMEOUT: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_mins(1);

/// The signals to send, and their collectors.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The attributes of the sender: `service.name` and the like.
    pub resource: BTreeMap<String, String>,
    /// The collector of figures.
    pub metrics: Option<Signal>,
    /// The collector of the trace.
    pub traces: Option<Signal>,
    /// The time between two exports of figures.
    pub interval: Duration,
    /// Figures tell what came since the last time, instead of since the beginning.
    pub delta: bool,
    /// The longest that the end of a run waits, where a timeout was set.
    pub patience: Option<Duration>,
}

/// The collector of a signal, and the way to send to it.
#[derive(Clone)]
pub struct Signal {
    /// The URL.
    pub endpoint: Url,
    /// Headers added to every request. Shown nowhere.
    pub headers: BTreeMap<String, String>,
    /// The longest that an export may take, with all its attempts.
    pub timeout: Duration,
    /// Bodies are compressed.
    pub gzip: bool,
    /// Certificates.
    pub tls: Tls,
}

// A URL may have a key in its path, and headers have one.
impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal")
            .field("headers", &self.headers.keys())
            .field("timeout", &self.timeout)
            .field("gzip", &self.gzip)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads the variables; nothing is returned where nothing is asked for. A value that cannot be used is told of.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> (Option<Self>, Vec<Diagnostic>) {
        let mut reading = Reading {
            variable,
            problems: Vec::new(),
        };
        let settings = reading.settings();
        (settings, reading.problems)
    }
}

struct Reading<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<Diagnostic>,
}

impl Reading<'_> {
    fn settings(&mut self) -> Option<Settings> {
        let is_off = self.get("OTEL_SDK_DISABLED");
        if is_off.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return None;
        }
        let metrics = self.signal("METRICS", "v1/metrics");
        let traces = self.signal("TRACES", "v1/traces");
        if metrics.is_none() && traces.is_none() {
            return None;
        }
        let is_set = |name: &str| self.get(name).is_some();
        let has_timeout = is_set("OTEL_EXPORTER_OTLP_TIMEOUT")
            || is_set("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT")
            || is_set("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT");
        let timeouts = [&metrics, &traces].map(|signal| signal.as_ref().map(|s| s.timeout));
        let patience = timeouts.into_iter().flatten().max();
        let interval = self.milliseconds("OTEL_METRIC_EXPORT_INTERVAL");
        let delta = self.delta();
        Some(Settings {
            resource: self.resource(),
            interval: interval.unwrap_or(INTERVAL),
            delta,
            patience: patience.filter(|_| has_timeout),
            metrics,
            traces,
        })
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.trim().is_empty())
    }

    /// Reads what holds for one kind, or else for all.
    fn of(&self, kind: &str, what: &str) -> Option<(String, String)> {
        let own = format!("OTEL_EXPORTER_OTLP_{kind}_{what}");
        let all = format!("OTEL_EXPORTER_OTLP_{what}");
        let named = |name: String| self.get(&name).map(|value| (name, value));
        named(own).or_else(|| named(all))
    }

    fn problem(&mut self, what: impl Into<String>, hint: impl Into<String>) {
        let problem = Diagnostic::warning(what).hint(hint);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn signal(&mut self, kind: &str, path: &str) -> Option<Signal> {
        let name = format!("OTEL_{kind}_EXPORTER");
        let (name_of_url, url) = self.of(kind, "ENDPOINT")?;
        if let Some(exporters) = self.get(&name) {
            let mut exporters = exporters.split(',').map(str::trim);
            if !exporters.clone().any(|exporter| exporter == "otlp") {
                if exporters.any(|exporter| exporter != "none") {
                    let what =
                        format!("{name} asks for what Stoker does not have; nothing is sent");
                    self.problem(
                        what,
                        "it has `otlp`, and `none`; `--metrics` serves Prometheus",
                    );
                }
                return None;
            }
        }
        if let Some((name, protocol)) = self.of(kind, "PROTOCOL")
            && protocol != "http/protobuf"
        {
            let what =
                format!("{name} asks for a protocol that Stoker does not speak; nothing is sent");
            self.problem(
                what,
                "it speaks `http/protobuf`, for which collectors listen on port 4318",
            );
            return None;
        }
        let endpoint = self.endpoint(&name_of_url, &url, kind, path)?;
        let headers = self.of(kind, "HEADERS");
        let headers = headers.map(|(name, value)| self.pairs(&name, &value));
        let timeout = self.of(kind, "TIMEOUT");
        let timeout = timeout.and_then(|(name, _)| self.milliseconds(&name));
        let file = |what| self.of(kind, what).map(|(_, value)| value.into());
        let tls = Tls {
            ca: file("CERTIFICATE"),
            certificate: file("CLIENT_CERTIFICATE"),
            key: file("CLIENT_KEY"),
        };
        Some(Signal {
            endpoint,
            headers: headers.unwrap_or_default(),
            timeout: timeout.unwrap_or(TIMEOUT),
            gzip: self.gzip(kind),
            tls,
        })
    }

    fn endpoint(&mut self, name: &str, text: &str, kind: &str, path: &str) -> Option<Url> {
        let read = Url::parse(text.trim()).ok();
        let read = read.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let Some(mut url) = read else {
            let what = format!("{name} is not a URL of http or https; nothing is sent");
            self.problem(what, "write it like `http://localhost:4318`");
            return None;
        };
        if !url.username().is_empty() || url.password().is_some() {
            let what = format!("{name} holds a user or a password; nothing is sent");
            self.problem(what, "put what lets you in into OTEL_EXPORTER_OTLP_HEADERS");
            return None;
        }
        // The URL of one kind is taken as it stands.
        if !name.contains(kind) {
            let base = url.path().trim_end_matches('/');
            url.set_path(&format!("{base}/{path}"));
        }
        Some(url)
    }

    fn milliseconds(&mut self, name: &str) -> Option<Duration> {
        let text = self.get(name)?;
        let read = text.trim().parse().ok().filter(|number| *number > 0);
        if read.is_none() {
            let what = format!("{name} is not a number of milliseconds, and is left out");
            self.problem(what, "write it like `10000`");
        }
        read.map(Duration::from_millis)
    }

    fn gzip(&mut self, kind: &str) -> bool {
        match self.of(kind, "COMPRESSION") {
            Some((_, value)) if value == "gzip" => true,
            Some((_, value)) if value == "none" => false,
            Some((name, _)) => {
                let what =
                    format!("{name} asks for what Stoker does not have; nothing is compressed");
                self.problem(what, "it has `gzip`, and `none`");
                false
            }
            None => false,
        }
    }

    fn delta(&mut self) -> bool {
        let name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
        match self.get(name) {
            Some(value) if value.eq_ignore_ascii_case("delta") => true,
            Some(value) if !value.eq_ignore_ascii_case("cumulative") => {
                let what =
                    format!("{name} is not known; figures tell what came since the beginning");
                self.problem(what, "Stoker has `cumulative`, and `delta`");
                false
            }
            _ => false,
        }
    }

    /// Says who tells. Two that tell at once are told apart by their instance.
    fn resource(&mut self) -> BTreeMap<String, String> {
        let mut resource = BTreeMap::from(
            [
                ("service.name", "stoker".to_owned()),
                ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
                ("service.instance.id", uuid::Uuid::new_v4().to_string()),
                ("telemetry.sdk.name", "opentelemetry".to_owned()),
                ("telemetry.sdk.language", "rust".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let name = "OTEL_RESOURCE_ATTRIBUTES";
        if let Some(text) = self.get(name) {
            resource.extend(self.pairs(name, &text));
        }
        if let Some(service) = self.get("OTEL_SERVICE_NAME") {
            resource.insert("service.name".to_owned(), service);
        }
        resource
    }

    /// Reads `name=value,name=value`, with what is special in it written as `%2C`. As the specification wants it, one pair that
    /// is wrong makes the whole void.
    fn pairs(&mut self, name: &str, text: &str) -> BTreeMap<String, String> {
        let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            let (name, value) = (decoded(name.trim())?, decoded(value.trim())?);
            (!name.is_empty()).then_some((name, value))
        };
        let read: Option<BTreeMap<_, _>> = pairs.map(pair).collect();
        read.unwrap_or_else(|| {
            let what = format!("{name} is not a list of `name=value`, and is left out");
            self.problem(
                what,
                "write it like `name=value,other=value`, with a comma in a value as `%2C`",
            );
            BTreeMap::new()
        })
    }
}

/// Reads `%2C` and its like.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, more) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = more;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (Option<Settings>, Vec<String>) {
        let variable = |name: &str| {
            let found = variables.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let (settings, problems) = Settings::read(&variable);
        let problems = problems.into_iter().map(|problem| problem.message);
        (settings, problems.collect())
    }

    const BASE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c.example:4318/base/");

    #[test]
    fn nothing_is_sent_without_an_endpoint_or_when_it_is_switched_off() {
        for variables in [
            &[][..],
            &[("OTEL_SERVICE_NAME", "s"), ("OTEL_TRACES_EXPORTER", "otlp")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            &[BASE, ("OTEL_SDK_DISABLED", "True")],
            &[
                BASE,
                ("OTEL_TRACES_EXPORTER", "none"),
                ("OTEL_METRICS_EXPORTER", "none"),
            ],
        ] {
            let (settings, problems) = read(variables);
            assert!(settings.is_none() && problems.is_empty(), "{variables:?}");
        }
    }

    #[test]
    fn one_endpoint_serves_both_and_what_is_said_of_one_kind_goes_first() {
        let (settings, problems) = read(&[
            BASE,
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%2Cb, x-other = 1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://t.example/in"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-key=t"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "4000"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none"),
            ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "ca.pem"),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=a,deployment.environment=test%20bed",
            ),
            ("OTEL_SERVICE_NAME", "seeder"),
        ]);
        assert_eq!(problems, [""; 0]);
        let settings = settings.unwrap();
        let metrics = settings.metrics.unwrap();
        assert_eq!(
            metrics.endpoint.as_str(),
            "http://c.example:4318/base/v1/metrics"
        );
        let header = |signal: &Signal, name: &str| signal.headers.get(name).cloned();
        assert_eq!(header(&metrics, "x-key").as_deref(), Some("a,b"));
        assert_eq!(header(&metrics, "x-other").as_deref(), Some("1"));
        assert_eq!(metrics.timeout, Duration::from_secs(3));
        assert!(metrics.gzip && metrics.tls.ca.is_none());
        assert!(!format!("{metrics:?}").contains("a,b"));
        let traces = settings.traces.unwrap();
        assert_eq!(traces.endpoint.as_str(), "https://t.example/in");
        assert_eq!(header(&traces, "x-key").as_deref(), Some("t"));
        assert_eq!(header(&traces, "x-other"), None);
        assert!(!traces.gzip && traces.tls.ca == Some("ca.pem".into()));
        assert_eq!(settings.patience, Some(Duration::from_secs(4)));
        assert_eq!(settings.interval, Duration::from_millis(500));
        assert!(settings.delta);
        assert_eq!(settings.resource["service.name"], "seeder");
        assert_eq!(settings.resource["deployment.environment"], "test bed");
    }

    #[test]
    fn what_cannot_be_used_is_told_of_without_its_value() {
        for (name, value, sends, words) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", 0, "does not speak"),
            (
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
                "http/json",
                1,
                "does not speak",
            ),
            ("OTEL_METRICS_EXPORTER", "prometheus", 1, "does not have"),
            ("OTEL_TRACES_EXPORTER", "console,otlp", 2, ""),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "sesame:4318",
                0,
                "is not a URL",
            ),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "http://a:sesame@c.example",
                0,
                "a password",
            ),
            ("OTEL_EXPORTER_OTLP_HEADERS", "sesame", 2, "is not a list"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "a=sesame%2",
                2,
                "is not a list",
            ),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "sesame", 2, "milliseconds"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "0", 2, "milliseconds"),
            (
                "OTEL_EXPORTER_OTLP_COMPRESSION",
                "zstd",
                2,
                "nothing is compressed",
            ),
            (
                "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
                "lowmemory",
                2,
                "is not known",
            ),
            ("OTEL_RESOURCE_ATTRIBUTES", "=sesame", 2, "is not a list"),
        ] {
            // The first of two equal names is taken.
            let (settings, problems) = read(&[(name, value), BASE]);
            let signals = settings.map_or(0, |settings| {
                usize::from(settings.metrics.is_some()) + usize::from(settings.traces.is_some())
            });
            assert_eq!(signals, sends, "{name}={value}");
            assert_eq!(
                problems.len(),
                usize::from(!words.is_empty()),
                "{problems:?}"
            );
            for problem in problems {
                assert!(
                    problem.contains(words) && problem.contains(name),
                    "{problem}"
                );
                assert!(!problem.contains("sesame"), "{problem}");
            }
        }
    }
}
