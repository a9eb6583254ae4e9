use super::*;

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn at(count: u64) -> Instant {
    Instant::from_nanos(count * 1_000_000)
}

fn limits(timeout: Option<u64>) -> Limits {
    Limits { timeout: timeout.map(ms), grace: ms(200) }
}

fn stop(why: Why, ran: u64, abandoned: bool) -> Option<Stop> {
    Some(Stop { why, ran: ms(ran), grace: ms(200), abandoned })
}

#[test]
fn one_that_ends_in_time_is_left_alone() {
    let mut calls = Calls::<()>::default();
    let id = calls.begin((), limits(Some(100)), at(0));
    assert_eq!((calls.next(), calls.due(at(99))), (Some(at(100)), None));
    assert_eq!((calls.end(id), calls.next(), calls.due(at(500))), (Some(((), None)), None, None));
    assert_eq!(calls.cancel(id, at(500)), None);
}

#[test]
fn at_the_deadline_it_is_interrupted_and_then_abandoned() {
    let mut calls = Calls::<()>::default();
    let id = calls.begin((), limits(Some(100)), at(0));
    assert_eq!(calls.due(at(101)), Some((id, Act::Interrupt)));
    assert_eq!((calls.due(at(300)), calls.is_stopping(id)), (None, true));
    assert_eq!(calls.abandon(id, at(300)), None);
    assert_eq!(calls.due(at(301)), Some((id, Act::Abandon)));
    assert_eq!(calls.abandon(id, at(301)), stop(Why::Deadline, 101, true));
    assert_eq!(calls.abandon(id, at(301)), None);
    assert_eq!(calls.cancel(id, at(302)), None);
    let mut now = 301;
    for pause in [10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
        assert_eq!(calls.due(at(now + pause - 1)), None);
        now += pause;
        assert_eq!(calls.due(at(now)), Some((id, Act::Interrupt)));
    }
    assert!(!calls.begin_again(id, at(now)));
    assert_eq!(calls.end(id), Some(((), stop(Why::Deadline, 101, true))));
}

#[test]
fn each_attempt_has_its_own_time() {
    let mut calls = Calls::<()>::default();
    let id = calls.begin((), limits(Some(100)), at(0));
    assert_eq!(calls.due(at(100)), Some((id, Act::Interrupt)));
    assert_eq!(calls.pause(id), stop(Why::Deadline, 100, false));
    assert_eq!(calls.due(at(1000)), None);
    assert!(calls.begin_again(id, at(1000)));
    assert_eq!((calls.is_stopping(id), calls.next()), (false, Some(at(1100))));
}

#[test]
fn what_ends_while_the_watcher_looks_is_let_be() {
    let mut calls = Calls::<()>::default();
    let id = calls.begin((), limits(Some(100)), at(0));
    assert_eq!(calls.due(at(100)), Some((id, Act::Interrupt)));
    assert_eq!(calls.due(at(300)), Some((id, Act::Abandon)));
    assert_eq!(calls.pause(id), stop(Why::Deadline, 100, false));
    assert_eq!((calls.is_stopping(id), calls.abandon(id, at(301))), (false, None));
    assert!(calls.begin_again(id, at(302)));
    assert_eq!((calls.is_stopping(id), calls.abandon(id, at(303))), (false, None));
    assert_eq!(calls.due(at(402)), Some((id, Act::Interrupt)));
    assert_eq!(calls.abandon(id, at(403)), None);
}

#[test]
fn one_that_was_not_abandoned_when_it_was_due_is_so_later() {
    let mut calls = Calls::<()>::default();
    let id = calls.begin((), limits(Some(100)), at(0));
    assert_eq!(calls.due(at(100)), Some((id, Act::Interrupt)));
    assert_eq!(calls.due(at(300)), Some((id, Act::Abandon)));
    assert_eq!(calls.due(at(309)), None);
    assert_eq!(calls.due(at(310)), Some((id, Act::Abandon)));
}

#[test]
fn a_child_knows_none_and_gives_no_number_again() {
    let mut calls = Calls::<()>::default();
    let id = calls.begin((), limits(Some(100)), at(0));
    calls.forget();
    assert_eq!((calls.next(), calls.cancel(id, at(1)), calls.end(id)), (None, None, None));
    assert_ne!(calls.begin((), limits(None), at(2)), id);
}

#[test]
fn a_cancel_stops_an_attempt_and_those_after_it() {
    let mut calls = Calls::<()>::default();
    let id = calls.begin((), limits(None), at(0));
    assert_eq!(calls.next(), None);
    assert_eq!(calls.cancel(id, at(7)), Some(Cancel::Interrupt));
    assert_eq!(calls.cancel(id, at(8)), Some(Cancel::UnderWay));
    assert_eq!(calls.next(), Some(at(207)));
    assert_eq!(calls.pause(id), stop(Why::Cancel, 7, false));
    assert!(!calls.begin_again(id, at(9)));
    assert_eq!(calls.end(id), Some(((), stop(Why::Cancel, 7, false))));
}

#[test]
fn a_cancel_during_a_deadline_interrupts_no_clean_up() {
    let mut calls = Calls::<()>::default();
    let id = calls.begin((), limits(Some(50)), at(0));
    assert_eq!(calls.due(at(50)), Some((id, Act::Interrupt)));
    assert_eq!(calls.cancel(id, at(60)), Some(Cancel::UnderWay));
    assert_eq!(calls.due(at(250)), Some((id, Act::Abandon)));
    assert_eq!(calls.abandon(id, at(250)), stop(Why::Cancel, 50, true));
}

#[test]
fn what_cannot_be_interrupted_yet_is_later_but_within_the_grace() {
    let mut calls = Calls::<()>::default();
    let id = calls.begin((), limits(Some(50)), at(0));
    assert_eq!(calls.due(at(50)), Some((id, Act::Interrupt)));
    calls.postpone(id, at(50), ms(5));
    assert_eq!(calls.due(at(55)), Some((id, Act::Interrupt)));
    calls.postpone(id, at(248), ms(5));
    assert_eq!(calls.due(at(250)), Some((id, Act::Abandon)));
}

#[test]
fn one_that_waits_for_its_next_attempt_can_be_cancelled() {
    let mut calls = Calls::<()>::default();
    let id = calls.begin((), limits(Some(50)), at(0));
    assert_eq!(calls.pause(id), None);
    assert_eq!(calls.cancel(id, at(60)), Some(Cancel::UnderWay));
    assert_eq!(calls.next(), None);
    assert!(!calls.begin_again(id, at(61)));
}
