use std::time::Duration;

use plait_shm::CLAIMS;
use plait_sys::clock::Instant;

use super::super::Withdrawn;
use super::super::terms::Terms;
use super::super::wire;
use super::super::world::World;

fn world(limit: usize, width: usize) -> World {
    let mut world = World::new(limit);
    world.state.width = width;
    world
}

#[test]
fn a_worker_is_handed_what_it_may_run_at_once() {
    let mut world = world(1, 3);
    let worker = world.hire_one_of_several();
    let ids: Vec<u64> = (0..5).map(|number| world.submit(number)).collect();
    let begun: Vec<u64> = (0..3).map(|_| world.begins(worker)).collect();
    assert_eq!(begun, ids[..3]);
    assert_eq!((world.unbegun(worker), world.state.statistics().running), (vec![], 3));
    // In whatever order they end.
    world.returns(worker, ids[1]);
    assert_eq!(world.begins(worker), ids[3]);
    world.returns(worker, ids[3]);
    world.returns(worker, ids[0]);
    assert_eq!(world.begins(worker), ids[4]);
    world.returns(worker, ids[4]);
    world.returns(worker, ids[2]);
    assert_eq!(world.ended().len(), 5);
}

#[test]
fn one_that_lasts_uses_up_no_claims() {
    let mut world = world(1, 4);
    let worker = world.hire_one_of_several();
    let lasting = world.submit(0);
    assert_eq!(world.begins(worker), lasting);
    for number in 1..3 * CLAIMS as u32 {
        let id = world.submit(number);
        assert_eq!(world.begins(worker), id);
        world.returns(worker, id);
    }
    world.returns(worker, lasting);
    assert_eq!(world.ended().len(), 3 * CLAIMS);
}

#[test]
fn more_than_the_claims_begin_before_the_first_answer() {
    let many = 3 * CLAIMS as u32;
    let mut world = world(1, many as usize);
    let worker = world.hire_one_of_several();
    let ids: Vec<u64> = (0..many).map(|number| world.submit(number)).collect();
    for &id in &ids {
        assert_eq!(world.begins(worker), id);
        if let Some(message) = world.workers.get_mut(&worker).unwrap().began() {
            world.hears(worker, message);
        }
    }
    assert_eq!(world.state.statistics().running, ids.len());
}

#[test]
fn what_is_stopped_ends_so_whatever_it_answers_and_the_others_do_not() {
    let mut world = world(1, 3);
    let worker = world.hire_one_of_several();
    let ids: Vec<u64> = (0..3).map(|number| world.submit(number)).collect();
    ids.iter().for_each(|&id| assert_eq!(world.begins(worker), id));
    assert_eq!(world.stops(ids[0]), Withdrawn::Running);
    assert_eq!(world.stops(ids[1]), Withdrawn::Running);
    world.workers.get_mut(&worker).unwrap().look_for_stops().unwrap();
    assert_eq!(world.workers.get_mut(&worker).unwrap().take_stops(), ids[..2]);
    world.returns(worker, ids[0]);
    world.says(worker, wire::STOPPED, ids[1]);
    world.returns(worker, ids[2]);
    assert_eq!(world.ended(), [(0, "killed"), (1, "killed"), (2, "returned")]);
}

#[test]
fn who_says_it_was_stopped_and_was_not_is_not_believed() {
    let mut world = world(1, 2);
    let worker = world.hire_one_of_several();
    let id = world.submit(0);
    assert_eq!(world.begins(worker), id);
    world.says(worker, wire::STOPPED, id);
    world.dies(worker);
    assert_eq!(world.ended(), [(0, "died")]);
}

#[test]
fn each_has_its_deadline_and_who_does_not_stop_takes_the_others_along() {
    let mut world = world(1, 4);
    let worker = world.hire_one_of_several();
    let terms = |seconds, retries| Terms {
        timeout: Some(Duration::from_secs(seconds)),
        grace: Duration::from_secs(1),
        retries,
    };
    let ids = [
        world.submit_on(0, terms(10, 0)),
        world.submit_on(1, terms(20, 0)),
        world.submit(2),
        world.submit_on(3, terms(100, 1)),
    ];
    let start = Instant::now();
    ids.iter().for_each(|&id| assert_eq!(world.begins(worker), id));
    world.looks(start + Duration::from_secs(15));
    world.says(worker, wire::STOPPED, ids[0]);
    assert_eq!(world.ended(), [(0, "timed out")]);
    world.looks(start + Duration::from_secs(25));
    // The grace is over.
    world.looks(start + Duration::from_secs(27));
    world.dies(worker);
    assert_eq!(world.ended(), [(0, "timed out"), (1, "timed out, killed"), (2, "died")]);
    // The last is to be tried again.
    assert_eq!(world.state.statistics().queued, 1);
}

#[test]
fn a_stop_of_what_has_ended_is_not_heeded() {
    let mut world = world(1, 2);
    let worker = world.hire_one_of_several();
    let retried = Terms { retries: 1, timeout: Some(Duration::from_secs(1)), ..Terms::default() };
    let id = world.submit_on(0, retried);
    assert_eq!(world.begins(worker), id);
    let theirs = world.workers.get_mut(&worker).unwrap();
    theirs.end(id);
    world.looks(Instant::now() + Duration::from_secs(2));
    // It had ended; its deadline came first, here.
    world.returns(worker, id);
    assert_eq!(world.begins(worker), id);
    assert!(!world.workers[&worker].is_asked(id));
    world.returns(worker, id);
    assert_eq!(world.ended(), [(0, "returned")]);
}

#[test]
fn a_stop_that_was_not_told_yet_is_not_of_the_next_attempt() {
    let mut world = world(1, 2);
    let worker = world.hire_one_of_several();
    let retried = Terms { retries: 1, timeout: Some(Duration::from_secs(1)), ..Terms::default() };
    let id = world.submit_on(0, retried);
    assert_eq!(world.begins(worker), id);
    world.looks(Instant::now() + Duration::from_secs(2));
    let theirs = world.workers.get_mut(&worker).unwrap();
    theirs.look_for_stops().unwrap();
    assert!(theirs.is_asked(id) && theirs.end(id));
    world.returns(worker, id);
    assert_eq!(world.begins(worker), id);
    let theirs = world.workers.get_mut(&worker).unwrap();
    assert!(!theirs.is_asked(id) && theirs.take_stops().is_empty());
}
