//! Options of `serve`: what each means, how it is written, and which combinations make no sense.
//!
//! Everything is checked before anything is started. Nothing here connects to anything.

mod cluster;
mod compiler;
mod duration;
mod leader;
mod metrics;
mod size;
mod state;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use lighthouse_telemetry_core::index;
use thiserror::Error;
use tokio::net::TcpListener;

pub use self::cluster::{ClusterOptions, Namespaces, namespace};
pub use self::compiler::CompilerOptions;
pub use self::duration::duration;
pub use self::leader::{LeaderOptions, replica_name};
pub use self::metrics::MetricOptions;
pub use self::state::StateOptions;
use crate::{patch, run, watch};

/// The process cannot start as asked.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// Webhooks could not be verified.
    #[error(
        "there is no key to verify webhooks with: set LIGHTHOUSE_HMAC_KEY or --lighthouse-hmac-key-file to the \
         token that Lighthouse signs with, or allow anybody to send webhooks with --insecure-webhooks"
    )]
    NoKey,
    /// The key file cannot be read.
    #[error("cannot read the key file {}: {reason}; check --lighthouse-hmac-key-file", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: io::Error,
    },
    /// The key file has nothing in it.
    #[error("the key file {} is empty: put the token in it that Lighthouse signs with", .0.display())]
    EmptyKeyFile(PathBuf),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {reason}; choose another one with {option}")]
    Listen {
        /// The address.
        address: ListenAddress,
        /// Why not.
        reason: io::Error,
        /// The option that sets it.
        option: &'static str,
    },
    /// No cluster to connect to.
    #[error("cannot tell which cluster to watch: {0}; give a file with --kubeconfig")]
    Cluster(String),
    /// Other replicas could not reach this one.
    #[error(
        "with --leader-election other replicas must know where to forward webhooks to: give host and port with \
         --advertise-addr, or the Pod's address in the variable POD_IP"
    )]
    NoAdvertisedAddress,
    /// The exporter's settings.
    #[error("{0}")]
    Exporter(String),
}

/// Options of `serve`.
#[derive(Debug, Args)]
pub struct Options {
    /// What is watched.
    #[command(flatten)]
    pub cluster: ClusterOptions,

    /// Address to receive webhooks on
    #[arg(long, value_name = "[HOST]:PORT", default_value = ":8080")]
    pub listen_addr: ListenAddress,

    /// Address to serve metrics and health on. With OTEL_METRICS_EXPORTER=otlp metrics are also pushed
    #[arg(long, value_name = "[HOST]:PORT", default_value = ":9090")]
    pub admin_addr: ListenAddress,

    /// Token that Lighthouse signs webhooks with; others on the machine can see arguments, so better use the
    /// variable or a file
    #[arg(
        long,
        value_name = "TOKEN",
        env = "LIGHTHOUSE_HMAC_KEY",
        hide_env_values = true,
        conflicts_with = "insecure_webhooks"
    )]
    pub lighthouse_hmac_key: Option<Secret>,

    /// File that holds the token; a newline at its end does not belong to the token
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["lighthouse_hmac_key", "insecure_webhooks"]
    )]
    pub lighthouse_hmac_key_file: Option<PathBuf>,

    /// Take webhooks from anybody, unverified
    #[arg(long)]
    pub insecure_webhooks: bool,

    /// Exporter: otlp:grpc or otlp:http, either with :insecure at the end, console or none. Also as
    /// TRACES_EXPORTER_TYPE; the OTEL_* variables can say more
    #[arg(long, value_name = "TYPE")]
    pub traces_exporter_type: Option<String>,

    /// Where to export to, as host:port or URL. Also as TRACES_EXPORTER_ENDPOINT
    #[arg(long, value_name = "ENDPOINT")]
    pub traces_exporter_endpoint: Option<String>,

    /// List everything anew so often; 0 for never
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub resync_interval: Duration,

    /// Accepted for the sake of old installations; has no effect yet
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub child_pr_delay: Option<Duration>,

    /// How long to wait for late events after an object has ended, and for another job after the last one has
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub settle: Duration,

    /// How long to wait for the parent of an object before it is exported without
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub orphan_deadline: Duration,

    /// Leave alone what had ended longer ago than this when it was first seen
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub replay_window: Duration,

    /// Name of the cluster, for the attribute k8s.cluster.name
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub cluster_name: Option<String>,

    /// At most so many annotation patches a second
    #[arg(
        long,
        value_name = "NUMBER",
        default_value = "50",
        value_parser = clap::value_parser!(u32).range(1..=1_000)
    )]
    pub patches_per_second: u32,

    /// Directory of mappers, such as a mounted ConfigMap: every NAME.wasm in it is the mapper NAME, in place of the built-in
    /// one of that name if there is one. May be given several times; of two mappers that claim an object the one of the
    /// directory named first has it. What changes there is loaded at once
    #[arg(long, value_name = "DIRECTORY")]
    pub mappers: Vec<PathBuf>,

    /// How they are compiled.
    #[command(flatten)]
    pub compiler: CompilerOptions,

    /// What is kept on disk.
    #[command(flatten)]
    pub state: StateOptions,

    /// By what pipeline runs are told apart.
    #[command(flatten)]
    pub metrics: MetricOptions,

    /// One leader among several replicas.
    #[command(flatten)]
    pub leader: LeaderOptions,

    /// What to log: error, warn, info, debug or trace, also by module, such as info,kube=debug
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = crate::logging::level)]
    pub log_level: String,

    /// How to log
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Options {
    /// What to run.
    ///
    /// # Errors
    /// If there is no key, or no way to read it.
    pub fn settings(&self) -> Result<run::Settings, ConfigError> {
        Ok(run::Settings {
            watch: watch::Settings::of(
                self.cluster.namespaces(),
                Some(self.resync_interval).filter(|interval| !interval.is_zero()),
            ),
            webhooks: self.listen_addr.clone(),
            admin: self.admin_addr.clone(),
            verification: self.verification()?,
            patches: patch::Settings::at(self.patches_per_second),
            pipelines: self.metrics.settings(),
            push: None,
            index: index::Settings {
                settle: self.settle,
                orphan_deadline: self.orphan_deadline,
                replay_window: self.replay_window,
                cluster_name: self.cluster_name.clone(),
            },
        })
    }

    fn verification(&self) -> Result<Verification, ConfigError> {
        if self.insecure_webhooks {
            return Ok(Verification::None);
        }
        let secret = match &self.lighthouse_hmac_key_file {
            Some(path) => Some(key_from_file(path)?),
            // An empty variable is how a manifest says that it has none.
            None => self
                .lighthouse_hmac_key
                .clone()
                .filter(|secret| !secret.0.is_empty()),
        };
        secret.map(Verification::Key).ok_or(ConfigError::NoKey)
    }
}

fn key_from_file(path: &Path) -> Result<Secret, ConfigError> {
    let mut key = std::fs::read(path).map_err(|reason| ConfigError::KeyFile {
        path: path.to_owned(),
        reason,
    })?;
    while key.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        key.pop();
    }
    if key.is_empty() {
        return Err(ConfigError::EmptyKeyFile(path.to_owned()));
    }
    Ok(Secret(key))
}

/// How webhooks are verified.
#[derive(Clone, Debug)]
pub enum Verification {
    /// By HMAC-SHA256 with this key.
    Key(Secret),
    /// Not at all: anybody may send them.
    None,
}

/// Bytes that nobody shall read in a log.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(hidden)")
    }
}

/// An address to listen on: `host:port`, `[address]:port`, or `:port` for every address of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    host: Option<String>,
    port: u16,
}

impl ListenAddress {
    /// A free port on loopback.
    #[must_use]
    pub fn loopback() -> Self {
        Self {
            host: Some("127.0.0.1".to_owned()),
            port: 0,
        }
    }

    /// Listens.
    ///
    /// # Errors
    /// If the address is not the machine's, taken, or not permitted.
    pub async fn bind(&self) -> io::Result<TcpListener> {
        match &self.host {
            Some(host) => TcpListener::bind((host.as_str(), self.port)).await,
            // Takes IPv4 too, unless the machine knows no IPv6.
            None => match TcpListener::bind(("::", self.port)).await {
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    TcpListener::bind(("0.0.0.0", self.port)).await
                }
                outcome => outcome,
            },
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: Some(address.ip().to_string()),
            port: address.port(),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write it as :8080, 127.0.0.1:8080 or [::1]:8080".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or_else(wrong)?,
            None if host.contains(':') => return Err(wrong()),
            None => host,
        };
        Ok(Self {
            host: (!host.is_empty()).then(|| host.to_owned()),
            port,
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) if host.contains(':') => write!(formatter, "[{host}]:{}", self.port),
            Some(host) => write!(formatter, "{host}:{}", self.port),
            None => write!(formatter, ":{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    pub(super) struct Command {
        #[command(flatten)]
        pub(super) options: Options,
    }

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        Command::try_parse_from([&["serve"], arguments].concat())
            .map(|command| command.options)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let options = parse(&["--lighthouse-hmac-key", "token"]).expect("options");
        let settings = options.settings().expect("settings");
        assert_eq!(
            settings.watch.namespaces,
            Namespaces::Only(vec!["jx".to_owned()])
        );
        assert_eq!(settings.webhooks.to_string(), ":8080");
        assert_eq!(settings.index, index::Settings::default());
        assert_eq!(
            settings.watch.resync_interval,
            Some(Duration::from_secs(3_600))
        );
        let Verification::Key(key) = settings.verification else {
            panic!("webhooks are verified by default");
        };
        assert_eq!(key.bytes(), b"token");
    }

    #[test]
    fn namespaces_add_up_and_exclude_all() {
        let namespaces = |arguments: &[&str]| {
            parse(&[&["--insecure-webhooks"], arguments].concat())
                .map(|options| options.settings().expect("settings").watch.namespaces)
        };
        assert_eq!(
            namespaces(&["--namespace", "a", "--namespace=b,a"]),
            Ok(Namespaces::Only(vec!["a".to_owned(), "b".to_owned()]))
        );
        assert_eq!(namespaces(&["--all-namespaces"]), Ok(Namespaces::All));
        assert!(namespaces(&["--all-namespaces", "--namespace", "a"]).is_err());
        assert!(namespaces(&["--namespace", "Jx"]).is_err());
    }

    #[test]
    fn without_a_key_there_is_no_start_unless_it_is_wanted() {
        let options = |arguments: &[&str]| parse(arguments).expect("options");
        for arguments in [&[][..], &["--lighthouse-hmac-key", ""]] {
            let error = options(arguments).settings().expect_err("no key");
            assert!(matches!(error, ConfigError::NoKey), "{error}");
            assert!(!error.to_string().contains('\n'));
        }
        assert!(matches!(
            options(&["--insecure-webhooks"]).settings(),
            Ok(run::Settings {
                verification: Verification::None,
                ..
            })
        ));
    }

    #[test]
    fn a_key_file_is_read_without_its_last_newline() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        let settings = || {
            let path = path.to_str().expect("a path in UTF-8");
            parse(&["--lighthouse-hmac-key-file", path])
                .expect("options")
                .settings()
        };
        assert!(matches!(settings(), Err(ConfigError::KeyFile { .. })));
        std::fs::write(&path, "\n").expect("a file");
        assert!(matches!(settings(), Err(ConfigError::EmptyKeyFile(_))));
        std::fs::write(&path, "to ken \r\n").expect("a file");
        match settings().expect("settings").verification {
            Verification::Key(key) => assert_eq!(key.bytes(), b"to ken "),
            Verification::None => panic!("there is a key"),
        }
    }

    #[test]
    fn a_secret_does_not_show() {
        let options = parse(&["--lighthouse-hmac-key", "hunter2"]).expect("options");
        let settings = options.settings().expect("settings");
        assert!(!format!("{options:?}{settings:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_no_duration_says_what_to_write() {
        let error = parse(&["--settle", "soon"]).expect_err("no duration");
        assert!(error.contains("write it like 5s"), "{error}");
    }

    #[test]
    fn addresses_are_read_and_written_alike() {
        for text in [":8080", "localhost:80", "127.0.0.1:0", "[::1]:9090"] {
            let address: ListenAddress = text.parse().expect("an address");
            assert_eq!(address.to_string(), text);
        }
        for text in ["", "8080", ":x", "::1:80", "[::1:80", ":70000"] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn every_address_of_the_machine_includes_loopback() {
        let listener = ":0"
            .parse::<ListenAddress>()
            .expect("an address")
            .bind()
            .await
            .expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .expect("a connection");
    }
}
