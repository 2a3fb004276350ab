//! One transaction: which rows it changes, what it drops to make room, and what is in the store then.

use std::collections::BTreeMap;
use std::ops::Bound;

use lighthouse_telemetry_core::index::Change;
use redb::WriteTransaction;

use super::store::{Evicted, INDEX, LED_LEASE, LED_TERM, META, PARCELS, Row, WEBHOOKS};

/// What is counted while a transaction is written.
pub(super) struct Sizes {
    pub parcels: BTreeMap<u64, u64>,
    pub parcel_bytes: u64,
    pub other_bytes: u64,
    pub last_webhook: Option<u64>,
    pub last_parcel: Option<u64>,
}

impl Sizes {
    fn forget_parcel(&mut self, number: u64) {
        if let Some(bytes) = self.parcels.remove(&number) {
            self.parcel_bytes -= bytes;
        }
    }

    fn other(&mut self, before: u64, after: u64) {
        self.other_bytes = (self.other_bytes + after).saturating_sub(before);
    }
}

/// Writes rows into a transaction. Drops the oldest parcels if there is not room for all.
pub(super) fn write(
    transaction: &WriteTransaction,
    rows: impl IntoIterator<Item = Row>,
    sizes: &mut Sizes,
    max_size: u64,
) -> Result<Evicted, redb::Error> {
    let mut evicted = Evicted::default();
    let mut index = transaction.open_table(INDEX)?;
    let mut webhooks = transaction.open_table(WEBHOOKS)?;
    let mut parcels = transaction.open_table(PARCELS)?;
    let mut meta = transaction.open_table(META)?;
    for row in rows {
        match row {
            Row::Anew => {
                let mut removed = 0;
                index.retain(|key, value| {
                    removed += size(key.len(), value.len());
                    false
                })?;
                sizes.other(removed, 0);
            }
            Row::Index(Change::Put(key, value)) => {
                let before = index.insert(key.as_slice(), value.as_slice())?;
                let before = before.map_or(0, |before| size(key.len(), before.value().len()));
                sizes.other(before, size(key.len(), value.len()));
            }
            Row::Index(Change::Remove(key)) => {
                let before = index.remove(key.as_slice())?;
                let before = before.map_or(0, |before| size(key.len(), before.value().len()));
                sizes.other(before, 0);
            }
            Row::Index(Change::RemoveAll(prefix)) => {
                let mut removed = 0;
                let end = successor(&prefix);
                let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
                index.retain_in::<&[u8], _>(
                    (Bound::Included(prefix.as_slice()), end),
                    |key, value| {
                        removed += size(key.len(), value.len());
                        false
                    },
                )?;
                sizes.other(removed, 0);
            }
            Row::Index(Change::WebhookDone(number)) => {
                let before = webhooks.remove(number)?;
                let before = before.map_or(0, |before| size(8, before.value().len()));
                sizes.other(before, 0);
            }
            Row::Webhook(number, value) => {
                webhooks.insert(number, value.as_slice())?;
                sizes.other(0, size(8, value.len()));
                sizes.last_webhook = sizes.last_webhook.max(Some(number));
            }
            Row::Parcel(number, value) => {
                parcels.insert(number, value.as_slice())?;
                let bytes = size(8, value.len());
                sizes.forget_parcel(number);
                sizes.parcels.insert(number, bytes);
                sizes.parcel_bytes += bytes;
                sizes.last_parcel = sizes.last_parcel.max(Some(number));
            }
            Row::ParcelDone(number) => {
                parcels.remove(number)?;
                sizes.forget_parcel(number);
            }
            Row::Led(term) => {
                meta.insert(LED_LEASE, term.lease)?;
                meta.insert(LED_TERM, term.number)?;
            }
        }
    }
    while sizes.parcel_bytes + sizes.other_bytes > max_size {
        let Some((number, bytes)) = sizes.parcels.pop_first() else {
            break;
        };
        parcels.remove(number)?;
        sizes.parcel_bytes -= bytes;
        evicted.parcels += 1;
    }
    for (name, last) in [
        ("last-webhook", sizes.last_webhook),
        ("last-parcel", sizes.last_parcel),
    ] {
        if let Some(last) = last {
            meta.insert(name, last)?;
        }
    }
    Ok(evicted)
}

/// The first key after all that begin so; none if there is no such.
pub(super) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut next = prefix.to_vec();
    while let Some(last) = next.pop() {
        if let Some(more) = last.checked_add(1) {
            next.push(more);
            return Some(next);
        }
    }
    None
}

pub(super) fn size(key: usize, value: usize) -> u64 {
    u64::try_from(key + value).unwrap_or(u64::MAX)
}
