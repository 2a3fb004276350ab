//! Faults on demand: what a real API server does on bad days, at the moment a test wants it.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, header};

use super::failure::Failure;

/// What to do instead of answering some requests.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Only requests of this method.
    pub method: Option<Method>,
    /// Only requests whose path and query contain this.
    pub path: String,
    /// How many of those requests; none: all until [`super::Server::heal`].
    pub times: Option<u32>,
    /// What happens to them.
    pub answer: Answer,
}

/// What happens to a request that meets a fault.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It is refused with a `Status` of this code and reason.
    Refuse(StatusCode, &'static str),
    /// It is one too many: to be sent again after so many seconds.
    TooMany(u32),
    /// It is refused unless it bears this token.
    Demand(String),
    /// It is answered as usual, but this much later.
    Delay(Duration),
    /// It is never answered, as on a connection whose other end is gone.
    Hang,
}

/// Names a fault, to count its hits and to end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultId(u64);

/// The faults in force.
#[derive(Debug, Default)]
pub(super) struct Faults {
    faults: BTreeMap<FaultId, Active>,
    next: u64,
}

#[derive(Debug)]
struct Active {
    fault: Fault,
    hits: u32,
    healed: bool,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) -> FaultId {
        let id = FaultId(self.next);
        self.next += 1;
        let active = Active {
            fault,
            hits: 0,
            healed: false,
        };
        self.faults.insert(id, active);
        id
    }

    pub(super) fn heal(&mut self, id: FaultId) {
        if let Some(active) = self.faults.get_mut(&id) {
            active.healed = true;
        }
    }

    pub(super) fn hits(&self, id: FaultId) -> u32 {
        self.faults.get(&id).map_or(0, |active| active.hits)
    }

    /// What happens to a request, if it meets a fault; the oldest fault goes first.
    pub(super) fn meet(&mut self, method: &Method, path: &str) -> Option<Answer> {
        let active = self.faults.values_mut().find(|active| {
            !active.healed
                && active.fault.times.is_none_or(|times| active.hits < times)
                && active
                    .fault
                    .method
                    .as_ref()
                    .is_none_or(|wanted| wanted == method)
                && path.contains(&active.fault.path)
        })?;
        active.hits += 1;
        Some(active.fault.answer.clone())
    }
}

impl Answer {
    pub(super) async fn carry_out(self, headers: &HeaderMap) -> Result<(), Failure> {
        match self {
            Self::Refuse(code, reason) => Err(Failure::new(
                code,
                reason,
                format!("the server was told to answer {}", code.as_u16()),
            )),
            Self::TooMany(seconds) => Err(Failure {
                retry_after: Some(seconds),
                ..Failure::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "TooManyRequests",
                    "the server has received too many requests and has asked us to try again later",
                )
            }),
            Self::Demand(token) => {
                let wanted = format!("Bearer {token}");
                match headers.get(header::AUTHORIZATION) {
                    Some(borne) if *borne == *wanted => Ok(()),
                    _ => Err(Failure::new(
                        StatusCode::UNAUTHORIZED,
                        "Unauthorized",
                        "Unauthorized",
                    )),
                }
            }
            Self::Delay(duration) => {
                tokio::time::sleep(duration).await;
                Ok(())
            }
            Self::Hang => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_meets_what_it_is_for_and_as_often_as_told() {
        let mut faults = Faults::default();
        let id = faults.add(Fault {
            method: Some(Method::PATCH),
            path: "/pods/".to_owned(),
            times: Some(1),
            answer: Answer::Hang,
        });
        assert!(faults.meet(&Method::GET, "/api/v1/pods/a").is_none());
        assert!(faults.meet(&Method::PATCH, "/api/v1/events/a").is_none());
        assert!(faults.meet(&Method::PATCH, "/api/v1/pods/a").is_some());
        assert!(faults.meet(&Method::PATCH, "/api/v1/pods/a").is_none());
        assert_eq!(faults.hits(id), 1);
    }

    #[test]
    fn a_lasting_fault_is_healed() {
        let mut faults = Faults::default();
        let id = faults.add(Fault {
            method: None,
            path: String::new(),
            times: None,
            answer: Answer::Refuse(StatusCode::FORBIDDEN, "Forbidden"),
        });
        assert!(faults.meet(&Method::GET, "/").is_some());
        assert!(faults.meet(&Method::GET, "/").is_some());
        faults.heal(id);
        assert!(faults.meet(&Method::GET, "/").is_none());
        assert_eq!(faults.hits(id), 2);
    }
}
