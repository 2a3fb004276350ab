//! Which object is patched next: one entry an object, urgent ones first, those that failed after a pause. Those of a kind
//! that may not be patched wait until the first of them, tried again now and then, may be.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lighthouse_telemetry_core::index::Annotate;
use lighthouse_telemetry_core::object::{GroupKind, ObjectReference};
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
    /// By kind that may not be patched, its objects; the first is tried again.
    forbidden: BTreeMap<GroupKind, VecDeque<Arc<ObjectReference>>>,
    /// How many entries are in [`Place::Held`].
    held: usize,
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
    /// Until its kind may be patched.
    Held,
    Taken,
}

impl State {
    fn enqueue(&mut self, object: &Arc<ObjectReference>) {
        let Some(entry) = self.entries.get_mut(object) else {
            return;
        };
        self.held -= usize::from(entry.place == Place::Held);
        if entry.job.annotate.urgent {
            entry.place = Place::Urgent;
            self.urgent.push_back(Arc::clone(object));
        } else {
            entry.place = Place::Patient;
            self.patient.push_back(Arc::clone(object));
        }
    }

    /// After a burst, gives back what it took.
    fn shrink(&mut self) {
        /// As much may be kept for the next one.
        const LITTLE: usize = 256;
        if self.entries.is_empty() && self.entries.capacity() > LITTLE {
            self.entries.shrink_to(LITTLE);
            self.urgent.shrink_to(LITTLE);
            self.patient.shrink_to(LITTLE);
        }
    }

    fn end_pauses(&mut self, now: Instant) {
        while let Some(first) = self.paused.first_entry() {
            if first.key().0 > now {
                break;
            }
            let object = first.remove();
            // One whose kind may be patched again has gone on already.
            if self.in_place(&object, Place::Paused) || self.in_place(&object, Place::Held) {
                self.enqueue(&object);
            }
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
                state.shrink();
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

    /// The kind of the object may not be patched: it waits, and the first of its kind is tried again at this time. Those
    /// that have waited for too long by then are given back, and not queued any more.
    pub fn hold(
        &self,
        object: &ObjectReference,
        at: Instant,
        give_up: Duration,
    ) -> Vec<Arc<ObjectReference>> {
        let mut state = self.state();
        let state = &mut *state;
        let Some(entry) = state.entries.get_mut(object) else {
            return Vec::new();
        };
        entry.place = Place::Held;
        state.held += 1;
        if let Some(next) = entry.next.take() {
            join(&mut entry.job.annotate, next);
        }
        let kind = entry.job.annotate.object.kind.clone();
        let waiting = state.forbidden.entry(kind.clone()).or_default();
        match waiting.front() {
            Some(first) if **first == *object => {}
            None => waiting.push_back(Arc::new(object.clone())),
            Some(_) => {
                waiting.push_back(Arc::new(object.clone()));
                return Vec::new();
            }
        }
        let mut given_up = Vec::new();
        while let Some(first) = waiting.front() {
            match state.entries.get(first) {
                Some(entry) if entry.job.since.elapsed() < give_up => {
                    state.pauses += 1;
                    let place = (at, state.pauses);
                    state.paused.insert(place, Arc::clone(first));
                    break;
                }
                Some(_) => {
                    state.entries.remove(first);
                    state.held -= 1;
                    given_up.push(Arc::clone(first));
                }
                None => {}
            }
            waiting.pop_front();
        }
        if waiting.is_empty() {
            state.forbidden.remove(&kind);
        }
        self.changed.notify_one();
        given_up
    }

    /// How many objects of a kind wait until it may be patched.
    pub fn held(&self, kind: &GroupKind) -> usize {
        self.state().forbidden.get(kind).map_or(0, VecDeque::len)
    }

    /// The kind may be patched: what has waited for that goes on. Whether anything has.
    pub fn release(&self, kind: &GroupKind) -> bool {
        let mut state = self.state();
        let Some(waiting) = state.forbidden.remove(kind) else {
            return false;
        };
        for object in waiting {
            if state.in_place(&object, Place::Held) {
                state.enqueue(&object);
            }
        }
        drop(state);
        self.changed.notify_one();
        true
    }

    /// How many objects wait or are being patched, but for those that may not be patched.
    pub fn len(&self) -> usize {
        let state = self.state();
        state.entries.len() - state.held
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
    use lighthouse_telemetry_core::object::ObjectReference;

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

    #[tokio::test]
    async fn what_may_not_be_patched_waits_behind_the_first_of_its_kind() {
        let queue = Queue::new(10);
        for uid in ["a", "b", "c"] {
            queue.push(annotate(uid, "k", "1", false)).expect("room");
        }
        let soon = Instant::now() + Duration::from_millis(20);
        let late = Duration::from_secs(60);
        for uid in ["a", "b"] {
            assert_eq!(take(&queue).as_deref(), Some(uid));
            assert!(queue.hold(&object(uid), soon, late).is_empty());
        }
        assert_eq!(queue.len(), 1, "they do not keep others waiting");
        assert_eq!(take(&queue).as_deref(), Some("c"));
        queue.ready().await;
        assert_eq!(take(&queue).as_deref(), Some("a"));
        assert_eq!(take(&queue), None);
        let kind = annotate("a", "k", "1", false).object.kind;
        assert!(queue.release(&kind));
        assert!(!queue.release(&kind));
        assert_eq!(take(&queue).as_deref(), Some("b"));
        assert_eq!(queue.len(), 3);
    }

    #[test]
    fn what_may_not_be_patched_for_too_long_is_given_up() {
        let queue = Queue::new(10);
        for uid in ["a", "b"] {
            queue.push(annotate(uid, "k", "1", false)).expect("room");
            assert_eq!(take(&queue).as_deref(), Some(uid));
        }
        let (now, late) = (Instant::now(), Duration::from_secs(60));
        assert!(queue.hold(&object("a"), now, late).is_empty());
        assert!(queue.hold(&object("b"), now, late).is_empty());
        assert_eq!(take(&queue), None, "nobody has ended the pause yet");
        queue.state().end_pauses(now);
        assert_eq!(take(&queue).as_deref(), Some("a"));
        let given_up = queue.hold(&object("a"), now, Duration::ZERO);
        assert_eq!(given_up, [Arc::new(object("a")), Arc::new(object("b"))]);
        assert_eq!(queue.state().entries.len(), 0);
        assert_eq!(queue.len(), 0);
    }
}
