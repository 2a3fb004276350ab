//! Plays a recording on a stage, for the demo and for `replay`.

use std::path::PathBuf;

use anyhow::Context as _;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use tokio::task::spawn_blocking;

use super::progress::Display;
use super::whole::Expected;
use crate::embedded::Server;
use crate::export;
use crate::mappers::{Compiler, Mappers};
use crate::recording::{Happening, Recording};
use crate::stage::{self, AFTERWARDS, Setting, Stage};

/// How a recording is played.
#[derive(Debug)]
pub(in crate::cli) struct Play<'a> {
    /// What it is, for people.
    pub what: &'a str,
    /// The recording.
    pub recording: &'a Recording,
    /// Directories of mappers.
    pub mappers: Vec<PathBuf>,
    /// What compiles them.
    pub compiler: Compiler,
    /// How many times as fast as it happened; none: as fast as it goes.
    pub speed: Option<f64>,
    /// Where spans are sent to as well.
    pub others: Option<export::Settings>,
}

/// What came of it.
#[derive(Debug)]
pub(in crate::cli) struct Played {
    /// All spans, as a receiver gets them.
    pub spans: Vec<ResourceSpans>,
    /// What should be there and is not, for people.
    pub missing: Vec<String>,
    /// Objects that have no span.
    pub without_span: Vec<String>,
    /// What became of the spans on their way.
    pub counts: export::Counts,
}

impl Play<'_> {
    /// Plays it, and shows how far it is.
    ///
    /// # Errors
    /// If something cannot start, or nothing can be made of the recording.
    pub(in crate::cli) async fn run(self) -> anyhow::Result<Played> {
        let entries = self.recording.entries();
        let (first, last) = self.recording.span().context("the recording is empty")?;
        let server = Server::start_with(stage::resources(self.recording))
            .await
            .context("cannot listen on loopback")?;
        let (directories, compiler) = (self.mappers, self.compiler);
        let mappers = spawn_blocking(|| Mappers::strictly(directories, compiler)).await??;
        let setting = Setting {
            server,
            mappers,
            now: first,
            others: self.others,
        };
        let mut stage = Stage::start(setting, |_| {}).await?;
        let receiver = stage.receiver.clone();
        let mut display = Display::start(self.what, self.recording, self.speed, receiver);
        let following = entries.iter().skip(1).map(Some).chain([None]);
        for (entry, next) in entries.iter().zip(following) {
            stage.pass(entry.at, self.speed).await?;
            stage.happen(&entry.happening).await?;
            // What happened at one time, as all that was there when the recording began, comes at once. Webhooks are
            // counted, and so come alone.
            let is_webhook = |happening: &Happening| matches!(happening, Happening::Webhook(_));
            let goes_on = next.is_some_and(|next| {
                next.at == entry.at && !is_webhook(&next.happening) && !is_webhook(&entry.happening)
            });
            if !goes_on {
                stage.quiet().await?;
            }
            display.show(entry);
        }
        display.wait(last);
        stage.pass(last.plus(AFTERWARDS), None).await?;
        display.finish();
        let expected = Expected::of(self.recording, &stage.catalog);
        let exporter = stage.exporter.clone();
        let (_, spans) = stage.stop().await;
        Ok(Played {
            missing: expected.missing(&spans),
            without_span: expected.without_span(&spans).map(str::to_owned).collect(),
            counts: exporter.counts(),
            spans,
        })
    }
}
