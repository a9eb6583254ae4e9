//! Which grains of an arena are free, and which of those are warm.
//!
//! Best fit with coalescing, over numbers alone. A grain is *warm* when its
//! memory is there: the first touch of fresh memory costs more than the copy
//! that is to go there, so warm room is preferred, and some of it kept.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::ranges::Ranges;

/// So many extents that fit are looked at for a warm one.
const LOOKS: usize = 8;

#[derive(Debug)]
pub(super) struct Extents {
    /// Where each free extent begins, and its length.
    places: BTreeMap<u32, u32>,
    /// The same by length.
    sizes: BTreeSet<(u32, u32)>,
    warm: Ranges,
    free: u32,
    free_and_warm: u32,
}

impl Extents {
    /// `count` free and cold grains.
    pub(super) fn new(count: u32) -> Self {
        let mut new = Self {
            places: BTreeMap::new(),
            sizes: BTreeSet::new(),
            warm: Ranges::default(),
            free: 0,
            free_and_warm: 0,
        };
        new.give(0..count);
        new
    }

    /// Takes `count` grains in a row. If `to_grow`, where most follow them.
    pub(super) fn take(&mut self, count: u32, to_grow: bool) -> Option<Range<u32>> {
        let fitting = || self.sizes.range((count, 0)..).map(|&(_, start)| start);
        let is_warm = |&start: &u32| self.warm.count(start..start + count) == count;
        let start = if to_grow {
            fitting().next_back()?
        } else {
            fitting().take(LOOKS).chain(fitting().next_back()).find(is_warm).or_else(|| fitting().next())?
        };
        let len = self.places.get(&start).copied()?;
        self.leave_out(start, len);
        if len > count {
            self.add(start + count, len - count);
        }
        let taken = start..start + count;
        self.forget(&taken);
        Some(taken)
    }

    /// Takes the `count` grains from `start` on, if they are free.
    pub(super) fn take_at(&mut self, start: u32, count: u32) -> bool {
        match self.places.get(&start).copied() {
            Some(len) if len >= count => {
                self.leave_out(start, len);
                if len > count {
                    self.add(start + count, len - count);
                }
                self.forget(&(start..start + count));
                true
            }
            _ => false,
        }
    }

    /// Gives grains back that were taken.
    pub(super) fn give(&mut self, range: Range<u32>) {
        if range.is_empty() {
            return;
        }
        self.free += range.end - range.start;
        self.free_and_warm += self.warm.count(range.clone());
        let Range { mut start, mut end } = range;
        let before = self.places.range(..start).next_back().map(|(&from, &len)| (from, len));
        if let Some((from, len)) = before.filter(|&(from, len)| from + len == start) {
            self.leave_out(from, len);
            start = from;
        }
        if let Some(len) = self.places.get(&end).copied() {
            self.leave_out(end, len);
            end += len;
        }
        self.add(start, end - start);
    }

    /// What of `range`, which is taken, is cold.
    pub(super) fn cold(&self, range: Range<u32>) -> Vec<Range<u32>> {
        self.warm.outside(range)
    }

    /// The memory of `range`, which is taken, is there.
    pub(super) fn heat(&mut self, range: Range<u32>) {
        self.warm.insert(range);
    }

    /// Takes free and warm ranges, and calls them cold, until no more than
    /// `keep` grains are free and warm. Their memory is to be given up, then
    /// they are to be given back.
    pub(super) fn cool(&mut self, keep: u32) -> Vec<Range<u32>> {
        let mut found = Vec::new();
        // From the end: what is used most lies at the start.
        let mut surplus = self.free_and_warm.saturating_sub(keep);
        for (&start, &len) in self.places.iter().rev() {
            for warm in self.warm.within(start..start + len).rev() {
                if surplus == 0 {
                    break;
                }
                let count = surplus.min(warm.end - warm.start);
                found.push(warm.end - count..warm.end);
                surplus -= count;
            }
        }
        for range in &found {
            let taken = self.take_inside(range.clone());
            debug_assert!(taken, "it was found free");
            self.warm.remove(range.clone());
        }
        found
    }

    /// Takes a range from the middle of an extent.
    fn take_inside(&mut self, range: Range<u32>) -> bool {
        let Some((&start, &len)) = self.places.range(..=range.start).next_back() else { return false };
        if range.end > start + len {
            return false;
        }
        self.leave_out(start, len);
        if start < range.start {
            self.add(start, range.start - start);
        }
        if range.end < start + len {
            self.add(range.end, start + len - range.end);
        }
        self.forget(&range);
        true
    }

    /// How many grains are free.
    pub(super) fn free(&self) -> u32 {
        self.free
    }

    /// How many of them are warm.
    pub(super) fn free_and_warm(&self) -> u32 {
        self.free_and_warm
    }

    fn forget(&mut self, taken: &Range<u32>) {
        self.free -= taken.end - taken.start;
        self.free_and_warm -= self.warm.count(taken.clone());
    }

    fn add(&mut self, start: u32, len: u32) {
        self.places.insert(start, len);
        self.sizes.insert((len, start));
    }

    fn leave_out(&mut self, start: u32, len: u32) {
        self.places.remove(&start);
        self.sizes.remove(&(len, start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_the_smallest_that_fits() {
        let mut extents = Extents::new(100);
        let taken: Vec<_> = [10, 1, 5, 1, 7].map(|count| extents.take(count, false).unwrap()).into();
        for hole in [0, 2, 4] {
            extents.give(taken[hole].clone());
        }
        assert_eq!(extents.take(4, false), Some(11..15));
        assert_eq!(extents.take(6, false), Some(0..6));
    }

    #[test]
    fn prefers_what_is_warm() {
        let mut extents = Extents::new(100);
        let [a, _, c, _] = [4, 1, 5, 1].map(|count| extents.take(count, false).unwrap());
        extents.heat(c.clone());
        extents.give(a);
        extents.give(c.clone());
        assert_eq!(extents.take(4, false), Some(c.start..c.start + 4));
    }

    #[test]
    fn who_grows_gets_the_largest() {
        let mut extents = Extents::new(100);
        let (hole, wall) = (extents.take(4, false).unwrap(), extents.take(1, false).unwrap());
        extents.give(hole.clone());
        let growing = extents.take(2, true).unwrap();
        assert_eq!(growing, wall.end..wall.end + 2);
        assert!(extents.take_at(growing.end, 50));
        assert!(!extents.take_at(growing.end + 50, 100));
        assert!(!extents.take_at(wall.start, 1));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Take(u32, bool),
        Heat(usize),
        Give(usize),
        Split(usize, u32),
        Grow(usize, u32),
        Cool(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (1..20u32, any::<bool>()).prop_map(|(count, grow)| Step::Take(count, grow)),
            3 => any::<usize>().prop_map(Step::Heat),
            4 => any::<usize>().prop_map(Step::Give),
            1 => (any::<usize>(), 0..20u32).prop_map(|(which, keep)| Step::Split(which, keep)),
            1 => (any::<usize>(), 1..20u32).prop_map(|(which, more)| Step::Grow(which, more)),
            1 => (0..30u32).prop_map(Step::Cool),
        ];
        proptest::collection::vec(step, 0..200)
    }

    const COUNT: u32 = 128;

    /// Every grain: taken, warm.
    struct Model([(bool, bool); COUNT as usize]);

    impl Model {
        fn set(&mut self, range: &Range<u32>, taken: bool) {
            for grain in range.clone() {
                let place = &mut self.0[grain as usize].0;
                assert_ne!(*place, taken, "no grain is given or taken twice");
                *place = taken;
            }
        }

        fn count(&self, state: (bool, bool)) -> u32 {
            self.0.iter().filter(|&&grain| grain == state).count() as u32
        }

        fn longest(&self) -> usize {
            self.0.split(|grain| grain.0).map(<[_]>::len).max().unwrap_or_default()
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(steps in steps()) {
            let (mut extents, mut model) = (Extents::new(COUNT), Model([(false, false); COUNT as usize]));
            let mut blocks: Vec<Range<u32>> = Vec::new();
            for step in steps {
                match step {
                    Step::Take(count, to_grow) => {
                        let longest = model.longest();
                        match extents.take(count, to_grow) {
                            Some(taken) => {
                                prop_assert_eq!(taken.end - taken.start, count);
                                model.set(&taken, true);
                                blocks.push(taken);
                            }
                            None => prop_assert!(longest < count as usize),
                        }
                    }
                    Step::Heat(which) if !blocks.is_empty() => {
                        let block = blocks[which % blocks.len()].clone();
                        let cold = extents.cold(block.clone());
                        let expected: Vec<u32> = block.filter(|&grain| !model.0[grain as usize].1).collect();
                        prop_assert_eq!(&cold.iter().cloned().flatten().collect::<Vec<_>>(), &expected);
                        for range in cold {
                            range.clone().for_each(|grain| model.0[grain as usize].1 = true);
                            extents.heat(range);
                        }
                    }
                    Step::Give(which) if !blocks.is_empty() => {
                        let block = blocks.swap_remove(which % blocks.len());
                        model.set(&block, false);
                        extents.give(block);
                    }
                    Step::Split(which, keep) if !blocks.is_empty() => {
                        let index = which % blocks.len();
                        let block = &mut blocks[index];
                        let end = block.end.min(block.start + keep.max(1));
                        let rest = end..std::mem::replace(&mut block.end, end);
                        model.set(&rest, false);
                        extents.give(rest);
                    }
                    Step::Grow(which, more) if !blocks.is_empty() => {
                        let index = which % blocks.len();
                        let rest = blocks[index].end..blocks[index].end + more;
                        let free = rest.end <= COUNT && rest.clone().all(|grain| !model.0[grain as usize].0);
                        prop_assert_eq!(extents.take_at(rest.start, more), free);
                        if free {
                            model.set(&rest, true);
                            blocks[index].end = rest.end;
                        }
                    }
                    Step::Cool(keep) => {
                        let cooled = extents.cool(keep);
                        for range in &cooled {
                            model.set(range, true);
                            for grain in range.clone() {
                                prop_assert!(model.0[grain as usize].1, "only the warm are cooled");
                                model.0[grain as usize].1 = false;
                            }
                        }
                        prop_assert!(model.count((false, true)) <= keep);
                        for range in cooled {
                            model.set(&range, false);
                            extents.give(range);
                        }
                    }
                    _ => {}
                }
                prop_assert_eq!(extents.free_and_warm(), model.count((false, true)));
                prop_assert_eq!(extents.free(), model.count((false, true)) + model.count((false, false)));
            }
            for block in blocks {
                extents.give(block);
            }
            prop_assert_eq!(extents.take(COUNT, false), Some(0..COUNT));
        }
    }
}
