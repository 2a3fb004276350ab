//! All choices of a schedule are read from a tape of numbers: zeros tell everything once, in order and at once, so that a
//! shorter tape is a simpler schedule.

/// Source of all choices of a schedule.
pub(super) struct Tape<'a> {
    numbers: std::slice::Iter<'a, u16>,
}

impl<'a> Tape<'a> {
    pub(super) fn new(numbers: &'a [u16]) -> Self {
        Self {
            numbers: numbers.iter(),
        }
    }

    /// A number below `limit`; zero once the tape is at its end.
    pub(super) fn draw(&mut self, limit: usize) -> usize {
        if limit < 2 {
            return 0;
        }
        self.numbers
            .next()
            .map_or(0, |number| usize::from(*number) % limit)
    }

    /// True once in so many times.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.draw(times) == times - 1
    }

    pub(super) fn take<T>(&mut self, from: &mut Vec<T>) -> T {
        let place = self.draw(from.len());
        from.remove(place)
    }
}
