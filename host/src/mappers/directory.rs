//! Reads a directory of mappers, modules and texts: plain files, or as the kubelet mounts a ConfigMap.
//!
//! The kubelet writes all files of a ConfigMap into a new directory and swaps the link `..data` to it; no file is ever
//! written in place. Elsewhere one may be half written, or another one, while it is read: then all are read again.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

/// What the name of a module's file ends with.
const MODULE: &str = ".wasm";
/// What the name of a text's file ends with.
const TEXT: &str = ".mapper.yaml";
/// The link that the kubelet swaps.
const DATA: &str = "..data";
/// More modules in one directory are a mistake.
pub const MODULES: usize = 64;
/// A larger module is refused. Such of a language with a run-time of its own have some 12 MB.
pub const MODULE_BYTES: u64 = 32 << 20;
/// A larger text is refused; so much fits into a ConfigMap.
pub const TEXT_BYTES: u64 = 1 << 20;
/// All modules of a directory together.
pub const DIRECTORY_BYTES: u64 = 128 << 20;
/// Names become labels of metrics.
const NAME_BYTES: usize = 63;
/// So often a directory that changes meanwhile is read before it is left for later.
const ATTEMPTS: usize = 5;

/// What there was in a directory at one time.
#[derive(Debug, Default)]
pub struct Listing {
    /// By name.
    pub modules: Vec<Module>,
    /// What was left out, and why.
    pub troubles: Vec<String>,
    /// By which it can be told that nothing has changed since.
    pub stamp: Stamp,
}

/// A module.
#[derive(Debug)]
pub struct Module {
    /// The file's name without its extension.
    pub name: String,
    /// What it is.
    pub form: Form,
    /// The file, as a person would look for it.
    pub path: PathBuf,
    /// SHA-256 of the bytes, 64 lower-case hexadecimal digits.
    pub digest: String,
    /// What was hashed.
    pub bytes: Vec<u8>,
}

/// What a mapper is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A WebAssembly component.
    Component,
    /// A text that our own interpreter reads.
    Declarative,
}

impl Form {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Declarative => "declarative",
        }
    }

    /// The file of a mapper of this name.
    #[must_use]
    pub fn file(self, name: &str) -> String {
        let end = match self {
            Self::Component => MODULE,
            Self::Declarative => TEXT,
        };
        format!("{name}{end}")
    }

    /// By the name of a file, and what is left of that without its end.
    fn of(file_name: &str) -> Option<(Self, &str)> {
        let declarative = file_name.strip_suffix(TEXT);
        let component = || file_name.strip_suffix(MODULE);
        declarative
            .map(|name| (Self::Declarative, name))
            .or_else(|| component().map(|name| (Self::Component, name)))
    }

    const fn most_bytes(self) -> u64 {
        match self {
            Self::Component => MODULE_BYTES,
            Self::Declarative => TEXT_BYTES,
        }
    }
}

/// Which files there are and of when they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Where they are, links resolved.
    root: PathBuf,
    files: Vec<(String, [u64; 3], [i64; 4])>,
}

/// A directory cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The system does not let us.
    #[error("the directory {} cannot be read: {reason}; what was loaded from it stays in use", path.display())]
    Unreadable {
        /// The directory, or a file in it.
        path: PathBuf,
        /// Why not.
        reason: io::Error,
    },
    /// Somebody writes into it.
    #[error("the directory {} changes while it is read; it is read again soon", .0.display())]
    Changing(PathBuf),
    /// There is too much in it.
    #[error(
        "the directory {} holds {found} modules, and {MODULES} is the most: nothing of it is taken; what was loaded from it before stays in use",
        path.display()
    )]
    TooMany {
        /// The directory.
        path: PathBuf,
        /// How many there are.
        found: usize,
    },
    /// Its modules are too large together.
    #[error(
        "the modules in the directory {} have {found} bytes together, and {DIRECTORY_BYTES} is the most: nothing of it is taken; what was loaded from it before stays in use",
        path.display()
    )]
    TooLarge {
        /// The directory.
        path: PathBuf,
        /// Bytes of all its modules.
        found: u64,
    },
}

/// Reads all modules of a directory as of one time; none if that is as it was before.
///
/// # Errors
/// If it cannot be read, or there is too much in it.
pub fn read(directory: &Path, before: &Stamp) -> Result<Option<Listing>, ReadError> {
    let mut outcome = Err(ReadError::Changing(directory.to_owned()));
    for _ in 0..ATTEMPTS {
        outcome = read_once(directory, before);
        let again = match &outcome {
            Err(ReadError::Changing(_)) => true,
            // A swap has taken away what was being read.
            Err(ReadError::Unreadable { reason, .. }) => reason.kind() == ErrorKind::NotFound,
            _ => false,
        };
        if !again {
            break;
        }
    }
    outcome
}

fn read_once(directory: &Path, before: &Stamp) -> Result<Option<Listing>, ReadError> {
    let (stamp, files) = stamp(directory)?;
    if stamp == *before {
        return Ok(None);
    }
    let mut listing = Listing {
        stamp,
        ..Listing::default()
    };
    if files.len() > MODULES {
        return Err(ReadError::TooMany {
            path: directory.to_owned(),
            found: files.len(),
        });
    }
    let found = files.iter().map(|file| file.metadata.len()).sum();
    if found > DIRECTORY_BYTES {
        return Err(ReadError::TooLarge {
            path: directory.to_owned(),
            found,
        });
    }
    for file in files {
        let path = directory.join(&file.file_name);
        let module = module(&path, &file.path, file.metadata.len());
        let module = module.map_err(|reason| ReadError::Unreadable { path, reason })?;
        let is_known =
            |known: &&Module| Ok(&known.name) == module.as_ref().map(|found| &found.name);
        let known = listing.modules.iter().find(is_known);
        let known = known.map(|known| known.path.display().to_string());
        match (module, known) {
            (Ok(module), None) => listing.modules.push(module),
            (Ok(module), Some(known)) => listing.troubles.push(format!(
                "the module {} is not taken: {known} is of that name, too",
                module.path.display()
            )),
            (Err(trouble), _) => listing.troubles.push(trouble),
        }
    }
    let (after, _) = self::stamp(directory)?;
    if after != listing.stamp {
        return Err(ReadError::Changing(directory.to_owned()));
    }
    Ok(Some(listing))
}

/// Reads one file as if it were in a directory of mappers.
///
/// # Errors
/// If it would not be taken; says why.
pub fn single(path: &Path) -> Result<Module, String> {
    let unreadable = |reason| format!("{} cannot be read: {reason}", path.display());
    let metadata = fs::metadata(path).map_err(unreadable)?;
    module(path, path, metadata.len()).map_err(unreadable)?
}

/// The module in a file, which is shown by another path than that it is read by; or why it is not taken.
fn module(shown: &Path, path: &Path, length: u64) -> io::Result<Result<Module, String>> {
    let file_name = shown.file_name().unwrap_or_default().to_string_lossy();
    let (form, name) = match Form::of(&file_name) {
        Some((form, name)) if is_name(name) => (form, name),
        _ => {
            return Ok(Err(format!(
                "the module {} is not taken: its name must be 1 to {NAME_BYTES} letters, digits, hyphens, dots and underscores before {MODULE} or {TEXT}",
                shown.display()
            )));
        }
    };
    let most = form.most_bytes();
    if length > most {
        return Ok(Err(format!(
            "the module {} is not taken: it has {length} bytes, and {most} is the most",
            shown.display(),
        )));
    }
    let bytes = content(path)?;
    Ok(Ok(Module {
        name: name.to_owned(),
        form,
        digest: hex::encode(Sha256::digest(&bytes)),
        path: shown.to_owned(),
        bytes,
    }))
}

/// What is in a file; not much more of it than there may be, should it grow meanwhile.
fn content(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path)?;
    file.take(MODULE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file that may be a module.
struct File {
    file_name: String,
    path: PathBuf,
    metadata: Metadata,
}

/// What there is now, by file name.
fn stamp(directory: &Path) -> Result<(Stamp, Vec<File>), ReadError> {
    let unreadable = |path: &Path, reason| ReadError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let data = directory.join(DATA);
    // Resolved once: what is read below it belongs together, whatever the link says then.
    let root = match fs::canonicalize(&data) {
        Ok(root) => root,
        Err(error) if error.kind() == ErrorKind::NotFound && !data.is_symlink() => {
            fs::canonicalize(directory).map_err(|reason| unreadable(directory, reason))?
        }
        Err(reason) => return Err(unreadable(&data, reason)),
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(&root).map_err(|reason| unreadable(directory, reason))? {
        let entry = entry.map_err(|reason| unreadable(directory, reason))?;
        let path = entry.path();
        let file_name = entry.file_name().to_string_lossy().into_owned();
        if file_name.starts_with('.') || Form::of(&file_name).is_none() {
            continue;
        }
        let metadata = fs::metadata(&path).map_err(|reason| unreadable(&path, reason))?;
        if metadata.is_file() {
            files.push(File {
                file_name,
                path,
                metadata,
            });
        }
    }
    files.sort_by(|left, right| left.file_name.cmp(&right.file_name));
    let stamps = files.iter().map(|file| {
        let of = &file.metadata;
        (
            file.file_name.clone(),
            [of.dev(), of.ino(), of.len()],
            [of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()],
        )
    });
    let stamp = Stamp {
        root,
        files: stamps.collect(),
    };
    Ok((stamp, files))
}

/// Whether a mapper may be called so.
fn is_name(name: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(valid)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(listing: &Listing) -> Vec<&str> {
        let modules = listing.modules.iter();
        modules.map(|module| module.name.as_str()).collect()
    }

    fn listed(directory: &Path) -> Listing {
        read(directory, &Stamp::default()).unwrap().unwrap()
    }

    #[test]
    fn plain_files_are_modules_by_their_names() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.wasm", "a.wasm", "notes.txt", ".hidden.wasm", "ü.wasm"] {
            fs::write(directory.path().join(name), name).unwrap();
        }
        fs::create_dir(directory.path().join("folder.wasm")).unwrap();
        let listing = listed(directory.path());
        assert_eq!(names(&listing), ["a", "b"]);
        assert_eq!(listing.modules[0].bytes, b"a.wasm");
        assert_eq!(
            listing.modules[0].digest,
            hex::encode(Sha256::digest("a.wasm"))
        );
        assert!(matches!(listing.troubles.as_slice(), [trouble] if trouble.contains("ü.wasm")));
        assert!(read(directory.path(), &listing.stamp).unwrap().is_none());
        fs::write(directory.path().join("b.wasm"), "another").unwrap();
        let listing = read(directory.path(), &listing.stamp).unwrap().unwrap();
        assert_eq!(listing.modules[1].bytes, b"another");
    }

    #[test]
    fn texts_stand_beside_modules_and_each_name_is_taken_once() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a.mapper.yaml", "a.wasm", "b.mapper.yaml", "c.yaml"] {
            fs::write(directory.path().join(name), name).unwrap();
        }
        let large = fs::File::create(directory.path().join("d.mapper.yaml")).unwrap();
        large.set_len(TEXT_BYTES + 1).unwrap();
        let listing = listed(directory.path());
        assert_eq!(names(&listing), ["a", "b"]);
        let forms = listing.modules.iter().map(|module| module.form);
        assert!(forms.into_iter().all(|form| form == Form::Declarative));
        let [first, second] = listing.troubles.as_slice() else {
            panic!("{:?}", listing.troubles);
        };
        assert!(
            first.contains("a.wasm") && first.contains("a.mapper.yaml"),
            "{first}"
        );
        assert!(second.contains("d.mapper.yaml"), "{second}");
    }

    #[test]
    fn a_config_map_is_read_by_its_link() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for (generation, module) in [("..1", "first"), ("..2", "second")] {
            fs::create_dir(path.join(generation)).unwrap();
            fs::write(path.join(generation).join("m.wasm"), module).unwrap();
        }
        symlink("..1", path.join(DATA)).unwrap();
        symlink("..data/m.wasm", path.join("m.wasm")).unwrap();
        let listing = listed(path);
        assert_eq!(listing.modules[0].bytes, b"first");
        assert_eq!(listing.modules[0].path, path.join("m.wasm"));
        symlink("..2", path.join("..next")).unwrap();
        fs::rename(path.join("..next"), path.join(DATA)).unwrap();
        let listing = read(path, &listing.stamp).unwrap().unwrap();
        assert_eq!(listing.modules[0].bytes, b"second");
        fs::remove_dir_all(path.join("..2")).unwrap();
        let error = read(path, &listing.stamp).unwrap_err();
        assert!(error.to_string().contains("stays in use"), "{error}");
    }

    #[test]
    fn too_much_is_refused_and_said() {
        let directory = tempfile::tempdir().unwrap();
        for number in 0..1_000 {
            fs::write(directory.path().join(format!("{number}.wasm")), "").unwrap();
        }
        let error = read(directory.path(), &Stamp::default()).unwrap_err();
        assert!(
            matches!(error, ReadError::TooMany { found: 1_000, .. }),
            "{error}"
        );
        let directory = tempfile::tempdir().unwrap();
        let large = fs::File::create(directory.path().join("large.wasm")).unwrap();
        large.set_len(MODULE_BYTES + 1).unwrap();
        let listing = listed(directory.path());
        assert!(listing.modules.is_empty());
        assert!(listing.troubles[0].contains("is the most"));
        large.set_len(DIRECTORY_BYTES + 1).unwrap();
        let error = read(directory.path(), &Stamp::default()).unwrap_err();
        assert!(matches!(error, ReadError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn what_is_written_meanwhile_is_read_as_of_one_time() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m.wasm");
        fs::write(&path, [1; 1 << 16]).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for byte in (1..=200_u8).cycle() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let temporary = directory.path().join("next");
                    fs::write(&temporary, vec![byte; 1 << 16]).unwrap();
                    fs::rename(&temporary, &path).unwrap();
                }
            });
            for _ in 0..50 {
                match read(directory.path(), &Stamp::default()) {
                    Ok(listing) => {
                        let module = &listing.unwrap().modules[0].bytes;
                        assert!(module.iter().all(|byte| *byte == module[0]));
                    }
                    Err(error) => assert!(matches!(error, ReadError::Changing(_)), "{error}"),
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
