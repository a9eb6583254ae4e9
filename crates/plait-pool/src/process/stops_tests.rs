use super::*;
use crate::process::wire;
use crate::process::world::World;

fn terms(timeout_ms: u64, retries: u32) -> Terms {
    Terms { timeout: Some(Duration::from_millis(timeout_ms)), grace: Duration::from_millis(200), retries }
}

/// A time by which whatever was set for `millis` from now is due.
fn after(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

#[test]
fn a_task_in_time_is_left_alone() {
    let mut world = World::new(1);
    let worker = world.hire();
    let task = world.submit_on(1, terms(1000, 0));
    assert_eq!(world.begins(worker), task);
    world.looks(after(900));
    assert_eq!(world.stage(worker), Stage::Runs);
    assert_eq!(world.workers[&worker].runs().end(), None);
    world.returns(worker, task);
    world.looks(after(5000));
    assert_eq!(world.ended(), [(1, "returned")]);
}

#[test]
fn the_timeout_begins_with_the_task() {
    let mut world = World::new(1);
    let worker = world.hire();
    let first = world.submit(1);
    let second = world.submit_on(2, terms(1000, 0));
    assert_eq!(world.begins(worker), first);
    // Handed ahead, it has all its time before it.
    world.looks(after(1500));
    assert_eq!(world.stage(worker), Stage::Runs);
    assert_eq!(world.workers[&worker].runs().end(), None);
    world.returns(worker, first);
    assert_eq!(world.begins(worker), second);
    world.looks(after(900));
    assert_eq!(world.stage(worker), Stage::Runs);
    world.looks(after(3000));
    assert_eq!(world.stage(worker), Stage::Stops(Stop::Item));
    world.says(worker, wire::STOPPED, second);
    assert_eq!(world.ended(), [(1, "returned"), (2, "timed out")]);
}

#[test]
fn who_does_not_stop_is_killed_and_what_waits_behind_goes_on() {
    let mut world = World::new(1);
    let worker = world.hire();
    let task = world.submit_on(1, terms(1000, 0));
    world.submit(2);
    assert_eq!(world.begins(worker), task);
    world.looks(after(1100));
    assert_eq!(world.state.queue.len(), 0);
    world.looks(after(1400));
    assert_eq!(world.state.queue.len(), 1);
    world.dies(worker);
    assert_eq!(world.ended(), [(1, "timed out, killed")]);
    let other = world.hire();
    assert_eq!(world.begins(other), 2);
}

#[test]
fn a_death_before_the_deadline_is_a_death() {
    let mut world = World::new(1);
    let worker = world.hire();
    let task = world.submit_on(1, terms(1000, 0));
    assert_eq!(world.begins(worker), task);
    world.dies(worker);
    assert_eq!(world.ended(), [(1, "died")]);
}

#[test]
fn an_end_that_comes_first_wins() {
    let mut world = World::new(1);
    let worker = world.hire();
    let task = world.submit_on(1, terms(1000, 0));
    assert_eq!(world.begins(worker), task);
    // Its answer is on its way when the deadline comes.
    assert_eq!(world.workers[&worker].runs().end(), None);
    world.looks(after(2000));
    assert!(matches!(world.stops(task), Withdrawn::Ended));
    world.returns(worker, task);
    assert_eq!(world.ended(), [(1, "returned")]);
}

#[test]
fn a_cancel_stops_what_runs_and_takes_back_what_does_not() {
    let mut world = World::new(1);
    let worker = world.hire();
    let (first, second, third) = (world.submit(1), world.submit(2), world.submit(3));
    assert_eq!(world.begins(worker), first);
    assert!(matches!(world.stops(first), Withdrawn::Running));
    assert!(matches!(world.stops(first), Withdrawn::Running));
    assert!(matches!(world.stops(second), Withdrawn::TakenBack(2)));
    assert_eq!(world.stage(worker), Stage::Stops(Stop::Task));
    world.says(worker, wire::STOPPED, first);
    assert!(matches!(world.stops(first), Withdrawn::Ended));
    assert_eq!(world.begins(worker), third);
    world.looks(after(10_000));
    assert_eq!(world.stage(worker), Stage::Runs);
    assert_eq!(world.ended(), [(1, "killed")]);
}

#[test]
fn a_cancel_outdoes_a_deadline_and_its_retries() {
    let mut world = World::new(1);
    let worker = world.hire();
    let task = world.submit_on(1, terms(1000, 5));
    assert_eq!(world.begins(worker), task);
    world.looks(after(1100));
    assert!(matches!(world.stops(task), Withdrawn::Running));
    world.dies(worker);
    assert_eq!((world.ended(), world.state.queue.len()), (vec![(1, "killed")], 0));
}

#[test]
fn an_item_that_stopped_is_forgotten_when_the_next_runs() {
    let mut world = World::new(1);
    let worker = world.hire();
    let task = world.submit_on(1, terms(1000, 0));
    assert_eq!(world.begins(worker), task);
    world.looks(after(1100));
    assert_eq!(world.stage(worker), Stage::Stops(Stop::Item));
    let runs = world.workers[&worker].runs();
    assert_eq!(runs.next_item(after(1100)), Some(Stop::Item));
    // Past the grace of the first, within the time of the second.
    world.looks(after(1500));
    assert_eq!(world.stage(worker), Stage::Runs);
    assert_eq!(runs.end(), None);
    world.returns(worker, task);
    assert_eq!(world.ended(), [(1, "returned")]);
}

#[test]
fn failures_are_tried_again_as_often_as_was_asked() {
    let mut world = World::new(1);
    let task = world.submit_on(1, Terms { retries: 3, ..Terms::default() });
    let worker = world.hire();
    assert_eq!(world.begins(worker), task);
    world.says(worker, wire::FAILED, task);
    assert_eq!(world.begins(worker), task);
    world.dies(worker);
    let worker = world.hire();
    assert_eq!(world.begins(worker), task);
    world.says(worker, wire::FAILED, task);
    assert_eq!(world.begins(worker), task);
    world.says(worker, wire::FAILED, task);
    assert_eq!(world.ended(), [(1, "raised")]);
    assert_eq!(*world.log.attempts.lock().unwrap(), [4]);
}

#[test]
fn what_is_not_to_be_retried_is_not() {
    let mut world = World::new(1);
    let worker = world.hire();
    let task = world.submit_on(1, Terms { retries: 3, ..Terms::default() });
    assert_eq!(world.begins(worker), task);
    world.says(worker, wire::RAISED, task);
    let task = world.submit_on(2, Terms { retries: 3, ..Terms::default() });
    assert_eq!(world.begins(worker), task);
    world.closes(true);
    world.says(worker, wire::FAILED, task);
    assert_eq!(world.ended(), [(1, "raised"), (2, "raised")]);
}

#[test]
fn a_stop_that_nobody_asked_for_is_garbage() {
    let mut world = World::new(1);
    let worker = world.hire();
    let task = world.submit(1);
    assert_eq!(world.begins(worker), task);
    world.says(worker, wire::STOPPED, task);
    world.dies(worker);
    assert_eq!(world.ended(), [(1, "died")]);
}

#[test]
fn a_full_pool_says_so() {
    let mut world = World::bounded(1, 1);
    let worker = world.hire();
    let first = world.submit(1);
    assert!(!world.state.is_full());
    let second = world.submit(2);
    assert!(world.state.is_full());
    assert_eq!(world.begins(worker), first);
    assert!(world.state.is_full());
    assert!(matches!(world.stops(second), Withdrawn::TakenBack(2)));
    assert!(!world.state.is_full());
}

#[test]
fn a_stop_that_was_heeded_is_not_forgotten_for_the_next() {
    let mut world = World::new(1);
    let worker = world.hire();
    let first = world.submit_on(1, terms(1000, 0));
    let second = world.submit_on(2, terms(1000, 0));
    assert_eq!(world.begins(worker), first);
    world.looks(after(1100));
    assert_eq!(world.workers[&worker].runs().end(), Some(Stop::Item));
    // The next is late, too, before the answer of the first is read.
    assert_eq!(world.begins(worker), second);
    world.looks(after(2300));
    assert_eq!(world.stage(worker), Stage::Stops(Stop::Item));
    world.says(worker, wire::STOPPED, first);
    world.says(worker, wire::STOPPED, second);
    assert_eq!(world.ended(), [(1, "timed out"), (2, "timed out")]);
}

#[test]
fn a_cancel_that_comes_after_the_end_of_an_attempt_stops_the_retries() {
    let mut world = World::new(1);
    let worker = world.hire();
    let task = world.submit_on(1, Terms { retries: 3, ..Terms::default() });
    assert_eq!(world.begins(worker), task);
    assert_eq!(world.workers[&worker].runs().end(), None);
    assert!(matches!(world.stops(task), Withdrawn::Ended));
    world.says(worker, wire::FAILED, task);
    assert_eq!(world.ended(), [(1, "raised")]);
}
