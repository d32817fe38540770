//! A collector of OpenTelemetry: keeps what is pushed to it, and reads it.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{Metric, metric::Data, number_data_point},
    trace::v1::Span,
};
use prost::Message as _;

/// A request as it came.
#[derive(Clone)]
pub(super) struct Came {
    pub(super) path: String,
    /// Its lines in small letters.
    pub(super) head: String,
    /// The body as it was before compression.
    pub(super) body: Vec<u8>,
}

/// A collector on a port of its own. Ends with the process.
pub(super) struct Collector {
    pub(super) url: String,
    came: Arc<Mutex<Vec<Came>>>,
}

/// Labels, or attributes, by their names.
pub(super) type Labels = BTreeMap<String, String>;

impl Collector {
    /// Starts one that answers all with a status and a body.
    pub(super) fn start(answer: impl Fn(usize) -> (u16, Vec<u8>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let came: Arc<Mutex<Vec<Came>>> = Arc::default();
        let (kept, answer) = (Arc::clone(&came), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                let mut stream = BufReader::new(stream.unwrap());
                thread::spawn(move || {
                    while let Some(one) = request(&mut stream) {
                        let number = {
                            let mut kept = kept.lock().unwrap();
                            kept.push(one);
                            kept.len() - 1
                        };
                        let (status, body) = answer(number);
                        let head = format!(
                            "HTTP/1.1 {status} Any\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
                            body.len()
                        );
                        let out = stream.get_mut();
                        if out.write_all(head.as_bytes()).is_err() || out.write_all(&body).is_err()
                        {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, came }
    }

    pub(super) fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    /// The spans that came, with the attributes of who sent them.
    pub(super) fn spans(&self) -> Vec<(Span, Labels)> {
        let mut spans = Vec::new();
        for came in self
            .came()
            .iter()
            .filter(|came| came.path.ends_with("/traces"))
        {
            let read = ExportTraceServiceRequest::decode(&*came.body).unwrap();
            for of in read.resource_spans {
                let who = labels(&of.resource.unwrap().attributes);
                let found = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.extend(found.map(|span| (span, who.clone())));
            }
        }
        spans
    }

    /// The figures of each export that came, by their names.
    pub(super) fn figures(&self) -> Vec<BTreeMap<String, Metric>> {
        let came = self.came();
        let came = came.iter().filter(|came| came.path.ends_with("/metrics"));
        came.map(|came| {
            let read = ExportMetricsServiceRequest::decode(&*came.body).unwrap();
            let scopes = read.resource_metrics.into_iter();
            let scopes = scopes.flat_map(|of| of.scope_metrics);
            let found = scopes.flat_map(|scope| scope.metrics);
            found.map(|metric| (metric.name.clone(), metric)).collect()
        })
        .collect()
    }
}

/// Reads a request; nothing is returned when the connection is over.
fn request(stream: &mut BufReader<std::net::TcpStream>) -> Option<Came> {
    let (mut head, mut line) = (String::new(), String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line.trim().to_lowercase());
        head.push('\n');
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length?.parse().unwrap()];
    stream.read_exact(&mut body).ok()?;
    if head.contains("content-encoding: gzip") {
        let mut plain = Vec::new();
        let mut packed = flate2::read::GzDecoder::new(&*body);
        packed.read_to_end(&mut plain).unwrap();
        body = plain;
    }
    let path = head.split_whitespace().nth(1).unwrap().to_owned();
    Some(Came { path, head, body })
}

/// Attributes as texts.
pub(super) fn labels(attributes: &[KeyValue]) -> Labels {
    let texts = attributes.iter().map(|pair| {
        let value = pair.value.clone().unwrap().value.unwrap();
        let text = match value {
            Value::StringValue(text) => text,
            Value::IntValue(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        (pair.key.clone(), text)
    });
    texts.collect()
}

/// The values of a counter or a gauge, and of a distribution how many it holds.
pub(super) fn values(metric: &Metric) -> Vec<(Labels, f64)> {
    let points = match metric.data.as_ref().unwrap() {
        Data::Gauge(gauge) => &gauge.data_points,
        Data::Sum(sum) => &sum.data_points,
        Data::Histogram(histogram) => {
            let points = histogram.data_points.iter();
            #[expect(clippy::cast_precision_loss, reason = "these are few")]
            let points = points.map(|point| (labels(&point.attributes), point.count as f64));
            return points.collect();
        }
        other => panic!("{other:?}"),
    };
    let points = points.iter().map(|point| {
        #[expect(clippy::cast_precision_loss, reason = "these are few")]
        let value = match point.value.unwrap() {
            number_data_point::Value::AsDouble(value) => value,
            number_data_point::Value::AsInt(value) => value as f64,
        };
        (labels(&point.attributes), value)
    });
    points.collect()
}
