//! The exported spans are a function of what happened, not of the order in which it became known.

use super::pipeline::Pipeline;
use super::schedule::{play, play_and_drain};
use super::story::Story;
use super::*;

/// Every span that was exported, as bytes, by its id.
type Exported = BTreeMap<SpanId, String>;

/// A story and what must come of it, however it is told.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) story: Story,
    spans: Vec<Span>,
    expected: Exported,
}

impl Case {
    /// What comes of a pipeline that is told once, in order and at once.
    pub(super) fn of(pipeline: &Pipeline) -> Result<Self, String> {
        let story = Story::of(pipeline);
        let played = play(&story, &[]);
        let expected = exported(&played)?;
        Ok(Self {
            story,
            spans: played.into_iter().flatten().collect(),
            expected,
        })
    }

    /// What is wrong with the reference itself.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut violations = super::identity::violations(&self.story, &self.spans);
        violations.extend(super::form::violations(&self.spans));
        if violations.is_empty() {
            return Ok(());
        }
        Err(violations.join("\n"))
    }

    /// Plays a schedule; fails if a byte of what is exported is not as in the reference.
    pub(super) fn play(&self, tape: &[u16]) -> Result<(), String> {
        let exported = exported(&play(&self.story, tape))?;
        if exported == self.expected {
            return Ok(());
        }
        let mut differences = Vec::new();
        for (id, span) in &self.expected {
            if exported.get(id) != Some(span) {
                differences.push(format!("in order:  {span}"));
            }
        }
        for (id, span) in &exported {
            if self.expected.get(id) != Some(span) {
                differences.push(format!("otherwise: {span}"));
            }
        }
        differences.sort_by_key(|text| text[11..].to_owned());
        Err(differences.join("\n"))
    }
}

impl Case {
    /// Plays a schedule up to a shutdown; fails if it exports anything that is not in the reference to the byte.
    pub(super) fn drain(&self, tape: &[u16]) -> Result<(), String> {
        let exported = exported(&[play_and_drain(&self.story, tape)])?;
        for (id, span) in &exported {
            if self.expected.get(id) != Some(span) {
                let expected = self.expected.get(id);
                return Err(format!(
                    "in order:  {expected:?}
at the end: {span}"
                ));
            }
        }
        Ok(())
    }
}

/// All spans as bytes. An index exports a span once; one after a restart does so in the same bytes.
fn exported(played: &[Vec<Span>]) -> Result<Exported, String> {
    let mut all = Exported::new();
    for spans in played {
        let mut here = BTreeSet::new();
        for span in spans {
            let text = serde_json::to_string(span).map_err(|error| error.to_string())?;
            if !here.insert(span.span_id) {
                return Err(format!("exported twice: {text}"));
            }
            if let Some(before) = all.insert(span.span_id, text)
                && before != all[&span.span_id]
            {
                return Err(format!(
                    "before the restart: {before}\nand after it:       {}",
                    all[&span.span_id]
                ));
            }
        }
    }
    Ok(all)
}
