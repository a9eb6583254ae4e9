//! Helpers, submitters and a supervisor over workers that are threads here.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use plait_sys::epoll::{Epoll, Interest};
use plait_sys::eventfd::EventFd;
use plait_sys::lifeline::Lifeline;
use std::os::fd::{AsFd, AsRawFd};

use super::*;
use crate::completion::Completion;
use crate::process::handle::Handle;
use crate::process::pool::Shared;
use crate::process::{Answer, Call, End, Parcel, Terms, ToDo, Worker};

/// A future of sorts.
type Fate = Completion<End, ()>;

struct Seat(Arc<Fate>);

impl Ticket for Seat {
    fn is_wanted(&self) -> bool {
        !self.0.state().is_final()
    }
    fn cancel(self) {
        assert!(self.0.try_cancel().is_some());
    }
    fn finish(self, end: End, _attempts: u32) {
        assert_eq!(self.0.finish(end), Ok(vec![]), "each ends once");
    }
}

/// A pool whose workers are threads that answer with what they are given, and
/// whose supervisor does nothing but watch.
struct Office {
    shared: Arc<Shared<Seat>>,
    over: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Office {
    fn open(workers: usize) -> Self {
        let bell = Arc::new(EventFd::new().unwrap());
        let shared = Arc::new(Shared::new(State::new(workers, None), Arc::clone(&bell)));
        let over = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for _ in 0..workers {
            let (requests, responses) = plait_shm::link().unwrap();
            let memory = requests.memory().try_clone_to_owned().unwrap();
            let worker = Worker::new(memory, bell.as_fd().try_clone_to_owned().unwrap(), None).unwrap();
            let lifeline = Lifeline::new().unwrap().0;
            shared.lock().add(Slot::new(requests, responses, None, lifeline, 1));
            threads.push(thread::spawn(|| work(worker)));
        }
        threads.push(thread::spawn({
            let (shared, over) = (Arc::clone(&shared), Arc::clone(&over));
            move || supervise(&shared, &bell, &over)
        }));
        Self { shared, over, threads }
    }

    fn submit(&self, number: u32) -> Arc<Fate> {
        let fate = Arc::new(Fate::new());
        let mut after = Aftermath::new();
        let mut state = self.shared.lock();
        state.attend_in_passing(&mut after);
        let parcel = Parcel::of(&body_of(number));
        let call = Call { image: 0, needs: Arc::new([]), parcel, terms: Terms::default() };
        state.submit(call, Seat(Arc::clone(&fate)), &mut after);
        drop(state);
        after.run();
        fate
    }

    fn close(self) {
        self.shared.lock().close(false, &mut Aftermath::new());
        self.over.store(true, SeqCst);
        self.shared.ring().unwrap();
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// As a pickle begins.
fn body_of(number: u32) -> Vec<u8> {
    [&[0x80], &number.to_ne_bytes()[..]].concat()
}

fn work(mut worker: Worker) {
    let runs = worker.runs();
    let answer = |worker: &mut Worker, answer, body: &[u8]| {
        let (mut message, mut done) = (Vec::new(), 0);
        worker.begin_answer(answer, &mut message);
        message.extend_from_slice(body);
        while !worker.send(&message, &mut done).unwrap() {}
    };
    answer(&mut worker, Answer::Ready, &[]);
    loop {
        match worker.receive().unwrap() {
            ToDo::Task { task, bytes, .. } => {
                assert_eq!(runs.end(), None);
                answer(&mut worker, Answer::Returned(task), bytes.as_ref());
            }
            ToDo::Leave => return,
            _ => {}
        }
    }
}

/// As the supervisor does, without what it does besides.
fn supervise(shared: &Shared<Seat>, bell: &EventFd, over: &AtomicBool) {
    let epoll = Epoll::new().unwrap();
    epoll.set(bell.as_raw_fd(), 0, Interest::READ, false).unwrap();
    loop {
        let mut after = Aftermath::new();
        let mut state = shared.lock();
        state.attend(&mut after);
        state.dismiss();
        let left = over.load(SeqCst)
            && state.slots.values().all(|slot| slot.stage == crate::process::slot::Stage::Leaving);
        drop(state);
        after.run();
        if left {
            return;
        }
        let timeout = shared.lock().fall_asleep(None);
        epoll.wait(&mut Vec::new(), timeout).unwrap();
        bell.drain().unwrap();
        shared.lock().wake_up();
    }
}

fn check(fate: &Fate, number: u32) {
    match fate.outcome() {
        Some(End::Reply(reply)) => assert_eq!(reply.body.as_ref(), body_of(number)),
        other => panic!("{number} ended with {other:?}"),
    }
}

/// A lost wake-up would leave a waiter asleep for ever.
#[test]
fn every_answer_is_heard_whoever_is_awake() {
    let office = Office::open(3);
    let waits = Mutex::new(0u32);
    thread::scope(|scope| {
        for caller in 0..4u32 {
            let (office, waits) = (&office, &waits);
            scope.spawn(move || {
                let handle = Handle::new(Arc::clone(&office.shared));
                for round in 0..1_500 {
                    let many = if round % 50 == 0 { 40 } else { 1 + round % 3 };
                    let number = |n| caller << 24 | round << 8 | n;
                    let fates: Vec<_> = (0..many).map(|n| office.submit(number(n))).collect();
                    for (fate, n) in fates.iter().zip(0..) {
                        let until = || fate.state().is_final();
                        // Two of them help, for a shorter or longer while.
                        if caller < 2 && handle.help(until, Duration::from_micros(5 * u64::from(round % 5))) {
                            check(fate, number(n));
                            continue;
                        }
                        fate.wait(None).unwrap();
                        check(fate, number(n));
                        *waits.lock().unwrap() += 1;
                    }
                }
            });
        }
    });
    assert!(*waits.lock().unwrap() > 0);
    office.close();
}

/// One who looks away just as the answer comes, with nobody else about.
#[test]
fn an_answer_between_the_last_look_and_the_sleep_is_heard() {
    let office = Office::open(1);
    let handle = Handle::new(Arc::clone(&office.shared));
    for round in 0..20_000 {
        let fate = office.submit(round);
        for _ in 0..round % 7 {
            handle.help(|| fate.state().is_final(), Duration::ZERO);
        }
        fate.wait(None).unwrap();
        check(&fate, round);
    }
    office.close();
}

#[test]
fn a_pool_that_nobody_uses_is_left_alone() {
    let office = Office::open(2);
    let fate = office.submit(7);
    fate.wait(None).unwrap();
    // The supervisor sleeps soon, without a time to wake up at.
    while office.shared.lock().watch.supervisor != Supervisor::Asleep {
        thread::yield_now();
    }
    office.close();
}
