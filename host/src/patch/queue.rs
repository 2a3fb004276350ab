//! Which object is patched next: one entry an object, urgent ones first, those that failed after a pause.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lighthouse_telemetry_core::index::Annotate;
use lighthouse_telemetry_core::object::ObjectReference;
use tokio::sync::Notify;
use tokio::time::Instant;

/// An object whose turn it is.
#[derive(Clone, Debug)]
pub struct Job {
    /// What to set.
    pub annotate: Annotate,
    /// Attempts, this one included.
    pub attempts: u32,
    /// How many of them conflicted.
    pub conflicts: u32,
    /// When it was first queued.
    pub since: Instant,
}

/// A bounded queue.
#[derive(Debug)]
pub struct Queue {
    capacity: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// By all of the reference: a uid may be that of two objects.
    entries: HashMap<Arc<ObjectReference>, Entry>,
    /// May name an entry that has moved on since: it is then skipped.
    urgent: VecDeque<Arc<ObjectReference>>,
    patient: VecDeque<Arc<ObjectReference>>,
    paused: BTreeMap<(Instant, u64), Arc<ObjectReference>>,
    pauses: u64,
}

#[derive(Debug)]
struct Entry {
    job: Job,
    place: Place,
    /// What came while the object was being patched.
    next: Option<Annotate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Urgent,
    Patient,
    Paused,
    Taken,
}

impl State {
    fn enqueue(&mut self, object: &Arc<ObjectReference>) {
        let Some(entry) = self.entries.get_mut(object) else {
            return;
        };
        if entry.job.annotate.urgent {
            entry.place = Place::Urgent;
            self.urgent.push_back(Arc::clone(object));
        } else {
            entry.place = Place::Patient;
            self.patient.push_back(Arc::clone(object));
        }
    }

    fn end_pauses(&mut self, now: Instant) {
        while let Some(first) = self.paused.first_entry() {
            if first.key().0 > now {
                break;
            }
            let object = first.remove();
            self.enqueue(&object);
        }
    }

    fn in_place(&self, object: &ObjectReference, place: Place) -> bool {
        self.entries
            .get(object)
            .is_some_and(|entry| entry.place == place)
    }

    /// The first that is still where the queue says; takes those before it away.
    fn front(&mut self, place: Place) -> Option<Arc<ObjectReference>> {
        loop {
            let queue = match place {
                Place::Urgent => &mut self.urgent,
                _ => &mut self.patient,
            };
            let object = Arc::clone(queue.front()?);
            if self.in_place(&object, place) {
                return Some(object);
            }
            match place {
                Place::Urgent => self.urgent.pop_front(),
                _ => self.patient.pop_front(),
            };
        }
    }

    fn next(&mut self) -> Option<Arc<ObjectReference>> {
        self.front(Place::Urgent)
            .or_else(|| self.front(Place::Patient))
    }
}

impl Queue {
    /// A queue for so many objects.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Queues annotations, or joins them to those that wait; gives them back if the queue is full.
    pub fn push(&self, annotate: Annotate) -> Result<(), Box<Annotate>> {
        let mut state = self.state();
        let object = Arc::new(annotate.object.clone());
        let full = state.entries.len() >= self.capacity;
        match state.entries.get_mut(&object) {
            None if full => return Err(Box::new(annotate)),
            None => {
                let job = Job {
                    annotate,
                    attempts: 0,
                    conflicts: 0,
                    since: Instant::now(),
                };
                let entry = Entry {
                    job,
                    place: Place::Patient,
                    next: None,
                };
                state.entries.insert(Arc::clone(&object), entry);
                state.enqueue(&object);
            }
            Some(entry) if entry.place == Place::Taken => match &mut entry.next {
                Some(next) => join(next, annotate),
                next @ None => *next = Some(annotate),
            },
            Some(entry) => {
                join(&mut entry.job.annotate, annotate);
                if entry.place == Place::Patient && entry.job.annotate.urgent {
                    state.enqueue(&object);
                }
            }
        }
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits until there is an object to be patched.
    pub async fn ready(&self) {
        loop {
            let pause_ends = {
                let mut state = self.state();
                state.end_pauses(Instant::now());
                if state.next().is_some() {
                    return;
                }
                state.paused.keys().next().map(|(end, _)| *end)
            };
            match pause_ends {
                Some(end) => tokio::select! {
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep_until(end) => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    /// The object whose turn it is, if there is one. Must be followed by [`Self::done`] or [`Self::again`].
    pub fn take(&self) -> Option<Job> {
        let mut state = self.state();
        let object = state.next()?;
        let entry = state.entries.get_mut(&object)?;
        entry.place = Place::Taken;
        entry.job.attempts += 1;
        let job = entry.job.clone();
        let more = state.next().is_some();
        drop(state);
        if more {
            // The notification that came with it may have been this worker's.
            self.changed.notify_one();
        }
        Some(job)
    }

    /// The object is done with, unless more has come for it.
    pub fn done(&self, object: &ObjectReference) {
        let mut state = self.state();
        let next = state
            .entries
            .get_mut(object)
            .and_then(|entry| entry.next.take());
        match next {
            None => {
                state.entries.remove(object);
            }
            Some(annotate) => {
                if let Some(entry) = state.entries.get_mut(object) {
                    entry.job = Job {
                        annotate,
                        attempts: 0,
                        conflicts: 0,
                        since: Instant::now(),
                    };
                }
                state.enqueue(&Arc::new(object.clone()));
                drop(state);
                self.changed.notify_one();
            }
        }
    }

    /// The object is to be tried again at this time.
    pub fn again(&self, object: &ObjectReference, at: Instant, conflicts: u32) {
        let mut state = self.state();
        state.pauses += 1;
        let place = (at, state.pauses);
        if let Some(entry) = state.entries.get_mut(object) {
            entry.place = Place::Paused;
            entry.job.conflicts = conflicts;
            if let Some(next) = entry.next.take() {
                join(&mut entry.job.annotate, next);
            }
            state.paused.insert(place, Arc::new(object.clone()));
        }
        drop(state);
        self.changed.notify_one();
    }

    /// How many objects wait or are being patched.
    pub fn len(&self) -> usize {
        self.state().entries.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newer value of a key holds.
fn join(into: &mut Annotate, newer: Annotate) {
    into.urgent |= newer.urgent;
    into.annotations
        .retain(|(key, _)| newer.annotations.iter().all(|(other, _)| other != key));
    into.annotations.extend(newer.annotations);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lighthouse_telemetry_core::object::{GroupKind, ObjectReference};

    use super::*;

    fn annotate(uid: &str, key: &str, value: &str, urgent: bool) -> Annotate {
        Annotate {
            object: ObjectReference {
                kind: GroupKind {
                    group: "".into(),
                    kind: "Pod".into(),
                },
                version: "v1".into(),
                namespace: Some("jx".into()),
                name: uid.into(),
                uid: uid.into(),
            },
            annotations: vec![(key.into(), value.into())],
            urgent,
        }
    }

    fn object(uid: &str) -> ObjectReference {
        annotate(uid, "", "", false).object
    }

    fn take(queue: &Queue) -> Option<String> {
        queue.take().map(|job| job.annotate.object.uid.to_string())
    }

    #[test]
    fn urgent_ones_go_first_and_each_object_once() {
        let queue = Queue::new(10);
        for (uid, urgent) in [("a", false), ("b", false), ("c", true), ("b", true)] {
            queue.push(annotate(uid, "k", "v", urgent)).expect("room");
        }
        assert_eq!(queue.len(), 3);
        let order: Vec<_> = std::iter::from_fn(|| take(&queue)).collect();
        assert_eq!(order, ["c", "b", "a"]);
        assert_eq!(queue.len(), 3);
        for uid in order {
            queue.done(&object(&uid));
        }
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn two_objects_of_one_uid_are_two() {
        let queue = Queue::new(10);
        let mut other = annotate("a", "k", "2", false);
        other.object.name = "other".into();
        queue.push(annotate("a", "k", "1", false)).expect("room");
        queue.push(other.clone()).expect("room");
        let jobs = [queue.take(), queue.take()].map(|job| job.expect("a job").annotate);
        assert_eq!(jobs, [annotate("a", "k", "1", false), other]);
    }

    #[test]
    fn what_comes_during_a_patch_waits_for_the_next_one() {
        let queue = Queue::new(10);
        queue.push(annotate("a", "k", "1", false)).expect("room");
        assert!(queue.take().is_some());
        queue.push(annotate("a", "k", "2", false)).expect("room");
        queue.push(annotate("a", "l", "3", false)).expect("room");
        assert!(queue.take().is_none());
        queue.done(&object("a"));
        let job = queue.take().expect("a job");
        assert_eq!(
            job.annotate.annotations,
            [("k".into(), "2".into()), ("l".into(), "3".into())]
        );
        assert_eq!(job.attempts, 1);
    }

    #[test]
    fn a_full_queue_gives_back_what_it_cannot_take() {
        let queue = Queue::new(1);
        queue.push(annotate("a", "k", "1", false)).expect("room");
        queue
            .push(annotate("a", "l", "1", false))
            .expect("the same object");
        let refused = queue.push(annotate("b", "k", "1", true));
        assert_eq!(refused, Err(Box::new(annotate("b", "k", "1", true))));
    }

    #[tokio::test]
    async fn what_failed_waits_for_its_time_and_takes_newer_values_along() {
        let queue = Queue::new(10);
        queue.push(annotate("a", "k", "1", false)).expect("room");
        assert!(queue.take().is_some());
        let start = Instant::now();
        queue.again(&object("a"), start + Duration::from_millis(50), 0);
        queue.push(annotate("a", "k", "2", true)).expect("room");
        assert!(queue.take().is_none());
        queue.ready().await;
        assert!(start.elapsed() >= Duration::from_millis(50));
        let job = queue.take().expect("a job");
        assert_eq!(job.annotate.annotations, [("k".into(), "2".into())]);
        assert_eq!(job.attempts, 2);
    }
}
