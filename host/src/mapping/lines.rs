//! What is to be mapped, in one line a mapper, so that none keeps those of others waiting.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::health::{self, Health, News, REST};

/// Who wanted something so recently is about to want more: between two answers there are gaps, however much there is to do.
const MOMENT: Duration = Duration::from_millis(10);

/// What is to be mapped, by mapper.
#[derive(Debug)]
pub struct Lines<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// So many calls of mappers that keep others waiting run at the same time, all of them together.
    of_ill: usize,
}

#[derive(Debug)]
struct State<T> {
    lines: BTreeMap<Arc<str>, Line<T>>,
    closed: bool,
    /// Threads that wait: to wake nobody costs a call of the kernel too.
    asleep: usize,
}

/// The line of one mapper.
#[derive(Debug)]
struct Line<T> {
    waiting: VecDeque<T>,
    running: usize,
    health: Health,
    /// The time that its calls took, that of an ill one many times over: who has had least is next.
    had: Duration,
    /// When it was last called, or a call of it ended.
    last: Option<Instant>,
    /// When it will have waited for its last call, if it is ill.
    paid_at: Option<Instant>,
}

impl<T> Line<T> {
    fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            running: 0,
            health: Health::default(),
            had: Duration::ZERO,
            last: None,
            paid_at: None,
        }
    }

    /// Whether it wants nothing, and has not for a while.
    fn is_idle(&self, now: Instant) -> bool {
        let recently = self.last.is_some_and(|last| last + MOMENT > now);
        self.waiting.is_empty() && self.running == 0 && !recently
    }
}

impl<T> Lines<T> {
    /// Nothing is to be done. `of_ill`: so many calls of mappers that keep others waiting run at the same time.
    pub fn new(of_ill: usize) -> Self {
        Self {
            state: Mutex::new(State {
                lines: BTreeMap::new(),
                closed: false,
                asleep: 0,
            }),
            changed: Condvar::new(),
            of_ill,
        }
    }

    /// Puts something into the line of a mapper.
    pub fn push(&self, mapper: &str, item: T) {
        self.push_at(Instant::now(), mapper, item);
    }

    fn push_at(&self, now: Instant, mapper: &str, item: T) {
        let mut state = self.state();
        let state = &mut *state;
        if state.lines.get(mapper).is_none_or(|line| line.is_idle(now)) {
            // Time in which it wanted nothing is not made up for.
            let others = state.lines.values().filter(|line| !line.is_idle(now));
            let least = others.map(|line| line.had).min().unwrap_or_default();
            let line = state.lines.entry(mapper.into()).or_insert_with(Line::new);
            line.had = line.had.max(least);
        }
        if let Some(line) = state.lines.get_mut(mapper) {
            line.waiting.push_back(item);
        }
        if state.asleep > 0 {
            self.changed.notify_one();
        }
    }

    /// Waits for something that can be done now; none once the lines are closed.
    pub fn take(&self) -> Option<(Arc<str>, T)> {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            if let Some(taken) = state.next(now, self.of_ill) {
                return Some(taken);
            }
            if state.closed {
                return None;
            }
            state.asleep += 1;
            state = match state.rest_ends(now) {
                Some(at) => {
                    let wait = at.saturating_duration_since(now);
                    let woken = self.changed.wait_timeout(state, wait);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let woken = self.changed.wait(state);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
            state.asleep -= 1;
        }
    }

    /// What was taken is done.
    pub fn done(&self, mapper: &str, took: Duration, failed: bool) -> Option<News> {
        self.done_at(Instant::now(), mapper, took, failed)
    }

    fn done_at(&self, now: Instant, mapper: &str, took: Duration, failed: bool) -> Option<News> {
        let mut state = self.state();
        let line = state.lines.get_mut(mapper)?;
        line.running = line.running.saturating_sub(1);
        line.last = Some(now);
        let waiting = line.waiting.len();
        let news = line.health.called(now, took, failed, waiting);
        if line.health.is_ill() {
            line.had += took * (REST + 1);
            line.paid_at = Some(now + health::rest(took, waiting));
        } else {
            line.had += took;
        }
        // Others may have waited for this one to end.
        if state.asleep > 0 {
            self.changed.notify_all();
        }
        news
    }

    /// A mapper is another one now.
    pub fn forgive(&self, mapper: &str) {
        if let Some(line) = self.state().lines.get_mut(mapper) {
            line.health = Health::default();
        }
        self.changed.notify_all();
    }

    /// How much waits for such mappers, or is being done by them.
    pub fn of(&self, such: impl Fn(&Health) -> bool) -> usize {
        let state = self.state();
        let such = state.lines.values().filter(|line| such(&line.health));
        such.map(|line| line.waiting.len() + line.running).sum()
    }

    /// Nothing more comes. What waits and can be done is, what would have to wait longer is not.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// Takes out what is to be done next: of those that may be called the one that has had least.
    fn next(&mut self, now: Instant, of_ill: usize) -> Option<(Arc<str>, T)> {
        let ill = self.lines.values().filter(|line| line.health.is_ill());
        let room_for_ill = ill.map(|line| line.running).sum::<usize>() < of_ill;
        let may_be_called = |line: &Line<T>| {
            !line.waiting.is_empty()
                && (room_for_ill || !line.health.is_ill())
                && self.held_until(line, now).is_none()
        };
        let ready = self.lines.iter().filter(|(_, line)| may_be_called(line));
        let (mapper, _) = ready.min_by_key(|(_, line)| (line.had, line.running))?;
        let mapper = Arc::clone(mapper);
        let line = self.lines.get_mut(&mapper)?;
        let item = line.waiting.pop_front()?;
        line.running += 1;
        line.last = Some(now);
        Some((mapper, item))
    }

    /// Until when a mapper is not called, if that is not over: while it rests; and an ill one while others that have had less are
    /// about to want more, but not for longer than a rest would take.
    fn held_until(&self, line: &Line<T>, now: Instant) -> Option<Instant> {
        if !line.health.is_ill() {
            return None;
        }
        let first = |other: &&Line<T>| !other.health.is_ill() && other.had < line.had;
        let others = self.lines.values().filter(first);
        let wanted = others.filter_map(|other| other.last).max();
        let gap_ends = wanted.map(|last| last + MOMENT).min(line.paid_at);
        let held = gap_ends.max(line.health.rests_until(now));
        held.filter(|until| *until > now)
    }

    /// When the first mapper may be called that has something to do and is held.
    fn rest_ends(&self, now: Instant) -> Option<Instant> {
        let lines = self.lines.values();
        let waiting = lines.filter(|line| !line.waiting.is_empty());
        waiting.filter_map(|line| self.held_until(line, now)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_micros(50);
    const SLOW: Duration = Duration::from_millis(300);

    fn lines() -> Lines<u32> {
        Lines::new(1)
    }

    /// Takes what is next, as if somebody asked at this time.
    fn next(lines: &Lines<u32>, now: Instant) -> Option<String> {
        let taken = lines.state().next(now, lines.of_ill);
        taken.map(|(mapper, _)| mapper.to_string())
    }

    #[test]
    fn mappers_take_turns_and_each_keeps_its_order() {
        let lines = lines();
        for number in 0..3 {
            lines.push("a", number);
        }
        lines.push("b", 9);
        let mut taken = Vec::new();
        for _ in 0..4 {
            let (mapper, number) = lines.take().unwrap();
            lines.done(&mapper, QUICK, false);
            taken.push((mapper.to_string(), number));
        }
        let of_a: Vec<u32> = taken
            .iter()
            .filter(|(mapper, _)| mapper == "a")
            .map(|(_, number)| *number)
            .collect();
        assert_eq!(of_a, [0, 1, 2]);
        assert!(taken[..2].contains(&("b".to_owned(), 9)), "{taken:?}");
    }

    #[test]
    fn those_that_keep_others_waiting_have_one_thread_together() {
        let lines = lines();
        let now = Instant::now();
        for mapper in ["slow", "slower", "quick"] {
            for number in 0..3 {
                lines.push(mapper, number);
            }
        }
        // Nobody knows yet.
        for mapper in ["quick", "slow", "slower"] {
            assert_eq!(next(&lines, now).as_deref(), Some(mapper));
        }
        lines.done("slow", SLOW, false);
        lines.done("slower", SLOW, false);
        lines.done("quick", QUICK, false);
        assert_eq!(lines.of(Health::is_ill), 4);
        assert_eq!(next(&lines, now).as_deref(), Some("quick"));
        assert_eq!(next(&lines, now).as_deref(), Some("quick"));
        assert_eq!(next(&lines, now), None);
        let later = now + SLOW;
        assert_eq!(next(&lines, later).as_deref(), Some("slow"));
        assert_eq!(next(&lines, later), None);
    }

    #[test]
    fn the_slow_do_not_use_the_gaps_between_the_answers_of_others() {
        let lines = lines();
        let start = Instant::now();
        let mut now = start;
        for _ in 0..20 {
            lines.push_at(now, "slow", 0);
        }
        // One that is slow is known for it after its first call.
        assert_eq!(next(&lines, now).as_deref(), Some("slow"));
        lines.done_at(now, "slow", SLOW, false);
        let mut slow = 0;
        while now < start + SLOW * 100 {
            lines.push_at(now, "quick", 0);
            assert_eq!(next(&lines, now).as_deref(), Some("quick"));
            lines.done_at(now, "quick", QUICK, false);
            // Until the answer has been seen to, nothing more of it waits.
            if next(&lines, now).is_some() {
                lines.done_at(now, "slow", SLOW, false);
                slow += 1;
            }
            now += MOMENT / 10;
        }
        // A twentieth of the time of a call each.
        assert!((4..=6).contains(&slow), "{slow}");
        // Whoever is alone waits for nobody.
        now += MOMENT;
        assert_eq!(next(&lines, now).as_deref(), Some("slow"));
    }

    #[test]
    fn who_rests_is_called_again_and_nothing_is_lost() {
        let lines = lines();
        for number in 0..5 {
            lines.push("ill", number);
        }
        let mut now = Instant::now();
        let mut news = Vec::new();
        for _ in 0..3 {
            assert_eq!(next(&lines, now).as_deref(), Some("ill"));
            news.extend(lines.done("ill", SLOW, true));
        }
        assert_eq!(news, [News::Rests]);
        assert_eq!(next(&lines, now), None);
        lines.push("well", 9);
        assert_eq!(next(&lines, now).as_deref(), Some("well"));
        let ends = lines.state().rest_ends(now).unwrap();
        assert!(ends > now + SLOW);
        now = ends;
        assert_eq!(next(&lines, now).as_deref(), Some("ill"));
        lines.done("ill", SLOW, true);
        lines.forgive("ill");
        assert_eq!(next(&lines, now).as_deref(), Some("ill"));
        assert_eq!(next(&lines, now), None, "all were called");
    }

    #[test]
    fn whoever_wanted_nothing_for_a_while_does_not_make_up_for_it() {
        let lines = lines();
        let now = Instant::now();
        lines.push("busy", 0);
        for number in 1..100 {
            assert_eq!(next(&lines, now).as_deref(), Some("busy"));
            lines.push("busy", number);
            lines.done("busy", QUICK, false);
        }
        for number in 0..50 {
            lines.push("late", number);
            lines.push("busy", number);
        }
        let mut late = 0;
        for _ in 0..20 {
            let mapper = next(&lines, now).unwrap();
            late += usize::from(mapper == "late");
            lines.done(&mapper, QUICK, false);
        }
        assert!((9..=11).contains(&late), "{late}");
    }
}
