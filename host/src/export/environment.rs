//! Settings from environment variables, as the OpenTelemetry specification defines them, and from flags.
//!
//! Precedence, highest first: `OTEL_SDK_DISABLED`, flags, `TRACES_EXPORTER_TYPE` and `TRACES_EXPORTER_ENDPOINT`,
//! `OTEL_EXPORTER_OTLP_TRACES_*`, `OTEL_EXPORTER_OTLP_*`, the specification's defaults. An empty variable is an
//! unset one. What cannot be understood is an error, not a warning: spans that go nowhere are noticed late.
//!
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue, Uri};
use lighthouse_telemetry_core::span::Attribute;
use percent_encoding::percent_decode_str;
use thiserror::Error;

use super::limits::Limits;
use super::settings::{
    Batching, Compression, Destination, Headers, Otlp, Protocol, Retrying, Settings, Signal, Tls,
};

/// What flags say; they go before all variables but `OTEL_SDK_DISABLED`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--traces-exporter-type`: `otlp:grpc`, `otlp:http`, either with `:insecure` at the end, `console`, `none`.
    /// `insecure` decides what an endpoint without a scheme means.
    pub exporter: Option<String>,
    /// `--traces-exporter-endpoint`: `host:port` or a URL. For HTTP `/v1/traces` is added to a URL without a path.
    pub endpoint: Option<String>,
}

/// A variable or flag that cannot be used. Values that may hold a secret are not in the text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{variable} {problem}: {advice}")]
pub struct SettingsError {
    /// Variable or flag.
    pub variable: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do.
    pub advice: String,
}

impl SettingsError {
    fn new(variable: &str, problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            variable: variable.to_owned(),
            problem: problem.into(),
            advice: advice.into(),
        }
    }
}

const EXPORTER_FLAG: &str = "--traces-exporter-type";
const ENDPOINT_FLAG: &str = "--traces-exporter-endpoint";
/// The registered port of OTLP/gRPC; 4318 is that of OTLP/HTTP.
const GRPC_PORT: u16 = 4317;

impl Settings {
    /// Settings from the environment of the process and from flags.
    ///
    /// # Errors
    /// If a variable or flag cannot be used.
    pub fn from_environment(overrides: &Overrides) -> Result<Self, SettingsError> {
        Self::parse(&variables()?, overrides)
    }

    /// Settings from these variables and from flags.
    ///
    /// # Errors
    /// If a variable or flag cannot be used.
    pub fn parse(
        variables: &BTreeMap<String, String>,
        overrides: &Overrides,
    ) -> Result<Self, SettingsError> {
        let environment = Environment {
            variables,
            overrides,
            signal: Signal::Traces,
        };
        let mut notes = Vec::new();
        let resource_attributes = environment.resource_attributes(&mut notes)?;
        Ok(Self {
            destinations: environment.destinations()?,
            batching: environment.batching()?,
            retrying: Retrying::default(),
            limits: environment.limits()?,
            resource_attributes,
            notes,
        })
    }
}

/// The variables of the process that may say something.
fn variables() -> Result<BTreeMap<String, String>, SettingsError> {
    let wanted = |name: &str| name.starts_with("OTEL_") || name.starts_with("TRACES_EXPORTER_");
    let mut variables = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| wanted(name)) else {
            continue;
        };
        let value = value
            .into_string()
            .map_err(|_| SettingsError::new(name, "is not valid UTF-8", "write it in UTF-8"))?;
        variables.insert(name.to_owned(), value);
    }
    Ok(variables)
}

struct Environment<'a> {
    variables: &'a BTreeMap<String, String>,
    overrides: &'a Overrides,
    signal: Signal,
}

/// A value and the variable or flag it comes from.
struct Found<'a> {
    variable: String,
    value: &'a str,
}

/// What an exporter is asked for.
#[derive(Clone, Copy)]
enum Exporter {
    Otlp {
        protocol: Option<Protocol>,
        /// What an endpoint without a scheme means, where that was said.
        insecure: Option<bool>,
    },
    Console,
    None,
}

impl<'a> Environment<'a> {
    fn find(&self, variable: &str) -> Option<Found<'a>> {
        let value = self.variables.get(variable)?.trim();
        (!value.is_empty()).then(|| Found {
            variable: variable.to_owned(),
            value,
        })
    }

    /// The variable for the signal, else the one for all signals.
    fn otlp(&self, suffix: &str) -> Option<Found<'a>> {
        let signal = self.signal.variable();
        self.find(&format!("OTEL_EXPORTER_OTLP_{signal}_{suffix}"))
            .or_else(|| self.find(&format!("OTEL_EXPORTER_OTLP_{suffix}")))
    }

    fn flag(&self, flag: &str, value: Option<&'a String>, variable: &str) -> Option<Found<'a>> {
        let given = value
            .map(|value| value.trim())
            .filter(|value| !value.is_empty());
        match given {
            Some(value) => Some(Found {
                variable: flag.to_owned(),
                value,
            }),
            None => self.find(variable),
        }
    }

    fn number<T: FromStr + PartialOrd + Display>(
        &self,
        variable: &str,
        least: T,
    ) -> Result<Option<T>, SettingsError> {
        self.find(variable)
            .map(|found| {
                let number = found.value.parse().ok().filter(|number| *number >= least);
                number.ok_or_else(|| {
                    let problem = format!("is '{}'", found.value);
                    let advice = format!("give a whole number from {least} upwards");
                    SettingsError::new(variable, problem, advice)
                })
            })
            .transpose()
    }

    fn milliseconds(&self, variable: &str) -> Result<Option<Duration>, SettingsError> {
        Ok(self.number(variable, 0)?.map(Duration::from_millis))
    }

    /// The specification: only "true", in any case, is true.
    fn is_disabled(&self) -> bool {
        let disabled = self.find("OTEL_SDK_DISABLED");
        disabled.is_some_and(|found| found.value.eq_ignore_ascii_case("true"))
    }

    fn destinations(&self) -> Result<Vec<Destination>, SettingsError> {
        if self.is_disabled() {
            return Ok(Vec::new());
        }
        let mut destinations = Vec::new();
        for exporter in self.exporters()? {
            destinations.push(match exporter {
                Exporter::None => continue,
                Exporter::Console => Destination::Console,
                Exporter::Otlp { protocol, insecure } => {
                    Destination::Otlp(Box::new(self.receiver(protocol, insecure)?))
                }
            });
        }
        Ok(destinations)
    }

    fn exporters(&self) -> Result<Vec<Exporter>, SettingsError> {
        let kind = self.overrides.exporter.as_ref();
        if let Some(found) = self.flag(EXPORTER_FLAG, kind, "TRACES_EXPORTER_TYPE") {
            let (name, insecure) = match found.value.strip_suffix(":insecure") {
                Some(name) => (name, true),
                None => (found.value, false),
            };
            let otlp = |protocol| Exporter::Otlp {
                protocol,
                insecure: Some(insecure),
            };
            return Ok(vec![match name {
                "otlp" => otlp(None),
                "otlp:grpc" => otlp(Some(Protocol::Grpc)),
                "otlp:http" => otlp(Some(Protocol::HttpProtobuf)),
                "console" => Exporter::Console,
                "none" => Exporter::None,
                _ => {
                    return Err(SettingsError::new(
                        &found.variable,
                        format!("is '{}'", found.value),
                        "give otlp:grpc:insecure, otlp:http:insecure, otlp:grpc, otlp:http, console or none",
                    ));
                }
            }]);
        }
        let Some(found) = self.find("OTEL_TRACES_EXPORTER") else {
            return Ok(vec![Exporter::Otlp {
                protocol: None,
                insecure: None,
            }]);
        };
        let names = found.value.split(',').map(str::trim);
        names
            .map(|name| match name {
                "otlp" => Ok(Exporter::Otlp {
                    protocol: None,
                    insecure: None,
                }),
                "console" => Ok(Exporter::Console),
                "none" => Ok(Exporter::None),
                _ => Err(SettingsError::new(
                    &found.variable,
                    format!("names '{name}'"),
                    "give otlp, console or none",
                )),
            })
            .collect()
    }

    fn receiver(
        &self,
        protocol: Option<Protocol>,
        insecure: Option<bool>,
    ) -> Result<Otlp, SettingsError> {
        let protocol = match protocol {
            Some(protocol) => Some(protocol),
            None => self.protocol()?,
        };
        let (protocol, endpoint) = self.endpoint(protocol, insecure)?;
        Ok(Otlp {
            endpoint,
            protocol,
            headers: self.headers()?,
            timeout: self.timeout()?,
            compression: self.compression()?,
            tls: self.tls()?,
        })
    }

    fn protocol(&self) -> Result<Option<Protocol>, SettingsError> {
        self.otlp("PROTOCOL")
            .map(|found| match found.value {
                "grpc" => Ok(Protocol::Grpc),
                "http/protobuf" => Ok(Protocol::HttpProtobuf),
                other => Err(SettingsError::new(
                    &found.variable,
                    format!("is '{other}'"),
                    "give grpc or http/protobuf",
                )),
            })
            .transpose()
    }

    /// Protocol and endpoint together: where nothing says the protocol, the registered port of OTLP/gRPC does,
    /// else it is the specification's default, `http/protobuf`.
    fn endpoint(
        &self,
        protocol: Option<Protocol>,
        insecure: Option<bool>,
    ) -> Result<(Protocol, String), SettingsError> {
        let path = self.signal.path();
        let given = match self.signal {
            Signal::Traces => {
                let flag = self.overrides.endpoint.as_ref();
                self.flag(ENDPOINT_FLAG, flag, "TRACES_EXPORTER_ENDPOINT")
            }
            Signal::Metrics => None,
        };
        // The original only ever spoke plain text, and its endpoints have no scheme.
        let (found, plain, lenient) = match given {
            Some(found) => (Some(found), insecure.unwrap_or(true), true),
            None => {
                let plain = match insecure {
                    Some(insecure) => insecure,
                    None => self.insecure()?,
                };
                (self.otlp("ENDPOINT"), plain, false)
            }
        };
        let Some(found) = found else {
            let protocol = protocol.unwrap_or(Protocol::HttpProtobuf);
            let endpoint = match protocol {
                Protocol::Grpc => "http://localhost:4317".to_owned(),
                Protocol::HttpProtobuf => format!("http://localhost:4318{path}"),
            };
            return Ok((protocol, endpoint));
        };
        let advice = "give a URL such as http://collector:4318";
        let url = if found.value.contains("://") {
            found.value.to_owned()
        } else if lenient || protocol == Some(Protocol::Grpc) {
            format!("{}://{}", if plain { "http" } else { "https" }, found.value)
        } else {
            let problem = format!("is '{}', which has no scheme", found.value);
            return Err(SettingsError::new(&found.variable, problem, advice));
        };
        let uri: Uri = url
            .parse()
            .ok()
            .filter(|uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")))
            .ok_or_else(|| {
                SettingsError::new(&found.variable, "is no http or https URL", advice)
            })?;
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(SettingsError::new(
                &found.variable,
                "holds a user or password",
                "put them into OTEL_EXPORTER_OTLP_HEADERS",
            ));
        }
        let protocol = protocol.unwrap_or(match uri.port_u16() {
            Some(GRPC_PORT) => Protocol::Grpc,
            _ => Protocol::HttpProtobuf,
        });
        let base = url.trim_end_matches('/');
        let endpoint = match protocol {
            Protocol::Grpc => base.to_owned(),
            Protocol::HttpProtobuf if lenient && uri.path() == "/" => {
                format!("{base}{path}")
            }
            Protocol::HttpProtobuf if lenient => url,
            Protocol::HttpProtobuf if found.variable != "OTEL_EXPORTER_OTLP_ENDPOINT" => url,
            Protocol::HttpProtobuf => format!("{base}{path}"),
        };
        Ok((protocol, endpoint))
    }

    fn insecure(&self) -> Result<bool, SettingsError> {
        let Some(found) = self.otlp("INSECURE") else {
            return Ok(false);
        };
        match found.value.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(SettingsError::new(
                &found.variable,
                format!("is '{}'", found.value),
                "give true or false",
            )),
        }
    }

    fn headers(&self) -> Result<Headers, SettingsError> {
        let Some(found) = self.otlp("HEADERS") else {
            return Ok(Headers::default());
        };
        let entries = found.value.split(',').map(str::trim).zip(1..);
        let headers = entries
            .filter(|(entry, _)| !entry.is_empty())
            .map(|(entry, place)| {
                let error = |problem: &str| {
                    SettingsError::new(
                        &found.variable,
                        format!("has {problem} in entry {place}"),
                        "write name=value,name=value with values percent-encoded",
                    )
                };
                let (name, value) = entry.split_once('=').ok_or_else(|| error("no '='"))?;
                let name = HeaderName::from_bytes(name.trim().as_bytes())
                    .map_err(|_| error("a name that no header can have"))?;
                let value = percent_decode_str(value.trim())
                    .decode_utf8()
                    .ok()
                    .and_then(|value| HeaderValue::from_str(&value).ok())
                    .ok_or_else(|| error("a value that no header can have"))?;
                Ok((name, sensitive(value)))
            });
        headers.collect::<Result<_, _>>().map(Headers)
    }

    fn timeout(&self) -> Result<Duration, SettingsError> {
        let timeout = match self.otlp("TIMEOUT") {
            Some(found) => self.milliseconds(&found.variable)?,
            None => None,
        };
        let timeout = timeout.unwrap_or(Otlp::DEFAULT_TIMEOUT);
        // Zero means no limit in both. Retries go beyond the processor's limit: what it protects, a
        // caller that waits, is not there.
        let export = self.milliseconds(match self.signal {
            Signal::Traces => "OTEL_BSP_EXPORT_TIMEOUT",
            Signal::Metrics => "OTEL_METRIC_EXPORT_TIMEOUT",
        })?;
        let limit = |duration: Duration| (!duration.is_zero()).then_some(duration);
        let shortest = limit(timeout)
            .into_iter()
            .chain(export.and_then(limit))
            .min();
        Ok(shortest.unwrap_or(Duration::MAX))
    }

    fn compression(&self) -> Result<Compression, SettingsError> {
        let Some(found) = self.otlp("COMPRESSION") else {
            return Ok(Compression::None);
        };
        match found.value {
            "gzip" => Ok(Compression::Gzip),
            "none" => Ok(Compression::None),
            other => Err(SettingsError::new(
                &found.variable,
                format!("is '{other}'"),
                "give gzip or none",
            )),
        }
    }

    fn tls(&self) -> Result<Tls, SettingsError> {
        let path = |suffix| self.otlp(suffix).map(|found| PathBuf::from(found.value));
        let client = match (path("CLIENT_CERTIFICATE"), path("CLIENT_KEY")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (certificate, _) => {
                let (there, missing) = match certificate {
                    Some(_) => ("CERTIFICATE", "KEY"),
                    None => ("KEY", "CERTIFICATE"),
                };
                return Err(SettingsError::new(
                    &format!("OTEL_EXPORTER_OTLP_CLIENT_{there}"),
                    "is set alone",
                    format!("set OTEL_EXPORTER_OTLP_CLIENT_{missing} too"),
                ));
            }
        };
        Ok(Tls {
            certificate: path("CERTIFICATE"),
            client,
        })
    }

    fn batching(&self) -> Result<Batching, SettingsError> {
        let default = Batching::default();
        let queue = self.number("OTEL_BSP_MAX_QUEUE_SIZE", 1)?;
        let batch = self.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1)?;
        let queue = queue.unwrap_or(default.queue);
        if let Some(batch) = batch.filter(|batch| *batch > queue) {
            return Err(SettingsError::new(
                "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
                format!("is {batch}, more than the queue holds"),
                format!("give at most OTEL_BSP_MAX_QUEUE_SIZE, which is {queue}"),
            ));
        }
        Ok(Batching {
            queue,
            batch: batch.unwrap_or(default.batch.min(queue)),
            delay: self
                .milliseconds("OTEL_BSP_SCHEDULE_DELAY")?
                .unwrap_or(default.delay),
        })
    }

    fn limits(&self) -> Result<Limits, SettingsError> {
        let default = Limits::default();
        let count = |variable| self.number(variable, 0usize);
        let attributes = count("OTEL_ATTRIBUTE_COUNT_LIMIT")?.unwrap_or(default.attributes);
        let value_length = count("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT")?;
        Ok(Limits {
            attributes: count("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT")?.unwrap_or(attributes),
            value_length: count("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT")?.or(value_length),
            events: count("OTEL_SPAN_EVENT_COUNT_LIMIT")?.unwrap_or(default.events),
            links: count("OTEL_SPAN_LINK_COUNT_LIMIT")?.unwrap_or(default.links),
            event_attributes: count("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT")?.unwrap_or(attributes),
            link_attributes: count("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT")?.unwrap_or(attributes),
        })
    }

    fn resource_attributes(
        &self,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Attribute>, SettingsError> {
        let service = |variable| {
            format!(
                "{variable} does not apply: the mappers name the services, after the kinds of object"
            )
        };
        if self.find("OTEL_SERVICE_NAME").is_some() {
            notes.push(service("OTEL_SERVICE_NAME"));
        }
        let Some(found) = self.find("OTEL_RESOURCE_ATTRIBUTES") else {
            return Ok(Vec::new());
        };
        let mut attributes: Vec<Attribute> = Vec::new();
        for (entry, place) in found.value.split(',').zip(1..) {
            if entry.trim().is_empty() {
                continue;
            }
            let error = |problem: &str| {
                SettingsError::new(
                    &found.variable,
                    format!("has {problem} in entry {place}"),
                    "write key=value,key=value with values percent-encoded",
                )
            };
            let (key, value) = entry.split_once('=').ok_or_else(|| error("no '='"))?;
            let key = key.trim();
            let value = percent_decode_str(value.trim())
                .decode_utf8()
                .map_err(|_| error("a value that is not UTF-8"))?;
            match key {
                "" => return Err(error("an empty key")),
                "service.name" => notes.push(service("service.name in OTEL_RESOURCE_ATTRIBUTES")),
                _ => {
                    attributes.retain(|attribute| attribute.key != key);
                    attributes.push(Attribute::new(key, value.into_owned()));
                }
            }
        }
        Ok(attributes)
    }
}

fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

mod metrics;
#[cfg(test)]
mod tests;
