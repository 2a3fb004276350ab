//! What a process takes over from the one before.

use std::sync::Arc;

use anyhow::Context as _;
use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::index::{self, Change, Fact, Index, Restored, Webhook};
use lighthouse_telemetry_core::time::Time;
use tokio::sync::mpsc;

use crate::journal::{self, Journal, Kept, Row, Store, StoreError, WebhookRecord};
use crate::leader::{Left, Term};
use crate::webhook::Taken;

/// What is left of the process before.
#[derive(Debug)]
pub struct State {
    /// Where what must survive goes.
    pub journal: Journal,
    /// The index, as it was. Time stands still in it.
    pub index: Index,
    /// Webhooks that are still needed.
    webhooks: Vec<(u64, WebhookRecord)>,
    /// Others, which could not be kept.
    unkept: Vec<Webhook>,
    /// When this replica led last.
    led: Option<Term>,
    /// What the index has taken over.
    pub restored: Restored,
    /// Removes webhooks and spans that make no sense.
    unreadable: Vec<Row>,
}

impl State {
    /// Nothing is left, and nothing is kept.
    #[must_use]
    pub fn none(catalog: &Arc<Catalog>, settings: index::Settings, now: Time) -> Self {
        let mut index = Index::new(Arc::clone(catalog), settings);
        index.stand_still(now);
        Self {
            journal: Journal::off(),
            index,
            webhooks: Vec::new(),
            unkept: Vec::new(),
            led: None,
            restored: Restored::default(),
            unreadable: Vec::new(),
        }
    }

    /// Goes on from a state directory; also gives the spans that were not acknowledged. One that cannot be written is
    /// done without, and tried again.
    ///
    /// # Errors
    /// If the directory is another process's or another user's.
    pub fn open(
        settings: journal::Settings,
        catalog: &Arc<Catalog>,
        index: index::Settings,
        now: Time,
    ) -> anyhow::Result<(Self, Vec<Kept>)> {
        let mut state = Self::none(catalog, index.clone(), now);
        state.index.keep_journal();
        let mut parcels = Vec::new();
        let opened = Store::open(&settings.directory, settings.max_size);
        let opened = opened.and_then(|store| {
            parcels = state.take_over(&store, now)?;
            Ok(store)
        });
        match &opened {
            Err(error @ (StoreError::InUse(_) | StoreError::Foreign { .. })) => {
                anyhow::bail!("{error}");
            }
            Err(error) => {
                // A part of what there is would be worse than nothing.
                state = Self::none(catalog, index, now);
                state.index.keep_journal();
                parcels.clear();
                tracing::error!(
                    "tracing goes on in memory, so that a restart loses what is not sent: {error}; see --state-dir"
                );
            }
            Ok(_) => tracing::info!(
                directory = %settings.directory.display(),
                under_way = state.restored.live,
                exported = state.restored.finished,
                events = state.restored.events,
                webhooks = state.webhooks.len(),
                spans_to_send = parcels.iter().map(|kept| kept.spans).sum::<u64>(),
                "goes on from the journal"
            ),
        }
        let unreadable = state.restored.unreadable + count(&state.unreadable);
        if unreadable > 0 {
            tracing::error!(
                records = unreadable,
                "some records of the journal make no sense and are left out"
            );
        }
        state.journal =
            Journal::start(settings, opened).context("cannot start the thread of the journal")?;
        state.journal.note(std::mem::take(&mut state.unreadable));
        Ok((state, parcels))
    }

    /// Takes over what a store has; gives the spans that were not acknowledged.
    ///
    /// # Errors
    /// If it cannot be read; what was taken until then is a part.
    pub fn take_over(&mut self, store: &Store, now: Time) -> Result<Vec<Kept>, StoreError> {
        self.restored = store.restore(&mut self.index, now)?;
        let webhooks = store.webhooks()?;
        let parcels = store.parcels()?;
        self.webhooks = webhooks.rows;
        self.led = store.led;
        let webhooks = webhooks.unreadable.into_iter();
        let webhooks = webhooks.map(|number| Row::Index(Change::WebhookDone(number)));
        let unreadable = parcels.unreadable.into_iter().map(Row::ParcelDone);
        self.unreadable = webhooks.chain(unreadable).collect();
        Ok(parcels.rows)
    }

    /// Numbers of the webhooks that are still needed. They are not held in memory any more.
    pub(super) fn leave_webhooks(&mut self) -> Vec<u64> {
        let webhooks = std::mem::take(&mut self.webhooks);
        webhooks.into_iter().map(|(number, _)| number).collect()
    }

    /// Begins a term as leader, with what a follower has left. What the journal knows of the index is worth nothing if
    /// somebody else has led since: they have gone on from there.
    /// Gives where further webhooks come from.
    pub(crate) async fn begin(
        &mut self,
        term: Term,
        left: Left,
        mut anew: Index,
        now: Time,
    ) -> mpsc::Receiver<Taken> {
        let mut rows = Vec::new();
        if left.is_anew || !term.follows(self.led) {
            tracing::info!(
                "another replica has led since; what is under way is rebuilt from the cluster"
            );
            anew.stand_still(now);
            if self.journal.is_on() {
                anew.keep_journal();
            }
            self.index = anew;
            rows.push(Row::Anew);
        }
        rows.push(Row::Led(term));
        // If it cannot be written, the journal is not what it was: nobody goes on from it.
        let _ = self.journal.write(rows).await;
        for number in left.kept {
            if let Some(record) = self.journal.webhook(number).await {
                self.webhooks.push((number, record));
            }
        }
        self.unkept = left.unkept.into_iter().map(|taken| taken.webhook).collect();
        left.taken
    }

    /// The webhooks as the index takes them. Those that no mapper wants any more are done.
    #[must_use]
    pub fn facts(&self, catalog: &Catalog) -> Vec<Fact> {
        let mut facts: Vec<Fact> = self.unkept.iter().cloned().map(Fact::Webhook).collect();
        for (number, record) in &self.webhooks {
            let body = serde_json::from_slice(&record.body).unwrap_or_default();
            let received = Time::from_nanoseconds(record.received);
            let webhook = Webhook {
                number: Some(*number),
                ..catalog.webhook(&record.kind, received, &body)
            };
            if webhook.subject_of.is_empty() {
                let done = Row::Index(Change::WebhookDone(*number));
                self.journal.note(vec![done]);
            } else {
                facts.push(Fact::Webhook(webhook));
            }
        }
        facts
    }
}

fn count(rows: &[Row]) -> u64 {
    u64::try_from(rows.len()).unwrap_or(u64::MAX)
}
