//! The metrics of the server, in the text format of Prometheus.

use std::sync::atomic::AtomicU64;

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// The upper bounds of the durations that are counted, in seconds.
const DURATIONS: [f64; 9] = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];

/// The labels of the counter of requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WheelhouseLabels {
    wheelhouse: String,
}

/// The metrics of one server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    bytes: Counter,
    duration: Histogram,
    pub(crate) connections: Gauge,
    distributions: Family<WheelhouseLabels, Gauge>,
    size: Family<WheelhouseLabels, Gauge>,
    modified: Family<WheelhouseLabels, Gauge<f64, AtomicU64>>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("wheelhouse");
        let metrics = Self {
            requests: Family::default(),
            bytes: Counter::default(),
            duration: Histogram::new(DURATIONS),
            connections: Gauge::default(),
            distributions: Family::default(),
            size: Family::default(),
            modified: Family::default(),
            registry: Registry::default(),
        };
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version of the program", version);
        registry.register("requests", "Requests answered", metrics.requests.clone());
        registry.register_with_unit(
            "sent",
            "Bytes of response bodies sent",
            Unit::Bytes,
            metrics.bytes.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "Time from the head of a request to the end of its response",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register(
            "connections",
            "Open connections",
            metrics.connections.clone(),
        );
        registry.register(
            "distributions",
            "Wheels and sdists",
            metrics.distributions.clone(),
        );
        registry.register_with_unit(
            "distributions_size",
            "Size of wheels and sdists",
            Unit::Bytes,
            metrics.size.clone(),
        );
        registry.register_with_unit(
            "modified_time",
            "Time of the last change, since 1970-01-01 UTC",
            Unit::Seconds,
            metrics.modified.clone(),
        );
        Self {
            registry,
            ..metrics
        }
    }

    /// Counts a request.
    pub(crate) fn count(&self, method: &Method, status: StatusCode, bytes: u64, seconds: f64) {
        // Other names come from clients and would be without bound.
        let method = match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            _ => "other",
        };
        let status = status.as_u16();
        self.requests
            .get_or_create(&RequestLabels { method, status })
            .inc();
        self.bytes.inc_by(bytes);
        self.duration.observe(seconds);
    }

    /// Sets what is known of a wheelhouse. `modified` is in seconds since 1970-01-01 UTC.
    pub(crate) fn describe(&self, wheelhouse: &str, files: u64, bytes: u64, modified: Option<f64>) {
        let labels = WheelhouseLabels {
            wheelhouse: wheelhouse.to_owned(),
        };
        let saturating = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.distributions
            .get_or_create(&labels)
            .set(saturating(files));
        self.size.get_or_create(&labels).set(saturating(bytes));
        if let Some(modified) = modified {
            self.modified.get_or_create(&labels).set(modified);
        }
    }

    /// Renders all metrics.
    pub(crate) fn render(&self) -> String {
        let mut rendered = String::new();
        text::encode(&mut rendered, &self.registry).expect("a string can be written to");
        rendered
    }
}
