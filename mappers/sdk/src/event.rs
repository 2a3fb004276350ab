//! Events of core/v1 as Kubernetes components write them about an object.
//!
//! Sources: kubernetes `staging/src/k8s.io/client-go/tools/record/event.go` (names), `tools/events/event_recorder.go`
//! (`eventTime` alone is set), `api/core/v1/types.go`.

use crate::contract::{ObjectSource, Precision, Timestamp};
use crate::read::{Integer, Text, Time};
use crate::record;
use crate::scan;

/// All that [`Event`] reads: the fields of an attachment.
pub const FIELDS: [&str; 15] = [
    "/metadata/name",
    "/metadata/creationTimestamp",
    "/involvedObject/fieldPath",
    "/reason",
    "/message",
    "/source/component",
    "/source/host",
    "/reportingComponent",
    "/reportingInstance",
    "/firstTimestamp",
    "/lastTimestamp",
    "/eventTime",
    "/series",
    "/count",
    "/type",
];

record! {
    /// An Event.
    pub struct Event<'a> {
        /// How often, in Events of the older kind.
        pub count: Integer = "count",
        /// When it happened first, to the microsecond; only in Events of the newer kind.
        pub time: Time = "eventTime",
        /// When it happened first, to the second.
        pub first: Time = "firstTimestamp",
        /// What it is about.
        pub involved: Involved<'a> = "involvedObject",
        /// When it happened last, to the second.
        pub last: Time = "lastTimestamp",
        /// What happened, for people. Differs between versions of Kubernetes.
        pub message: Text<'a> = "message",
        /// Who the Event is; its name holds its time.
        pub metadata: EventMetadata<'a> = "metadata",
        /// What happened, in CamelCase.
        pub reason: Text<'a> = "reason",
        /// Who says so, in Events of the newer kind.
        pub reporting_component: Text<'a> = "reportingComponent",
        /// Which instance says so.
        pub reporting_instance: Text<'a> = "reportingInstance",
        /// How often, in Events of the newer kind.
        pub series: Series = "series",
        /// Who says so, in Events of the older kind.
        pub source: EventSource<'a> = "source",
        /// `Normal` or `Warning`.
        pub kind: Text<'a> = "type",
    }

    /// The part of an Event's metadata that tells something.
    pub struct EventMetadata<'a> {
        /// When the API server took it in.
        pub created: Time = "creationTimestamp",
        /// `<object>.<nanoseconds since the epoch, hexadecimal>`; some write a UUID.
        pub name: Text<'a> = "name",
    }

    /// What an Event is about.
    pub struct Involved<'a> {
        /// The part of the object, such as `spec.containers{build}`.
        pub field_path: Text<'a> = "fieldPath",
    }

    /// Who wrote an Event of the older kind.
    pub struct EventSource<'a> {
        /// `kubelet`, `default-scheduler`, …
        pub component: Text<'a> = "component",
        /// The node.
        pub host: Text<'a> = "host",
    }

    /// Repetitions of an Event of the newer kind.
    pub struct Series {
        /// How often.
        pub count: Integer = "count",
        /// When last.
        pub last: Time = "lastObservedTime",
    }
}

/// Events about objects of a kind.
#[must_use]
pub fn about(kind: &str) -> ObjectSource {
    ObjectSource::new("", ["v1"], "Event").with_fields(&format!("involvedObject.kind={kind}"))
}

impl Event<'_> {
    /// When it happened for the first time, as exactly as can be told: `eventTime`; else the time in the name, if
    /// it lies within about a second of `firstTimestamp`; else that second; else when the API server took it in.
    #[must_use]
    pub fn started(&self) -> Option<Timestamp> {
        if let Some(time) = self.time.get() {
            return Some(time);
        }
        let Some(first) = self.first.get() else {
            return self.last.get().or(self.metadata.created.get());
        };
        Some(
            self.time_in_name()
                .filter(|time| {
                    // A second is cut off, not rounded: the name may lie up to one after it.
                    let earlier = first.minus(1_000_000_000).nanoseconds;
                    let later = first.nanoseconds.saturating_add(2_000_000_000);
                    (earlier..later).contains(&time.nanoseconds)
                })
                .unwrap_or(first),
        )
    }

    /// When it happened for the last time.
    #[must_use]
    pub fn ended(&self) -> Option<Timestamp> {
        let last = self.series.last.get().or(self.last.get());
        match (self.started(), last) {
            // The second of the only occurrence says less than what is known of the first.
            (Some(first), Some(last)) if last.covers(first) => Some(first),
            (Some(first), Some(last)) => Some(first.latest(last)),
            (first, last) => first.or(last),
        }
    }

    /// How often it happened, at least once.
    #[must_use]
    pub fn occurrences(&self) -> i64 {
        self.series
            .count
            .get()
            .or(self.count.get())
            .unwrap_or(1)
            .max(1)
    }

    /// The component that says so.
    #[must_use]
    pub fn component(&self) -> &str {
        self.source
            .component
            .get()
            .unwrap_or(self.reporting_component.as_str())
    }

    /// The node, or other host, of the component.
    #[must_use]
    pub fn host(&self) -> &str {
        self.source
            .host
            .get()
            .unwrap_or(self.reporting_instance.as_str())
    }

    /// The container it is about: the name in `spec.containers{name}` and the like.
    #[must_use]
    pub fn container(&self) -> Option<&str> {
        let path = self.involved.field_path.as_str().strip_suffix('}')?;
        let name = path.get(scan::find(path.as_bytes(), 0, [b'{'; 2]) + 1..)?;
        Some(name).filter(|name| !name.is_empty())
    }

    fn time_in_name(&self) -> Option<Timestamp> {
        let mut nanoseconds = 0;
        for (place, byte) in self.metadata.name.as_str().bytes().rev().enumerate() {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' | b'A'..=b'F' => (byte | 0x20) - b'a' + 10,
                b'.' if place > 0 => {
                    return Some(Timestamp {
                        nanoseconds,
                        precision: Precision::Nanosecond,
                    });
                }
                _ => return None,
            };
            // Sixteen digits are 64 bits.
            nanoseconds |= u64::from(digit).checked_shl(4 * u32::try_from(place).ok()?)?;
        }
        None
    }
}

/// Place of a reason in the life of a Pod, to order Events of the same time.
#[must_use]
pub fn rank(reason: &str) -> u8 {
    match reason {
        "FailedScheduling" => 0,
        "Scheduled" => 1,
        "SuccessfulAttachVolume" | "FailedAttachVolume" | "FailedMount" => 2,
        "Pulling" => 3,
        "Pulled" => 4,
        "Created" => 5,
        "Started" => 6,
        "Killing" => 8,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read;

    fn event(json: &str) -> Event<'_> {
        let (event, odd) = read::parse::<Event>(json).unwrap();
        assert_eq!(odd, []);
        event
    }

    // 1_700_000_000 s = 2023-11-14T22:13:20Z = 0x17979cfe362a0000 ns
    const NAME: &str = "p.17979cfe362a0001";

    #[test]
    fn the_time_is_as_exact_as_can_be_told() {
        let text = format!(
            r#"{{"metadata":{{"name":"{NAME}"}},"firstTimestamp":"2023-11-14T22:13:20Z","lastTimestamp":"2023-11-14T22:13:20Z"}}"#
        );
        let named = event(&text);
        let exact = Timestamp::nanoseconds(1_700_000_000_000_000_001);
        assert_eq!(named.started(), Some(exact));
        assert_eq!(named.ended(), Some(exact));

        let text = text.replace("22:13:20Z", "22:23:20Z");
        let far = event(&text).started().unwrap();
        assert_eq!(far, Timestamp::parse("2023-11-14T22:23:20Z").unwrap());
        assert_eq!(far.precision, Precision::Second);

        let newer = event(
            r#"{"metadata":{"name":"p.17979cfe362a0001"},"firstTimestamp":null,"eventTime":"2023-11-14T22:13:21.000002Z"}"#,
        );
        assert_eq!(
            newer.started(),
            Timestamp::parse("2023-11-14T22:13:21.000002Z")
        );
    }

    #[test]
    fn a_name_with_a_uuid_holds_no_time() {
        let uuid = event(
            r#"{"metadata":{"name":"p.0b1e6f3a-1c7e-4d4e-8f55-0c6a5f9d8b7e"},"firstTimestamp":"2023-11-14T22:13:20Z"}"#,
        );
        assert_eq!(uuid.started(), Timestamp::parse("2023-11-14T22:13:20Z"));
    }

    #[test]
    fn repetitions_end_later() {
        let repeated = event(
            r#"{"firstTimestamp":"2023-11-14T22:13:20Z","lastTimestamp":"2023-11-14T22:14:20Z","count":4}"#,
        );
        assert_eq!(repeated.ended(), Timestamp::parse("2023-11-14T22:14:20Z"));
        assert_eq!(repeated.occurrences(), 4);
        let series = event(
            r#"{"eventTime":"2023-11-14T22:13:20.5Z","series":{"count":3,"lastObservedTime":"2023-11-14T22:15:20.5Z"}}"#,
        );
        assert_eq!(series.ended(), Timestamp::parse("2023-11-14T22:15:20.5Z"));
        assert_eq!(series.occurrences(), 3);
    }

    #[test]
    fn the_container_is_named_by_the_field_path() {
        let text = r#"{"involvedObject":{"fieldPath":"spec.initContainers{prepare}"},"reportingComponent":"kubelet","reportingInstance":"node-1"}"#;
        let event = event(text);
        assert_eq!(event.container(), Some("prepare"));
        assert_eq!(event.component(), "kubelet");
        assert_eq!(event.host(), "node-1");
    }
}
