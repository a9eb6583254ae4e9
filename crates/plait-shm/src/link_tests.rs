use super::*;
use plait_sys::epoll::{Epoll, Interest};
use std::os::fd::AsRawFd;

struct Parent {
    requests: Requests,
    responses: Responses,
    bell: EventFd,
    epoll: Epoll,
}

fn pair() -> (Parent, WorkerLink) {
    let (requests, responses) = link().unwrap();
    let bell = EventFd::new().unwrap();
    let theirs = EventFd::from(bell.as_fd().try_clone_to_owned().unwrap());
    let worker = WorkerLink::open(requests.memory().try_clone_to_owned().unwrap(), theirs).unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.set(bell.as_raw_fd(), 0, Interest::READ, false).unwrap();
    (Parent { requests, responses, bell, epoll }, worker)
}

impl Parent {
    fn sleep(&self, ready: impl FnOnce() -> bool) {
        self.responses.announce_sleep();
        if !ready() {
            self.epoll.wait(&mut Vec::new(), None).unwrap();
        }
        self.responses.retract_sleep();
        self.bell.drain().unwrap();
    }

    fn receive(&mut self) -> Vec<u8> {
        loop {
            match self.responses.receive().unwrap() {
                Some(message) => return message,
                None => self.sleep(|| self.responses.is_ready()),
            }
        }
    }
}

fn echo(mut worker: WorkerLink) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        loop {
            let Heard::Message(message) = worker.receive().unwrap() else { continue };
            let mut done = 0;
            while !worker.send(&message, &mut done).unwrap() {}
            if message.is_empty() {
                return;
            }
        }
    })
}

#[test]
fn messages_of_every_size_go_there_and_back() {
    let (mut parent, worker) = pair();
    let worker = echo(worker);
    for len in [1, 7, 8, 1000, CAPACITY / 4 - 8, CAPACITY / 4 - 7, CAPACITY, 5 * CAPACITY + 3, 0] {
        let message: Vec<u8> = (0..len).map(|i| (i * 31 % 251) as u8).collect();
        let mut done = 0;
        loop {
            let Parent { requests, responses, bell, epoll } = &mut parent;
            if requests.push(&message, &mut done).unwrap() {
                break;
            }
            responses.announce_sleep();
            if !requests.may_go_on(&message, done) {
                epoll.wait(&mut Vec::new(), None).unwrap();
            }
            responses.retract_sleep();
            bell.drain().unwrap();
        }
        assert_eq!(parent.receive(), message);
    }
    worker.join().unwrap();
}

#[test]
fn many_small_messages_lose_no_wake_up() {
    let (mut parent, worker) = pair();
    let worker = echo(worker);
    for round in 0..20_000u32 {
        assert!(parent.requests.push(&round.to_ne_bytes(), &mut 0).unwrap());
        assert_eq!(parent.receive(), round.to_ne_bytes());
    }
    assert!(parent.requests.push(&[], &mut 0).unwrap());
    assert_eq!(parent.receive(), []);
    worker.join().unwrap();
}

#[test]
fn whole_messages_without_answers_give_their_room_back() {
    let (mut parent, mut worker) = pair();
    let message = vec![7; CAPACITY / 4 - 8];
    let sent = (0..).take_while(|_| parent.requests.push(&message, &mut 0).unwrap()).count();
    assert_eq!(sent, 4, "then the ring is full");
    for _ in 0..2 * sent {
        parent.responses.announce_sleep();
        assert!(!parent.requests.may_go_on(&message, 0));
        assert_eq!(worker.poll().unwrap(), Some(message.clone()));
        assert!(parent.bell.drain().unwrap(), "it rings for who waits for room");
        parent.responses.retract_sleep();
        assert!(parent.requests.push(&message, &mut 0).unwrap());
    }
}

#[test]
fn a_worker_skips_what_was_taken_back() {
    let (mut parent, mut worker) = pair();
    for sequence in 1..=2 * CLAIMS as u64 {
        assert_eq!(parent.requests.offer(), sequence);
        assert!(parent.requests.push(b"task", &mut 0).unwrap());
        let revoked = sequence % 3 == 0;
        assert!(!revoked || parent.requests.revoke(sequence).unwrap());
        assert_eq!(worker.receive().unwrap(), Heard::Message(b"task".to_vec()));
        assert_eq!(worker.begin(Instant::from_nanos(sequence)), !revoked);
        let begun = parent.requests.begun(sequence);
        assert_eq!(begun, (!revoked).then(|| Instant::from_nanos(sequence)));
    }
}

#[test]
fn garbage_from_the_worker_is_an_error_for_the_parent() {
    let (mut parent, worker) = pair();
    // SAFETY: the offset lies in the mapping; this plays a worker that
    // writes where it should not.
    let responses = unsafe { worker.memory.base().add(PAGE + CAPACITY) };
    let mut worker = worker;
    assert!(worker.send(b"fine", &mut 0).unwrap());
    // SAFETY: as above.
    unsafe { responses.cast::<u64>().write_volatile(u64::MAX) };
    assert!(matches!(parent.responses.receive(), Err(crate::Error::Corrupt(_))));
}
