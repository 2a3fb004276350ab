//! Follows kinds in namespaces, and tells of all of them through one channel.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::SelectAll;
use lighthouse_telemetry_core::description::ObjectSource;
use lighthouse_telemetry_core::object::GroupKind;
use tokio::sync::mpsc;

use crate::config::Namespaces;
use crate::kinds::{KindError, Kinds, reason};
use crate::watch::{Settings, Told, told};

/// So much is told before it is written.
const WAITING: usize = 256;

/// Of which kind something is told, and in which of the namespaces: by their places.
pub(super) type Place = (usize, usize);

/// Starts to follow these kinds, whatever their selectors. Ends when the receiver is dropped.
pub(super) fn follow(
    kinds: &Arc<Kinds>,
    sources: Vec<ObjectSource>,
    settings: &Settings,
) -> mpsc::Receiver<(Place, Told)> {
    let (tell, told) = mpsc::channel(WAITING);
    for (place, source) in sources.into_iter().enumerate() {
        let one = One {
            kinds: Arc::clone(kinds),
            source,
            settings: settings.clone(),
            place,
            tell: tell.clone(),
        };
        tokio::spawn(one.run());
    }
    told
}

/// A kind that is followed.
struct One {
    kinds: Arc<Kinds>,
    source: ObjectSource,
    settings: Settings,
    place: usize,
    tell: mpsc::Sender<(Place, Told)>,
}

impl One {
    async fn run(self) {
        let kind = GroupKind {
            group: self.source.group.as_str().into(),
            kind: self.source.kind.as_str().into(),
        };
        let mut pauses = crate::watch::pauses(self.settings.first_pause);
        loop {
            let found = self.kinds.first(&kind, &self.source.versions);
            let heard = match tokio::time::timeout(self.settings.answer, found).await {
                Ok(Ok(served)) => {
                    pauses = crate::watch::pauses(self.settings.first_pause);
                    self.tell(&served).await
                }
                Ok(Err(KindError::Absent)) => self.send(0, Told::Vanished).await,
                Ok(Err(KindError::Failed(error))) => {
                    self.send(0, Told::Failed(reason(&error))).await
                }
                Err(_) => {
                    let late = "it does not answer in time".to_owned();
                    self.send(0, Told::Failed(late)).await
                }
            };
            if !heard {
                return;
            }
            tokio::time::sleep(pauses.next().unwrap_or(crate::watch::LONGEST_PAUSE)).await;
        }
    }

    /// Tells until the kind is not served any more. Says whether anybody listens.
    async fn tell(&self, served: &crate::kinds::Served) -> bool {
        let namespaces: Vec<Option<&String>> = match &self.settings.namespaces {
            Namespaces::Only(names) if served.namespaced => names.iter().map(Some).collect(),
            _ => vec![None],
        };
        let mut streams = SelectAll::new();
        for (namespace, place) in namespaces.into_iter().zip(0..) {
            let client = self.kinds.client();
            let stream = told(
                client,
                served,
                namespace.map(String::as_str),
                &self.settings,
            );
            streams.push(stream.map(move |told| (place, told)).boxed());
        }
        while let Some((namespace, told)) = streams.next().await {
            let has_vanished = matches!(told, Told::Vanished);
            if !self.send(namespace, told).await {
                return false;
            }
            if has_vanished {
                break;
            }
        }
        true
    }

    async fn send(&self, namespace: usize, told: Told) -> bool {
        self.tell
            .send(((self.place, namespace), told))
            .await
            .is_ok()
    }
}
