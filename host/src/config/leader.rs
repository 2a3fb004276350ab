//! Options of the election of a leader among several replicas.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::{ConfigError, ListenAddress, Options, duration, namespace};
use crate::leader::{Advertised, Settings};

/// Where a Pod finds the name of its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// Of a Lease outside of a cluster that watches all namespaces.
const DEFAULT_NAMESPACE: &str = "default";

/// One leader among several replicas.
#[derive(Debug, Args)]
pub struct LeaderOptions {
    /// Let several replicas choose a leader; the others keep webhooks and forward them to it
    #[arg(long)]
    pub leader_election: bool,

    /// Name of the Lease that the leader holds
    #[arg(
        long,
        value_name = "NAME",
        default_value = "lighthouse-telemetry",
        value_parser = name,
        requires = "leader_election"
    )]
    pub lease_name: String,

    /// Namespace of the Lease. Default: the Pod's own, else the first that is watched
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace, requires = "leader_election")]
    pub lease_namespace: Option<String>,

    /// How long the Lease holds without being renewed, in whole seconds: another replica leads so long after the leader was
    /// lost
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "15s",
        value_parser = lease_duration,
        requires = "leader_election"
    )]
    pub lease_duration: Duration,

    /// Where other replicas reach the port of the webhooks. Default: $POD_IP and the port of --listen-addr
    #[arg(long, value_name = "HOST:PORT", value_parser = advertised, requires = "leader_election")]
    pub advertise_addr: Option<String>,
}

impl LeaderOptions {
    /// How to take part in the election; none without one.
    ///
    /// # Errors
    /// If it is not known where other replicas reach this one, or the system gives no random bytes.
    pub fn settings(&self, options: &Options) -> anyhow::Result<Option<Settings>> {
        if !self.leader_election {
            return Ok(None);
        }
        let advertised = match &self.advertise_addr {
            Some(address) => Advertised::Address(address.clone()),
            None => Advertised::Host(variable("POD_IP").ok_or(ConfigError::NoAdvertisedAddress)?),
        };
        let namespace = self
            .lease_namespace
            .clone()
            .or_else(|| own_namespace(Path::new(NAMESPACE_FILE)));
        let watched = || {
            let first = options
                .cluster
                .namespace
                .first()
                .filter(|_| !options.cluster.all_namespaces);
            first.map_or_else(|| DEFAULT_NAMESPACE.to_owned(), String::clone)
        };
        let name = replica_name().unwrap_or_else(|| "replica".to_owned());
        Ok(Some(Settings {
            namespace: namespace.unwrap_or_else(watched),
            name: self.lease_name.clone(),
            duration: self.lease_duration,
            // A process that starts anew is another one: it must not think that it still leads.
            identity: format!("{name}_{}", suffix()?),
            advertised,
        }))
    }
}

/// What this replica is called: as its Pod, else as its machine.
#[must_use]
pub fn replica_name() -> Option<String> {
    variable("POD_NAME").or_else(host_name)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn own_namespace(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    namespace(text.trim()).ok()
}

/// A Pod's is its name.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

fn suffix() -> anyhow::Result<String> {
    let mut bytes = [0; 6];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes))
        .context("the system gives no random bytes")?;
    Ok(hex::encode(bytes))
}

/// Reads a name as Kubernetes demands: a DNS subdomain (RFC 1123).
fn name(text: &str) -> Result<String, String> {
    if text.len() <= 253 && text.split('.').all(|label| namespace(label).is_ok()) {
        Ok(text.to_owned())
    } else {
        Err("write lower-case letters, digits, hyphens and dots".to_owned())
    }
}

fn lease_duration(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    let is_whole = duration.subsec_nanos() == 0;
    if is_whole && (LEAST..=MOST).contains(&duration) {
        Ok(duration)
    } else {
        Err("write whole seconds, from 2s to 1h".to_owned())
    }
}

/// A third of it is the time for a request.
const LEAST: Duration = Duration::from_secs(2);
/// Nobody wants to wait longer for a leader.
const MOST: Duration = Duration::from_secs(3_600);

fn advertised(text: &str) -> Result<String, String> {
    let address: ListenAddress = text.parse()?;
    if address.host.is_some() && address.port != 0 {
        Ok(address.to_string())
    } else {
        Err("write it as 10.0.0.7:8080, [fd00::7]:8080 or name:8080".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::tests::Command;
    use super::*;

    fn settings(arguments: &[&str]) -> anyhow::Result<Option<Settings>> {
        let all = [&["serve", "--insecure-webhooks"], arguments].concat();
        let options = Command::try_parse_from(all)?.options;
        options.leader.settings(&options)
    }

    #[test]
    fn one_replica_needs_no_election() {
        assert_eq!(settings(&[]).expect("options"), None);
        assert!(settings(&["--lease-name", "other"]).is_err());
    }

    #[test]
    fn what_is_given_is_taken() {
        let settings = settings(&[
            "--leader-election",
            "--namespace=a,b",
            "--lease-name=other",
            "--lease-duration=3s",
            "--advertise-addr=10.0.0.7:8080",
        ]);
        let settings = settings.expect("options").expect("an election");
        assert_eq!(settings.namespace, "a");
        assert_eq!(settings.name, "other");
        assert_eq!(settings.duration, Duration::from_secs(3));
        assert_eq!(settings.advertised.address(1), "10.0.0.7:8080");
        assert!(!settings.identity.starts_with('_'));
    }

    #[test]
    fn each_process_is_another_candidate() {
        let identity = || {
            let settings = settings(&["--leader-election", "--advertise-addr=host:1"]);
            settings.expect("options").expect("an election").identity
        };
        assert_ne!(identity(), identity());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (option, value) in [
            ("--lease-duration", "1s"),
            ("--lease-duration", "2500ms"),
            ("--lease-duration", "2h"),
            ("--lease-name", "Lease"),
            ("--lease-namespace", "a.b"),
            ("--advertise-addr", ":8080"),
            ("--advertise-addr", "host:0"),
            ("--advertise-addr", "host"),
        ] {
            let refused = settings(&["--leader-election", option, value]);
            assert!(refused.is_err(), "{option} {value}");
        }
    }

    #[test]
    fn the_namespace_of_a_pod_is_read_from_its_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("namespace");
        assert_eq!(own_namespace(&file), None);
        std::fs::write(&file, "jx\n").expect("a file");
        assert_eq!(own_namespace(&file).as_deref(), Some("jx"));
    }
}
