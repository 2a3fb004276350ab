//! The test ground: scenarios as data, and three grounds that play them.
//!
//! A scenario is a recording of webhooks and objects in `tests/scenarios`; what must come of it is a snapshot. The
//! grounds are the pure index with the built-in mappers ([`pure`]), the whole host in process against the embedded
//! Kubernetes API ([`embedded`]), and the unmodified binary against a real kube-apiserver with etcd ([`real`]).
//! Nothing here knows what a trace should look like: that is for the snapshots alone, and for the rules that all traces
//! must keep ([`conventions`]). What takes bytes from outside can be given any ([`fuzz`]).

pub mod cluster;
pub mod conventions;
pub mod embedded;
pub mod fuzz;
pub mod guide;
pub mod helm;
pub mod host;
pub mod link;
pub mod load;
pub mod mount;
pub mod namespace;
pub mod outcome;
pub mod process;
pub mod pure;
pub mod real;
pub mod scenario;
pub mod tool;
pub mod wait;
pub mod web;
pub mod webhook;
