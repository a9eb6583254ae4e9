use super::*;

use std::sync::mpsc;

/// A lock that is held by whom it is told.
#[derive(Debug, Default)]
struct Told(AtomicUsize);

impl Lock for Told {
    fn held_by(&self, state: usize) -> bool {
        self.0.load(Relaxed) == state
    }

    fn owns(&self, address: usize) -> bool {
        address == &raw const WORD as usize
    }
}

/// The lock's own word, and one that is not.
static WORD: AtomicU32 = AtomicU32::new(0);
static OTHER: AtomicU32 = AtomicU32::new(0);

fn sampler() -> (Sampler<Told>, Arc<Told>) {
    let lock = Arc::new(Told::default());
    (Sampler::new(Arc::clone(&lock), Duration::from_micros(50), false), lock)
}

/// Watches again and again until a watch has counted as expected.
fn until(sampler: &Sampler<Told>, whom: Whom, expected: impl Fn(&Counted) -> bool) {
    loop {
        assert!(sampler.begin(whom).unwrap());
        let epoch = sampler.shared.epoch.load(Relaxed);
        while sampler.shared.counts.of(epoch).samples == 0 {
            std::thread::yield_now();
        }
        if expected(&sampler.end().unwrap()) {
            return;
        }
    }
}

/// The number of a thread that waits on `word` for as long as the test.
fn waiter(word: &'static AtomicU32) -> u32 {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        tell.send(plait_sys::waiting::own_number()).unwrap();
        let _ = futex::wait(word, 0, Some(Duration::from_secs(60)), Scope::Process);
    });
    told.recv().unwrap()
}

#[test]
fn the_holder_is_found_holding() {
    let (sampler, lock) = sampler();
    let whom = Whom { tid: plait_sys::waiting::own_number(), state: 5, core: usize::MAX };
    lock.0.store(5, Relaxed);
    until(&sampler, whom, |counted| counted.held > 0 && counted.held == counted.samples);
    lock.0.store(6, Relaxed);
    until(&sampler, whom, |counted| counted.held == 0);
}

#[test]
fn who_waits_without_it_is_found_waiting() {
    let (sampler, _lock) = sampler();
    let whom = Whom { tid: waiter(&OTHER), state: 5, core: usize::MAX };
    until(&sampler, whom, |counted| counted.waits == [("lock", counted.samples)]);
}

#[test]
fn who_waits_for_the_lock_itself_waits_on_nothing() {
    let (sampler, _lock) = sampler();
    let whom = Whom { tid: waiter(&WORD), state: 5, core: usize::MAX };
    until(&sampler, whom, |counted| counted.samples > 0 && counted.waits.is_empty());
}

#[test]
fn a_close_look_counts_how_often_the_lock_is_let_go_of() {
    let (sampler, lock) = sampler();
    let whom = Whom { tid: plait_sys::waiting::own_number(), state: 5, core: usize::MAX };
    loop {
        assert!(sampler.begin(whom).unwrap());
        for turn in 0..100_000 {
            lock.0.store(5 + turn % 2, Relaxed);
        }
        let seen = sampler.so_far().unwrap();
        sampler.end();
        if seen.released > 10 && seen.closely > 0 {
            break;
        }
    }
    // Who never lets go is never seen to.
    lock.0.store(5, Relaxed);
    let mut closely = 0;
    while closely == 0 {
        assert!(sampler.begin(whom).unwrap());
        std::thread::yield_now();
        let seen = sampler.so_far().unwrap();
        assert_eq!(seen.released, 0);
        closely = seen.closely;
        sampler.end();
    }
}

#[test]
fn whoever_has_the_core_of_the_watched_thread_does_not_look_closely() {
    let lock = Told::default();
    lock.0.store(5, Relaxed);
    let shared = Shared::default();
    // The thread may be moved at any moment, so every core is the watched one's.
    for core in 0..4096 {
        let whom = Whom { tid: plait_sys::waiting::own_number(), state: 5, core };
        shared.epoch.store(1, Relaxed);
        let before = plait_sys::waiting::own_core();
        let seen = shared.counts.of(1).closely;
        shared.look_closely(1, &lock, whom, Found::Holding);
        if before == core && plait_sys::waiting::own_core() == core {
            assert_eq!(shared.counts.of(1).closely, seen);
        }
    }
}

#[test]
fn one_watch_at_a_time() {
    let (sampler, _lock) = sampler();
    let whom = Whom { tid: plait_sys::waiting::own_number(), state: 5, core: usize::MAX };
    assert_eq!(sampler.end(), None);
    assert!(sampler.begin(whom).unwrap());
    assert!(!sampler.begin(whom).unwrap());
    assert!(sampler.end().is_some());
    assert_eq!(sampler.end(), None);
    assert!(sampler.begin(whom).unwrap());
}

#[test]
fn a_thread_that_is_none_is_counted_without_waits() {
    let (sampler, _lock) = sampler();
    until(&sampler, Whom { tid: u32::MAX, state: 5, core: usize::MAX }, |counted| {
        counted.samples > 0 && counted.waits.is_empty()
    });
}

#[test]
fn it_sleeps_when_nobody_is_watched_and_wakes_again() {
    let (sampler, lock) = sampler();
    let whom = Whom { tid: plait_sys::waiting::own_number(), state: 5, core: usize::MAX };
    lock.0.store(5, Relaxed);
    for _ in 0..3 {
        until(&sampler, whom, |counted| counted.held > 0);
        while sampler.shared.asleep.load(SeqCst) == 0 {
            std::thread::yield_now();
        }
    }
}

#[test]
fn it_rests_and_goes_on_with_another_thread() {
    let (sampler, lock) = sampler();
    let whom = Whom { tid: plait_sys::waiting::own_number(), state: 5, core: usize::MAX };
    lock.0.store(5, Relaxed);
    sampler.rest();
    for _ in 0..3 {
        until(&sampler, whom, |counted| counted.held > 0);
        sampler.rest();
        assert!(sampler.thread.lock().unwrap().is_none());
    }
    // While somebody is watched it goes on after it.
    assert!(sampler.begin(whom).unwrap());
    for _ in 0..3 {
        sampler.rest();
        let before = sampler.so_far().unwrap().held;
        sampler.resume().unwrap();
        while sampler.so_far().unwrap().held == before {
            std::thread::yield_now();
        }
    }
    assert!(sampler.end().is_some());
    sampler.rest();
    sampler.resume().unwrap();
    assert!(sampler.thread.lock().unwrap().is_none());
}

#[test]
fn a_dropped_one_leaves_no_thread() {
    let (sampler, _lock) = sampler();
    let whom = Whom { tid: plait_sys::waiting::own_number(), state: 5, core: usize::MAX };
    assert!(sampler.begin(whom).unwrap());
    let shared = Arc::downgrade(&sampler.shared);
    drop(sampler);
    while shared.strong_count() > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn two_watch_the_same_thread() {
    let ((one, lock), (two, _none)) = (sampler(), sampler());
    let whom = Whom { tid: plait_sys::waiting::own_number(), state: 5, core: usize::MAX };
    lock.0.store(5, Relaxed);
    assert!(two.begin(whom).unwrap());
    until(&one, whom, |counted| counted.held > 0);
    assert_eq!(two.end().unwrap().held, 0);
}

#[test]
fn a_child_goes_on_without_the_thread_and_the_watch() {
    let (sampler, lock) = sampler();
    let whom = Whom { tid: plait_sys::waiting::own_number(), state: 5, core: usize::MAX };
    lock.0.store(5, Relaxed);
    assert!(sampler.begin(whom).unwrap());
    // What the child finds: the memory, and no thread.
    sampler.rest();
    sampler.forked();
    assert_eq!(sampler.end(), None);
    assert!(sampler.take_lost());
    assert!(!sampler.take_lost());
    until(&sampler, whom, |counted| counted.held > 0);
}

#[test]
fn a_watch_can_be_read_while_it_goes_on() {
    let (sampler, lock) = sampler();
    let whom = Whom { tid: plait_sys::waiting::own_number(), state: 5, core: usize::MAX };
    lock.0.store(5, Relaxed);
    assert_eq!(sampler.so_far(), None);
    assert!(sampler.begin(whom).unwrap());
    let mut before = 0;
    while before < 5 {
        let held = sampler.so_far().unwrap().held;
        assert!(held >= before);
        before = held;
    }
    assert!(sampler.end().unwrap().held >= before);
    assert_eq!(sampler.so_far(), None);
}
