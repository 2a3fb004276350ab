//! What all of Tekton's runs have in common.

use span_mapper_sdk::event::Event;
use span_mapper_sdk::object::{Condition, Metadata};
use span_mapper_sdk::read::Time;
use span_mapper_sdk::{Owner, Parent, Timestamp, time};

use crate::describe::GROUP;

/// The parents of a run that belongs to another of Tekton's, or to nobody.
pub fn parents(metadata: &Metadata<'_>) -> Vec<Parent> {
    match metadata.controller() {
        Some(owner) if owner.group() == GROUP => vec![Parent::Owner(Owner {
            group: Some(GROUP.to_owned()),
            kind: None,
            span: String::new(),
        })],
        // Something foreign made it, which may itself belong to something of ours.
        Some(_) => vec![Parent::Owner(Owner::any("")), Parent::own_root()],
        None => vec![Parent::own_root()],
    }
}

/// The latest time that is known of a run: its end, if it is deleted before it ends.
pub fn latest(
    metadata: &Metadata<'_>,
    status: impl IntoIterator<Item = Time>,
    conditions: &[Condition<'_>],
    events: &[(Timestamp, Event<'_>)],
) -> Timestamp {
    let own = [metadata.created, metadata.deleted];
    let times = own.into_iter().chain(status).map(Time::get);
    let conditions = conditions.iter().map(|condition| condition.changed.get());
    let events = events.iter().map(|(_, event)| event.ended());
    time::latest(times.chain(conditions).chain(events))
        .unwrap_or_else(|| metadata.created_or_epoch())
}

/// A name that many runs share: the first of these that there is, else the prefix from which the API server makes
/// names, else the kind.
pub fn name<'s, const N: usize>(
    candidates: [Option<&'s str>; N],
    metadata: &'s Metadata<'_>,
    kind: &'s str,
) -> &'s str {
    let prefix = metadata.generate_name.as_str().trim_end_matches('-');
    candidates
        .into_iter()
        .flatten()
        .chain([prefix])
        .find(|name| !name.is_empty())
        .unwrap_or(kind)
}
