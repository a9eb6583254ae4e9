use std::time::Duration;

use plait_sys::clock::Instant;

use crate::process::slot::Stage;
use crate::process::terms::Terms;
use crate::process::world::World;

#[test]
fn what_a_worker_does_not_begin_goes_to_others() {
    let mut world = World::new(2);
    let (other, stopped) = (world.hire(), world.hire());
    for number in 1..=2 {
        world.submit(number);
    }
    assert_eq!(world.begins(other), 2);
    let mut now = Instant::now();
    for _ in 0..3 {
        world.feels(&mut now);
    }
    // The other works: it is handed ahead.
    assert_eq!((world.unbegun(stopped), world.unbegun(other)), (vec![], vec![1]));
    world.returns(other, 2);
    assert_eq!(world.begins(other), 1);
    // It gets no more until it has read what it is to skip.
    let third = world.submit(3);
    world.feels(&mut now);
    assert_eq!(world.unbegun(stopped), []);
    assert_eq!(world.workers.get_mut(&stopped).unwrap().poll().unwrap(), None);
    world.feels(&mut now);
    assert_eq!(world.begins(stopped), third);
    for (worker, task) in [(other, 1), (stopped, third)] {
        world.returns(worker, task);
    }
    assert_eq!(world.ended(), [(2, "returned"), (1, "returned"), (3, "returned")]);
    assert_eq!(world.state.next_round().map(|_| ()), Some(()));
    world.feels(&mut now);
    assert_eq!(world.state.next_round(), None);
}

#[test]
fn who_reads_on_or_works_is_not_stalled() {
    let mut world = World::new(1);
    let worker = world.hire();
    world.submit_as(1, true, 400_000);
    let mut now = Instant::now();
    world.feels(&mut now);
    // Part of it.
    assert_eq!(world.workers.get_mut(&worker).unwrap().poll().unwrap(), None);
    world.feels(&mut now);
    assert_eq!(world.unbegun(worker), [1]);
    world.pumps(worker);
    assert_eq!(world.begins(worker), 1);
    for _ in 0..100 {
        world.feels(&mut now);
    }
    assert!(!world.state.slots[&worker].is_ended());
    assert!(world.state.slots[&worker].serves());
}

#[test]
fn who_stalls_longer_than_the_timeout_is_ended() {
    let terms = Terms { timeout: Some(Duration::from_secs(2)), ..Terms::default() };
    for (waits_first, number) in [(true, 1), (false, 2)] {
        let mut world = World::new(1);
        let worker = world.hire();
        world.submit_on(1, if waits_first { terms } else { Terms::default() });
        let mut now = Instant::now();
        // Nobody has stopped it (it is no process at all): it gets some time
        // besides; without a timeout, any time.
        for _ in 0..30 {
            world.feels(&mut now);
        }
        assert!(!world.state.slots[&worker].is_ended());
        if !waits_first {
            for _ in 0..30 {
                world.feels(&mut now);
            }
            assert!(!world.state.slots[&worker].is_ended());
            assert!(matches!(world.withdraws(1), crate::process::Withdrawn::TakenBack(1)));
            world.submit_on(2, terms);
        }
        for _ in 0..10 {
            world.feels(&mut now);
        }
        assert!(world.state.slots[&worker].is_ended());
        world.dies(worker);
        let next = world.hire();
        assert_eq!(world.begins(next), number);
    }
}

#[test]
fn a_pool_that_is_closed_sends_home_who_stalls() {
    let mut world = World::new(1);
    let worker = world.hire();
    world.submit(1);
    let mut now = Instant::now();
    world.feels(&mut now);
    world.feels(&mut now);
    world.closes(true);
    world.state.dismiss();
    assert!(world.state.slots[&worker].stage == Stage::Leaving);
    assert_eq!(world.cancelled(), [1]);
}
