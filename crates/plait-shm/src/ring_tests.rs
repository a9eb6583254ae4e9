//! The ring against a queue, against garbage, and (under `--cfg loom`)
//! against every interleaving.

use super::*;

#[cfg(loom)]
use {
    crate::bell::Bell,
    loom::{cell::UnsafeCell, sync::Arc, sync::Notify, thread},
};

const CAPACITY: usize = 64;

/// A ring in private memory, each byte watched by loom.
#[cfg(loom)]
pub(crate) struct Private {
    cursors: Cursors,
    bytes: [UnsafeCell<u8>; CAPACITY],
}

#[cfg(loom)]
impl Private {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { cursors: Cursors::new(), bytes: std::array::from_fn(|_| UnsafeCell::new(0)) })
    }
}

#[cfg(loom)]
impl Memory for Arc<Private> {
    fn cursors(&self) -> &Cursors {
        &self.cursors
    }
    fn capacity(&self) -> usize {
        CAPACITY
    }
    fn copy_in(&self, at: usize, bytes: &[u8]) {
        for (cell, byte) in self.bytes[at..].iter().zip(bytes) {
            // SAFETY: loom fails the test if anybody else looks meanwhile.
            cell.with_mut(|cell| unsafe { *cell = *byte });
        }
    }
    fn copy_out(&self, at: usize, bytes: &mut [u8]) {
        for (cell, byte) in self.bytes[at..].iter().zip(bytes) {
            // SAFETY: loom fails the test if anybody writes meanwhile.
            *byte = cell.with(|cell| unsafe { *cell });
        }
    }
}

/// One side that sleeps by its bell, as the worker and the parent do.
#[cfg(loom)]
fn sleep_unless(bell: &Bell, wake: &Notify, mut ready: impl FnMut() -> bool) {
    bell.announce();
    if !ready() && bell.is_asleep() {
        wake.wait();
    }
    bell.retract();
}

#[cfg(loom)]
#[test]
fn loom_a_sleeping_reader_gets_every_message() {
    loom::model(|| {
        let (memory, bell, wake) = (Private::new(), Arc::new(Bell::new()), Arc::new(Notify::new()));
        let producer = thread::spawn({
            let (memory, bell, wake) = (Arc::clone(&memory), Arc::clone(&bell), Arc::clone(&wake));
            move || {
                let mut writer = Writer::new(memory);
                for byte in [1u8, 2] {
                    assert_eq!(writer.push(&[byte], &mut 0), Ok(true));
                    if bell.must_wake() {
                        wake.notify();
                    }
                }
            }
        });
        let mut reader = Reader::new(memory);
        for byte in [1u8, 2] {
            loop {
                match reader.next().unwrap() {
                    Step::Message(message) => break assert_eq!(message, [byte]),
                    _ => sleep_unless(&bell, &wake, || !reader.is_empty()),
                }
            }
        }
        producer.join().unwrap();
    });
}

#[cfg(loom)]
#[test]
fn loom_a_sleeping_writer_gets_its_room() {
    loom::model(|| {
        let (memory, bell, wake) = (Private::new(), Arc::new(Bell::new()), Arc::new(Notify::new()));
        // Four records fill the ring; the fifth waits for room.
        let mut writer = Writer::new(Arc::clone(&memory));
        for byte in 0..4 {
            assert_eq!(writer.push(&[byte; 8], &mut 0), Ok(true));
        }
        let consumer = thread::spawn({
            let (bell, wake) = (Arc::clone(&bell), Arc::clone(&wake));
            move || {
                let mut reader = Reader::new(memory);
                for byte in 0..2 {
                    assert_eq!(reader.next(), Ok(Step::Message(vec![byte; 8])));
                    if reader.is_crowded() && bell.must_wake() {
                        wake.notify();
                    }
                }
            }
        });
        for byte in 4..6 {
            let (message, mut done) = ([byte; 8], 0);
            while !writer.push(&message, &mut done).unwrap() {
                sleep_unless(&bell, &wake, || writer.may_go_on(&message, done));
            }
        }
        consumer.join().unwrap();
    });
}

#[cfg(not(loom))]
mod plain {
    use super::*;
    use proptest::prelude::*;
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::rc::Rc;

    struct Private {
        cursors: Cursors,
        bytes: RefCell<[u8; CAPACITY]>,
    }

    fn memory() -> Rc<Private> {
        Rc::new(Private { cursors: Cursors::new(), bytes: RefCell::new([0xEE; CAPACITY]) })
    }

    impl Memory for Rc<Private> {
        fn cursors(&self) -> &Cursors {
            &self.cursors
        }
        fn capacity(&self) -> usize {
            CAPACITY
        }
        fn copy_in(&self, at: usize, bytes: &[u8]) {
            self.bytes.borrow_mut()[at..at + bytes.len()].copy_from_slice(bytes);
        }
        fn copy_out(&self, at: usize, bytes: &mut [u8]) {
            bytes.copy_from_slice(&self.bytes.borrow()[at..at + bytes.len()]);
        }
    }

    #[test]
    fn an_empty_message_is_a_message() {
        let memory = memory();
        let (mut writer, mut reader) = (Writer::new(Rc::clone(&memory)), Reader::new(memory));
        assert_eq!(reader.next(), Ok(Step::Empty));
        assert_eq!(writer.push(&[], &mut 0), Ok(true));
        assert_eq!(reader.next(), Ok(Step::Message(vec![])));
    }

    proptest! {
        #[test]
        fn carries_what_a_queue_carries(script in prop::collection::vec((any::<bool>(), 0usize..200), 1..200)) {
            let memory = memory();
            let (mut writer, mut reader) = (Writer::new(Rc::clone(&memory)), Reader::new(memory));
            let (mut model, mut underway) = (VecDeque::new(), None::<(Vec<u8>, usize)>);
            let mut stamp = 0u8;
            for (write, len) in script {
                if write {
                    let (message, mut done) = underway.take().unwrap_or_else(|| {
                        stamp = stamp.wrapping_add(1);
                        let message: Vec<u8> = (0..len).map(|i| (i as u8) ^ stamp).collect();
                        model.push_back(message.clone());
                        (message, 0)
                    });
                    if !writer.push(&message, &mut done).unwrap() {
                        prop_assert!(!writer.may_go_on(&message, done));
                        underway = Some((message, done));
                    }
                } else if let Step::Message(message) = reader.next().unwrap() {
                    prop_assert_eq!(Some(message), model.pop_front());
                }
            }
            while !model.is_empty() {
                match reader.next().unwrap() {
                    Step::Message(message) => prop_assert_eq!(Some(message), model.pop_front()),
                    Step::Part => {}
                    Step::Empty => {
                        let (message, mut done) = underway.take().unwrap();
                        if !writer.push(&message, &mut done).unwrap() {
                            underway = Some((message, done));
                        }
                    }
                }
            }
            prop_assert!(reader.is_empty());
        }

        /// A writer that found no room is told of it before the reader finds
        /// the ring empty, and sleeps.
        #[test]
        fn who_waits_for_room_is_told(script in prop::collection::vec((any::<bool>(), prop::sample::select(vec![0, 8])), 1..200)) {
            let memory = memory();
            let (mut writer, mut reader) = (Writer::new(Rc::clone(&memory)), Reader::new(memory));
            let mut waits = false;
            for (write, len) in script {
                if write {
                    // Given up if it does not fit: it is the waiting that counts.
                    waits |= !writer.push(&vec![7; len], &mut 0).unwrap();
                    continue;
                }
                let step = reader.next().unwrap();
                prop_assert!(step != Step::Empty || !waits);
                waits &= step == Step::Empty || !reader.is_crowded();
            }
        }

        /// Whatever the other process writes: an error or some message, no
        /// panic, no endless loop.
        #[test]
        fn survives_garbage(bytes in prop::array::uniform32(any::<u8>()), head in any::<u64>(), tail in any::<u64>(),
                            small in any::<bool>()) {
            let memory = memory();
            memory.bytes.borrow_mut()[..32].copy_from_slice(&bytes);
            let (head, tail) = if small { (head % 128, tail % 128) } else { (head, tail) };
            memory.cursors.head.0.store(head, Relaxed);
            memory.cursors.tail.0.store(tail, Relaxed);
            let mut reader = Reader::new(Rc::clone(&memory));
            for _ in 0..CAPACITY {
                if !matches!(reader.next(), Ok(Step::Message(_) | Step::Part)) {
                    break;
                }
            }
            prop_assert!(reader.parts.len() <= CAPACITY);
            let mut writer = Writer::new(memory);
            let _ = writer.push(&[1; 500], &mut 0);
        }
    }
}
