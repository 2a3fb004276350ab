//! Metrics pushed by OTLP, again and again and a last time at the end.
//!
//! Values are from the start of the process on, so that nothing needs to be kept of a push that fails: the next one has all.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lighthouse_telemetry_core::span::{Attribute, AttributeValue};
use lighthouse_telemetry_core::time::Time;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::otlp::{self, key_value};
use super::{Exposition, Metrics};
use crate::clock::Clock;
use crate::config::replica_name;
use crate::export::{Accepted, Pushing, Signal, Transport};

const NAME: &str = "lighthouse-telemetry";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// For the last push: the process is to end in time.
const LAST: Duration = Duration::from_secs(3);

/// Pushes all metrics.
pub struct Pusher {
    exposition: Arc<Exposition>,
    metrics: Metrics,
    transport: Transport,
    interval: Duration,
    resource: Vec<KeyValue>,
    start: Time,
    /// Whether it was said that the last push failed.
    failing: bool,
}

impl Pusher {
    /// From now on is counted. Connects when there is something to send.
    ///
    /// # Errors
    /// If a certificate or key cannot be read, or a header cannot be sent.
    pub fn new(
        pushing: &Pushing,
        exposition: &Arc<Exposition>,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            exposition: Arc::clone(exposition),
            metrics: metrics.clone(),
            transport: Transport::new(&pushing.receiver, Signal::Metrics)?,
            interval: pushing.interval,
            resource: resource(&pushing.resource_attributes, replica_name()),
            start: Clock::system().now(),
            failing: false,
        })
    }

    /// Pushes until it is told to stop, and a last time then.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let turn = async {
                ticks.tick().await;
                self.push().await;
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = turn => {}
            }
        }
        if tokio::time::timeout(LAST, self.push()).await.is_err() {
            tracing::warn!(
                "{} did not take the last metrics in time",
                self.transport.name()
            );
        }
    }

    /// Pushes once.
    async fn push(&mut self) {
        let trouble = match self.request() {
            Ok(request) => match self.transport.send(request).await {
                Ok(Accepted { rejected: 0, .. }) => None,
                Ok(Accepted { rejected, message }) => {
                    Some(format!("{rejected} data points were rejected: {message}"))
                }
                Err(refused) => Some(format!("{}: {}", refused.cause, refused.message)),
            },
            Err(error) => Some(error.to_string()),
        };
        let failed = trouble.is_some();
        self.metrics.pushed(if failed { "failed" } else { "sent" });
        let failed_before = std::mem::replace(&mut self.failing, failed);
        let name = self.transport.name();
        match trouble {
            Some(trouble) if !failed_before => tracing::warn!(
                "{name} does not take metrics; this is said once until it does, the next push has all: {trouble}; see \
                 that it is up and takes metrics, or set OTEL_METRICS_EXPORTER=none"
            ),
            None if failed_before => tracing::info!("{name} takes metrics again"),
            _ => {}
        }
    }

    fn request(&self) -> Result<Bytes, std::fmt::Error> {
        let span = otlp::Span {
            start: self.start.nanoseconds(),
            now: Clock::system().now().nanoseconds(),
        };
        let attributes = self.metrics.pipelines.attributes();
        let metrics = otlp::encode(&self.exposition.text()?, &attributes, span);
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(Resource {
                    attributes: self.resource.clone(),
                    ..Resource::default()
                }),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(InstrumentationScope {
                        name: NAME.to_owned(),
                        version: VERSION.to_owned(),
                        ..InstrumentationScope::default()
                    }),
                    metrics,
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        };
        Ok(request.encode_to_vec().into())
    }
}

/// What the environment says goes before what is known of the process, but for the name of the service.
fn resource(given: &[Attribute], instance: Option<String>) -> Vec<KeyValue> {
    let text = |key: &str, value: &str| key_value(key, Value::StringValue(value.to_owned()));
    let mut resource = vec![text("service.name", NAME)];
    for attribute in given {
        // Variables are texts.
        if let AttributeValue::Text(value) = &attribute.value {
            resource.push(text(&attribute.key, value));
        }
    }
    let own = [
        ("service.version", Some(VERSION.to_owned())),
        ("service.instance.id", instance),
    ];
    for (key, value) in own {
        if let Some(value) = value
            && given.iter().all(|attribute| attribute.key != key)
        {
            resource.push(text(key, &value));
        }
    }
    resource
}

#[cfg(test)]
mod tests;
