//! What a process takes over from the one before.

use std::sync::Arc;

use anyhow::Context as _;
use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::index::{self, Change, Fact, Index, Webhook};
use lighthouse_telemetry_core::time::Time;

use crate::journal::{self, Journal, Kept, Row, Store, StoreError, WebhookRecord};

/// What is left of the process before.
#[derive(Debug)]
pub struct State {
    /// Where what must survive goes.
    pub journal: Journal,
    /// The index, as it was. Time stands still in it.
    pub index: Index,
    /// Webhooks that are still needed.
    webhooks: Vec<(u64, WebhookRecord)>,
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
        let mut state = Self::none(catalog, index, now);
        state.index.keep_journal();
        let mut parcels = Vec::new();
        let opened = Store::open(&settings.directory, settings.max_size);
        match &opened {
            Err(error @ (StoreError::InUse(_) | StoreError::Foreign { .. })) => {
                anyhow::bail!("{error}");
            }
            Err(error) => {
                tracing::error!(
                    "tracing goes on in memory, so that a restart loses what is not sent: {error}; see --state-dir"
                );
            }
            Ok(store) => {
                let restored = store.restore(&mut state.index, now)?;
                state.webhooks = store.webhooks()?;
                parcels = store.parcels()?;
                tracing::info!(
                    directory = %settings.directory.display(),
                    under_way = restored.live,
                    exported = restored.finished,
                    events = restored.events,
                    webhooks = state.webhooks.len(),
                    spans_to_send = parcels.iter().map(|kept| kept.spans).sum::<u64>(),
                    "goes on from the journal"
                );
                if restored.unreadable > 0 {
                    tracing::error!(
                        records = restored.unreadable,
                        "some records of the journal make no sense and are left out"
                    );
                }
            }
        }
        state.journal =
            Journal::start(settings, opened).context("cannot start the thread of the journal")?;
        Ok((state, parcels))
    }

    /// The webhooks as the index takes them. Those that no mapper wants any more are done.
    pub(super) fn facts(&self, catalog: &Catalog) -> Vec<Fact> {
        let mut facts = Vec::new();
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
