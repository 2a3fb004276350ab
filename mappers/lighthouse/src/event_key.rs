//! How a webhook and the jobs that it triggers find each other.
//!
//! A webhook knows the provider's GUID; Lighthouse copies it to the label `event-GUID` of each job: lighthouse
//! `pkg/jobutil/jobutil.go`, `pkg/plugins/trigger/push.go`. Where there is none, or one that is not of this delivery,
//! what both sides know of the change stands in for it.

use span_mapper_sdk::EventKey;
use span_mapper_sdk::contract::{Change, Delivery, Push};

use crate::provider;

/// What a webhook or a job says of its event.
#[derive(Clone, Debug, Default)]
pub struct Event<'e> {
    /// Owner of the repository; may hold slashes.
    pub owner: &'e str,
    /// Name of the repository.
    pub name: &'e str,
    /// Addresses of the repository.
    pub addresses: [&'e str; 3],
    /// The provider's GUID.
    pub guid: &'e str,
    /// Number and head commit of the pull request.
    pub change: Option<(u64, &'e str)>,
    /// Reference and head commit of a push.
    pub push: Option<(&'e str, &'e str)>,
}

/// The key of an event; `None` if nothing tells it from others.
pub fn of(event: &Event<'_>) -> Option<EventKey> {
    if event.owner.is_empty() || event.name.is_empty() {
        return None;
    }
    let repository = [event.owner, "/", event.name].concat().to_lowercase();
    if !event.guid.is_empty() && provider::has_delivery_ids(event.addresses) {
        return Some(EventKey::Delivery(Delivery {
            repository,
            guid: event.guid.to_owned(),
        }));
    }
    if let Some((number, revision)) = event.change {
        return is_commit(revision).then(|| {
            EventKey::Change(Change {
                repository,
                number,
                revision: revision.to_owned(),
            })
        });
    }
    let (reference, revision) = event.push?;
    let reference = short(reference);
    (is_commit(revision) && !reference.is_empty()).then(|| {
        EventKey::Push(Push {
            repository,
            reference: reference.to_owned(),
            revision: revision.to_owned(),
        })
    })
}

/// Name of a branch or tag. A job knows no more of its reference than this, so that a webhook must not either.
pub fn short(reference: &str) -> &str {
    ["refs/heads/", "refs/tags/"]
        .iter()
        .find_map(|prefix| reference.strip_prefix(prefix))
        .unwrap_or(reference)
}

/// Whether a revision is one: git writes nothing but zeros where there is no commit.
pub fn is_commit(revision: &str) -> bool {
    revision.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event<'static> {
        Event {
            owner: "Acme",
            name: "Shop",
            addresses: ["https://github.com/Acme/Shop", "", ""],
            guid: "g",
            change: Some((7, "abc")),
            push: None,
        }
    }

    #[test]
    fn a_delivery_goes_first() {
        assert_eq!(
            of(&event()),
            Some(EventKey::Delivery(Delivery {
                repository: "acme/shop".to_owned(),
                guid: "g".to_owned()
            }))
        );
    }

    #[test]
    fn without_a_delivery_the_change_is_the_key() {
        let change = Some(EventKey::Change(Change {
            repository: "acme/shop".to_owned(),
            number: 7,
            revision: "abc".to_owned(),
        }));
        assert_eq!(
            of(&Event {
                guid: "",
                ..event()
            }),
            change
        );
        let cloud = Event {
            addresses: ["", "https://bot@bitbucket.org/Acme/Shop.git", ""],
            ..event()
        };
        assert_eq!(of(&cloud), change);
    }

    #[test]
    fn a_push_is_keyed_by_the_short_reference() {
        let push = |reference| {
            of(&Event {
                guid: "",
                change: None,
                push: Some((reference, "abc")),
                ..event()
            })
        };
        assert!(
            matches!(push("refs/heads/a/b"), Some(EventKey::Push(push)) if push.reference == "a/b")
        );
        assert_eq!(push("refs/heads/main"), push("main"));
        assert_eq!(push("refs/tags/v1"), push("v1"));
        assert_eq!(push(""), None);
    }

    #[test]
    fn what_tells_nothing_is_no_key() {
        let nothing = Event {
            guid: "",
            change: None,
            ..event()
        };
        assert_eq!(of(&nothing), None);
        assert_eq!(
            of(&Event {
                name: "",
                ..event()
            }),
            None
        );
        let deleted = Event {
            push: Some(("refs/heads/x", "0000000000000000000000000000000000000000")),
            ..nothing
        };
        assert_eq!(of(&deleted), None);
        let unknown = Event {
            guid: "",
            change: Some((7, "")),
            push: Some(("main", "abc")),
            ..event()
        };
        assert_eq!(of(&unknown), None);
    }
}
