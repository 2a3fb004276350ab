//! `record`: writes down what goes on in a cluster, to be replayed.

mod follow;
mod redact;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lighthouse_telemetry_core::description::{AnnotationValue, ObjectSource, Source};
use lighthouse_telemetry_core::time::Time;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;

use self::follow::{Place, follow};
use super::cluster::connect;
use super::kind::kind;
use super::say;
use crate::clock::Clock;
use crate::config::{ClusterOptions, CompilerOptions, LogFormat, duration};
use crate::kinds::Kinds;
use crate::logging;
use crate::mappers::Mappers;
use crate::recording::{Tape, identity};
use crate::watch::{Settings, Told};

pub(super) const EXAMPLES: &str = "Examples:
  lighthouse-telemetry record --output yesterday.ndjson
  lighthouse-telemetry record --namespace jx --kind example.com/v1/Build --for 1h --output builds.ndjson

Taken out are: values of environment variables; values of fields, parameters, annotations and options that are called a \
password, a token, a secret or the like; credentials and tokens in addresses and texts; data of ConfigMaps; copies of objects in \
annotations. It goes by names and shapes: look at a recording before you give it away. Secrets are not read at all.

Webhooks are not in it: Lighthouse sends them to the plugin alone. Replayed without them, an event begins with its first job.

It takes the verbs list and watch on the kinds. Interrupt it (Ctrl-C) to end the recording.";

/// How often what was written is handed on, and the line on a terminal changes.
const FLUSH: Duration = Duration::from_millis(500);

/// What `record` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Where to write it; only you can read the file
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,

    /// What is recorded.
    #[command(flatten)]
    pub cluster: ClusterOptions,

    /// Directory of mappers, as for `serve`: the kinds that they want are recorded too; may be given several times
    #[arg(long, value_name = "DIRECTORY")]
    pub mappers: Vec<PathBuf>,

    /// How they are compiled.
    #[command(flatten)]
    pub compiler: CompilerOptions,

    /// Kind to record beside those that mappers want, such as example.com/v1/Build; may be given several times
    #[arg(long, value_name = "KIND", value_parser = kind)]
    pub kind: Vec<ObjectSource>,

    /// End after so long; without it, when it is interrupted
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub duration: Option<Duration>,
}

/// Records until it is interrupted.
///
/// # Errors
/// If there is no cluster, or the file cannot be written.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    logging::start("warn", LogFormat::Text)?;
    // Before anything starts, so that no signal is missed.
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let directories = arguments.mappers.clone();
    let compiler = arguments.compiler.compiler();
    let mappers = spawn_blocking(|| Mappers::strictly(directories, compiler)).await??;
    let sources = sources(&mappers, arguments.kind.clone());
    let client = connect(arguments.cluster.kubeconfig.as_deref()).await?;
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&arguments.output);
    let file = file.with_context(|| format!("cannot create {}", arguments.output.display()))?;
    let namespaces = arguments.cluster.namespaces();
    let names: Vec<&str> = sources.iter().map(|source| source.kind.as_str()).collect();
    say(&format!(
        "recording {} to {}; webhooks are not in it; Ctrl-C ends it",
        names.join(", "),
        arguments.output.display()
    ));
    let settings = Settings::of(namespaces, None);
    let clock = Clock::system();
    let mut recorder = Recorder::new(BufWriter::new(file), marks(&mappers), &sources, clock.now());
    let mut told = follow(&Arc::new(Kinds::new(client)), sources, &settings);
    let end = async {
        match arguments.duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    let mut flush = tokio::time::interval(FLUSH);
    loop {
        tokio::select! {
            biased;
            () = &mut end => break,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = flush.tick() => recorder.flush().context("the recording cannot be written")?,
            next = told.recv() => match next {
                Some((place, told)) => recorder
                    .take(clock.now(), place, told)
                    .context("the recording cannot be written")?,
                None => anyhow::bail!("the watches ended by themselves; this is a bug, please report it"),
            },
        }
    }
    recorder
        .flush()
        .context("the recording cannot be written")?;
    recorder.finish();
    Ok(ExitCode::SUCCESS)
}

/// The kinds to record, each once and whole: selectors are the mappers' business, and change with them.
fn sources(mappers: &Mappers, more: Vec<ObjectSource>) -> Vec<ObjectSource> {
    let wanted = mappers.catalog.sources().map(|(_, source)| source.clone());
    let mut sources: Vec<ObjectSource> = Vec::new();
    for source in wanted.chain(more) {
        let is_same =
            |known: &ObjectSource| known.group == source.group && known.kind == source.kind;
        if !sources.iter().any(is_same) {
            sources.push(ObjectSource {
                label_selector: None,
                field_selector: None,
                ..source
            });
        }
    }
    sources
}

/// Keys of the annotations that say that a trace was exported: a replay exports it anew.
fn marks(mappers: &Mappers) -> BTreeSet<String> {
    let watches = mappers
        .mappers
        .iter()
        .flat_map(|mapper| &mapper.description().watches);
    let objects = watches.filter(|watch| matches!(watch.source, Source::Objects(_)));
    let annotations = objects.flat_map(|watch| &watch.annotations);
    let marks = annotations.filter(|annotation| annotation.value == AnnotationValue::Exported);
    marks.map(|mark| mark.key.clone()).collect()
}

/// Writes down what it is told.
struct Recorder<W> {
    tape: Tape<W>,
    marks: BTreeSet<String>,
    kinds: Vec<String>,
    started: Time,
    places: BTreeMap<Place, Scope>,
    /// What goes wrong with which kind, so that it is said once.
    troubles: BTreeMap<usize, String>,
    terminal: bool,
}

/// A kind in a namespace, or in all.
#[derive(Default)]
struct Scope {
    /// What there is, by namespace and name: what names it.
    present: BTreeMap<(String, String), Value>,
    listing: BTreeMap<(String, String), Value>,
    /// Whether it has been listed once.
    is_complete: bool,
}

impl<W: Write> Recorder<W> {
    fn new(output: W, marks: BTreeSet<String>, sources: &[ObjectSource], started: Time) -> Self {
        Self {
            tape: Tape::new(output),
            marks,
            kinds: sources.iter().map(|source| source.kind.clone()).collect(),
            started,
            places: BTreeMap::new(),
            troubles: BTreeMap::new(),
            terminal: io::stderr().is_terminal(),
        }
    }

    fn take(&mut self, now: Time, place: Place, told: Told) -> io::Result<()> {
        match &told {
            Told::Vanished => self.trouble(place.0, "the cluster does not serve it".to_owned()),
            Told::Failed(reason) => self.trouble(place.0, reason.clone()),
            _ => {
                if self.troubles.remove(&place.0).is_some() {
                    self.note(&format!("{} is recorded", self.kind(place.0)));
                }
            }
        }
        let scope = self.places.entry(place).or_default();
        match told {
            Told::Begins => scope.listing.clear(),
            Told::Listed(object) => {
                // What was there before the recording is there when it begins.
                let at = if scope.is_complete { now } else { self.started };
                let object = redact::object(object, &self.marks);
                scope.listing.insert(name(&object), identity(&object));
                self.tape.apply(at, object)?;
            }
            Told::Complete => {
                scope.is_complete = true;
                let listing = std::mem::take(&mut scope.listing);
                let before = std::mem::replace(&mut scope.present, listing);
                for (name, identity) in before {
                    if !scope.present.contains_key(&name) {
                        self.tape.delete(now, &identity)?;
                    }
                }
            }
            Told::Applied(object) => {
                let object = redact::object(object, &self.marks);
                scope.present.insert(name(&object), identity(&object));
                self.tape.apply(now, object)?;
            }
            Told::Deleted(object) => {
                let object = redact::object(object, &self.marks);
                scope.present.remove(&name(&object));
                let identity = identity(&object);
                self.tape.apply(now, object)?;
                self.tape.delete(now, &identity)?;
            }
            Told::Vanished | Told::Failed(_) => {}
        }
        Ok(())
    }

    fn kind(&self, place: usize) -> &str {
        self.kinds.get(place).map_or("", String::as_str)
    }

    fn trouble(&mut self, kind: usize, reason: String) {
        if self.troubles.get(&kind) != Some(&reason) {
            self.note(&format!("{} is not recorded: {reason}", self.kind(kind)));
            self.troubles.insert(kind, reason);
        }
    }

    fn note(&self, text: &str) {
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        say(&format!("{clear}{}", crate::view::sanitised(text)));
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tape.flush()?;
        if self.terminal {
            // Progress that nobody can see is no reason to stop.
            let _ = write!(io::stderr(), "\r\x1b[2K{}", self.figures());
        }
        Ok(())
    }

    fn figures(&self) -> String {
        format!(
            "{} objects, {} changes, {} KB",
            self.tape.objects(),
            self.tape.entries(),
            self.tape.bytes().div_ceil(1_000)
        )
    }

    fn finish(&self) {
        let figures = self.figures();
        self.note(&figures);
    }
}

/// Namespace and name of an object.
fn name(object: &Value) -> (String, String) {
    let text = |pointer| {
        let text = object.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    (text("/metadata/namespace"), text("/metadata/name"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::recording::{Happening, Recording};

    fn at(second: u64) -> Time {
        Time::from_nanoseconds((1_772_442_900 + second) * 1_000_000_000)
    }

    fn pod(name: &str, phase: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "jx", "uid": name, "resourceVersion": phase},
            "status": {"phase": phase},
        })
    }

    #[test]
    fn what_is_told_is_read_as_it_happened() {
        let sources = [ObjectSource::of("", "v1", "Pod")];
        let mut output = Vec::new();
        let mut recorder = Recorder::new(&mut output, BTreeSet::new(), &sources, at(0));
        recorder.terminal = false;
        for (second, told) in (1..).zip([
            Told::Begins,
            Told::Listed(pod("a", "Running")),
            Told::Listed(pod("b", "Running")),
            Told::Complete,
            Told::Applied(pod("c", "Pending")),
            Told::Failed("it does not answer".to_owned()),
            // What happened in between is known by what is not there any more.
            Told::Begins,
            Told::Listed(pod("c", "Running")),
            Told::Listed(pod("a", "Running")),
            Told::Complete,
            Told::Deleted(pod("a", "Succeeded")),
        ]) {
            recorder.take(at(second), (0, 0), told).unwrap();
        }
        recorder.flush().unwrap();
        let recording = Recording::parse(&String::from_utf8(output).unwrap()).unwrap();
        let happened = recording.entries().iter().map(|entry| {
            let second = entry.at.since(at(0)).as_secs();
            let (what, object) = match &entry.happening {
                Happening::Applied(object) => ("applied", object),
                Happening::Deleted(object) => ("deleted", object),
                Happening::Webhook(_) => panic!("no webhook was recorded"),
            };
            let phase = object["status"]["phase"].as_str().unwrap();
            format!(
                "{second} {} {what} {phase}",
                object["metadata"]["name"].as_str().unwrap()
            )
        });
        assert_eq!(
            happened.collect::<Vec<_>>(),
            [
                "0 a applied Running",
                "0 b applied Running",
                "5 c applied Pending",
                "8 c applied Running",
                "10 b deleted Running",
                "11 a applied Succeeded",
                "11 a deleted Succeeded",
            ]
        );
    }

    #[test]
    fn each_kind_is_recorded_once_and_whole() {
        let mappers = Mappers::builtin().unwrap();
        let more = vec![
            ObjectSource::of("", "v1", "Pod"),
            ObjectSource::of("example.com", "v1", "Build"),
        ];
        let sources = sources(&mappers, more);
        let kinds: Vec<&str> = sources.iter().map(|source| source.kind.as_str()).collect();
        for kind in [
            "LighthouseJob",
            "PipelineRun",
            "TaskRun",
            "Pod",
            "Event",
            "Build",
        ] {
            assert_eq!(
                kinds.iter().filter(|known| **known == kind).count(),
                1,
                "{kinds:?}"
            );
        }
        assert!(
            sources
                .iter()
                .all(|source| source.label_selector.is_none() && source.field_selector.is_none())
        );
        assert!(marks(&mappers).iter().all(|mark| mark.contains('/')));
        assert!(!marks(&mappers).is_empty());
    }
}
