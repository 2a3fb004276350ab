//! lighthouse-telemetry turns a git event and all that it sets off in a Kubernetes cluster into one
//! distributed trace. The library holds the rooms of the binary, so that tests can start them in process.

pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod embedded;
pub mod export;
pub mod generation;
pub mod health;
pub mod journal;
pub mod kinds;
pub mod leader;
pub mod logging;
pub mod lookup;
pub mod mappers;
pub mod mapping;
pub mod metrics;
pub mod patch;
pub mod pipelines;
pub mod receiver;
pub mod recording;
pub mod run;
pub mod server;
pub mod stage;
#[cfg(test)]
mod testing;
pub mod view;
pub mod watch;
pub mod webhook;
