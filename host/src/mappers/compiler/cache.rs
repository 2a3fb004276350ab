//! Native code of big mappers, kept in the state directory. It runs as it is, so that whoever could write it could do all that this
//! process can: a file is used if nobody but this user can write it and if it carries a code over its bytes and its name that
//! only who knows the key beside it can compute. What is handed out are the bytes that were read once and verified then.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use thiserror::Error;

use super::NATIVE_BYTES;
use crate::cli::VERSION;

/// Name of the folder in the state directory.
const FOLDER: &str = "compiled";
/// Name of the file with the key.
const KEY: &str = "key";
/// A block of SHA-256.
const KEY_BYTES: usize = 64;
/// What comes before the native code in a file.
const CODE_BYTES: usize = 32;
/// What the code is over, besides the name and the native code.
const PURPOSE: &[u8] = b"lighthouse-telemetry compiled mapper 1\n";
/// All files together; beyond, those go that were not used for longest.
const MOST_BYTES: u64 = 256 << 20;
/// Bits of a file's mode that let others do anything.
const OTHERS: u32 = 0o077;

/// Native code that is kept.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
    most_bytes: u64,
}

/// What native code is kept under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

/// Something in the cache is not as it must be.
#[derive(Debug, Error)]
pub enum CacheError {
    /// It could be somebody else's work.
    #[error("{path} {found}")]
    Unsafe {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// It is not what was written.
    #[error("{0} is not what this plugin has written")]
    Changed(PathBuf),
    /// The system does not let us.
    #[error("{path}: {reason}")]
    System {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        reason: io::Error,
    },
}

impl Name {
    /// Of a component by its SHA-256, compiled by this version for such an engine.
    pub fn of(digest: &str, compatibility: u64) -> Self {
        let what = format!("{digest}\n{compatibility:016x}\n{VERSION}");
        Self(hex::encode(Sha256::digest(what)))
    }
}

impl Cache {
    /// In a state directory, which need not be there yet.
    pub fn new(state_directory: &Path) -> Self {
        Self {
            folder: state_directory.join(FOLDER),
            most_bytes: MOST_BYTES,
        }
    }

    /// What is kept under a name.
    ///
    /// # Errors
    /// If there is something that cannot be trusted.
    pub fn find(&self, name: &Name) -> Result<Option<Vec<u8>>, CacheError> {
        let path = self.path(name);
        let Some((file, mut bytes)) = read(&path, CODE_BYTES as u64 + NATIVE_BYTES)? else {
            return Ok(None);
        };
        self.check_folder()?;
        let Some(key) = self.key()? else {
            return Err(CacheError::Changed(path));
        };
        let verified = bytes
            .split_first_chunk::<CODE_BYTES>()
            // Compares in constant time.
            .is_some_and(|(code, native)| key.mac(name, native).verify_slice(code).is_ok());
        if !verified {
            return Err(CacheError::Changed(path));
        }
        // By this it is known what was used last. If it is not, something else goes first.
        let _ = file.set_modified(SystemTime::now());
        bytes.drain(..CODE_BYTES);
        Ok(Some(bytes))
    }

    /// Keeps native code under a name, in place of what is there.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&self, name: &Name, native: &[u8]) -> Result<(), CacheError> {
        self.make_folder()?;
        let key = match self.key() {
            Ok(Some(key)) => key,
            Ok(None) | Err(CacheError::Unsafe { .. } | CacheError::Changed(_)) => self.new_key()?,
            Err(error) => return Err(error),
        };
        let code = key.mac(name, native).finalize().into_bytes();
        self.write(&self.path(name), &[&code, native])?;
        self.make_room()
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.folder.join(&name.0)
    }

    fn make_folder(&self) -> Result<(), CacheError> {
        let failed = |reason| system(&self.folder, reason);
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true).mode(0o700);
        folder.create(&self.folder).map_err(failed)?;
        if let Err(CacheError::Unsafe { .. }) = self.check_folder() {
            // If it is another one's this is refused.
            fs::set_permissions(&self.folder, Permissions::from_mode(0o700)).map_err(failed)?;
        }
        self.check_folder()
    }

    fn check_folder(&self) -> Result<(), CacheError> {
        let found = fs::symlink_metadata(&self.folder);
        let found = found.map_err(|reason| system(&self.folder, reason))?;
        if !found.is_dir() {
            return Err(untrusted(&self.folder, "is no folder"));
        }
        check_owner(&self.folder, &found)
    }

    /// None if there is none.
    fn key(&self) -> Result<Option<Key>, CacheError> {
        let path = self.folder.join(KEY);
        let Some((_, bytes)) = read(&path, KEY_BYTES as u64)? else {
            return Ok(None);
        };
        let key = <[u8; KEY_BYTES]>::try_from(bytes);
        key.map(|key| Some(Key(key)))
            .map_err(|_| CacheError::Changed(path))
    }

    /// In place of the one before, if there is one: then all that was written with that is not trusted any more.
    fn new_key(&self) -> Result<Key, CacheError> {
        let path = self.folder.join(KEY);
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key)
            .map_err(|error| system(&path, io::Error::other(error.to_string())))?;
        self.write(&path, &[&key])?;
        Ok(Key(key))
    }

    /// Writes all or nothing. What a power failure leaves of it is recognised by its code.
    fn write(&self, path: &Path, parts: &[&[u8]]) -> Result<(), CacheError> {
        let write = || {
            // The file is made with mode 0600.
            let mut file = NamedTempFile::new_in(&self.folder)?;
            for part in parts {
                file.write_all(part)?;
            }
            file.persist(path)?;
            Ok(())
        };
        write().map_err(|reason: io::Error| system(path, reason))
    }

    /// Removes what was not used for longest until there is no more than there may be, and what was not written to its end with it.
    fn make_room(&self) -> Result<(), CacheError> {
        let failed = |reason| system(&self.folder, reason);
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name() == KEY {
                continue;
            }
            let found = entry.metadata().map_err(failed)?;
            let used = found.modified().map_err(failed)?;
            files.push((used, found.len(), entry.path()));
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, size, path) in files {
            if bytes <= self.most_bytes {
                break;
            }
            fs::remove_file(&path).map_err(|reason| system(&path, reason))?;
            bytes = bytes.saturating_sub(size);
        }
        Ok(())
    }
}

struct Key([u8; KEY_BYTES]);

impl Key {
    /// Over all that decides what a file is used for.
    fn mac(&self, name: &Name, native: &[u8]) -> Hmac<Sha256> {
        Hmac::<Sha256>::new(&self.0.into())
            .chain_update(PURPOSE)
            .chain_update(&name.0)
            .chain_update(b"\n")
            .chain_update(native)
    }
}

/// Reads a file that only this user can have written; none if there is none.
fn read(path: &Path, most_bytes: u64) -> Result<Option<(File, Vec<u8>)>, CacheError> {
    let failed = |reason| system(path, reason);
    // Neither what it points to nor what waits for a writer.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(untrusted(path, "is no file"));
    }
    check_owner(path, &found)?;
    if found.len() > most_bytes {
        return Err(CacheError::Changed(path.to_owned()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or_default());
    let whole = (&mut file).take(most_bytes).read_to_end(&mut bytes);
    whole.map_err(failed)?;
    Ok(Some((file, bytes)))
}

fn check_owner(path: &Path, found: &fs::Metadata) -> Result<(), CacheError> {
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != own {
        let found = format!(
            "belongs to user {}, not to this process (user {own})",
            found.uid()
        );
        return Err(untrusted(path, &found));
    }
    if found.mode() & OTHERS != 0 {
        let found = format!(
            "has the mode {:o}, so that others reach it",
            found.mode() & 0o777
        );
        return Err(untrusted(path, &found));
    }
    Ok(())
}

fn untrusted(path: &Path, found: &str) -> CacheError {
    CacheError::Unsafe {
        path: path.to_owned(),
        found: found.to_owned(),
    }
}

fn system(path: &Path, reason: io::Error) -> CacheError {
    CacheError::System {
        path: path.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests;
