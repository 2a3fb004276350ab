use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::clock::Clock;
use crate::mappers::Compiler;

const ARGO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/argo-workflow.wasm"));

/// The system tells; nobody looks.
fn patient() -> Settings {
    Settings {
        poll: Duration::from_secs(3_600),
        quiet: Duration::from_millis(10),
        ..Settings::default()
    }
}

/// Nobody tells in time; the directories are looked at.
fn looking() -> Settings {
    Settings {
        poll: Duration::from_millis(10),
        quiet: Duration::from_millis(1),
        ..Settings::default()
    }
}

fn names(generation: &Generation) -> Vec<String> {
    let watches = generation.catalog.watches();
    let mut names: Vec<String> = watches.map(|(_, name, _)| name.to_owned()).collect();
    names.dedup();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_is_in_use_as_soon_as_it_is_there_and_until_it_is_gone() {
    for settings in [patient(), looking()] {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("mappers");
        fs::create_dir_all(directory.join("..1")).unwrap();
        fs::create_dir_all(directory.join("..2")).unwrap();
        symlink("..1", directory.join("..data")).unwrap();
        let library = Library::open(
            vec![directory.clone()],
            Compiler::default(),
            Clock::system(),
        )
        .unwrap();
        let stop = CancellationToken::new();
        let (mut in_use, task) = watch(library, settings, stop.clone());
        let first = in_use.first().clone();
        assert!(!names(&first).contains(&"argo".to_owned()));
        fs::write(directory.join("..2/argo.wasm"), ARGO).unwrap();
        symlink("..2", directory.join("..next")).unwrap();
        fs::rename(directory.join("..next"), directory.join("..data")).unwrap();
        let second = in_use.other_than(&first).await;
        assert_eq!(names(&second)[0], "argo");
        symlink("..1", directory.join("..next")).unwrap();
        fs::rename(directory.join("..next"), directory.join("..data")).unwrap();
        let third = in_use.other_than(&second).await;
        assert_eq!(names(&third), names(&first));
        stop.cancel();
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_comes_later_is_found() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("mappers");
    let library = Library::open(
        vec![directory.clone()],
        Compiler::default(),
        Clock::system(),
    )
    .unwrap();
    let stop = CancellationToken::new();
    let (mut in_use, task) = watch(library, looking(), stop.clone());
    let first = in_use.first().clone();
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("argo.wasm"), ARGO).unwrap();
    let second = in_use.other_than(&first).await;
    assert_eq!(names(&second)[0], "argo");
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_again_while_it_is_loaded_is_loaded_again() {
    const TWELVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/twelve-fields.wasm"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let library = Library::open(vec![path.clone()], Compiler::default(), Clock::system()).unwrap();
    let report = library.report().clone();
    let stop = CancellationToken::new();
    let (mut in_use, task) = watch(library, looking(), stop.clone());
    let mut generation = in_use.first().clone();
    let writing = tokio::task::spawn_blocking(move || {
        for module in [ARGO, TWELVE].repeat(10) {
            fs::write(path.join("next"), module).unwrap();
            fs::rename(path.join("next"), path.join("a.wasm")).unwrap();
        }
        fs::write(path.join("b.wasm"), ARGO).unwrap();
    });
    writing.await.unwrap();
    while names(&generation).get(..2) != Some(&["a".to_owned(), "b".to_owned()]) {
        generation = in_use.other_than(&generation).await;
    }
    // Of all that there was for a moment the last is in use, and nothing was ever half of one and half of another.
    let kinds = |generation: &Generation| -> Vec<String> {
        let watches = generation.catalog.watches();
        let of_a = watches.filter(|(_, name, _)| *name == "a");
        of_a.map(|(.., kind)| kind.kind.to_string()).collect()
    };
    assert_eq!(kinds(&generation), ["Pod"]);
    assert!(report.refused().is_empty() && !report.reloads().contains_key("refused"));
    stop.cancel();
    task.await.unwrap();
}
