use super::*;
use plait_sys::descriptor::duplicate;
use plait_sys::eventfd::EventFd;

const NOW: Option<Duration> = Some(Duration::ZERO);

fn rung() -> EventFd {
    let bell = EventFd::new().unwrap();
    bell.ring().unwrap();
    bell
}

/// What a wait brings: whether the bell was rung, and whom the table finds;
/// None for nobody.
fn news<'a>(
    poller: &Poller,
    fds: &'a FdTable<&'a str>,
    timeout: Option<Duration>,
) -> (bool, Vec<Option<&'a str>>) {
    let mut events = Vec::new();
    poller.wait(&mut events, timeout).unwrap();
    let (bell, others): (Vec<_>, Vec<_>) = events.into_iter().partition(Poller::is_bell);
    (!bell.is_empty(), others.iter().map(|event| fds.resolve(event.token).copied()).collect())
}

/// Whether a loop outside hears of anything.
fn is_readable(fd: RawFd) -> bool {
    let (outside, mut events) = (Epoll::new().unwrap(), Vec::new());
    outside.set(fd, 0, Interest::READ, false).unwrap();
    outside.wait(&mut events, NOW).unwrap();
    !events.is_empty()
}

#[test]
fn brings_what_is_watched_and_the_bell() {
    let (poller, mut fds, ready) = (Poller::new().unwrap(), FdTable::default(), rung());
    let fd = ready.as_raw_fd();
    fds.insert(fd, "me").unwrap();
    assert_eq!(news(&poller, &fds, NOW), (false, vec![]));
    poller.watch(&mut fds, fd, Interest::READ).unwrap();
    assert_eq!(news(&poller, &fds, None), (false, vec![Some("me")]));
    poller.lie_down();
    poller.ring().unwrap();
    assert_eq!(news(&poller, &fds, None), (true, vec![Some("me")]));
    poller.silence().unwrap();
    assert_eq!(poller.remove(&mut fds, fd).unwrap(), Some("me"));
    assert_eq!(news(&poller, &fds, NOW), (false, vec![]));
}

#[test]
fn a_rebuilt_one_forgets_what_nobody_can_name() {
    let (poller, mut fds, closed, ready) = (Poller::new().unwrap(), FdTable::default(), rung(), rung());
    let outside = poller.fileno().unwrap();
    for (bell, owner) in [(&closed, "closed"), (&ready, "ready")] {
        fds.insert(bell.as_raw_fd(), owner).unwrap();
        poller.watch(&mut fds, bell.as_raw_fd(), Interest::READ).unwrap();
    }
    let number = closed.as_raw_fd();
    // The number is closed, and the description lives on.
    let _kept = duplicate(number).unwrap();
    drop(closed);
    let mut gone = Vec::new();
    poller.rebuild(&mut fds, &mut gone).unwrap();
    assert_eq!((gone, fds.get(number)), (vec!["closed"], None));
    assert_eq!(news(&poller, &fds, NOW), (false, vec![Some("ready")]));
    assert_eq!(poller.fileno().unwrap(), outside);
    assert!(is_readable(outside));
    poller.remove(&mut fds, ready.as_raw_fd()).unwrap();
    assert!(!is_readable(outside), "the front looks at the new one");
    poller.lie_down();
    poller.ring().unwrap();
    assert!(is_readable(outside));
}

#[test]
fn one_that_parted_watches_its_own_bell_alone() {
    let (poller, mut fds, ready) = (Poller::new().unwrap(), FdTable::default(), rung());
    let outside = poller.fileno().unwrap();
    fds.insert(ready.as_raw_fd(), "me").unwrap();
    poller.watch(&mut fds, ready.as_raw_fd(), Interest::READ).unwrap();
    // As a parent keeps them.
    let [epoll, bell] = [poller.epoll.as_raw_fd(), poller.bell.as_raw_fd()].map(|fd| duplicate(fd).unwrap());
    poller.part().unwrap();
    assert_eq!(news(&poller, &fds, NOW), (false, vec![]));
    assert_eq!(poller.fileno().unwrap(), outside);
    assert!(!is_readable(outside));
    assert!(is_readable(epoll.as_raw_fd()), "the parent hears of what it watches");
    poller.lie_down();
    poller.ring().unwrap();
    assert!(!is_readable(bell.as_raw_fd()), "the parent's bell is silent");
    assert!(is_readable(outside));
    assert_eq!(news(&poller, &fds, NOW), (true, vec![]));
    assert_eq!(fds.start_over(), [ready.as_raw_fd()]);
    poller.watch(&mut fds, ready.as_raw_fd(), Interest::READ).unwrap();
    assert_eq!(news(&poller, &fds, NOW), (true, vec![Some("me")]));
}
