//! The two sides of the comparison. Each reads the whole stream once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::StreamExt;
use futures::stream::SelectAll;
use kube::Api;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher::{self, Event, watcher};
use lighthouse_telemetry::config::Namespaces;
use lighthouse_telemetry::export;
use lighthouse_telemetry::health::Watches;
use lighthouse_telemetry::journal::{Journal, ParcelRecord, Row, Written};
use lighthouse_telemetry::kinds::Kinds;
use lighthouse_telemetry::mappers::Mappers;
use lighthouse_telemetry::metrics::Metrics;
use lighthouse_telemetry::watch::{Room, Settings, Watching};
use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::index::{self, Annotated, Effect, Fact, Fetched, Index};
use lighthouse_telemetry_core::span::Span;
use lighthouse_telemetry_core::time::Time;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio_util::sync::CancellationToken;

use crate::canned::Canned;

/// What came of the stream.
#[derive(Debug, Default)]
pub struct Outcome {
    pub mappings: usize,
    pub spans: usize,
    /// Time in the watches: decoding and projecting.
    pub watching: Duration,
    /// Time in mappers.
    pub mapping: Duration,
    /// Time in all.
    pub whole: Duration,
}

/// The watcher of kube alone: decodes and counts.
pub async fn bare(canned: &Arc<Canned>, catalog: &Catalog) -> anyhow::Result<()> {
    let client = canned.client();
    let mut events = SelectAll::new();
    for (_, source) in catalog.sources() {
        let version = source
            .versions
            .first()
            .context("a source names a version")?;
        let kind = GroupVersionKind::gvk(&source.group, version, &source.kind);
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let config = watcher::Config {
            field_selector: source.field_selector.clone(),
            ..watcher::Config::default()
        };
        events.push(watcher(api, config).boxed());
    }
    let mut left = canned.changes;
    while left > 0 {
        match events.next().await.context("watchers do not end")?? {
            Event::Apply(_) | Event::Delete(_) => left -= 1,
            Event::Init | Event::InitApply(_) | Event::InitDone => {}
        }
    }
    Ok(())
}

/// How fast the stream comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// All at once: what changes again within a second is mapped once.
    Flood,
    /// As it was recorded, over minutes: nearly every change is mapped.
    Recorded,
}

/// The host: the watches as they run in it, then index and mappers in the order in which it all happened.
pub async fn ingest(
    canned: &Arc<Canned>,
    mappers: &Mappers,
    pace: Pace,
    keeper: Option<Keeper>,
) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    let (sender, mut facts) = mpsc::channel(512);
    let room = Room {
        settings: Settings::of(Namespaces::All, None),
        catalog: Arc::clone(&mappers.catalog),
        kinds: Arc::new(Kinds::new(canned.client())),
        facts: sender,
        watches: Watches::default(),
        metrics: Metrics::default(),
    };
    let stop = CancellationToken::new();
    let watches = Watching::start(room, &stop);
    let mut happened = Vec::with_capacity(canned.changes);
    for (at, kind, body) in &canned.webhooks {
        let webhook = mappers.catalog.webhook(kind, *at, body);
        happened.push((*at, Fact::Webhook(webhook)));
    }
    let mut left = canned.changes;
    while left > 0 {
        let fact = facts.recv().await.context("the watches do not end")?;
        // Streams of several kinds do not keep step when nothing slows them; in a cluster they do.
        let (Fact::Applied(_, object) | Fact::Deleted(_, object)) = &fact else {
            continue;
        };
        let at = canned.time(&object.resource_version);
        happened.push((at.context("a resource version was recorded")?, fact));
        left -= 1;
    }
    stop.cancel();
    drop(watches);
    let watching = start.elapsed();
    happened.sort_by_key(|(at, _)| *at);
    let mut host = Host {
        index: Index::new(Arc::clone(&mappers.catalog), index::Settings::default()),
        mappers,
        wake_at: None,
        keeper,
        outcome: Outcome {
            watching,
            ..Outcome::default()
        },
    };
    if host
        .keeper
        .as_ref()
        .is_some_and(|keeper| keeper.journal.is_on())
    {
        host.index.keep_journal();
    }
    let flood = happened.last().map_or(Time::EPOCH, |(at, _)| *at);
    for (at, fact) in happened {
        let now = match pace {
            Pace::Flood => flood,
            Pace::Recorded => at,
        };
        host.wake(now);
        host.observe(now, fact);
        host.keep();
    }
    // All that has ended is mapped for the last time and exported.
    let now = flood.plus(Duration::from_secs(60));
    host.wake(now);
    let last = host.index.drain(now);
    host.carry_out(now, last);
    if let Some(keeper) = &mut host.keeper {
        keeper.finish(&mut host.index).await?;
    }
    ensure!(host.outcome.spans > 0, "no span came of the stream");
    ensure!(
        host.index.counts().mapping_failures == 0,
        "a mapping failed: {:?}",
        host.index.counts()
    );
    host.outcome.whole = start.elapsed();
    Ok(host.outcome)
}

struct Host<'bench> {
    index: Index,
    mappers: &'bench Mappers,
    wake_at: Option<Time>,
    keeper: Option<Keeper>,
    outcome: Outcome,
}

/// Has what must survive written, as the host does: what the cluster cannot tell again at once, unless the last is still
/// being written. With a journal that is off, only encodes what is exported.
pub struct Keeper {
    journal: Journal,
    rows: Vec<Row>,
    writing: Option<oneshot::Receiver<Written>>,
}

impl Keeper {
    pub fn of(journal: Journal) -> Self {
        Self {
            journal,
            rows: Vec::new(),
            writing: None,
        }
    }

    fn export(&mut self, spans: &[Span]) {
        let record = ParcelRecord {
            spans: spans.len() as u64,
            lines: String::new(),
            bytes: export::encode(spans).encode_to_vec().into(),
        };
        if let Some(number) = self.journal.parcel_number() {
            self.rows.push(Row::Parcel(number, record.write()));
        }
    }

    fn write(&mut self, index: &mut Index) {
        self.rows
            .extend(index.changes().into_iter().map(Row::Index));
        let written = self.journal.write(std::mem::take(&mut self.rows));
        self.writing = Some(written);
    }

    async fn finish(&mut self, index: &mut Index) -> anyhow::Result<()> {
        if !self.journal.is_on() {
            return Ok(());
        }
        self.write(index);
        if let Some(writing) = self.writing.take() {
            ensure!(writing.await? == Written::Durably, "the journal failed");
        }
        Ok(())
    }
}

impl Host<'_> {
    fn keep(&mut self) {
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        let is_due = self.index.must_be_kept() || !keeper.rows.is_empty();
        if !is_due || !keeper.journal.is_on() {
            return;
        }
        let is_writing = keeper
            .writing
            .as_mut()
            .is_some_and(|writing| writing.try_recv() == Err(TryRecvError::Empty));
        if !is_writing {
            keeper.write(&mut self.index);
        }
    }

    fn wake(&mut self, until: Time) {
        while let Some(at) = self.wake_at.filter(|at| *at <= until) {
            self.wake_at = None;
            self.observe(at, Fact::Tick);
        }
    }

    fn observe(&mut self, now: Time, fact: Fact) {
        let effects = self.index.observe(now, fact);
        self.carry_out(now, effects);
    }

    fn carry_out(&mut self, now: Time, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            let answer = match effect {
                Effect::Map(request) => {
                    self.outcome.mappings += 1;
                    let start = Instant::now();
                    let mapped = self.mappers.map(&request);
                    self.outcome.mapping += start.elapsed();
                    Fact::Mapped(request.ticket, mapped)
                }
                Effect::Annotate(annotate) => Fact::Annotated(annotate.object.uid, Annotated::Done),
                Effect::Fetch(object) => Fact::Fetched(object, Fetched::Missing),
                Effect::Export(spans) => {
                    self.outcome.spans += spans.len();
                    if let Some(keeper) = &mut self.keeper {
                        keeper.export(&spans);
                    }
                    continue;
                }
                Effect::WakeAt(at) => {
                    self.wake_at = Some(at);
                    continue;
                }
            };
            effects.extend(self.index.observe(now, answer));
        }
    }
}
