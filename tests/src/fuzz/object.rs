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

/// Lines of JSON, each of them an object; one after `-` was deleted. All are decoded as a watch of every source does it.
/// Those that say which object they are are then taken into an index one after the other and mapped, and what comes of
/// them is exported and rendered.
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
        let object = serde_json::from_str::<Value>(line).ok();
        let Some(object) = object.filter(is_named) else {
            continue;
        };
        let what = if deleted {
            What::Deleted(object)
        } else {
            What::Applied(object)
        };
        ground.take(&what, place).expect("it is taken");
    }
    let outcome = ground.finish().expect("an end");
    assert_eq!(outcome.spans == 0, outcome.trace().is_empty());
}

/// Whether the text says of which object it is, without which nothing is taken.
fn is_named(object: &Value) -> bool {
    let named = |pointer| {
        let text = object.pointer(pointer).and_then(Value::as_str);
        text.is_some_and(|text| !text.is_empty())
    };
    ["/apiVersion", "/kind", "/metadata/name", "/metadata/uid"]
        .into_iter()
        .all(named)
}
