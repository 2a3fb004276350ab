//! What the API server tells of a kind, whole and as it is told: for who writes it down.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use kube::Client;
use kube::runtime::watcher::{self, Event};
use lighthouse_telemetry_core::projection::Projection;
use serde_json::Value;

use super::connection::{self, Limits};
use super::object::Raw;
use super::stream::{self, Item};
use super::{Settings, said};
use crate::kinds::Served;

/// Something that the API server tells.
#[derive(Debug)]
pub enum Told {
    /// A list begins.
    Begins,
    /// It has this object.
    Listed(Value),
    /// It has ended: what was not in it is gone.
    Complete,
    /// An object is like this now.
    Applied(Value),
    /// It is gone; this was its last state.
    Deleted(Value),
    /// It does not serve the kind any more.
    Vanished,
    /// It cannot be asked; that is tried again.
    Failed(String),
}

/// Lists and watches a kind for ever, in one namespace or in all.
pub fn told(
    client: Client,
    served: &Served,
    namespace: Option<&str>,
    settings: &Settings,
) -> impl Stream<Item = Told> + Send + use<> {
    let config = watcher::Config {
        page_size: Some(100),
        ..watcher::Config::default()
    };
    let limits = Limits {
        answer: settings.answer,
        silence: settings.silence,
    };
    let (client, notes) = connection::observed(client, limits);
    let api = served.api::<Raw>(client, namespace);
    let reads = Arc::new(Projection::whole());
    let items = stream::items(api, notes, config, settings.first_pause, reads);
    let served = served.clone();
    items.filter_map(move |item| {
        let told = one(item, &served);
        async move { told }
    })
}

fn one(item: Item, served: &Served) -> Option<Told> {
    let whole = |mut raw: Raw| {
        raw.complete(&served.resource);
        raw.value().clone()
    };
    Some(match item {
        Item::Event(Event::Init) => Told::Begins,
        Item::Event(Event::InitApply(raw)) => Told::Listed(whole(raw)),
        Item::Event(Event::InitDone) => Told::Complete,
        Item::Event(Event::Apply(raw)) => Told::Applied(whole(raw)),
        Item::Event(Event::Delete(raw)) => Told::Deleted(whole(raw)),
        Item::Following | Item::Silent | Item::Error(watcher::Error::WatchFailed(_)) => {
            return None;
        }
        Item::Error(error) => match said(&error) {
            (Some(403), _) => Told::Failed(format!(
                "add this rule to the role of who records: {}",
                served.rule(&["list", "watch"])
            )),
            (Some(404), _) => Told::Vanished,
            // What was missed comes with the list that follows.
            (Some(410), _) => return None,
            (_, text) => Told::Failed(text),
        },
    })
}
