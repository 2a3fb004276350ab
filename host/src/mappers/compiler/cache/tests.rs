use std::os::unix::fs::{chown, symlink};
use std::time::Duration;

use super::*;

fn name(number: u64) -> Name {
    Name::of(&"a".repeat(64), number)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A cache with this under the first name.
fn with(native: &[u8]) -> (tempfile::TempDir, Cache) {
    let state = tempfile::tempdir().unwrap();
    let cache = Cache::new(state.path());
    cache.keep(&name(1), native).unwrap();
    (state, cache)
}

#[test]
fn what_is_kept_is_found_under_its_name_alone() {
    let state = tempfile::tempdir().unwrap();
    let state_directory = state.path().join("not/there/yet");
    let cache = Cache::new(&state_directory);
    assert_eq!(cache.find(&name(1)).unwrap(), None);
    assert!(!state_directory.exists());
    cache.keep(&name(1), b"one").unwrap();
    cache.keep(&name(2), b"").unwrap();
    // The next process of this plugin.
    let cache = Cache::new(&state_directory);
    assert_eq!(cache.find(&name(1)).unwrap().unwrap(), b"one");
    assert_eq!(cache.find(&name(2)).unwrap().unwrap(), b"");
    assert_eq!(cache.find(&name(3)).unwrap(), None);
    cache.keep(&name(1), b"other").unwrap();
    assert_eq!(cache.find(&name(1)).unwrap().unwrap(), b"other");
}

#[test]
fn names_tell_components_and_engines_apart() {
    let names = [
        Name::of("a", 1),
        Name::of("a", 2),
        Name::of("b", 1),
        Name::of("b", 2),
    ];
    for (place, name) in names.iter().enumerate() {
        assert!(!names[..place].contains(name), "{name:?}");
        assert_eq!(name.0.len(), 64);
    }
    assert_eq!(Name::of("a", 1), names[0]);
}

#[test]
fn nobody_else_reads_or_writes_it() {
    let (_state, cache) = with(b"code");
    assert_eq!(mode(&cache.folder), 0o700);
    assert_eq!(mode(&cache.path(&name(1))), 0o600);
    assert_eq!(mode(&cache.folder.join(KEY)), 0o600);
    let key = fs::read(cache.folder.join(KEY)).unwrap();
    let (_other_state, other) = with(b"code");
    assert_eq!(key.len(), KEY_BYTES);
    assert_ne!(key, fs::read(other.folder.join(KEY)).unwrap());
}

#[test]
fn whatever_is_changed_in_a_file_is_seen() {
    let (_state, cache) = with(b"native code");
    let path = cache.path(&name(1));
    let written = fs::read(&path).unwrap();
    assert_eq!(written.len(), CODE_BYTES + b"native code".len());
    let is_refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        matches!(cache.find(&name(1)), Err(CacheError::Changed(changed)) if changed == path)
    };
    for place in 0..written.len() {
        let mut bytes = written.clone();
        for bit in 0..8 {
            bytes[place] ^= 1 << bit;
            assert!(is_refused(&bytes), "bit {bit} of byte {place}");
        }
        assert!(is_refused(&written[..place]), "{place} bytes");
    }
    assert!(is_refused(&[&written[..], &[0]].concat()));
    assert!(!is_refused(&written));
}

#[test]
fn code_under_another_name_or_of_another_plugin_is_not_used() {
    let (_state, cache) = with(b"code");
    fs::copy(cache.path(&name(1)), cache.path(&name(2))).unwrap();
    assert!(matches!(cache.find(&name(2)), Err(CacheError::Changed(_))));
    let (_other_state, other) = with(b"code");
    fs::copy(other.path(&name(1)), cache.path(&name(1))).unwrap();
    assert!(matches!(cache.find(&name(1)), Err(CacheError::Changed(_))));
    cache.keep(&name(1), b"code").unwrap();
    assert_eq!(cache.find(&name(1)).unwrap().unwrap(), b"code");
}

#[test]
fn what_others_reach_is_not_used_until_it_is_written_anew() {
    for widened in ["", KEY, &name(1).0] {
        let (_state, cache) = with(b"code");
        let path = cache.folder.join(widened);
        let key = fs::read(cache.folder.join(KEY)).unwrap();
        set_mode(&path, mode(&path) | 0o020);
        let error = cache.find(&name(1)).unwrap_err();
        assert!(matches!(error, CacheError::Unsafe { .. }), "{error}");
        assert!(error.to_string().contains("others reach it"), "{error}");
        cache.keep(&name(1), b"code").unwrap();
        assert_eq!(mode(&path) & OTHERS, 0, "{widened}");
        assert_eq!(cache.find(&name(1)).unwrap().unwrap(), b"code");
        // Who has read a key could use it.
        let is_new = fs::read(cache.folder.join(KEY)).unwrap() != key;
        assert_eq!(is_new, widened == KEY);
    }
}

#[test]
fn a_key_that_is_none_is_replaced_and_what_was_written_with_it_is_not_used() {
    for key in [
        None,
        Some(&b""[..]),
        Some(&[1; KEY_BYTES - 1]),
        Some(&[1; KEY_BYTES + 1]),
    ] {
        let (_state, cache) = with(b"one");
        cache.keep(&name(2), b"two").unwrap();
        let path = cache.folder.join(KEY);
        match key {
            Some(key) => fs::write(&path, key).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        assert!(cache.find(&name(1)).is_err());
        cache.keep(&name(1), b"one").unwrap();
        assert_eq!(cache.find(&name(1)).unwrap().unwrap(), b"one");
        assert!(cache.find(&name(2)).is_err());
    }
}

#[test]
fn links_and_folders_are_no_files() {
    let (state, cache) = with(b"code");
    let path = cache.path(&name(1));
    let elsewhere = state.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert!(cache.find(&name(1)).is_err());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(cache.find(&name(1)).is_err());
    fs::remove_dir(&path).unwrap();
    fs::rename(&elsewhere, &path).unwrap();
    assert!(cache.find(&name(1)).unwrap().is_some());
    // The folder is somewhere else.
    fs::rename(&cache.folder, &elsewhere).unwrap();
    symlink(&elsewhere, &cache.folder).unwrap();
    assert!(cache.find(&name(1)).is_err());
    assert!(cache.keep(&name(1), b"code").is_err());
}

#[test]
fn a_file_of_another_user_is_not_used() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = if chown(file.path(), Some(1), None).is_ok() {
        file.path()
    } else {
        // Only root may give files away, and this one is root's.
        Path::new("/etc/passwd")
    };
    let found = fs::metadata(path).unwrap();
    let error = check_owner(path, &found).unwrap_err().to_string();
    assert!(error.contains("belongs to user"), "{error}");
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let (_state, mut cache) = with(&[1; 100]);
    let sizes = 3 * (100 + CODE_BYTES as u64);
    cache.most_bytes = sizes;
    let used = |number: u64, seconds: u64| {
        let file = File::options().append(true).open(cache.path(&name(number)));
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        file.unwrap().set_modified(time).unwrap();
    };
    cache.keep(&name(2), &[2; 100]).unwrap();
    // What was left half written goes too.
    fs::write(cache.folder.join(".tmp1"), [0; 100 + CODE_BYTES]).unwrap();
    let left = File::options()
        .append(true)
        .open(cache.folder.join(".tmp1"));
    left.unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    used(1, 1);
    used(2, 2);
    cache.keep(&name(3), &[3; 100]).unwrap();
    assert!(!cache.folder.join(".tmp1").exists());
    let there = || [1, 2, 3, 4].map(|number| cache.path(&name(number)).exists());
    assert_eq!(there(), [true, true, true, false]);
    assert!(cache.find(&name(1)).unwrap().is_some());
    cache.keep(&name(4), &[4; 100]).unwrap();
    assert_eq!(there(), [true, false, true, true]);
    assert!(cache.find(&name(4)).unwrap().is_some());
}

#[test]
fn a_place_that_cannot_be_written_is_an_error_that_names_it() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("file");
    fs::write(&file, "").unwrap();
    let cache = Cache::new(&file);
    let error = cache.keep(&name(1), b"code").unwrap_err().to_string();
    assert!(error.contains("file/compiled"), "{error}");
    assert!(cache.find(&name(1)).is_err());
}
