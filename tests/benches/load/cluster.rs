//! Pipelines in the embedded Kubernetes API, as if they had begun just now.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use lighthouse_telemetry::embedded::Server;
use lighthouse_telemetry_core::time::Time;
use serde_json::Value;

use crate::objects::Pipeline;

/// The hour in which all pipelines of the benches are.
const HOUR: &str = "2026-03-02T09:";
/// They take ten minutes, and nothing may lie in the future.
const AGO: Duration = Duration::from_secs(11 * 60);

/// A cluster with pipelines in it.
pub struct Cluster {
    pub server: Server,
    /// From the hour of the benches to now.
    shift: Duration,
}

impl Cluster {
    pub async fn start() -> Result<Self> {
        let hour = Time::parse(&format!("{HOUR}00:00Z")).unwrap_or_default();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let begin = Time::EPOCH.plus(since_epoch - AGO);
        Ok(Self {
            server: Server::start().await?,
            // Kubernetes knows whole seconds.
            shift: Duration::from_secs(begin.since(hour).as_secs()),
        })
    }

    /// As far as a pipeline comes without ending.
    pub fn begin(&self, pipeline: Pipeline) -> Result<()> {
        for object in pipeline.objects(false) {
            self.apply(object)?;
        }
        for event in pipeline.events() {
            self.apply(event)?;
        }
        Ok(())
    }

    /// The end of a pipeline.
    pub fn end(&self, pipeline: Pipeline) -> Result<()> {
        for object in pipeline.objects(true) {
            self.apply(object)?;
        }
        Ok(())
    }

    /// A pipeline is removed, and what was said of it expires.
    pub fn delete(&self, pipeline: Pipeline) -> Result<()> {
        for object in pipeline.events().iter().chain(&pipeline.objects(true)) {
            self.server.delete(object)?;
        }
        Ok(())
    }

    fn apply(&self, mut object: Value) -> Result<()> {
        self.shift(&mut object);
        self.server.apply(object)?;
        Ok(())
    }

    /// Moves all times of the benches' hour to now.
    fn shift(&self, value: &mut Value) {
        match value {
            Value::String(text) if text.starts_with(HOUR) => {
                if let Some(time) = Time::parse(text) {
                    *text = time.plus(self.shift).to_string();
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|value| self.shift(value)),
            Value::Object(members) => members.values_mut().for_each(|value| self.shift(value)),
            _ => {}
        }
    }
}
