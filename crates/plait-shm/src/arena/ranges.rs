//! Sets of numbers, as ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges that neither overlap nor touch.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// From start to end.
    ends: BTreeMap<u32, u32>,
}

impl Ranges {
    /// Adds `range`, of which some may be in.
    pub(super) fn insert(&mut self, range: Range<u32>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        while let Some((&from, &to)) = self.ends.range(..=end).next_back().filter(|&(_, &to)| to >= start) {
            self.ends.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        self.ends.insert(start, end);
    }

    /// Takes `range` out, of which some may not be in.
    pub(super) fn remove(&mut self, range: Range<u32>) {
        loop {
            let Some(overlap) = self.within(range.clone()).next_back() else { return };
            let (&from, &to) = self.ends.range(..=overlap.start).next_back().unwrap_or((&0, &0));
            self.ends.remove(&from);
            if from < overlap.start {
                self.ends.insert(from, overlap.start);
            }
            if overlap.end < to {
                self.ends.insert(overlap.end, to);
            }
        }
    }

    /// What of `range` is in, in order.
    pub(super) fn within(&self, range: Range<u32>) -> impl DoubleEndedIterator<Item = Range<u32>> {
        let before = self.ends.range(..range.start).next_back();
        let first = before.filter(|&(_, &to)| to > range.start).into_iter();
        let inside = (range.start < range.end).then(|| self.ends.range(range.clone())).into_iter().flatten();
        first
            .chain(inside)
            .map(move |(&from, &to)| from.max(range.start)..to.min(range.end))
            .filter(|overlap| overlap.start < overlap.end)
    }

    /// What of `range` is not in, in order.
    pub(super) fn outside(&self, range: Range<u32>) -> Vec<Range<u32>> {
        let mut gaps = Vec::new();
        let mut start = range.start;
        for overlap in self.within(range.clone()) {
            if start < overlap.start {
                gaps.push(start..overlap.start);
            }
            start = overlap.end;
        }
        if start < range.end {
            gaps.push(start..range.end);
        }
        gaps
    }

    /// How many of `range` are in.
    pub(super) fn count(&self, range: Range<u32>) -> u32 {
        self.within(range).map(|overlap| overlap.end - overlap.start).sum()
    }

    #[cfg(test)]
    fn all(&self) -> impl Iterator<Item = Range<u32>> {
        self.ends.iter().map(|(&start, &end)| start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn agrees_with_a_set(steps: Vec<(bool, u8, u8)>, look: (u8, u8)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (insert, start, len) in steps {
                let range = u32::from(start)..u32::from(start) + u32::from(len % 16);
                if insert {
                    set.extend(range.clone());
                    ranges.insert(range);
                } else {
                    set.retain(|number| !range.contains(number));
                    ranges.remove(range);
                }
            }
            let all: Vec<u32> = ranges.all().flatten().collect();
            prop_assert_eq!(all, set.iter().copied().collect::<Vec<_>>());
            let apart = ranges.all().zip(ranges.all().skip(1)).all(|(a, b)| a.end < b.start);
            prop_assert!(apart);
            let look = u32::from(look.0.min(look.1))..u32::from(look.0.max(look.1));
            let inside: Vec<u32> = ranges.within(look.clone()).flatten().collect();
            prop_assert_eq!(&inside, &look.clone().filter(|n| set.contains(n)).collect::<Vec<_>>());
            prop_assert_eq!(ranges.count(look.clone()) as usize, inside.len());
            let outside: Vec<u32> = ranges.outside(look.clone()).into_iter().flatten().collect();
            prop_assert_eq!(outside, look.filter(|n| !set.contains(n)).collect::<Vec<_>>());
        }
    }
}
