use super::*;
use proptest::prelude::*;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

#[test]
fn asks_for_workers_up_to_the_limit() {
    let queue = Queue::new(2);
    assert_eq!(queue.push(1), Ok(Wanted::Worker));
    assert_eq!(queue.push(2), Ok(Wanted::Worker));
    assert_eq!(queue.push(3), Ok(Wanted::Nothing));
    assert_eq!(queue.workers(), (2, 0));
}

#[test]
fn an_idle_worker_is_used_again() {
    let queue = Queue::new(8);
    assert_eq!(queue.push(1), Ok(Wanted::Worker));
    let mut worker = queue.join();
    assert_eq!(worker.try_take(), Found::Item(1));
    assert_eq!(worker.try_take(), Found::Nothing);
    assert_eq!(queue.workers(), (1, 1));
    assert_eq!(queue.push(2), Ok(Wanted::Nothing));
    // The one idle worker is spoken for.
    assert_eq!(queue.push(3), Ok(Wanted::Worker));
    assert_eq!(worker.try_take(), Found::Item(2));
    assert_eq!(queue.workers(), (2, 0));
}

#[test]
fn what_was_accepted_is_taken_after_the_close() {
    let queue = Queue::new(1);
    assert_eq!(queue.push(1), Ok(Wanted::Worker));
    queue.close(Closed::Shutdown);
    queue.close(Closed::Exit);
    assert_eq!(queue.push(2), Err(Refused { item: 2, reason: Closed::Shutdown }));
    assert_eq!(queue.wait(Some(Instant::from_nanos(0))).unwrap(), Waited::TimedOut);
    let mut worker = queue.join();
    assert_eq!(worker.try_take(), Found::Item(1));
    assert_eq!(worker.try_take(), Found::End);
    drop(worker);
    assert_eq!(queue.wait(None).unwrap(), Waited::Done);
}

#[test]
fn a_closed_queue_without_workers_has_ended() {
    let queue = Queue::<u32>::new(1);
    queue.close(Closed::Exit);
    assert_eq!(queue.wait(None).unwrap(), Waited::Done);
    assert_eq!(queue.closed(), Some(Closed::Exit));
}

#[test]
fn a_worker_that_never_came_is_not_waited_for() {
    let queue = Queue::new(1);
    assert_eq!(queue.push(1), Ok(Wanted::Worker));
    queue.close(Closed::Shutdown);
    queue.forgo();
    assert_eq!(queue.wait(None).unwrap(), Waited::Done);
    assert_eq!(queue.drain(), [1]);
}

#[test]
fn a_failure_gives_everything_back() {
    let queue = Queue::new(1);
    assert_eq!(queue.push(1), Ok(Wanted::Worker));
    assert_eq!(queue.push(2), Ok(Wanted::Nothing));
    queue.close(Closed::Shutdown);
    assert_eq!(queue.fail(), [1, 2]);
    assert_eq!(queue.push(3), Err(Refused { item: 3, reason: Closed::Broken }));
    assert!(queue.is_empty());
}

#[test]
fn a_worker_that_steps_aside_keeps_its_place() {
    let queue = Queue::new(1);
    assert_eq!(queue.push(1), Ok(Wanted::Worker));
    let mut worker = queue.join();
    assert_eq!(worker.try_take(), Found::Item(1));
    worker.step_aside();
    assert_eq!((queue.push(2), queue.workers()), (Ok(Wanted::Nothing), (1, 0)));
    let mut again = queue.join();
    assert_eq!(again.try_take(), Found::Item(2));
    assert_eq!((again.try_take(), queue.workers()), (Found::Nothing, (1, 1)));
}

#[test]
fn the_place_of_a_lost_worker_goes_to_who_takes_what_waits() {
    let queue = Queue::new(1);
    assert_eq!(queue.push(1), Ok(Wanted::Worker));
    let mut lost = queue.join();
    assert_eq!(lost.try_take(), Found::Item(1));
    lost.step_aside();
    assert_eq!(queue.push(2), Ok(Wanted::Nothing));
    queue.close(Closed::Shutdown);
    assert_eq!((queue.lose(), queue.workers()), (Wanted::Worker, (1, 0)));
    let mut other = queue.join();
    assert_eq!(other.try_take(), Found::Item(2));
    assert_eq!(other.try_take(), Found::End);
    assert_eq!(queue.wait(Some(Instant::from_nanos(0))).unwrap(), Waited::TimedOut);
    drop(other);
    assert_eq!(queue.wait(None).unwrap(), Waited::Done);
}

#[test]
fn nobody_takes_the_place_of_a_lost_worker_if_nothing_waits() {
    let queue = Queue::new(1);
    assert_eq!(queue.push(1), Ok(Wanted::Worker));
    let mut lost = queue.join();
    assert_eq!(lost.try_take(), Found::Item(1));
    lost.step_aside();
    assert_eq!((queue.lose(), queue.workers()), (Wanted::Nothing, (0, 0)));
    assert_eq!(queue.push(2), Ok(Wanted::Worker));
}

#[test]
fn what_a_worker_that_never_came_was_to_do_for_others_is_given_back() {
    let queue = Queue::new(1);
    assert_eq!(queue.push(1), Ok(Wanted::Worker));
    assert_eq!(queue.push(2), Ok(Wanted::Nothing));
    assert_eq!(queue.give_up(), [1, 2]);
    let queue = Queue::new(2);
    assert_eq!(queue.push(1), Ok(Wanted::Worker));
    assert_eq!(queue.push(2), Ok(Wanted::Worker));
    assert!(queue.give_up().is_empty(), "the other worker does it");
    assert_eq!(queue.workers(), (1, 0));
}

#[test]
fn one_stands_in_where_nobody_is_left() {
    let queue = Queue::new(1);
    assert_eq!(queue.push(1), Ok(Wanted::Worker));
    let mut lost = queue.join();
    assert_eq!(lost.try_take(), Found::Item(1));
    lost.step_aside();
    assert_eq!(queue.push(2), Ok(Wanted::Nothing));
    assert_eq!(queue.lose(), Wanted::Worker);
    queue.close(Closed::Exit);
    assert!(!queue.stand_in(), "one has been asked for");
    queue.forgo();
    assert_eq!(queue.wait(None).unwrap(), Waited::Done);
    assert!(queue.stand_in());
    assert!(!queue.stand_in(), "one is enough");
    let mut worker = queue.join();
    assert_eq!(worker.try_take(), Found::Item(2));
    assert_eq!(worker.try_take(), Found::End);
    drop(worker);
    assert!(!queue.stand_in(), "nothing is left");
    assert_eq!(queue.workers(), (0, 0));
}

#[test]
fn many_threads_lose_nothing_and_keep_the_limit() {
    const PUSHERS: usize = 4;
    const ITEMS: usize = 500;
    const LIMIT: usize = 3;
    let queue = Queue::new(LIMIT);
    let taken = AtomicUsize::new(0);
    let started = AtomicUsize::new(0);
    let work = || {
        let mut worker = queue.join();
        loop {
            match worker.try_take() {
                Found::Item(item) => taken.fetch_add(item, SeqCst),
                Found::Nothing => {
                    worker.sleep();
                    continue;
                }
                Found::End => break,
            };
        }
    };
    thread::scope(|scope| {
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|_| {
                scope.spawn(|| {
                    for item in 1..=ITEMS {
                        if queue.push(item) == Ok(Wanted::Worker) {
                            started.fetch_add(1, SeqCst);
                            scope.spawn(work);
                        }
                    }
                })
            })
            .collect();
        for pusher in pushers {
            pusher.join().unwrap();
        }
        queue.close(Closed::Shutdown);
        assert_eq!(queue.wait(None).unwrap(), Waited::Done);
    });
    assert_eq!(taken.load(SeqCst), PUSHERS * ITEMS * (ITEMS + 1) / 2);
    assert!(started.load(SeqCst) <= LIMIT);
    assert_eq!(queue.workers(), (0, 0));
}

#[derive(Debug, Clone)]
enum Step {
    Push,
    /// The worker of this number (counted round) looks once.
    Take(usize),
    /// It leaves.
    Leave(usize),
    Drain,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Push),
        6 => any::<usize>().prop_map(Step::Take),
        1 => any::<usize>().prop_map(Step::Leave),
        1 => Just(Step::Drain),
        1 => Just(Step::Close),
    ]
}

proptest! {
    /// Against a plain model: order is kept, nothing is lost or doubled,
    /// the limit is kept, and a worker is asked for exactly when the idle
    /// ones do not suffice.
    #[test]
    fn behaves_as_its_model(limit in 1..4_usize, steps in prop::collection::vec(step(), 0..200)) {
        let queue = Queue::new(limit);
        let mut waiting = VecDeque::new();
        let mut workers: Vec<(Worker<'_, usize>, bool)> = Vec::new();
        let mut closed = false;
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Push if closed => {
                    let refused = Refused { item: number, reason: Closed::Shutdown };
                    prop_assert_eq!(queue.push(number), Err(refused));
                }
                Step::Push => {
                    waiting.push_back(number);
                    let idle = workers.iter().filter(|(_, idle)| *idle).count();
                    let wanted = waiting.len() > idle && workers.len() < limit;
                    let expected = if wanted { Wanted::Worker } else { Wanted::Nothing };
                    prop_assert_eq!(queue.push(number), Ok(expected));
                    if wanted {
                        workers.push((queue.join(), false));
                    }
                }
                Step::Take(which) if !workers.is_empty() => {
                    let which = which % workers.len();
                    let (worker, idle) = &mut workers[which];
                    let expected = match waiting.pop_front() {
                        Some(item) => Found::Item(item),
                        None if closed => Found::End,
                        None => Found::Nothing,
                    };
                    *idle = !matches!(expected, Found::Item(_));
                    prop_assert_eq!(worker.try_take(), expected);
                }
                Step::Leave(which) if !workers.is_empty() => {
                    drop(workers.swap_remove(which % workers.len()));
                }
                Step::Drain => prop_assert_eq!(queue.drain(), mem::take(&mut waiting)),
                Step::Close => {
                    queue.close(Closed::Shutdown);
                    closed = true;
                }
                Step::Take(_) | Step::Leave(_) => {}
            }
            let idle = workers.iter().filter(|(_, idle)| *idle).count();
            prop_assert_eq!(queue.workers(), (workers.len(), idle));
            prop_assert_eq!(queue.len(), waiting.len());
            let ended = queue.wait(Some(Instant::from_nanos(0))).unwrap() == Waited::Done;
            prop_assert_eq!(ended, closed && workers.is_empty());
        }
    }
}

#[test]
fn nobody_is_woken_for_what_one_who_is_awake_will_take() {
    let queue = Queue::new(2);
    for item in 1..=2 {
        assert_eq!(queue.push(item), Ok(Wanted::Worker));
    }
    let mut awake = queue.join();
    assert!(awake.stirs());
    assert_eq!(awake.try_take(), Found::Item(1));
    assert_eq!(awake.try_take(), Found::Item(2));
    assert_eq!(awake.try_take(), Found::Nothing);
    assert!(!awake.stirs());
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut sleeper = queue.join();
            assert_eq!(sleeper.try_take(), Found::Nothing);
            sleeper.sleep();
            assert_eq!(sleeper.try_take(), Found::Item(4));
        });
        while queue.lock().asleep == 0 {
            thread::yield_now();
        }
        assert_eq!(queue.push(3), Ok(Wanted::Nothing));
        assert!(awake.stirs());
        assert_eq!(queue.lock().asleep, 1);
        assert_eq!(awake.try_take(), Found::Item(3));
        assert_eq!(queue.push(4), Ok(Wanted::Nothing));
    });
}
