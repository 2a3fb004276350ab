//! The binary under test, which may be killed at any time and goes on from its state directory.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::load::Load;
use crate::process::Process;

/// How often, and when, the process is killed. The same seed makes the same choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kills {
    /// How often at most.
    pub count: u32,
    /// Of how many steps, so that they spread over all of them.
    pub steps: u32,
    /// Decides when.
    pub seed: u64,
    /// The process is the follower of another one, which is killed half-way and stays dead.
    pub leader: bool,
}

impl Kills {
    /// The process is left alone.
    pub const NONE: Self = Self {
        count: 0,
        steps: 0,
        seed: 0,
        leader: false,
    };

    /// Whether any process is killed.
    #[must_use]
    pub const fn are_any(&self) -> bool {
        self.count > 0 || self.leader
    }
}

/// How long the Lease of a leader holds without being renewed. On a machine that is busy with other tests an API server may
/// take seconds for an answer.
pub const LEASE: Duration = Duration::from_secs(8);
/// The options of a replica.
pub const ELECTION: [&str; 2] = ["--leader-election", "--lease-duration=8s"];

/// The binary and how it is started.
pub struct Host<'a> {
    binary: &'a Path,
    kubeconfig: &'a Path,
    endpoint: String,
    arguments: Vec<String>,
    state: TempDir,
    /// None while it is dead.
    process: Option<Process>,
    /// The one whom it follows, until that is killed; and its state directory, which nobody sees again.
    leader: Option<(Process, TempDir)>,
    /// Steps so far.
    moments: u32,
    kills: Kills,
    killed: u32,
    /// Steps before it is started again.
    dead_for: u64,
    drawn: u64,
}

impl<'a> Host<'a> {
    /// Starts the binary and waits until it is ready.
    ///
    /// # Errors
    /// If it does not get ready.
    pub async fn start(
        binary: &'a Path,
        kubeconfig: &'a Path,
        endpoint: String,
        arguments: Vec<String>,
        kills: Kills,
    ) -> Result<Self> {
        let mut host = Self {
            binary,
            kubeconfig,
            endpoint,
            arguments,
            state: tempfile::tempdir()?,
            process: None,
            leader: None,
            moments: 0,
            kills,
            killed: 0,
            dead_for: 0,
            drawn: 0,
        };
        if kills.leader {
            host.arguments.extend(ELECTION.map(str::to_owned));
            host.start_leader().await?;
        }
        host.process().await?.ready().await?;
        Ok(host)
    }

    async fn start_leader(&mut self) -> Result<()> {
        let state = tempfile::tempdir()?;
        let leader = Process::start_from(
            state.path(),
            self.binary,
            self.kubeconfig,
            &self.endpoint,
            &self.arguments,
        );
        let leader = leader.await?;
        leader.leads(Duration::from_secs(60)).await?;
        self.leader = Some((leader, state));
        Ok(())
    }

    /// Kills the leader with its disk. The process, which follows it, must lead within two terms of a Lease.
    async fn kill_leader(&mut self) -> Result<()> {
        if let Some((leader, _state)) = self.leader.take() {
            leader.kill()?;
            self.process().await?.leads(LEASE * 2).await?;
        }
        Ok(())
    }

    /// The process, started again if it is dead.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn process(&mut self) -> Result<&Process> {
        if self.process.is_none() {
            let process = Process::start_from(
                self.state.path(),
                self.binary,
                self.kubeconfig,
                &self.endpoint,
                &self.arguments,
            );
            self.process = Some(process.await?);
        }
        self.process.as_ref().context("it was started")
    }

    /// Where a step of a load goes, if it is a webhook. Only then must the process live.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn webhooks_for(&mut self, load: &Load, place: usize) -> Result<Option<SocketAddr>> {
        Ok(match load.is_webhook(place) {
            true => Some(self.process().await?.webhooks()),
            false => None,
        })
    }

    /// How often it was killed.
    #[must_use]
    pub fn killed(&self) -> u32 {
        self.killed
    }

    /// A moment at which it may be killed, or be started again.
    ///
    /// # Errors
    /// If it cannot be.
    pub async fn moment(&mut self) -> Result<()> {
        self.moments += 1;
        if self.moments == self.kills.steps / 2 {
            self.kill_leader().await?;
        }
        if self.process.is_none() {
            if self.dead_for > 0 {
                self.dead_for -= 1;
                return Ok(());
            }
            self.process().await?;
        }
        let left = u64::from(self.kills.count - self.killed);
        // The chance is such that the kills last for all steps.
        if left == 0 || self.draw(u64::from(self.kills.steps)) >= u64::from(self.kills.count) {
            return Ok(());
        }
        // Not at the same instant after each step, which might be the only safe one.
        let milliseconds = self.draw(400);
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        self.kill()?;
        self.dead_for = self.draw(4);
        // Some starts do not live until they are ready.
        if self.draw(4) == 0 && self.killed < self.kills.count {
            self.process().await?;
            self.kill()?;
        }
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        if let Some(process) = self.process.take() {
            process.kill()?;
            self.killed += 1;
        }
        Ok(())
    }

    /// Kills it as often as was left to do, and starts it for the last time.
    ///
    /// # Errors
    /// If it does not get ready.
    pub async fn finish_kills(&mut self) -> Result<()> {
        while self.killed < self.kills.count {
            self.process().await?;
            let milliseconds = self.draw(1_500);
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            self.kill()?;
        }
        self.process().await?.ready().await
    }

    /// The process that is left, to be ended.
    ///
    /// # Errors
    /// If there is none.
    pub fn into_process(self) -> Result<(Process, TempDir)> {
        Ok((self.process.context("it is dead")?, self.state))
    }

    /// A number below `limit`.
    fn draw(&mut self, limit: u64) -> u64 {
        self.drawn += 1;
        let hash = Sha256::digest(format!("{} {}", self.kills.seed, self.drawn));
        let number = hash
            .iter()
            .take(8)
            .fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        number.checked_rem(limit).unwrap_or_default()
    }
}
