use super::*;
use crate::process::outbox::FIRST_SWEEP;
use crate::process::world::World;
use crate::process::{Activity, Image, Parcel, ToDo, Withdrawn};

#[test]
fn how_a_worker_has_ended_is_known_when_it_is_gone() {
    let mut world = World::new(2);
    let (first, second) = (world.hire(), world.hire());
    world.falls(first);
    assert_eq!(world.state.exit(first), None);
    world.dies(first);
    assert_eq!(world.state.exit(first), Some(Status::Killed(9)));
    assert_eq!((world.state.exit(second), world.state.exit(second + 9)), (None, Some(Status::Unknown)));
}

#[test]
fn who_retires_gives_back_what_it_has_not_begun() {
    let mut world = World::new(2);
    let worker = world.hire();
    for number in 1..=3 {
        world.submit(number);
    }
    let first = world.begins(worker);
    world.returns(worker, first);
    world.says(worker, wire::RETIRE, 0);
    assert_eq!(world.state.slots[&worker].stage, Stage::Leaving);
    assert_eq!((world.state.queue.len(), world.state.ahead, world.ended().len()), (2, 0, 1));
    let other = world.hire();
    assert_eq!(world.begins(other), 2);
    world.dies(worker);
    assert_eq!(world.ended().len(), 1, "its death costs nobody anything");
}

#[test]
fn who_retires_in_mid_task_is_not_believed() {
    let mut world = World::new(1);
    let worker = world.hire();
    world.submit(1);
    world.begins(worker);
    world.says(worker, wire::RETIRE, 0);
    world.dies(worker);
    assert_eq!(world.ended(), [(1, "died")]);
}

#[test]
fn each_idle_worker_gets_one_task() {
    let mut world = World::new(2);
    for number in 1..=3 {
        world.submit(number);
    }
    assert_eq!(world.state.wanted(), 2);
    let (a, b) = (world.hire(), world.hire());
    assert_eq!((world.begins(a), world.begins(b), world.state.wanted()), (1, 2, 0));
    world.returns(b, 2);
    assert_eq!(world.begins(b), 3);
    world.says(a, wire::RAISED, 1);
    world.returns(b, 3);
    assert_eq!(world.ended(), [(2, "returned"), (1, "raised"), (3, "returned")]);
}

#[test]
fn what_is_handed_ahead_counts_when_workers_are_asked_for() {
    let mut world = World::new(4);
    world.hire();
    for number in 1..=3 {
        world.submit(number);
    }
    assert_eq!((world.state.queue.len(), world.state.ahead, world.state.wanted()), (1, 1, 2));
}

#[test]
fn a_death_costs_the_task_that_was_begun() {
    let mut world = World::new(1);
    for number in 1..=3 {
        world.submit(number);
    }
    let worker = world.hire();
    assert_eq!(world.begins(worker), 1);
    world.dies(worker);
    assert_eq!((world.ended(), world.state.wanted()), (vec![(1, "died")], 1));
    let worker = world.hire();
    for task in 2..=3 {
        assert_eq!(world.begins(worker), task);
        world.returns(worker, task);
    }
    assert_eq!(world.ended(), [(1, "died"), (2, "returned"), (3, "returned")]);
}

#[test]
fn what_the_dead_did_not_begin_goes_on_elsewhere_at_once() {
    let mut world = World::new(2);
    let (a, b) = (world.hire(), world.hire());
    for number in 1..=4 {
        world.submit(number);
    }
    assert_eq!((world.begins(b), world.begins(a)), (1, 2));
    assert_eq!((world.unbegun(a), world.unbegun(b)), (vec![4], vec![3]));
    world.falls(b);
    world.returns(a, 2);
    assert_eq!(world.begins(a), 4);
    world.returns(a, 4);
    assert_eq!(world.begins(a), 3);
    world.dies(b);
    assert_eq!(world.ended(), [(2, "returned"), (4, "returned"), (1, "died")]);
}

#[test]
fn what_nobody_waits_for_is_not_handed_out() {
    let mut world = World::new(1);
    world.submit_as(1, false, 4);
    world.submit(2);
    let worker = world.hire();
    assert_eq!(world.begins(worker), 2);
    assert_eq!(world.ended(), []);
}

#[test]
fn an_answer_to_another_question_condemns_the_worker() {
    for (kind, number) in [(wire::RETURNED, 77), (wire::READY, 0), (99, 1)] {
        let mut world = World::new(1);
        world.submit(1);
        world.submit(2);
        let worker = world.hire();
        world.begins(worker);
        world.says(worker, kind, number);
        // Nothing that it says counts any more.
        world.returns(worker, 1);
        world.dies(worker);
        let ends = world.log.ends.lock().unwrap();
        assert!(matches!(&ends[..], [(1, End::Died(death))] if death.corrupt));
        drop(ends);
        let worker = world.hire();
        assert_eq!(world.begins(worker), 2);
    }
}

#[test]
fn an_initializer_that_fails_breaks_everything() {
    let mut world = World::new(2);
    let worker = world.hire();
    for number in 1..=3 {
        world.submit(number);
    }
    world.begins(worker);
    let other = world.ask();
    world.says(other, wire::UNFIT, 0);
    assert_eq!(world.ended(), [(3, "broken"), (1, "broken"), (2, "broken")]);
    assert!(matches!(world.state.check_open(), Err(Error::Broken(reason)) if reason.contains("text")));
    world.dies(worker);
    world.dies(other);
    assert!(world.state.is_over());
    assert_eq!(world.ended().len(), 3);
}

#[test]
fn workers_that_never_get_ready_break_the_pool() {
    let mut world = World::new(1);
    world.submit(1);
    for round in 0..3 {
        assert_eq!((world.state.wanted(), world.ended().len()), (1, 0), "{round}");
        let worker = world.ask();
        world.dies(worker);
    }
    assert_eq!(world.ended(), [(1, "broken")]);
    assert!(matches!(world.state.check_open(), Err(Error::Broken(reason)) if reason.contains("SIGKILL")));
}

#[test]
fn failed_starts_beside_a_working_worker_break_the_pool_only_when_it_is_gone() {
    let mut world = World::new(2);
    let worker = world.hire();
    world.submit(1);
    world.begins(worker);
    world.submit(2);
    for _ in 0..3 {
        let other = world.ask();
        world.dies(other);
    }
    assert_eq!((world.ended().len(), world.state.wanted()), (0, 0));
    world.dies(worker);
    // It did get ready: others may.
    assert_eq!((world.ended(), world.state.wanted()), (vec![(1, "died")], 1));
    for _ in 0..3 {
        let other = world.ask();
        world.dies(other);
    }
    assert_eq!(world.ended(), [(1, "died"), (2, "broken")]);
}

#[test]
fn a_worker_whose_descriptor_was_lost_costs_nobody_anything() {
    let mut world = World::new(1);
    let worker = world.hire();
    world.submit(1);
    world.loses(worker);
    assert_eq!((world.state.queue.len(), world.state.wanted()), (1, 0));
    world.dies(worker);
    assert_eq!((world.ended().len(), world.state.wanted()), (0, 1));
    let worker = world.hire();
    assert_eq!(world.begins(worker), 1);
}

#[test]
fn closing_finishes_or_cancels_and_then_sends_home() {
    for cancel in [false, true] {
        let mut world = World::new(1);
        let worker = world.hire();
        for number in 1..=3 {
            world.submit(number);
        }
        assert_eq!(world.begins(worker), 1);
        world.closes(cancel);
        assert!(matches!(world.state.check_open(), Err(Error::Shutdown)));
        world.returns(worker, 1);
        if cancel {
            // One from the queue, one that was with the worker.
            assert_eq!(world.cancelled(), [3, 2]);
        } else {
            for task in 2..=3 {
                world.state.dismiss();
                assert_eq!(world.begins(worker), task);
                world.returns(worker, task);
            }
        }
        world.state.dismiss();
        assert_eq!(world.workers.get_mut(&worker).unwrap().receive().unwrap(), ToDo::Leave);
        assert!(!world.state.is_over());
        world.dies(worker);
        assert!(world.state.is_over());
    }
}

#[test]
fn terminating_leaves_no_task_without_an_end() {
    let mut world = World::new(1);
    let worker = world.hire();
    for number in 1..=3 {
        world.submit(number);
    }
    world.begins(worker);
    world.terminates();
    world.dies(worker);
    assert_eq!((world.ended(), world.cancelled()), (vec![(1, "died")], vec![3, 2]));
    assert!(world.state.is_over());
}

#[test]
fn a_worker_forgets_the_images_that_are_gone() {
    let mut world = World::new(1);
    let worker = world.hire();
    let kept = Image::new(Parcel::of(b"kept"));
    for _ in 0..10 * FIRST_SWEEP {
        let slot = world.state.slots.get_mut(&worker).unwrap();
        slot.tell(&[Arc::clone(&kept), Image::new(Parcel::of(b"gone"))]);
        slot.order(wire::message(wire::LEAVE, 0, 0, &[]));
        slot.pump();
        let link = world.workers.get_mut(&worker).unwrap();
        while link.receive().unwrap() != ToDo::Leave {}
    }
    let told = &world.state.slots.get(&worker).unwrap().told;
    assert!(told.len() <= 2 * FIRST_SWEEP, "{}", told.len());
    assert!(told.contains_key(&kept.id()));
}

#[test]
fn everything_is_counted() {
    let mut world = World::new(2);
    let worker = world.hire();
    for number in 1..=5 {
        world.submit(number);
    }
    for task in 1..=2 {
        world.begins(worker);
        world.says(worker, if task == 1 { wire::RETURNED } else { wire::RAISED }, task);
    }
    assert_eq!(world.withdraws(5), Withdrawn::TakenBack(5));
    world.begins(worker);
    let found = world.state.statistics();
    assert_eq!((found.queued, found.running, found.cancelled, found.restarts), (1, 1, 1, 0));
    assert_eq!((found.counts.done, found.counts.failed), (1, 1));
    // A head of 24 bytes, and 4 of body each way.
    assert_eq!((found.counts.sent, found.counts.received), (4 * 28, 2 * 28));
    let [alone] = found.workers[..] else { panic!("one worker") };
    assert_eq!((alone.activity, alone.queued, alone.running), (Activity::Busy, 1, 1));
    assert_eq!(alone.counts, found.counts);
    world.falls(worker);
    assert_eq!(world.state.statistics().workers[0].activity, Activity::Dead);
    world.dies(worker);
    let found = world.state.statistics();
    assert_eq!((found.queued, found.running, found.counts.failed, found.restarts), (1, 0, 2, 1));
    world.ask();
    assert_eq!(world.state.statistics().workers[0].activity, Activity::Starting);
    world.closes(true);
    assert_eq!(world.state.statistics().cancelled, 2);
}

#[test]
fn an_answer_to_what_has_not_begun_condemns_the_worker() {
    // Handed but not begun; said to be begun but not even sent, for the ring is
    // full.
    for (bytes, claims) in [(4, false), (400_000, true)] {
        let mut world = World::new(1);
        let worker = world.hire();
        world.submit_as(1, true, bytes);
        if claims {
            assert!(world.workers.get_mut(&worker).unwrap().claim());
        }
        world.returns(worker, 1);
        assert_eq!(world.ended(), []);
        assert!(world.state.slots[&worker].corrupt);
        world.dies(worker);
        let end = if claims { &[(1, "died")][..] } else { &[] };
        assert_eq!((world.ended(), world.state.queue.len()), (end.to_vec(), usize::from(!claims)));
    }
}

#[test]
fn nothing_is_kept_to_be_sent_to_a_dead_worker() {
    let mut world = World::new(1);
    let worker = world.hire();
    // Half of it is sent.
    world.submit_as(1, true, 400_000);
    assert!(world.state.slots[&worker].has_unsent());
    world.falls(worker);
    assert!(!world.state.slots[&worker].has_unsent());
    world.dies(worker);
    let next = world.hire();
    assert!(world.state.slots[&next].has_unsent());
    assert_eq!(world.unbegun(next), [1]);
}

#[test]
fn who_says_much_is_not_heard_for_longer_than_others() {
    for dies in [false, true] {
        let mut world = World::new(1);
        let worker = world.hire();
        world.submit(1);
        assert_eq!(world.begins(worker), 1);
        let mut says = |kind| {
            let message = wire::message(kind, 1, 0, &[]);
            assert!(world.workers.get_mut(&worker).unwrap().push(&message, &mut 0).unwrap());
        };
        (0..2000).for_each(|_| says(wire::SAID));
        says(wire::RETURNED);
        let mut after = Aftermath::new();
        if dies {
            world.state.hear_out(worker, &mut after);
        } else {
            world.state.attend(&mut after);
            assert!(after.ended.is_empty() && world.state.stirs());
            (0..4).for_each(|_| world.state.attend(&mut after));
        }
        after.run();
        assert_eq!(world.ended(), [(1, "returned")]);
        assert!(!world.state.stirs());
    }
}

#[test]
fn who_works_before_the_template_has_told_its_number_has_none() {
    let mut world = World::new(1);
    let worker = world.hire();
    world.submit(1);
    world.begins(worker);
    let found = world.state.statistics();
    assert_eq!((found.workers[0].pid, found.workers[0].activity), (None, Activity::Busy));
    world.dies(worker);
    assert_eq!(world.ended(), [(1, "died")]);
}
