//! Directories as the kubelet makes them of ConfigMaps, and modules that differ from others.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// A ConfigMap as the kubelet mounts it: its files are links through `..data`, which is a link to the directory that has them.
#[derive(Debug)]
pub struct Mount {
    directory: TempDir,
    generation: u32,
}

impl Mount {
    /// One with nothing in it.
    ///
    /// # Errors
    /// If the system gives no directory.
    pub fn new() -> Result<Self> {
        let mut mount = Self {
            directory: tempfile::tempdir()?,
            generation: 0,
        };
        mount.swap(&[])?;
        Ok(mount)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Another content, all at once, in the steps of the kubelet's `AtomicWriter`: a new directory, to which `..data` is
    /// swapped; links for files that are new, none for those that are gone; the directory before is removed. When `..data` was
    /// swapped.
    ///
    /// # Errors
    /// If the system does not let us.
    pub fn swap(&mut self, files: &[(&str, &[u8])]) -> Result<Instant> {
        let path = self.directory.path();
        let before = path.join(format!("..{}", self.generation));
        self.generation += 1;
        let name = format!("..{}", self.generation);
        fs::create_dir(path.join(&name))?;
        for (file, bytes) in files {
            fs::write(path.join(&name).join(file), bytes)?;
        }
        symlink(&name, path.join("..data_tmp"))?;
        fs::rename(path.join("..data_tmp"), path.join("..data"))?;
        let swapped = Instant::now();
        for (file, _) in files {
            if !path.join(file).is_symlink() {
                symlink(format!("..data/{file}"), path.join(file))?;
            }
        }
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let there = entry.file_name();
            let there = there.to_string_lossy();
            if !there.starts_with("..") && !files.iter().any(|(file, _)| *file == there) {
                fs::remove_file(entry.path())?;
            }
        }
        if before.exists() {
            fs::remove_dir_all(before)?;
        }
        Ok(swapped)
    }
}

/// A module with another text of the same length in the place of one of its own, so that it is valid and another one.
///
/// # Errors
/// If that text is not in it, or the other is not as long.
pub fn renamed(module: &[u8], from: &str, to: &str) -> Result<Vec<u8>> {
    ensure!(from.len() == to.len(), "'{to}' is not as long as '{from}'");
    let mut renamed = module.to_vec();
    let windows = module.windows(from.len()).enumerate();
    let places: Vec<usize> = windows
        .filter(|(_, window)| *window == from.as_bytes())
        .map(|(place, _)| place)
        .collect();
    ensure!(!places.is_empty(), "the module has no '{from}'");
    for place in places {
        let there = renamed.get_mut(place..place + to.len());
        there
            .context("beyond the module")?
            .copy_from_slice(to.as_bytes());
    }
    Ok(renamed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(mount: &Mount) -> Vec<(String, String)> {
        let entries = fs::read_dir(mount.path()).unwrap().map(Result::unwrap);
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        let mut files: Vec<_> = names
            .filter(|name| !name.starts_with(".."))
            .map(|name| {
                let text = fs::read_to_string(mount.path().join(&name)).unwrap();
                (name, text)
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn a_swap_leaves_what_was_asked_for_and_nothing_else() {
        let text = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let mut mount = Mount::new().unwrap();
        assert_eq!(content(&mount), []);
        mount.swap(&[("a", b"1"), ("b", b"1")]).unwrap();
        assert_eq!(content(&mount), [text("a", "1"), text("b", "1")]);
        mount.swap(&[("b", b"2"), ("c", b"2")]).unwrap();
        assert_eq!(content(&mount), [text("b", "2"), text("c", "2")]);
        let entries = fs::read_dir(mount.path()).unwrap().count();
        assert_eq!(entries, 4, "..data, what it leads to, and two links");
    }

    #[test]
    fn each_place_is_renamed() {
        assert_eq!(renamed(b"ab-ab", "ab", "cd").unwrap(), b"cd-cd");
        assert!(renamed(b"ab", "abc", "def").is_err());
        assert!(renamed(b"ab", "ab", "c").is_err());
    }
}
