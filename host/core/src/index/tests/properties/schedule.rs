//! In which order, how often, how late and across which restarts a story is told, and which mappers take
//! over meanwhile.

use std::collections::{BTreeSet, HashMap};

use super::mapper::{descriptions, map, onlooker};
use super::story::Story;
use super::tape::Tape;
use super::*;
use crate::index::ATTACHED_INTERVAL;
use crate::object::Uid;

/// All that ends must be told within this time: a little less than the settle window.
const BEFORE_DEADLINES: Duration = Duration::from_millis(4_400);
/// What is under way may be told within this time: a good deal less than an orphan waits for its parent.
const UNDER_WAY: Duration = Duration::from_secs(450);
/// Longer than all deadlines and memories of the index together.
const AFTER_ALL: Duration = Duration::from_secs(3_000);
/// Of one schedule.
const MAX_RESTARTS: u8 = 2;
/// Of one schedule.
const MAX_REPLACEMENTS: u8 = 3;

type Annotations = BTreeMap<Arc<str>, Arc<str>>;

/// Something to be told.
#[derive(Clone, Copy, Debug)]
enum Item {
    Webhook(usize),
    /// A version of a thing, as its last state if it is gone with it.
    Version(usize, usize, bool),
    /// A list of all that there is of a source. With or without what is gone in the end.
    List(SourceId, bool),
}

/// An index, and a cluster as far as it depends on what the index has done.
struct Player<'a, 'b> {
    story: &'a Story,
    tape: Tape<'b>,
    /// Of things, by uid, kind and name.
    numbers: HashMap<(Uid, Arc<str>, Arc<str>), usize>,
    index: Index,
    catalog: Arc<Catalog>,
    now: Time,
    wake_at: Option<Time>,
    /// Answers come late, or twice.
    unreliable: bool,
    /// Annotations are carried out, so that they come back and are copied to children.
    feeds_back: bool,
    mappings: Vec<MapRequest>,
    lookups: Vec<ObjectReference>,
    /// Annotations that were set, and how many times.
    patched: HashMap<usize, (Annotations, u64)>,
    /// Annotations that a thing got from its parent when it was created.
    inherited: HashMap<usize, Annotations>,
    /// Things that have changed by our own patches and were not told of since.
    to_tell: Vec<usize>,
    restarts: u8,
    replacements: u8,
    exported: Vec<Vec<Span>>,
    kept: Kept,
}

/// What is on the disk, and what is not yet.
#[derive(Default)]
struct Kept {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// By the number that they are kept under.
    webhooks: BTreeMap<u64, usize>,
    webhooks_seen: u64,
    /// Of what was exported last, so much was kept and sent.
    exported: usize,
    /// What was told since.
    told: Vec<Item>,
}

/// Plays a story as a tape says; gives what was exported by each index in turn.
pub(super) fn play(story: &Story, tape: &[u16]) -> Vec<Vec<Span>> {
    let mut tape = Tape::new(tape);
    let unreliable = tape.once_in(2);
    let late = unreliable && tape.once_in(2);
    let mut player = Player::new(story, tape, unreliable);
    if player.tape.once_in(2) {
        player.tell_what_is_under_way();
    }
    player.tell_all(late);
    player.repeat(late);
    player.unreliable = false;
    player.answer_all();
    player.pass(AFTER_ALL);
    player.exported
}

/// Plays a story until all is told and mapped, and shuts down some time later; gives what the index exported until then and
/// at the end.
pub(super) fn play_and_drain(story: &Story, tape: &[u16]) -> Vec<Span> {
    let mut tape = Tape::new(tape);
    let unreliable = tape.once_in(2);
    let mut player = Player::new(story, tape, unreliable);
    player.tell_all(false);
    player.unreliable = false;
    player.answer_all();
    let pause = player.tape.draw(20_000);
    player.pass(ATTACHED_INTERVAL + Duration::from_millis(pause as u64));
    for effect in player.index.drain(player.now) {
        player.carry_out(effect, &mut VecDeque::new());
    }
    player.exported.pop().unwrap_or_default()
}

/// An index that keeps a journal. Where mappers answer late, few answers make the others wait.
fn new_index(catalog: &Arc<Catalog>, unreliable: bool) -> Index {
    let mut index = Index::new(Arc::clone(catalog), Settings::default());
    index.keep_journal();
    if unreliable {
        index.asking.limit = 2;
    }
    index
}

fn who(reference: &ObjectReference) -> (Uid, Arc<str>, Arc<str>) {
    let ObjectReference {
        uid, kind, name, ..
    } = reference;
    (Uid::clone(uid), Arc::clone(&kind.kind), Arc::clone(name))
}

impl<'a, 'b> Player<'a, 'b> {
    fn new(story: &'a Story, mut tape: Tape<'b>, unreliable: bool) -> Self {
        let feeds_back = tape.once_in(2);
        let numbers = story.things.iter().zip(0..);
        let index = new_index(&story.catalog, unreliable);
        Self {
            story,
            tape,
            numbers: numbers
                .map(|(thing, number)| (who(&thing.versions[0].object.reference), number))
                .collect(),
            index,
            catalog: Arc::clone(&story.catalog),
            now: at(200),
            wake_at: None,
            unreliable,
            feeds_back,
            mappings: Vec::new(),
            lookups: Vec::new(),
            patched: HashMap::new(),
            inherited: HashMap::new(),
            to_tell: Vec::new(),
            restarts: 0,
            replacements: 0,
            exported: vec![Vec::new()],
            kept: Kept::default(),
        }
    }
}

impl Player<'_, '_> {
    /// Some of what has not ended, with long pauses.
    fn tell_what_is_under_way(&mut self) {
        let mut items: Vec<Item> = (0..self.story.webhooks.len()).map(Item::Webhook).collect();
        for (number, thing) in self.story.things.iter().enumerate() {
            let open = (0..)
                .zip(&thing.versions)
                .filter(|(_, version)| version.open);
            items.extend(open.map(|(version, _)| Item::Version(number, version, false)));
        }
        let until = self.now.plus(UNDER_WAY);
        while !items.is_empty() {
            let item = self.tape.take(&mut items);
            if self.tape.once_in(4) {
                continue;
            }
            self.tell(item);
            self.interlude();
            let limit = [1, 40, 1_500, 60_000][self.tape.draw(4)];
            let pause = self.tape.draw(limit);
            self.pause(pause, until);
            if self.tape.once_in(64) {
                self.restart_somehow();
            }
            if self.tape.once_in(32) {
                self.replace_mappers();
            }
        }
    }

    /// Everything that counts, before the first deadline. A restart in between starts it over.
    fn tell_all(&mut self, late: bool) {
        'again: loop {
            let mut items = self.items();
            let until = self.now.plus(BEFORE_DEADLINES);
            while !items.is_empty() {
                let item = self.tape.take(&mut items);
                self.tell(item);
                self.interlude();
                let limit = [1, 1, 40, 900][self.tape.draw(4)];
                let pause = self.tape.draw(limit);
                self.pause(pause, until);
                if self.tape.once_in(128) && self.restart_somehow() {
                    continue 'again;
                }
                if self.tape.once_in(64) && self.replace_mappers() {
                    items = self.items();
                }
            }
            for source in self.gone() {
                self.tell(Item::List(source, false));
            }
            break;
        }
        if !late {
            self.answer_mappings();
        }
    }

    /// Once all is told, it is told again, between and after the deadlines.
    fn repeat(&mut self, late: bool) {
        for _ in 0..self.tape.draw(12) {
            let pause = self.tape.draw(9_000);
            self.pause(pause, Time::FAR_FUTURE);
            let mut items = self.items();
            for _ in 0..self.tape.draw(4) {
                if !items.is_empty() {
                    let item = self.tape.take(&mut items);
                    self.tell(item);
                }
            }
            self.interlude();
            if !late {
                self.answer_mappings();
            }
            if self.tape.once_in(16) && self.restart_somehow() {
                self.tell_all(late);
            }
            if self.tape.once_in(8) && self.replace_mappers() {
                self.tell_all(late);
            }
        }
    }

    /// All that counts, and some of what does not.
    fn items(&mut self) -> Vec<Item> {
        let mut items = Vec::with_capacity(2 * self.story.things.len());
        for number in 0..self.story.webhooks.len() {
            items.push(Item::Webhook(number));
            if self.tape.once_in(4) {
                items.push(Item::Webhook(number));
            }
        }
        for (number, thing) in self.story.things.iter().enumerate() {
            let last = thing.versions.len() - 1;
            for version in 0..last {
                if self.tape.once_in(3) {
                    items.push(Item::Version(number, version, false));
                }
            }
            let gone = thing.deleted && !self.tape.once_in(3);
            items.push(Item::Version(number, last, gone));
            if self.tape.once_in(4) {
                items.push(Item::Version(number, last, gone && self.tape.once_in(2)));
            }
        }
        for _ in 0..self.tape.draw(3) {
            let place = self.tape.draw(self.story.things.len());
            if let Some(thing) = self.story.things.get(place) {
                items.push(Item::List(thing.source, self.tape.once_in(2)));
            }
        }
        items
    }

    /// Sources of which something is gone in the end.
    fn gone(&self) -> BTreeSet<SourceId> {
        let gone = self.story.things.iter().filter(|thing| thing.deleted);
        gone.map(|thing| thing.source).collect()
    }

    fn tell(&mut self, item: Item) {
        self.kept.told.push(item);
        let fact = match item {
            Item::Webhook(webhook) => {
                let number = self.kept.webhooks_seen;
                self.kept.webhooks_seen += 1;
                self.kept.webhooks.insert(number, webhook);
                self.webhook(number, webhook)
            }
            Item::Version(number, version, gone) => {
                let stale = self.tape.once_in(4);
                self.version(number, version, stale, gone)
            }
            Item::List(source, with_gone) => {
                let things = self.story.things.iter();
                let present = things
                    .filter(|thing| thing.source == source && (with_gone || !thing.deleted))
                    .map(|thing| Uid::clone(&thing.uid));
                Fact::Relisted(source, present.collect())
            }
        };
        self.observe(fact);
    }

    fn webhook(&self, number: u64, webhook: usize) -> Fact {
        Fact::Webhook(crate::index::Webhook {
            number: Some(number),
            ..self.story.webhooks[webhook].clone()
        })
    }

    /// A version of a thing. `stale`: from before our patches.
    fn version(&mut self, number: usize, version: usize, stale: bool, gone: bool) -> Fact {
        let thing = &self.story.things[number];
        let told = &thing.versions[version];
        let mut added = self.inherit(number).clone();
        let mut patches = 0;
        if let Some((patched, times)) = self.patched.get(&number)
            && !stale
        {
            added.extend(patched.clone());
            patches = *times;
        }
        let is_plain = added.is_empty() || !thing.annotations_matter;
        let mut object = if is_plain && self.replacements == 0 {
            told.object.clone()
        } else {
            let mut value = told.value.clone();
            for (key, text) in added.iter().filter(|_| !is_plain) {
                value["metadata"]["annotations"][&**key] = (**text).into();
            }
            self.catalog.object(thing.source, &value).unwrap()
        };
        object.annotations.extend(added);
        object.resource_version = (100 * (version as u64 + 1) + patches).to_string().into();
        if gone {
            Fact::Deleted(thing.source, Box::new(object))
        } else {
            Fact::Applied(thing.source, Box::new(object))
        }
    }

    /// What the parent of a thing had for annotations when the thing was created.
    fn inherit(&mut self, number: usize) -> &Annotations {
        let of = self.story.things[number].copies;
        if !self.inherited.contains_key(&number) {
            let copied = of.and_then(|of| self.patched.get(&of));
            let copied = copied
                .map(|(patched, _)| patched.clone())
                .unwrap_or_default();
            self.inherited.insert(number, copied);
        }
        &self.inherited[&number]
    }

    fn observe(&mut self, fact: Fact) {
        let mut facts = VecDeque::from([fact]);
        while let Some(fact) = facts.pop_front() {
            for effect in self.index.observe(self.now, fact) {
                self.carry_out(effect, &mut facts);
            }
        }
        if self.index.must_be_kept() {
            self.keep();
        }
    }

    fn carry_out(&mut self, effect: Effect, facts: &mut VecDeque<Fact>) {
        match effect {
            Effect::Map(request) => {
                if self.unreliable && self.tape.once_in(2) {
                    self.mappings.push(request);
                } else {
                    self.answer(&request, facts);
                }
            }
            Effect::Fetch(reference) => {
                if self.unreliable && self.tape.once_in(2) {
                    self.lookups.push(reference);
                } else {
                    facts.push_back(self.fetched(reference));
                }
            }
            Effect::Annotate(annotate) => {
                let object = who(&annotate.object);
                let uid = annotate.object.uid;
                if !self.feeds_back {
                    facts.push_back(Fact::Annotated(uid, Annotated::Impossible));
                    return;
                }
                let number = self.numbers[&object];
                let (patched, times) = self.patched.entry(number).or_default();
                patched.extend(annotate.annotations);
                *times += 1;
                self.to_tell.push(number);
                facts.push_back(Fact::Annotated(Uid::clone(&uid), Annotated::Done));
                if self.tape.once_in(4) {
                    facts.push_back(Fact::Annotated(uid, Annotated::Done));
                }
            }
            Effect::Export(spans) => self.exported.last_mut().unwrap().extend(spans),
            Effect::WakeAt(at) => self.wake_at = Some(at),
        }
    }

    fn answer(&mut self, request: &MapRequest, facts: &mut VecDeque<Fact>) {
        let result = map(request);
        if self.unreliable && self.tape.once_in(8) {
            facts.push_back(Fact::Mapped(request.ticket.clone(), result.clone()));
        }
        facts.push_back(Fact::Mapped(request.ticket.clone(), result));
    }

    fn fetched(&self, reference: ObjectReference) -> Fact {
        let owners = self.story.lookups.get(&*reference.uid);
        let fetched = owners.map_or(Fetched::Missing, |owners| Fetched::Found(owners.clone()));
        Fact::Fetched(reference, fetched)
    }

    /// Some late answers, and some of what our own patches have changed.
    fn interlude(&mut self) {
        if self.tape.once_in(3) {
            self.keep();
        }
        while !self.mappings.is_empty() && !self.tape.once_in(2) {
            self.answer_one();
        }
        if !self.lookups.is_empty() && self.tape.once_in(4) {
            let reference = self.tape.take(&mut self.lookups);
            let fact = self.fetched(reference);
            self.observe(fact);
        }
        if !self.to_tell.is_empty() && self.tape.once_in(2) {
            let number = self.tape.take(&mut self.to_tell);
            let thing = &self.story.things[number];
            // Of the versions there may have been at that time, only one that tells no end is no news.
            let version = thing.versions.iter().rposition(|version| version.open);
            if let Some(version) = version {
                let fact = self.version(number, version, false, false);
                self.observe(fact);
            }
        }
    }

    fn answer_one(&mut self) {
        let request = self.tape.take(&mut self.mappings);
        let mut facts = VecDeque::new();
        self.answer(&request, &mut facts);
        for fact in facts {
            self.observe(fact);
        }
    }

    fn answer_mappings(&mut self) {
        while !self.mappings.is_empty() {
            self.answer_one();
        }
    }

    fn answer_all(&mut self) {
        self.answer_mappings();
        while !self.lookups.is_empty() {
            let reference = self.lookups.remove(0);
            let fact = self.fetched(reference);
            self.observe(fact);
        }
    }

    /// Writes what has changed, with the spans that were exported until now.
    fn keep(&mut self) {
        for change in self.index.changes() {
            match change {
                Change::WebhookDone(number) => {
                    let known = self.kept.webhooks.remove(&number);
                    assert!(known.is_some(), "webhook {number} is done twice");
                }
                change => keep_rows(&mut self.kept.rows, [change]),
            }
        }
        self.kept.exported = self.exported.last().unwrap().len();
        // What came along with an object that is not known yet is not kept: lists tell of it again.
        let things = &self.story.things;
        self.kept.told.retain(|item| match item {
            Item::Version(number, version, _) => {
                let object = &things[*number].versions[*version].object;
                object.subject_of.is_empty()
            }
            Item::Webhook(_) | Item::List(..) => false,
        });
    }

    /// Restarts, with or without what was kept. Says whether all has to be told again.
    fn restart_somehow(&mut self) -> bool {
        if self.restarts == MAX_RESTARTS {
            return false;
        }
        self.restarts += 1;
        let forgetful = self.tape.once_in(2);
        self.index = new_index(&self.catalog, self.unreliable);
        self.wake_at = None;
        self.mappings.clear();
        self.lookups.clear();
        if forgetful {
            self.exported.push(Vec::new());
            self.kept = Kept::default();
        } else {
            self.exported
                .last_mut()
                .unwrap()
                .truncate(self.kept.exported);
            self.restore();
        }
        forgetful
    }

    /// A new index goes on where the one before was when it was last kept.
    fn restore(&mut self) {
        // It may be kept before it knows of these again.
        let told = std::mem::take(&mut self.kept.told);
        self.index.stand_still(self.now);
        let rows = std::mem::take(&mut self.kept.rows);
        let restored = self.index.restore(self.now, &mut |table, each| {
            for (key, value) in rows.iter().filter(|(key, _)| key.first() == Some(&table)) {
                each(key, value);
            }
        });
        assert_eq!(restored.unreadable, 0);
        self.kept.rows = rows;
        for (number, webhook) in self.kept.webhooks.clone() {
            let fact = self.webhook(number, webhook);
            self.observe(fact);
        }
        self.resume();
        for item in told {
            // The webhooks are kept already.
            if !matches!(item, Item::Webhook(_)) {
                self.tell(item);
            }
        }
        self.index.go_on();
        self.observe(Fact::Tick);
    }

    fn resume(&mut self) {
        while self.index.is_resuming() {
            let mut facts = VecDeque::new();
            for effect in self.index.resume(self.now, 3) {
                self.carry_out(effect, &mut facts);
            }
            for fact in facts {
                self.observe(fact);
            }
        }
    }

    /// Other mappers take over, which make the same of the story as those before: they read more or less, or others come
    /// or go that have nothing to do with it. Says whether something has to be listed anew.
    fn replace_mappers(&mut self) -> bool {
        if self.replacements == MAX_REPLACEMENTS {
            return false;
        }
        self.replacements += 1;
        let more: &[&str] = [&[][..], &["/status"], &["/status/phase", "/data"]][self.tape.draw(3)];
        let mut mappers = descriptions(more).to_vec();
        match self.tape.draw(3) {
            0 => {}
            1 => mappers.insert(0, onlooker()),
            _ => mappers.push(onlooker()),
        }
        let catalog = Arc::new(Catalog::after(&self.catalog, mappers).unwrap());
        let mappers = ["first", "second", "onlooker"];
        let others = mappers
            .iter()
            .filter(|_| self.tape.once_in(2))
            .flat_map(|mapper| catalog.watches_of(mapper));
        let others = others.collect();
        let before = std::mem::replace(&mut self.catalog, Arc::clone(&catalog));
        self.observe(Fact::Replaced(Arc::clone(&catalog), others));
        self.resume();
        let mut sources = catalog.sources();
        sources.any(|(source, _)| catalog.must_list(source, &before))
    }

    fn pause(&mut self, milliseconds: usize, until: Time) {
        let pause = Duration::from_millis(milliseconds as u64);
        if self.now.plus(pause) <= until {
            self.pass(pause);
        }
    }

    /// Lets time pass, waking the index whenever it asked for it.
    fn pass(&mut self, duration: Duration) {
        let until = self.now.plus(duration);
        while let Some(at) = self.wake_at.filter(|at| *at <= until) {
            self.wake_at = None;
            self.now = self.now.max(at);
            self.observe(Fact::Tick);
        }
        self.now = until;
        self.observe(Fact::Tick);
    }
}
