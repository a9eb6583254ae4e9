//! The limit of `make bench-pool`: a bare ring between two threads that never
//! sleep, with nothing on it but 64 bytes a message. No pool can be faster.
//!
//! `pingpong COUNT` prints microseconds there and back, and messages a second
//! one way, as JSON.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use plait_sys::clock::Instant;

const SLOTS: u64 = 1024;
const SIZE: usize = 64;

/// A cursor alone on its cache lines (two: the next is prefetched).
#[repr(align(128))]
struct Cursor(AtomicU64);

/// A ring for one writer and one reader. The lock of a slot is never waited
/// for: the cursors say whose it is.
struct Ring {
    head: Cursor,
    tail: Cursor,
    slots: Vec<Mutex<[u8; SIZE]>>,
}

impl Ring {
    fn new() -> Self {
        let slots = (0..SLOTS).map(|_| Mutex::new([0; SIZE])).collect();
        Self { head: Cursor(AtomicU64::new(0)), tail: Cursor(AtomicU64::new(0)), slots }
    }

    fn slot(&self, at: u64) -> &Mutex<[u8; SIZE]> {
        &self.slots[(at % SLOTS) as usize]
    }

    fn send(&self, message: [u8; SIZE]) {
        let tail = self.tail.0.load(Acquire);
        while tail - self.head.0.load(Acquire) == SLOTS {
            std::hint::spin_loop();
        }
        *self.slot(tail).lock().expect("nobody panics") = message;
        self.tail.0.store(tail + 1, Release);
    }

    fn receive(&self) -> [u8; SIZE] {
        let head = self.head.0.load(Acquire);
        while self.tail.0.load(Acquire) == head {
            std::hint::spin_loop();
        }
        let message = *self.slot(head).lock().expect("nobody panics");
        self.head.0.store(head + 1, Release);
        message
    }
}

fn message(number: u64) -> [u8; SIZE] {
    let mut message = [0; SIZE];
    message[..8].copy_from_slice(&number.to_ne_bytes());
    message
}

fn main() {
    let count: u64 = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(100_000);
    let (there, back) = (Ring::new(), Ring::new());
    let (mut trips, rate) = std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..count {
                back.send(there.receive());
            }
            for number in 0..count {
                assert_eq!(there.receive(), message(number));
            }
            back.send(message(0));
        });
        let mut trips = Vec::with_capacity(count as usize);
        for number in 0..count {
            let begun = Instant::now();
            there.send(message(number));
            assert_eq!(back.receive(), message(number));
            trips.push(Instant::now().saturating_since(begun).as_nanos());
        }
        let begun = Instant::now();
        for number in 0..count {
            there.send(message(number));
        }
        back.receive();
        (trips, count as f64 / Instant::now().saturating_since(begun).as_secs_f64())
    });
    trips.sort_unstable();
    let micro = |share: u64| trips[(count * share / 100) as usize] as f64 / 1e3;
    println!("{{\"p50\": {}, \"p99\": {}, \"rate\": {rate}}}", micro(50), micro(99));
}
