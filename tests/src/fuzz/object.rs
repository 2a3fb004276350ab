//! What an API server sends to watches.

use lighthouse_telemetry::watch;
use lighthouse_telemetry_core::time::Time;
use serde_json::Value;

use super::MAPPERS;
use crate::pure::Pure;
use crate::scenario::What;

/// More are not worth their time.
const OBJECTS: usize = 24;
/// When all of it happens: that of most scenarios.
const NOW: u64 = 1_772_445_600;

/// Lines of JSON, each of them an object; one after `-` was deleted. All are decoded as a watch of every source does it,
/// then taken into an index one after the other and mapped, and what comes of them is exported and rendered.
pub fn object(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut ground = Pure::new(&MAPPERS);
    let now = Time::from_nanoseconds(NOW * 1_000_000_000);
    ground.step_to(now).expect("nothing waits yet");
    for (place, line) in (1..).zip(text.lines().take(OBJECTS)) {
        let (deleted, line) = match line.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        for (source, _) in MAPPERS.catalog.sources() {
            let _ = watch::decode(line.as_bytes(), &MAPPERS.catalog, source);
        }
        let Ok(object) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let what = if deleted {
            What::Deleted(object)
        } else {
            What::Applied(object)
        };
        // One that cannot be used is refused, and the others are taken.
        let _ = ground.take(&what, place);
    }
    let outcome = ground.finish().expect("an end");
    assert_eq!(outcome.spans == 0, outcome.trace().is_empty());
}
