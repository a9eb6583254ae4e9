//! What waits to be sent on one connection.

use std::collections::VecDeque;
use std::io::IoSlice;

use plait_sys::stream::MAX_SLICES;

/// A queue of chunks, the first of them perhaps sent in part.
///
/// `C` is whatever keeps the bytes alive; the caller says how to see them.
#[derive(Debug)]
pub struct Outbox<C> {
    chunks: VecDeque<C>,
    /// How much of the first chunk is gone.
    sent: usize,
    /// Bytes that wait, in all chunks.
    len: usize,
}

impl<C> Default for Outbox<C> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), sent: 0, len: 0 }
    }
}

impl<C> Outbox<C> {
    /// How many bytes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a chunk of `size` bytes, of which `sent` are gone already.
    pub fn push(&mut self, chunk: C, size: usize, sent: usize) {
        debug_assert!(sent < size, "nothing is left of this chunk");
        debug_assert!(sent == 0 || self.is_empty(), "a chunk begun behind others");
        if self.is_empty() {
            self.sent = sent;
        }
        self.len += size - sent;
        self.chunks.push_back(chunk);
    }

    /// What can go out in one vectored write.
    pub fn slices<'a>(&'a self, bytes: impl Fn(&'a C) -> &'a [u8]) -> Vec<IoSlice<'a>> {
        let mut slices: Vec<_> =
            self.chunks.iter().take(MAX_SLICES).map(|chunk| IoSlice::new(bytes(chunk))).collect();
        if let Some(first) = slices.first_mut() {
            first.advance(self.sent);
        }
        slices
    }

    /// Notes that `count` bytes went out. Chunks that are sent whole move to
    /// `done`.
    pub fn advance(&mut self, count: usize, size: impl Fn(&C) -> usize, done: &mut Vec<C>) {
        debug_assert!(count <= self.len, "more sent than there was");
        self.len -= count;
        let mut gone = self.sent + count;
        while let Some(first) = self.chunks.front() {
            let size = size(first);
            if gone < size {
                break;
            }
            gone -= size;
            done.extend(self.chunks.pop_front());
        }
        self.sent = gone;
    }

    /// Takes everything out unsent.
    pub fn clear(&mut self) -> VecDeque<C> {
        std::mem::take(self).chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn waiting(outbox: &Outbox<Vec<u8>>) -> Vec<u8> {
        outbox.slices(|chunk| chunk).iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn a_chunk_begun_elsewhere_goes_on_where_it_stopped() {
        let mut outbox = Outbox::default();
        outbox.push(b"abc".to_vec(), 3, 2);
        outbox.push(b"de".to_vec(), 2, 0);
        assert_eq!((outbox.len(), waiting(&outbox)), (3, b"cde".to_vec()));
        let mut done = Vec::new();
        outbox.advance(2, Vec::len, &mut done);
        assert_eq!((done, waiting(&outbox)), (vec![b"abc".to_vec()], b"e".to_vec()));
        assert_eq!(outbox.clear().len(), 1);
        assert!(outbox.is_empty());
    }

    proptest! {
        #[test]
        fn sends_every_byte_once_in_order(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..40),
            steps in prop::collection::vec(1usize..30, 0..200),
        ) {
            let mut outbox = Outbox::default();
            let expected = chunks.concat();
            for chunk in chunks {
                let size = chunk.len();
                outbox.push(chunk, size, 0);
            }
            let (mut sent, mut done) = (Vec::new(), Vec::new());
            for step in steps {
                let now: Vec<u8> = waiting(&outbox).into_iter().take(step).collect();
                outbox.advance(now.len(), Vec::len, &mut done);
                sent.extend(now);
                prop_assert_eq!(outbox.len(), expected.len() - sent.len());
            }
            sent.extend(waiting(&outbox));
            prop_assert_eq!(sent, expected);
        }
    }
}
