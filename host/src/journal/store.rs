//! The file: an embedded transactional store, and what lies in it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use lighthouse_telemetry_core::index::{self, Change, Index, Restored};
use lighthouse_telemetry_core::time::Time;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError,
    TableDefinition,
};
use thiserror::Error;

use super::record::{ParcelRecord, WebhookRecord};
use super::transaction::{Sizes, size, successor, write};
use crate::leader::Term;

/// Version of what lies in the file beside the index's own records, which have theirs.
const FORMAT: u32 = 1;

pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
pub(super) const INDEX: TableDefinition<&[u8], &[u8]> = TableDefinition::new("index");
pub(super) const WEBHOOKS: TableDefinition<u64, &[u8]> = TableDefinition::new("webhooks");
pub(super) const PARCELS: TableDefinition<u64, &[u8]> = TableDefinition::new("parcels");

/// Of [`Row::Led`].
pub(super) const LED_LEASE: &str = "led-lease";
/// Of [`Row::Led`].
pub(super) const LED_TERM: &str = "led-term";

/// Name of the file in the state directory.
const FILE: &str = "journal.redb";

/// Pages that are kept in memory, in bytes. All is written once and read at a start or after an outage.
const CACHE: usize = 1 << 20;

/// A file that is bigger than what is in it by this factor, and by [`SLACK`], is compacted.
const WASTE: u64 = 3;
/// The database checks a file when it opens it, and trusts it then. If the disk gives back something else later it may
/// panic, which has said more before.
const PANICKED: &str = "the database has failed over what it has read";

/// In bytes; see [`WASTE`].
const SLACK: u64 = 32 << 20;

/// What is written in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// Forget all of the index: what follows is all there is.
    Anew,
    /// A part of the index.
    Index(Change),
    /// A verified webhook.
    Webhook(u64, Vec<u8>),
    /// Spans that are to be sent.
    Parcel(u64, Vec<u8>),
    /// Spans that were sent, or never will be.
    ParcelDone(u64),
    /// From now on this replica leads, in this term.
    Led(Term),
}

/// Why a state directory cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process has it.
    #[error(
        "the state directory {0} is in use by another process: give each process its own with --state-dir"
    )]
    InUse(PathBuf),
    /// The file is another user's, who could have written anything into it.
    #[error(
        "{path} belongs to user {owner}, not to this process (user {own}): remove it, or give another directory with --state-dir"
    )]
    Foreign {
        /// The file or directory.
        path: PathBuf,
        /// Uid of its owner.
        owner: u32,
        /// Uid of the process.
        own: u32,
    },
    /// It cannot be read or written.
    #[error("{0}")]
    Failed(String),
    /// There is more in it than there may be.
    #[error("it is full: raise --state-max-size, which is {0} bytes")]
    Full(u64),
}

impl StoreError {
    fn failed(error: impl std::error::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A parcel that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub number: u64,
    /// How many spans.
    pub spans: u64,
    /// How many bytes.
    pub bytes: usize,
}

/// Rows of one sort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readable<T> {
    /// In the order of their numbers.
    pub rows: Vec<T>,
    /// Numbers of those that make no sense.
    pub unreadable: Vec<u64>,
}

/// What became of parcels to make room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Parcels that were dropped, the oldest first.
    pub parcels: u64,
}

/// The open store.
#[derive(Debug)]
pub struct Store {
    database: Database,
    /// Where it is; none in memory.
    path: Option<PathBuf>,
    max_size: u64,
    /// Bytes of the parcels, by number.
    parcels: BTreeMap<u64, u64>,
    parcel_bytes: u64,
    /// Bytes of all else.
    other_bytes: u64,
    /// The highest number that a webhook was given so far.
    pub last_webhook: Option<u64>,
    /// The highest number that a parcel was given so far.
    pub last_parcel: Option<u64>,
    /// When this replica led last.
    pub led: Option<Term>,
}

impl Store {
    /// Opens the store in a directory, which is made if it is not there. What cannot be read, or is of a later version, is
    /// set aside under another name.
    ///
    /// # Errors
    /// If the directory cannot be used.
    pub fn open(directory: &Path, max_size: u64) -> Result<Self, StoreError> {
        let failed = |what: &str, error: &io::Error| {
            StoreError::Failed(format!("cannot {what} {}: {error}", directory.display()))
        };
        if !directory.is_dir() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .map_err(|error| failed("create", &error))?;
        }
        let path = directory.join(FILE);
        let created = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let file = created.map_err(|error| failed("write to", &error))?;
        let owner = file
            .metadata()
            .map_err(|error| failed("read", &error))?
            .uid();
        let own = own_uid(directory)?;
        drop(file);
        if owner != own {
            return Err(StoreError::Foreign { path, owner, own });
        }
        match Self::open_contained(&path, max_size) {
            Err(Unusable::Unreadable(why)) => {
                let aside = set_aside(&path).map_err(|error| failed("write to", &error))?;
                tracing::error!(
                    "{} cannot be read and was set aside as {}; what is under way is rebuilt from the cluster, what was not sent yet is lost: {why}",
                    path.display(),
                    aside.display()
                );
                Self::open_contained(&path, max_size).map_err(|error| error.into_error(directory))
            }
            opened => opened.map_err(|error| error.into_error(directory)),
        }
    }

    /// A file over which the database falls cannot be read.
    fn open_contained(path: &Path, max_size: u64) -> Result<Self, Unusable> {
        catch_unwind(|| Self::open_file(path, max_size))
            .unwrap_or_else(|_| Err(Unusable::Unreadable(PANICKED.to_owned())))
    }

    fn open_file(path: &Path, max_size: u64) -> Result<Self, Unusable> {
        let database = Builder::new()
            .set_cache_size(CACHE)
            .set_check_integrity_on_open(true)
            .create(path)?;
        Self::of(database, Some(path.to_owned()), max_size)
    }

    /// A store on any backend.
    #[cfg(test)]
    pub(super) fn on(
        backend: impl redb::StorageBackend,
        max_size: u64,
    ) -> Result<Self, StoreError> {
        let database = Builder::new()
            .set_cache_size(CACHE)
            .create_with_backend(backend)
            .map_err(StoreError::failed)?;
        Self::of(database, None, max_size).map_err(|error| error.into_error(Path::new("memory")))
    }

    fn of(database: Database, path: Option<PathBuf>, max_size: u64) -> Result<Self, Unusable> {
        let mut store = Self {
            database,
            path,
            max_size,
            parcels: BTreeMap::new(),
            parcel_bytes: 0,
            other_bytes: 0,
            last_webhook: None,
            last_parcel: None,
            led: None,
        };
        store.check_format()?;
        store.measure().map_err(Unusable::unreadable)?;
        Ok(store)
    }

    /// Writes the version where there is none, and refuses any other.
    fn check_format(&self) -> Result<(), Unusable> {
        let transaction = self.database.begin_write().map_err(Unusable::failed)?;
        {
            let mut meta = transaction.open_table(META).map_err(Unusable::unreadable)?;
            for (name, ours) in [("format", FORMAT), ("index", index::FORMAT)] {
                let found = meta
                    .get(name)
                    .map_err(Unusable::unreadable)?
                    .map(|found| found.value());
                match found {
                    None => {
                        meta.insert(name, u64::from(ours))
                            .map_err(Unusable::failed)?;
                    }
                    Some(found) if found == u64::from(ours) => {}
                    Some(found) => {
                        return Err(Unusable::Unreadable(format!(
                            "it has version {found} of the format of '{name}', and this program knows version {ours}"
                        )));
                    }
                }
            }
            transaction
                .open_table(INDEX)
                .map_err(Unusable::unreadable)?;
            transaction
                .open_table(WEBHOOKS)
                .map_err(Unusable::unreadable)?;
            transaction
                .open_table(PARCELS)
                .map_err(Unusable::unreadable)?;
        }
        transaction.commit().map_err(Unusable::failed)
    }

    fn measure(&mut self) -> Result<(), redb::Error> {
        let transaction = self.database.begin_read()?;
        for row in transaction.open_table(INDEX)?.iter()? {
            let (key, value) = row?;
            self.other_bytes += size(key.value().len(), value.value().len());
        }
        for row in transaction.open_table(WEBHOOKS)?.iter()? {
            let (key, value) = row?;
            self.last_webhook = Some(key.value());
            self.other_bytes += size(8, value.value().len());
        }
        for row in transaction.open_table(PARCELS)?.iter()? {
            let (key, value) = row?;
            let bytes = size(8, value.value().len());
            self.last_parcel = Some(key.value());
            self.parcels.insert(key.value(), bytes);
            self.parcel_bytes += bytes;
        }
        // Numbers are not given twice, even if the rows are gone.
        let meta = transaction.open_table(META)?;
        for (name, last) in [
            ("last-webhook", &mut self.last_webhook),
            ("last-parcel", &mut self.last_parcel),
        ] {
            *last = (*last).max(meta.get(name)?.map(|number| number.value()));
        }
        let lease = meta.get(LED_LEASE)?.map(|lease| lease.value());
        let number = meta.get(LED_TERM)?.map(|number| number.value());
        self.led = lease
            .zip(number)
            .map(|(lease, number)| Term { lease, number });
        Ok(())
    }

    /// Has the index take over what was kept of it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn restore(&self, index: &mut Index, now: Time) -> Result<Restored, StoreError> {
        let transaction = self.database.begin_read().map_err(StoreError::failed)?;
        let table = transaction.open_table(INDEX).map_err(StoreError::failed)?;
        let mut failure = None;
        let restored = contained(|| {
            Ok(index.restore(now, &mut |first, each| {
                let result = scan(&table, &[first], |key, value| {
                    each(key, value);
                });
                if let Err(error) = result {
                    failure = Some(error);
                }
            }))
        })?;
        match failure {
            Some(error) => Err(StoreError::failed(error)),
            None => Ok(restored),
        }
    }

    /// The webhooks that are needed, in the order in which they were received.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn webhooks(&self) -> Result<Readable<(u64, WebhookRecord)>, StoreError> {
        self.readable(WEBHOOKS, |number, value| {
            Some((number, WebhookRecord::read(value)?))
        })
    }

    /// A webhook; none if it is not needed any more.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn webhook(&self, number: u64) -> Result<Option<WebhookRecord>, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let transaction = self.database.begin_read()?;
            let table = transaction.open_table(WEBHOOKS)?;
            let row = table.get(number)?;
            Ok(row.and_then(|row| WebhookRecord::read(row.value())))
        };
        contained(|| read().map_err(StoreError::failed))
    }

    /// The parcels that were not acknowledged, the oldest first.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn parcels(&self) -> Result<Readable<Kept>, StoreError> {
        self.readable(PARCELS, |number, value| {
            Some(Kept {
                number,
                spans: ParcelRecord::spans(value)?,
                bytes: value.len(),
            })
        })
    }

    fn readable<T>(
        &self,
        table: TableDefinition<u64, &'static [u8]>,
        make: impl Fn(u64, &[u8]) -> Option<T>,
    ) -> Result<Readable<T>, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let transaction = self.database.begin_read()?;
            let mut readable = Readable {
                rows: Vec::new(),
                unreadable: Vec::new(),
            };
            for row in transaction.open_table(table)?.iter()? {
                let (number, value) = row?;
                match make(number.value(), value.value()) {
                    Some(row) => readable.rows.push(row),
                    None => readable.unreadable.push(number.value()),
                }
            }
            Ok(readable)
        };
        contained(|| read().map_err(StoreError::failed))
    }

    /// A parcel; none if there is no such any more.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn parcel(&self, number: u64) -> Result<Option<ParcelRecord>, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let transaction = self.database.begin_read()?;
            let table = transaction.open_table(PARCELS)?;
            let row = table.get(number)?;
            Ok(row.and_then(|row| ParcelRecord::read(row.value())))
        };
        contained(|| read().map_err(StoreError::failed))
    }

    /// Writes rows in one transaction: all of them or none, and for good. Drops the oldest parcels if there is not
    /// room for all.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn commit(&mut self, rows: impl IntoIterator<Item = Row>) -> Result<Evicted, StoreError> {
        contained(|| self.commit_rows(rows))
    }

    fn commit_rows(&mut self, rows: impl IntoIterator<Item = Row>) -> Result<Evicted, StoreError> {
        let transaction = self.database.begin_write().map_err(StoreError::failed)?;
        let mut sizes = Sizes {
            parcels: std::mem::take(&mut self.parcels),
            parcel_bytes: self.parcel_bytes,
            other_bytes: self.other_bytes,
            last_webhook: self.last_webhook,
            last_parcel: self.last_parcel,
        };
        let written = write(&transaction, rows, &mut sizes, self.max_size);
        let result = match written {
            Ok(evicted) if sizes.parcel_bytes + sizes.other_bytes <= self.max_size => {
                match transaction.commit() {
                    Ok(()) => Ok(evicted),
                    Err(error) => Err(StoreError::failed(error)),
                }
            }
            Ok(_) => Err(StoreError::Full(self.max_size)),
            Err(error) => Err(StoreError::failed(error)),
        };
        self.parcels = sizes.parcels;
        self.parcel_bytes = sizes.parcel_bytes;
        self.other_bytes = sizes.other_bytes;
        self.last_webhook = sizes.last_webhook;
        self.last_parcel = sizes.last_parcel;
        result
    }

    /// All rows of the index, as text.
    #[cfg(test)]
    pub(crate) fn index_rows(&self) -> Result<Vec<(String, String)>, redb::Error> {
        let mut rows = Vec::new();
        let table = self.database.begin_read()?.open_table(INDEX)?;
        scan(&table, &[], |key, value| {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            rows.push((text(key), text(value)));
        })?;
        Ok(rows)
    }

    /// Claims another version.
    #[cfg(test)]
    pub(super) fn write_format(&self, name: &str, version: u64) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(META)?.insert(name, version)?;
        transaction.commit()?;
        Ok(())
    }

    /// Bytes of what lies in the store: keys and values.
    pub fn bytes(&self) -> u64 {
        self.parcel_bytes + self.other_bytes
    }

    /// Bytes of the file.
    pub fn file_bytes(&self) -> u64 {
        let metadata = self.path.as_ref().and_then(|path| fs::metadata(path).ok());
        metadata.map_or(0, |metadata| metadata.len())
    }

    /// Gives back what the file takes beyond what is in it, if that is much.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn compact(&mut self) -> Result<bool, StoreError> {
        if self.file_bytes() < WASTE * self.bytes() + SLACK {
            return Ok(false);
        }
        contained(|| self.database.compact().map_err(StoreError::failed))
    }
}

/// Closes a store that has failed. That reads and writes its file once more, and may fail in turn.
pub fn give_up(store: Option<Store>) {
    let closed = contained(|| {
        drop(store);
        Ok(())
    });
    if closed.is_err() {
        tracing::debug!("the journal that has failed could not be closed properly either");
    }
}

fn contained<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    // What has panicked is closed, and not used again.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(StoreError::Failed(PANICKED.to_owned())))
}

fn scan(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    prefix: &[u8],
    mut each: impl FnMut(&[u8], &[u8]),
) -> Result<(), StorageError> {
    let end = successor(prefix);
    let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    for row in table.range::<&[u8]>((Bound::Included(prefix), end))? {
        let (key, value) = row?;
        each(key.value(), value.value());
    }
    Ok(())
}

/// Why a file cannot be used as it is.
enum Unusable {
    InUse,
    Unreadable(String),
    Failed(String),
}

impl Unusable {
    fn unreadable(error: impl std::error::Error) -> Self {
        Self::Unreadable(error.to_string())
    }

    fn failed(error: impl std::error::Error) -> Self {
        Self::Failed(error.to_string())
    }

    fn into_error(self, directory: &Path) -> StoreError {
        match self {
            Self::InUse => StoreError::InUse(directory.to_owned()),
            Self::Unreadable(why) | Self::Failed(why) => StoreError::Failed(why),
        }
    }
}

impl From<DatabaseError> for Unusable {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse,
            DatabaseError::Storage(StorageError::Io(error))
                if error.kind() != io::ErrorKind::InvalidData
                    && error.kind() != io::ErrorKind::UnexpectedEof =>
            {
                Self::Failed(error.to_string())
            }
            error => Self::Unreadable(error.to_string()),
        }
    }
}

/// Renames a file to a name that is free.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut number = 1;
    loop {
        let aside = path.with_extension(format!("redb.unreadable-{number}"));
        if !aside.exists() {
            fs::rename(path, &aside)?;
            return Ok(aside);
        }
        number += 1;
    }
}

/// The user of this process: the owner of what it creates.
fn own_uid(directory: &Path) -> Result<u32, StoreError> {
    let probe = tempfile::tempfile_in(directory).map_err(|error| {
        StoreError::Failed(format!("cannot write to {}: {error}", directory.display()))
    })?;
    let metadata = probe.metadata().map_err(StoreError::failed)?;
    Ok(metadata.uid())
}
