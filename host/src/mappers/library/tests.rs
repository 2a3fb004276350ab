use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;

const ARGO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/argo-workflow.wasm"));
const TWELVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/twelve-fields.wasm"));

fn library(directories: &[&Path]) -> Library {
    let directories = directories.iter().map(|path| path.to_path_buf());
    Library::open(directories.collect(), Compiler::default(), Clock::system()).unwrap()
}

fn names(library: &Library) -> Vec<String> {
    let mappers = library.mappers().mappers.iter();
    mappers.map(|mapper| mapper.name().to_owned()).collect()
}

fn digest(library: &Library, name: &str) -> String {
    let mut mappers = library.mappers().mappers.iter();
    let mapper = mappers.find(|mapper| mapper.name() == name).unwrap();
    mapper.digest().to_owned()
}

const BUILT_IN: [&str; 4] = ["lighthouse", "tekton", "kubernetes", "jenkins-x"];

#[test]
fn modules_come_before_the_built_in_ones_and_replace_them_by_name() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(first.path().join("z.wasm"), TWELVE).unwrap();
    fs::write(second.path().join("tekton.wasm"), ARGO).unwrap();
    fs::write(second.path().join("a.wasm"), ARGO).unwrap();
    fs::write(second.path().join("z.wasm"), ARGO).unwrap();
    let library = library(&[first.path(), second.path()]);
    assert_eq!(
        names(&library),
        ["z", "a", "tekton", "lighthouse", "kubernetes", "jenkins-x"]
    );
    assert_eq!(digest(&library, "z"), hex::encode(sha2_of(TWELVE)));
    let troubles = library.report().troubles();
    assert!(
        matches!(troubles.as_slice(), [trouble] if trouble.contains("comes first")),
        "{troubles:?}"
    );
}

fn sha2_of(bytes: &[u8]) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).into()
}

#[test]
fn a_bad_module_never_replaces_a_good_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("argo-workflow.wasm");
    fs::write(&file, ARGO).unwrap();
    let mut library = library(&[directory.path()]);
    let good = digest(&library, "argo-workflow");
    let catalog = Arc::clone(&library.mappers().catalog);
    // Half of it, as somebody is writing it in place.
    for bad in [&ARGO[..ARGO.len() / 2], b"", b"no module"] {
        fs::write(&file, bad).unwrap();
        assert!(!library.reload());
        assert_eq!(digest(&library, "argo-workflow"), good);
        assert!(Arc::ptr_eq(&catalog, &library.mappers().catalog));
        let troubles = library.report().troubles();
        assert_eq!(troubles.len(), 1, "{troubles:?}");
    }
    assert_eq!(library.report().reloads()["refused"], 3);
    assert_eq!(library.report().refused(), ["argo-workflow"]);
    fs::write(&file, TWELVE).unwrap();
    assert!(library.reload());
    assert_ne!(digest(&library, "argo-workflow"), good);
    assert!(library.report().troubles().is_empty());
    fs::remove_file(&file).unwrap();
    assert!(library.reload());
    assert_eq!(names(&library), BUILT_IN);
}

#[test]
fn a_bad_module_in_place_of_a_built_in_one_leaves_that_in_use() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("tekton.wasm"), "no module").unwrap();
    let library = library(&[directory.path()]);
    assert_eq!(names(&library), BUILT_IN);
    assert_eq!(library.report().refused(), ["tekton"]);
    assert!(Mappers::strictly(vec![directory.path().to_owned()], Compiler::default()).is_err());
}

#[test]
fn what_does_not_change_is_not_loaded_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("a.wasm"), ARGO).unwrap();
    let mut library = library(&[path]);
    let mapper = |library: &Library| Arc::clone(&library.mappers().mappers[0]);
    let before = mapper(&library);
    assert!(!library.reload());
    fs::write(path.join("b.wasm"), TWELVE).unwrap();
    assert!(library.reload());
    assert!(Arc::ptr_eq(&before, &mapper(&library)));
    // The same bytes in another file are the same mapper.
    fs::write(path.join("next"), ARGO).unwrap();
    fs::rename(path.join("next"), path.join("a.wasm")).unwrap();
    assert!(!library.reload());
    assert!(Arc::ptr_eq(&before, &mapper(&library)));
}

#[test]
fn a_directory_that_vanishes_leaves_in_use_what_was_in_it() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("mappers");
    let mut library = library(&[&directory]);
    assert_eq!(names(&library), BUILT_IN);
    assert!(library.report().troubles()[0].contains("cannot be read"));
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("a.wasm"), ARGO).unwrap();
    assert!(library.reload());
    assert_eq!(names(&library)[0], "a");
    assert!(library.report().troubles().is_empty());
    fs::remove_dir_all(&directory).unwrap();
    assert!(!library.reload());
    assert_eq!(names(&library)[0], "a");
    assert!(library.report().troubles()[0].contains("stays in use"));
    fs::create_dir(&directory).unwrap();
    assert!(library.reload());
    assert_eq!(names(&library), BUILT_IN);
}

#[test]
fn a_thousand_modules_leave_in_use_what_was_there_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("a.wasm"), ARGO).unwrap();
    let mut library = library(&[path]);
    let catalog = Arc::clone(&library.mappers().catalog);
    for number in 1..1_000 {
        fs::write(path.join(format!("{number}.wasm")), "").unwrap();
    }
    fs::write(path.join("0.wasm"), TWELVE).unwrap();
    assert!(!library.reload());
    assert!(Arc::ptr_eq(&catalog, &library.mappers().catalog));
    let troubles = library.report().troubles();
    assert!(troubles[0].contains("holds 1001 modules"), "{troubles:?}");
    for number in 1..1_000 {
        fs::remove_file(path.join(format!("{number}.wasm"))).unwrap();
    }
    assert!(library.reload());
    assert_eq!(names(&library)[..2], ["0", "a"]);
    assert!(library.report().troubles().is_empty());
}

#[test]
fn a_module_that_is_written_in_place_is_taken_once_it_is_whole() {
    use std::io::Write;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.wasm");
    fs::write(&path, TWELVE).unwrap();
    let mut library = library(&[directory.path()]);
    let before = digest(&library, "a");
    let mut file = fs::File::create(&path).unwrap();
    for part in ARGO.chunks(ARGO.len().div_ceil(3)) {
        assert_eq!(digest(&library, "a"), before);
        file.write_all(part).unwrap();
        library.reload();
    }
    assert_eq!(digest(&library, "a"), hex::encode(sha2_of(ARGO)));
    assert!(library.report().troubles().is_empty());
    assert_eq!(library.report().reloads()["refused"], 2);
}

#[test]
fn a_swap_of_a_config_map_is_one_reload() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    for (generation, modules) in [
        ("..1", [("a", ARGO), ("b", TWELVE)]),
        ("..2", [("b", ARGO), ("c", TWELVE)]),
    ] {
        fs::create_dir(path.join(generation)).unwrap();
        for (name, bytes) in modules {
            let file = path.join(generation).join(format!("{name}.wasm"));
            fs::write(file, bytes).unwrap();
        }
    }
    symlink("..1", path.join("..data")).unwrap();
    let mut library = library(&[path]);
    assert_eq!(names(&library)[..2], ["a", "b"]);
    let numbers = |library: &Library, name: &str| {
        let mut watches = library.mappers().catalog.watches_of(name);
        watches.next().unwrap()
    };
    let (a, b) = (numbers(&library, "a"), numbers(&library, "b"));
    symlink("..2", path.join("..next")).unwrap();
    fs::rename(path.join("..next"), path.join("..data")).unwrap();
    assert!(library.reload());
    assert_eq!(names(&library)[..2], ["b", "c"]);
    let catalog = &library.mappers().catalog;
    assert!(
        !catalog.knows(a) && !catalog.knows(b),
        "they watch other kinds"
    );
    let c = numbers(&library, "c");
    assert!(
        c.mapper > a.mapper.max(b.mapper),
        "numbers are not used twice"
    );
}

const TEXT: &str = "version: '7'\nkind: Thing\ngroup: example.com\nservice: Thing\nname: thing\nstart: object.status.started\n";

#[test]
fn texts_are_mappers_beside_modules() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("thing.mapper.yaml");
    fs::write(directory.path().join("z.wasm"), TWELVE).unwrap();
    fs::write(&file, TEXT).unwrap();
    let mut library = library(&[directory.path()]);
    assert_eq!(names(&library)[..2], ["thing", "z"]);
    let mapper = Arc::clone(&library.mappers().mappers[0]);
    assert_eq!(mapper.description().version, "7");
    assert_eq!(mapper.description().watches[0].fields, ["/status/started"]);
    let said = library
        .report()
        .to_json(&Default::default(), &Default::default());
    let forms = said["mappers"].as_array().unwrap().iter();
    let forms: Vec<_> = forms.map(|mapper| &mapper["form"]).take(3).collect();
    assert_eq!(forms, ["declarative", "component", "built-in"]);
    // A bad text never replaces a good one, and says where it is wrong.
    for (bad, place) in [
        (
            TEXT.replace("start:", "strat:"),
            "line 1, column 1: the key 'start' is missing",
        ),
        (
            TEXT.replace("object.s", "objekt.s"),
            "line 6, column 8: the name 'objekt' is not known",
        ),
        (
            TEXT.replace("object.s", "object..s"),
            "line 6, column 15: this is no CEL expression",
        ),
        (TEXT.replace("service:", "service: ["), "line 5, column "),
    ] {
        fs::write(&file, bad).unwrap();
        assert!(!library.reload());
        let troubles = library.report().troubles();
        let expected = format!("{}: {place}", file.display());
        assert!(
            matches!(troubles.as_slice(), [said] if said.starts_with(&expected)),
            "{troubles:?}"
        );
        assert!(Arc::ptr_eq(&mapper, &library.mappers().mappers[0]));
    }
    fs::write(&file, TEXT.replace("started", "begun")).unwrap();
    assert!(library.reload());
    let mapper = &library.mappers().mappers[0];
    assert_eq!(mapper.description().watches[0].fields, ["/status/begun"]);
    fs::write(&file, b"name: \xff").unwrap();
    assert!(!library.reload());
    assert!(library.report().troubles()[0].contains("it is not UTF-8 from byte 6 on"));
    fs::remove_file(&file).unwrap();
    assert!(library.reload());
    assert_eq!(names(&library)[0], "z");
}

#[test]
fn a_text_may_not_ask_for_more_than_a_module() {
    let directory = tempfile::tempdir().unwrap();
    let text = TEXT.replace("Thing\ngroup: example.com", "Secret");
    fs::write(directory.path().join("secret.mapper.yaml"), text).unwrap();
    let library = library(&[directory.path()]);
    assert!(library.report().troubles()[0].contains("it watches Secrets"));
}
