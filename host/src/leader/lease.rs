//! What is written into the Lease, and when: nothing here asks anybody, and time is an argument.
//!
//! Clocks of two machines are never compared. Whether a holder is alive is told by its Lease changing, and how long ago that
//! was by the own clock, as all of Kubernetes does it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use sha2::{Digest as _, Sha256};

/// Annotation of the Lease: where its holder takes webhooks from other replicas.
pub const ADDRESS: &str = "lighthouse-telemetry/webhooks-at";

/// Who wants the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Name of the Lease.
    pub name: String,
    /// Unlike that of any other process.
    pub identity: String,
    /// Where it takes webhooks from other replicas.
    pub address: String,
    /// How long the Lease holds without being renewed; whole seconds.
    pub duration: Duration,
}

/// What one who does not hold the Lease has seen of it.
#[derive(Debug, Default)]
pub struct Watcher {
    /// The version that was seen last, and when it was seen first.
    seen: Option<(String, Instant)>,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Write this.
    Take(Box<Lease>),
    /// Somebody holds it; at the earliest after this time nobody does.
    Wait(Duration),
}

/// Who holds the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its identity.
    pub identity: String,
    /// Where it takes webhooks, if it says so.
    pub address: Option<String>,
}

/// Which time of leadership: each has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Of which Lease: derived from its uid.
    pub lease: u64,
    /// How often the Lease has changed hands.
    pub number: u64,
}

impl Watcher {
    /// Judges the Lease as it was read just now; none if there is none.
    pub fn judge(&mut self, candidate: &Candidate, lease: Option<&Lease>, now: Instant) -> Verdict {
        let Some(lease) = lease else {
            return Verdict::Take(Box::new(candidate.taken(None)));
        };
        if holder(lease).is_none() {
            return Verdict::Take(Box::new(candidate.taken(Some(lease))));
        }
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => {
                self.seen = Some((version, now));
                now
            }
        };
        let left = duration(lease).saturating_sub(now.saturating_duration_since(since));
        if left.is_zero() {
            return Verdict::Take(Box::new(candidate.taken(Some(lease))));
        }
        Verdict::Wait(left)
    }
}

impl Candidate {
    /// How often the Lease is renewed, and looked at.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.duration / 3
    }

    /// One that did not get the Lease renewed for so long does not write any more: nobody else can have it yet.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.duration * 2 / 3
    }

    /// The Lease as it is when this one has got it.
    fn taken(&self, lease: Option<&Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let transitions = match lease {
            None => 0,
            Some(lease) => transitions(lease).saturating_add(1),
        };
        let mut taken = lease.cloned().unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            ..Lease::default()
        });
        taken.spec = Some(LeaseSpec {
            acquire_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        });
        self.renewed(&taken)
    }

    /// The Lease as it is when this one, which has it, has renewed it.
    #[must_use]
    pub fn renewed(&self, lease: &Lease) -> Lease {
        let mut lease = lease.clone();
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds =
            Some(i32::try_from(self.duration.as_secs()).unwrap_or(i32::MAX));
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        let annotations = lease.metadata.annotations.get_or_insert_default();
        annotations.insert(ADDRESS.to_owned(), self.address.clone());
        lease
    }

    /// The Lease as it is when this one has given it up.
    #[must_use]
    pub fn released(&self, lease: &Lease) -> Lease {
        let mut lease = lease.clone();
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = None;
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        if let Some(annotations) = &mut lease.metadata.annotations {
            annotations.remove(ADDRESS);
        }
        lease
    }
}

/// Who holds this Lease; none if it was given up. It may have run out.
#[must_use]
pub fn holder(lease: &Lease) -> Option<Holder> {
    let identity = lease.spec.as_ref()?.holder_identity.clone()?;
    let annotations: Option<&BTreeMap<_, _>> = lease.metadata.annotations.as_ref();
    (!identity.is_empty()).then(|| Holder {
        identity,
        address: annotations.and_then(|annotations| annotations.get(ADDRESS).cloned()),
    })
}

/// The term of the one who holds this Lease.
#[must_use]
pub fn term(lease: &Lease) -> Term {
    let uid = lease.metadata.uid.as_deref().unwrap_or_default();
    let bytes = Sha256::digest(uid);
    let number = bytes
        .iter()
        .take(8)
        .fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
    Term {
        lease: number,
        number: u64::try_from(transitions(lease)).unwrap_or_default(),
    }
}

impl Term {
    /// Whether nobody has led between the last term of a replica and this one of it.
    #[must_use]
    pub fn follows(&self, last: Option<Self>) -> bool {
        match last {
            Some(last) => {
                last.lease == self.lease && last.number.checked_add(1) == Some(self.number)
            }
            // The Lease was made for this term.
            None => self.number == 0,
        }
    }
}

fn transitions(lease: &Lease) -> i32 {
    let spec = lease.spec.as_ref();
    spec.and_then(|spec| spec.lease_transitions).unwrap_or(0)
}

/// What the holder has promised; one that has promised nothing has what is usual.
fn duration(lease: &Lease) -> Duration {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map_or(USUAL, Duration::from_secs)
}

/// Of Kubernetes' own components.
const USUAL: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    /// The API server, as far as a Lease goes: it takes what was made of the newest version only.
    #[derive(Default)]
    struct Server {
        lease: Option<Lease>,
        version: u32,
    }

    impl Server {
        fn write(&mut self, mut lease: Lease) -> Option<Lease> {
            let newest = self
                .lease
                .as_ref()
                .map(|lease| &lease.metadata.resource_version);
            let based_on = &lease.metadata.resource_version;
            if newest.unwrap_or(&None) != based_on {
                return None;
            }
            self.version += 1;
            lease.metadata.resource_version = Some(self.version.to_string());
            lease.metadata.uid = Some("uid-1".to_owned());
            self.lease = Some(lease.clone());
            Some(lease)
        }
    }

    struct Replica {
        candidate: Candidate,
        watcher: Watcher,
    }

    impl Replica {
        fn new(identity: &str) -> Self {
            Self {
                candidate: Candidate {
                    name: "lease".to_owned(),
                    identity: identity.to_owned(),
                    address: format!("{identity}:8080"),
                    duration: Duration::from_secs(15),
                },
                watcher: Watcher::default(),
            }
        }

        fn judge(&mut self, server: &Server, now: Instant) -> Verdict {
            let lease = server.lease.as_ref();
            self.watcher.judge(&self.candidate, lease, now)
        }

        /// Takes the Lease, which it can.
        fn take(&mut self, server: &mut Server, now: Instant) -> Lease {
            match self.judge(server, now) {
                Verdict::Take(lease) => server.write(*lease).expect("the newest version"),
                Verdict::Wait(left) => panic!("{left:?} are left"),
            }
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_that_is_renewed_stays_and_one_that_is_not_is_taken_when_it_has_run_out() {
        let (mut one, mut two) = (Replica::new("one"), Replica::new("two"));
        let mut server = Server::default();
        let start = Instant::now();
        let mut lease = one.take(&mut server, start);
        assert_eq!(term(&lease).number, 0);
        for period in 0..6 {
            let now = start + seconds(5 * period);
            let renewed = one.candidate.renewed(&lease);
            lease = server.write(renewed).expect("the newest version");
            assert_eq!(two.judge(&server, now), Verdict::Wait(seconds(15)));
        }
        let last = start + seconds(25);
        assert_eq!(
            two.judge(&server, last + seconds(14)),
            Verdict::Wait(seconds(1))
        );
        let taken = two.take(&mut server, last + seconds(15));
        let holder = holder(&taken).expect("a holder");
        assert_eq!(holder.identity, "two");
        assert_eq!(holder.address.as_deref(), Some("two:8080"));
        assert_eq!(term(&taken).number, 1);
        // What the first would write now is based on what is no longer there.
        assert_eq!(server.write(one.candidate.renewed(&lease)), None);
    }

    #[test]
    fn the_leader_stops_before_anybody_else_can_begin() {
        let (mut one, mut two) = (Replica::new("one"), Replica::new("two"));
        let mut server = Server::default();
        let asked = Instant::now();
        one.take(&mut server, asked);
        // The other sees it at the earliest when it was asked for.
        two.judge(&server, asked);
        let stopped = asked + one.candidate.patience();
        let Verdict::Wait(left) = two.judge(&server, stopped) else {
            panic!("the Lease is taken while its holder may write");
        };
        assert_eq!(left, one.candidate.period());
    }

    #[test]
    fn of_two_that_take_it_at_once_one_gets_it() {
        let (mut one, mut two) = (Replica::new("one"), Replica::new("two"));
        let mut server = Server::default();
        let now = Instant::now();
        let (Verdict::Take(first), Verdict::Take(second)) =
            (one.judge(&server, now), two.judge(&server, now))
        else {
            panic!("nobody holds it");
        };
        assert!(server.write(*first).is_some());
        assert!(server.write(*second).is_none());
        assert_eq!(two.judge(&server, now), Verdict::Wait(seconds(15)));
    }

    #[test]
    fn one_that_was_given_up_is_taken_at_once() {
        let (mut one, mut two) = (Replica::new("one"), Replica::new("two"));
        let mut server = Server::default();
        let now = Instant::now();
        let lease = one.take(&mut server, now);
        two.judge(&server, now);
        let released = server
            .write(one.candidate.released(&lease))
            .expect("the newest");
        assert_eq!(holder(&released), None);
        assert_eq!(term(&two.take(&mut server, now)).number, 1);
    }

    #[test]
    fn a_replica_goes_on_only_where_nobody_led_in_between() {
        let term = |lease, number| Term { lease, number };
        assert!(term(7, 0).follows(None));
        assert!(!term(7, 3).follows(None));
        assert!(term(7, 4).follows(Some(term(7, 3))));
        assert!(!term(7, 5).follows(Some(term(7, 3))));
        assert!(!term(8, 4).follows(Some(term(7, 3))));
        assert!(!term(8, 0).follows(Some(term(7, 3))));
    }
}
