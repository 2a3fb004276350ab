//! The task that owns the index: facts in, effects out, one turn at a time.
//!
//! It cannot deadlock. It waits for nothing but its own inlets: every outlet takes an effect at once, into a
//! queue that is bounded by what it refuses (patches, look-ups, spans) or by the index itself (an object has
//! one mapping in flight). Those that carry effects out send their answers through a channel without bound,
//! so that they never wait for this task; there are never more answers than effects in flight. What is bounded
//! is the intake: while too many mappings are in flight nothing is taken from webhooks and watches, and those
//! wait for nobody but this task.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lighthouse_telemetry_core::index::{Counts, Effect, Fact, Index};
use lighthouse_telemetry_core::object::{Object, SourceId};
use lighthouse_telemetry_core::time::Time;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::succession::Replacement;
use super::{Drained, Progress};
use crate::clock::Clock;
use crate::export::{self, Parcel};
use crate::journal::{Health, Journal, Row, Written};
use crate::lookup::Lookups;
use crate::mapping::Mapping;
use crate::patch::Patches;
use crate::pipelines::Pipelines;
use crate::webhook::Taken;

/// With more mappings in flight nothing new is taken in.
const MAPPINGS: u64 = 512;

/// So many facts are taken at once before progress is told and the other inlets get their turn.
const BATCH: usize = 128;

/// So many restored objects are mapped at once.
const RESUMED: usize = 64;

/// What the cluster could tell again is written at the latest after this time.
const KEPT_WITHIN: Duration = Duration::from_millis(500);

/// For what is written at the stop.
const JOURNAL_END: Duration = Duration::from_secs(2);

/// For mappings and look-ups that are in flight at the stop.
const MAPPINGS_END: Duration = Duration::from_secs(4);
/// For patches that wait at the stop.
const PATCHES_END: Duration = Duration::from_secs(5);
/// For spans that wait at the stop.
const EXPORT_END: Duration = Duration::from_secs(10);

/// Where facts come from.
pub struct Inlets {
    /// Answers to effects.
    pub answers: mpsc::UnboundedReceiver<Fact>,
    /// Webhooks.
    pub webhooks: mpsc::Receiver<Taken>,
    /// What watches see.
    pub watched: mpsc::Receiver<Fact>,
    /// Mappers that take over. What the watches have seen until then is as both want it.
    pub replacements: mpsc::Receiver<Replacement>,
    /// Whether every watch is ready.
    pub ready: watch::Receiver<bool>,
    /// How many spans went which way.
    pub exported: watch::Receiver<export::Counts>,
    /// Cancelled when nothing more will come and all is to be finished.
    pub drain: CancellationToken,
}

/// Where effects go.
pub struct Outlets {
    /// Mappers.
    pub mapping: Mapping,
    /// Annotations.
    pub patches: Patches,
    /// Owners.
    pub lookups: Lookups,
    /// Metrics of what runs.
    pub pipelines: Pipelines,
    /// Spans.
    pub exporter: export::Handle,
    /// What must survive.
    pub journal: Journal,
}

/// The task.
pub struct Turns {
    index: Index,
    clock: Clock,
    outlets: Outlets,
    progress: Progress,
    told: watch::Sender<Progress>,
    counts: Arc<Mutex<Counts>>,
    /// Spans that go out once they are kept.
    outbox: Vec<Parcel>,
    /// What is being written, and the spans that wait for it.
    writing: Option<(oneshot::Receiver<Written>, Vec<Parcel>)>,
    /// Since when there is something to write.
    changed: Option<Instant>,
    /// Until when the lists are waited for; none once they are complete.
    still_until: Option<Instant>,
}

/// What a turn brought.
enum Came {
    Answer(Fact),
    Webhook(Taken),
    Watched(Fact),
    Replaced(Replacement),
    Wake,
    Ready,
    Exported,
    Written(Written),
    Journal,
    Late,
    Drain,
}

impl Turns {
    pub fn new(
        index: Index,
        clock: Clock,
        outlets: Outlets,
        told: watch::Sender<Progress>,
        counts: Arc<Mutex<Counts>>,
        patience: Duration,
    ) -> Self {
        Self {
            outbox: Vec::new(),
            writing: None,
            changed: None,
            still_until: Some(Instant::now() + patience),
            index,
            clock,
            outlets,
            progress: Progress::default(),
            told,
            counts,
        }
    }

    /// Turns until it is to drain; then drains.
    pub async fn run(mut self, mut inlets: Inlets, first: Vec<Fact>) -> Drained {
        let mut exporter_lives = true;
        let mut health = self.outlets.journal.health();
        for fact in first {
            self.observe(fact);
        }
        self.ready(&mut inlets);
        self.tell();
        loop {
            self.resume();
            self.keep();
            let room = self.moving() < MAPPINGS;
            let wake_at = self.progress.wake_at;
            let came = tokio::select! {
                biased;
                // Answers first: they make room, and there is an end to them.
                Some(fact) = inlets.answers.recv() => Came::Answer(fact),
                Ok(written) = written(&mut self.writing) => Came::Written(written),
                () = sleep_until(&self.clock, wake_at) => Came::Wake,
                Ok(()) = inlets.ready.changed() => Came::Ready,
                changed = inlets.exported.changed(), if exporter_lives => {
                    exporter_lives = changed.is_ok();
                    Came::Exported
                }
                Ok(()) = health.changed() => Came::Journal,
                () = late(self.still_until, self.changed) => Came::Late,
                Some(replacement) = inlets.replacements.recv() => Came::Replaced(replacement),
                Some(taken) = inlets.webhooks.recv(), if room => Came::Webhook(taken),
                Some(fact) = inlets.watched.recv(), if room => Came::Watched(fact),
                () = inlets.drain.cancelled() => Came::Drain,
            };
            match came {
                Came::Answer(fact) => {
                    self.take(fact, || inlets.answers.try_recv().ok());
                }
                Came::Webhook(taken) => self.observe(Fact::Webhook(taken.webhook)),
                Came::Watched(fact) => {
                    self.take(fact, || inlets.watched.try_recv().ok());
                }
                Came::Replaced(replacement) => self.replace(replacement, &mut inlets.watched),
                Came::Wake => {
                    self.progress.wake_at = None;
                    self.observe(Fact::Tick);
                }
                Came::Ready => self.ready(&mut inlets),
                Came::Exported => {}
                Came::Written(written) => self.written(written),
                Came::Journal => {
                    if *health.borrow_and_update() == Health::Empty {
                        self.index.keep_all();
                    }
                }
                Came::Late => self.late(),
                Came::Drain => break,
            }
            self.tell();
        }
        self.drain(inlets).await
    }

    /// Some watches have become ready, or are not any more.
    fn ready(&mut self, inlets: &mut Inlets) {
        let was = self.progress.ready;
        self.progress.ready = *inlets.ready.borrow_and_update();
        if self.progress.ready && !was {
            tracing::info!("ready: every watch has listed or is known to be impossible");
            // What the lists said is still on its way here.
            for _ in 0..inlets.watched.len() {
                if let Ok(fact) = inlets.watched.try_recv() {
                    self.observe(fact);
                }
            }
            self.go_on();
        }
    }

    /// From now on what is due happens.
    fn go_on(&mut self) {
        if self.still_until.is_some() && !self.index.is_resuming() {
            self.still_until = None;
            self.index.go_on();
            self.observe(Fact::Tick);
        }
    }

    /// Other mappers take over.
    fn replace(&mut self, replacement: Replacement, watched: &mut mpsc::Receiver<Fact>) {
        // What was told before is not what they want to know.
        while let Ok(fact) = watched.try_recv() {
            self.observe(fact);
        }
        let Replacement {
            generation,
            others,
            done,
        } = replacement;
        let catalog = Arc::clone(&generation.catalog);
        self.outlets.mapping.replace(generation);
        self.observe(Fact::Replaced(catalog, others));
        // Whoever waits for it may have been stopped.
        let _ = done.send(());
    }

    /// Has objects mapped that were restored or whose mapper was replaced, as far as there is room beside what comes in.
    fn resume(&mut self) {
        while self.index.is_resuming() && self.moving() < MAPPINGS / 2 {
            let effects = self.index.resume(self.clock.now(), RESUMED);
            self.carry_out(effects);
        }
        if self.progress.ready {
            self.go_on();
        }
    }

    /// Mappings in flight but for those of mappers that keep others waiting, for which the rest does not wait.
    fn moving(&self) -> u64 {
        let stuck = self.outlets.mapping.stuck();
        self.progress.mappings.saturating_sub(stuck)
    }

    /// The lists, or what is to be written, were waited for long enough.
    fn late(&mut self) {
        if self
            .still_until
            .is_some_and(|until| until <= Instant::now())
        {
            tracing::warn!(
                "some lists are not complete yet, which /readyz on the port of the metrics names; traces are finished without them"
            );
            self.still_until = None;
            self.index.go_on();
            self.observe(Fact::Tick);
        }
    }

    /// Gives the journal what has changed, unless it is still writing: what cannot be told again at once, all else
    /// some time.
    fn keep(&mut self) {
        let journal = &self.outlets.journal;
        if !journal.is_on() || self.writing.is_some() {
            return;
        }
        if !self.index.has_changes() && self.outbox.is_empty() {
            return;
        }
        let since = *self.changed.get_or_insert_with(Instant::now);
        let urgent = !self.outbox.is_empty() || self.index.must_be_kept();
        if !urgent && since.elapsed() < KEPT_WITHIN {
            return;
        }
        self.changed = None;
        let mut rows = Vec::new();
        if *journal.health().borrow() == Health::Empty {
            rows.push(Row::Anew);
        }
        rows.extend(self.index.changes().into_iter().map(Row::Index));
        rows.extend(self.outbox.iter().filter_map(Parcel::row));
        self.writing = Some((journal.write(rows), std::mem::take(&mut self.outbox)));
    }

    /// The journal has written, or could not.
    fn written(&mut self, written: Written) {
        let Some((_, mut parcels)) = self.writing.take() else {
            return;
        };
        if written == Written::Not {
            for parcel in &mut parcels {
                parcel.number = None;
            }
        }
        self.outlets.exporter.push(parcels);
    }

    /// Takes a fact and what is there behind it.
    fn take(&mut self, first: Fact, mut next: impl FnMut() -> Option<Fact>) {
        self.observe(first);
        for _ in 1..BATCH {
            let Some(fact) = next() else { return };
            self.observe(fact);
        }
    }

    fn observe(&mut self, fact: Fact) {
        match &fact {
            Fact::Applied(source, object) | Fact::Deleted(source, object) => {
                self.saw(*source, object);
            }
            Fact::Mapped(ticket, result) => {
                self.progress.mappings = self.progress.mappings.saturating_sub(1);
                if let Ok(outcome) = result {
                    self.outlets.pipelines.mapped(&ticket.subject, outcome);
                }
            }
            _ => {}
        }
        self.progress.facts += 1;
        let effects = self.index.observe(self.clock.now(), fact);
        self.carry_out(effects);
        if self.outlets.mapping.generations() > self.index.older().len() + 1 {
            self.outlets.mapping.keep(self.index.older());
        }
    }

    fn saw(&mut self, source: SourceId, object: &Object) {
        // Opaque by the letter of the API, a number in every API server there is.
        if let Ok(version) = object.resource_version.parse::<u64>() {
            let newest = self.progress.resource_versions.entry(source).or_default();
            *newest = version.max(*newest);
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Map(request) => {
                    self.progress.mappings += 1;
                    self.outlets.mapping.push(request);
                }
                Effect::Annotate(annotate) => self.outlets.patches.push(annotate),
                Effect::Export(spans) => {
                    self.outlets.pipelines.exported(&spans);
                    let parcels = self.outlets.exporter.encode(spans);
                    if self.outlets.journal.is_on() {
                        self.outbox.extend(parcels);
                    } else {
                        self.outlets.exporter.push(parcels);
                    }
                }
                Effect::Fetch(object) => self.outlets.lookups.push(object),
                Effect::WakeAt(time) => self.progress.wake_at = Some(time),
            }
        }
    }

    fn tell(&mut self) {
        self.progress.patches = self.outlets.patches.len() as u64;
        self.progress.lookups = self.outlets.lookups.len() as u64;
        self.progress.batches = self.outlets.exporter.counts().queued + self.unkept();
        let counts = self.index.counts();
        let before = std::mem::replace(
            &mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner),
            counts,
        );
        if counts.orphans_exported > before.orphans_exported {
            tracing::warn!(
                orphans = counts.orphans_exported,
                "spans were exported without their parent, which did not come before the deadline"
            );
        }
        if counts.spans_exported > before.spans_exported {
            tracing::info!(
                spans = counts.spans_exported - before.spans_exported,
                objects = counts.subjects,
                orphans = counts.orphans,
                "spans finished"
            );
        }
        self.told.send_if_modified(|told| {
            let news = *told != self.progress;
            if news {
                told.clone_from(&self.progress);
            }
            news
        });
    }

    async fn drain(mut self, mut inlets: Inlets) -> Drained {
        // What was answered with 202 is taken in, however much it is. A client that is still being served does not
        // keep the channel open.
        inlets.webhooks.close();
        while let Ok(taken) = inlets.webhooks.try_recv() {
            self.observe(Fact::Webhook(taken.webhook));
        }
        inlets.watched.close();
        while let Ok(fact) = inlets.watched.try_recv() {
            self.observe(fact);
        }
        self.settle(&mut inlets.answers, MAPPINGS_END, |turns| {
            let resting = turns.outlets.mapping.resting();
            turns.progress.mappings <= resting && turns.outlets.lookups.is_empty()
        })
        .await;
        self.outlets.lookups.stop();
        self.settle(&mut inlets.answers, PATCHES_END, |turns| {
            turns.outlets.patches.is_empty()
        })
        .await;
        let effects = self.index.drain(self.clock.now());
        self.carry_out(effects);
        self.outlets.pipelines.forget_active();
        self.keep_all().await;
        self.tell();
        let Outlets {
            patches,
            exporter,
            journal,
            ..
        } = self.outlets;
        let left = patches.len() as u64;
        patches.stop().await;
        let spans = match exporter.flush(EXPORT_END).await {
            Ok(()) => 0,
            Err(error) if error.lost == 0 => {
                tracing::warn!("{error}; they are kept and sent after the next start");
                0
            }
            Err(error) => {
                tracing::error!("{error}");
                error.lost
            }
        };
        // What was acknowledged is not sent again after the next start.
        let _ = tokio::time::timeout(JOURNAL_END, journal.settle()).await;
        if left > 0 {
            tracing::warn!(
                patches = left,
                "some annotations were not set before the stop"
            );
        }
        self.progress.patches = left;
        self.progress.batches = spans;
        self.told.send_replace(self.progress);
        Drained {
            patches: left,
            spans,
        }
    }

    /// Has everything written that is to be kept.
    async fn keep_all(&mut self) {
        let end = Instant::now() + JOURNAL_END;
        while self.writing.is_some() || self.index.has_changes() || !self.outbox.is_empty() {
            // Nothing is put off any more.
            self.changed = Some(Instant::now() - KEPT_WITHIN);
            self.keep();
            let Some((writing, _)) = &mut self.writing else {
                return;
            };
            let written = tokio::time::timeout_at(end, writing).await;
            self.written(match written {
                Ok(Ok(written)) => written,
                Ok(Err(_)) | Err(_) => Written::Not,
            });
        }
    }

    /// Spans that wait until they are kept.
    fn unkept(&self) -> u64 {
        let writing = self.writing.iter().flat_map(|(_, parcels)| parcels);
        writing.chain(&self.outbox).map(|parcel| parcel.spans).sum()
    }

    /// Takes answers until it is quiet or the time is over.
    async fn settle(
        &mut self,
        answers: &mut mpsc::UnboundedReceiver<Fact>,
        limit: Duration,
        quiet: impl Fn(&Self) -> bool,
    ) {
        let end = Instant::now() + limit;
        loop {
            while let Ok(fact) = answers.try_recv() {
                self.observe(fact);
            }
            self.tell();
            if quiet(self) {
                return;
            }
            match tokio::time::timeout_at(end, answers.recv()).await {
                Ok(Some(fact)) => self.observe(fact),
                Ok(None) | Err(_) => return,
            }
        }
    }
}

/// For ever, if nothing is being written. A journal that is gone has written nothing.
async fn written(
    writing: &mut Option<(oneshot::Receiver<Written>, Vec<Parcel>)>,
) -> Result<Written, oneshot::error::RecvError> {
    match writing {
        Some((receiver, _)) => Ok(receiver.await.unwrap_or(Written::Not)),
        None => std::future::pending().await,
    }
}

/// Until the first of these: when the lists are not waited for any more, and when what has changed is to be written.
async fn late(still_until: Option<Instant>, changed: Option<Instant>) {
    let keep = changed.map(|since| since + KEPT_WITHIN);
    match still_until.into_iter().chain(keep).min() {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// For ever, if there is no time.
async fn sleep_until(clock: &Clock, time: Option<Time>) {
    match time {
        Some(time) => clock.sleep_until(time).await,
        None => std::future::pending().await,
    }
}
