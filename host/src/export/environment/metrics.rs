//! Settings of the push of metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::settings::{Pushing, Signal};
use super::{Environment, Overrides, SettingsError, variables};

impl Pushing {
    /// What the environment of the process says; none where metrics are not pushed, which is the default.
    ///
    /// # Errors
    /// If a variable cannot be used.
    pub fn from_environment() -> Result<Option<Self>, SettingsError> {
        Self::parse(&variables()?)
    }

    /// What these variables say.
    ///
    /// # Errors
    /// If a variable cannot be used.
    pub fn parse(variables: &BTreeMap<String, String>) -> Result<Option<Self>, SettingsError> {
        let environment = Environment {
            variables,
            // Those are about spans.
            overrides: &Overrides::default(),
            signal: Signal::Metrics,
        };
        let wanted = match environment.find("OTEL_METRICS_EXPORTER") {
            Some(found) if found.value == "otlp" => true,
            Some(found) if found.value != "none" => {
                let problem = format!("is '{}'", found.value);
                let advice = "give otlp or none; Prometheus reads /metrics in any case";
                return Err(SettingsError::new(&found.variable, problem, advice));
            }
            _ => false,
        };
        if !wanted || environment.is_disabled() {
            return Ok(None);
        }
        let interval = environment.number("OTEL_METRIC_EXPORT_INTERVAL", 1)?;
        Ok(Some(Self {
            receiver: environment.receiver(None, None)?,
            interval: interval.map_or(Self::DEFAULT_INTERVAL, Duration::from_millis),
            // What does not apply is said of the spans.
            resource_attributes: environment.resource_attributes(&mut Vec::new())?,
        }))
    }
}
