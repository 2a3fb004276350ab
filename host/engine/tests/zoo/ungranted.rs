//! Mappers that are refused before they are asked anything: what they import, what they once were, what they want granted.

use lighthouse_telemetry_engine::{BadDescription, Code, LoadError};

use super::guest::{Guest, Watch};
use super::{ENGINE, INNOCENT, is_refused, nobody_else_is_hurt};

#[test]
fn other_imports_are_refused() {
    for import in [
        "wasi:filesystem/preopens@0.3.0",
        "wasi:clocks/monotonic-clock@0.1.0",
        "acme:host/everything",
    ] {
        let text = format!(
            r#"(component
                (import "{import}" (instance))
                (instance $i)
                (export "lighthouse:span-mapper/mapper@{}" (instance $i)))"#,
            INNOCENT.contract()
        );
        let error = ENGINE
            .load(
                "animal",
                Code::Component(&wat::parse_str(text).unwrap()),
                "",
            )
            .unwrap_err();
        assert!(
            matches!(&error, LoadError::ForeignImport(name) if name == import),
            "{error}"
        );
    }
}

#[test]
fn files_that_were_mappers_once() {
    let guest = Guest::new();
    let module = guest.module();
    let error = ENGINE.load("animal", Code::Component(&module), "");
    assert!(
        matches!(
            error,
            Err(LoadError::NotAComponent {
                found: "a core module"
            })
        ),
        "{error:?}"
    );
    let whole = guest.component();
    let half = &whole[..whole.len() / 2];
    let error = ENGINE.load("animal", Code::Component(half), "");
    assert!(
        matches!(error, Err(LoadError::Truncated { .. })),
        "{error:?}"
    );
    // Of a contract to come: as long, so that the file is valid with it in its place.
    let spoken = INNOCENT.contract();
    let future = spoken.replacen('0', "7", 1);
    let mut later = whole.clone();
    for at in 0..=later.len() - spoken.len() {
        if later[at..].starts_with(spoken.as_bytes()) {
            later[at..at + future.len()].copy_from_slice(future.as_bytes());
        }
    }
    let error = ENGINE.load("animal", Code::Component(&later), "");
    let unknown =
        matches!(&error, Err(LoadError::UnknownContract { found, .. }) if *found == future);
    assert!(unknown, "{error:?}");
    nobody_else_is_hurt();
}

#[test]
fn more_than_is_granted() {
    let asking = |watches: usize, watch: &Watch<'_>| {
        let mut guest = Guest::new();
        let watch = watch.put(&mut guest);
        guest.describe("1", &vec![watch; watches], false);
        match is_refused(&guest) {
            LoadError::Description(error) => error,
            other => panic!("{other}"),
        }
    };
    let pod = || Watch::of("Pod");
    assert_eq!(asking(1, &Watch::of("Secret")), BadDescription::Secrets);
    assert!(matches!(
        asking(1, &Watch::of("../../api/v1/secrets")),
        BadDescription::NotAName { what: "kind", .. }
    ));
    let foreign = Watch {
        annotations: &["iam.amazonaws.com/role"],
        ..pod()
    };
    assert!(matches!(
        asking(1, &foreign),
        BadDescription::Annotation { .. }
    ));
    let too_many = [
        (33, pod(), "watches"),
        (
            1,
            Watch {
                fields: 257,
                ..pod()
            },
            "fields in a watch",
        ),
        (
            1,
            Watch {
                attachments: 9,
                ..pod()
            },
            "attachments in a watch",
        ),
        (
            1,
            Watch {
                versions: 65,
                ..pod()
            },
            "versions of a kind",
        ),
        (
            1,
            Watch {
                annotations: &["lighthouse.jenkins-x.io/a"; 17],
                ..pod()
            },
            "annotations in a watch",
        ),
    ];
    for (watches, watch, wanted) in too_many {
        let error = asking(watches, &watch);
        assert!(
            matches!(error, BadDescription::TooMany { what, .. } if what == wanted),
            "{error}"
        );
    }
    let mut guest = Guest::new();
    guest.describe(&"1".repeat(2_000), &[], false);
    let error = is_refused(&guest);
    assert!(
        matches!(
            error,
            LoadError::Description(BadDescription::TooLong {
                what: "version",
                ..
            })
        ),
        "{error}"
    );
}
