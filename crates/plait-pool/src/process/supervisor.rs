//! The thread that watches over the workers of one pool. States and races:
//! README.md.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use plait_shm::Spin;
use plait_sys::clock::Instant;
use plait_sys::epoll::{Epoll, Event, Interest};
use plait_sys::eventfd::EventFd;
use plait_sys::process::{Blow, Status};
use plait_sys::remains;

use super::aftermath::Aftermath;
use super::hearing::Hearing;
use super::pool::{Settings, Shared};
use super::sizes::Sizes;
use super::slot::Slot;
use super::state::State;
use super::template::Template;
use super::wire;
use super::{Listener, Ticket};

const BELL: u64 = 0;
pub(super) const CONTROL: u64 = 1;
pub(super) const TEMPLATE: u64 = 2;

/// How long the template may take to report the status of a dead worker.
const STATUS_WAIT: Duration = Duration::from_secs(1);

pub(crate) struct Supervisor<T: Ticket> {
    pub(super) shared: Arc<Shared<T>>,
    pub(super) bell: Arc<EventFd>,
    pub(super) settings: Settings,
    /// The descriptor of the arena of requests, and the measures of each
    /// worker's own.
    pub(super) arenas: Option<(OwnedFd, Sizes)>,
    pub(super) epoll: Epoll,
    pub(super) template: Option<Template>,
    /// How many templates there have been.
    pub(super) generation: u64,
    pub(super) failed_templates: u32,
    pub(super) killed_templates: u32,
    pub(super) hearing: Hearing,
    pub(super) spin: Spin,
    pub(super) ask_at: Option<Instant>,
    /// Since when the template owes an answer, and when to see whether it can
    /// give one.
    pub(super) owed: Option<(Instant, Instant)>,
    /// Since when there has been no room for a worker.
    pub(super) short_since: Option<Instant>,
    pub(super) leave_by: Option<Instant>,
}

impl<T: Ticket> Supervisor<T> {
    /// Sets out to supervise; the template is executed at once, so that it
    /// starts while the caller prepares the first task.
    pub(crate) fn new(
        shared: Arc<Shared<T>>,
        bell: Arc<EventFd>,
        mut settings: Settings,
        listener: Arc<dyn Listener>,
        shown: bool,
    ) -> super::Result<Self> {
        let room = settings.arena.is_some().then(|| Sizes::of_results(settings.limit));
        let keep = room.map_or(0, |room| room.keep as u64);
        settings.arguments.address(wire::BEGIN, keep, settings.initializer);
        let arenas = settings.arena.as_ref().map(|arena| arena.region().fd_to_read()).transpose()?;
        let arenas = arenas.zip(room);
        let epoll = Epoll::new()?;
        let hearing = Hearing::new(&epoll, listener, shown)?;
        epoll.set(bell.as_raw_fd(), BELL, Interest::READ, false)?;
        Ok(Self {
            shared,
            bell,
            settings,
            arenas,
            epoll,
            template: None,
            generation: 0,
            failed_templates: 0,
            killed_templates: 0,
            hearing,
            spin: Spin::new(),
            ask_at: None,
            owed: None,
            short_since: None,
            leave_by: None,
        })
    }

    /// Works until the pool is over and every process of it is reaped.
    pub(crate) fn run(&mut self) -> super::Result<()> {
        self.start_template()?;
        let mut events = Vec::new();
        loop {
            self.act(&events)?;
            self.look_at_the_clock()?;
            if self.decide()? {
                return Ok(());
            }
            events.clear();
            self.sleep(&mut events)?;
        }
    }

    fn act(&mut self, events: &[Event]) -> super::Result<()> {
        for event in events {
            match event.token {
                BELL => {
                    self.bell.drain()?;
                }
                CONTROL => self.read_reports()?,
                TEMPLATE => self.template_died()?,
                token if Hearing::is_meant(token) => self.hearing.hear(&self.epoll, token)?,
                worker => self.worker_died(worker)?,
            }
        }
        Ok(())
    }

    // ---- workers go

    fn worker_died(&mut self, worker: u64) -> super::Result<()> {
        let mut after = Aftermath::new();
        let mut state = self.shared.lock();
        let Some(slot) = state.slots.get(&worker) else { return Ok(()) };
        if slot.dead_since.is_some() {
            return Ok(());
        }
        if let Some(fd) = slot.fd() {
            // It stays readable for ever, and has said all it can.
            let deleted = self.epoll.delete(fd.as_raw_fd());
            debug_assert!(deleted.is_ok(), "{deleted:?}");
        }
        let orphan = slot.template != self.generation || self.template.is_none();
        // What it said before it died counts.
        state.hear_out(worker, &mut after);
        state.died(worker, &mut after);
        drop(state);
        after.run();
        if orphan { self.bury_untold(worker) } else { Ok(()) }
    }

    /// Buries a worker of whose end no template tells.
    pub(super) fn bury_untold(&mut self, worker: u64) -> super::Result<()> {
        let state = self.shared.lock();
        let slot = state.slots.get(&worker);
        let status = slot.and_then(|slot| Some(remains::status(slot.fd()?, slot.pid()?)));
        drop(state);
        self.bury(worker, status.unwrap_or(Status::Unknown))
    }

    pub(super) fn bury(&mut self, worker: u64, status: Status) -> super::Result<()> {
        let mut after = Aftermath::new();
        let mut state = self.shared.lock();
        state.hear_out(worker, &mut after);
        let pid = state.slots.get(&worker).and_then(Slot::pid);
        drop(state);
        let words = self.hearing.last_words(&self.epoll, worker, pid)?;
        let slot = self.shared.lock().bury(worker, status, words.into(), &mut after);
        if let Some(fd) = slot.as_ref().and_then(Slot::fd) {
            let deleted = self.epoll.delete(fd.as_raw_fd());
            debug_assert!(deleted.is_ok(), "{deleted:?}");
        }
        drop(slot);
        after.run();
        Ok(())
    }

    // ---- what is to be done

    fn look_at_the_clock(&mut self) -> super::Result<()> {
        let now = Instant::now();
        self.hearing.look(&self.epoll, now)?;
        let mut after = Aftermath::new();
        let mut state = self.shared.lock();
        state.asleep_until = None;
        state.look_around(now, &mut after);
        state.feel_pulses(now, &mut after);
        let State { appetite, slots, .. } = &mut *state;
        appetite.look(slots.values_mut(), now);
        if state.kill_at.is_some_and(|at| at <= now) {
            state.kill_at = None;
            state.kill_rest();
        }
        let leisure = state.is_at_leisure(now);
        let late = |slot: &Slot<T>| slot.dead_since.is_some_and(|since| since + STATUS_WAIT <= now);
        let late: Vec<u64> = state.slots.iter().filter(|(_, slot)| late(slot)).map(|(&id, _)| id).collect();
        drop(state);
        after.run();
        if leisure && let Some(arena) = &self.settings.arena {
            arena.trim();
        }
        for worker in late {
            self.bury_untold(worker)?;
        }
        self.look_at_the_template(now)?;
        if self.ask_at.is_some_and(|at| at <= now) {
            self.ask_at = None;
        }
        if self.leave_by.is_some_and(|at| at <= now)
            && let Some(template) = &self.template
        {
            self.leave_by = None;
            template.child.fd.strike(Blow::Kill)?;
        }
        Ok(())
    }

    /// Reads and sends on, asks for workers, sends home. True when all is over.
    fn decide(&mut self) -> super::Result<bool> {
        let mut after = Aftermath::new();
        let departed = self.shared.departed.take();
        let mut state = self.shared.lock();
        for slot in state.slots.values_mut() {
            if !departed.is_empty() {
                slot.forget(&departed);
            }
            if slot.results().is_some_and(|results| results.lingers()) {
                slot.free();
                slot.pump();
            }
        }
        state.attend(&mut after);
        state.dispatch(&mut after);
        state.dismiss();
        let (wanted, over, waiting) = (state.wanted(), state.is_over(), !state.queue.is_empty());
        drop(state);
        after.run();
        if over {
            return self.send_template_home();
        }
        if !waiting {
            self.short_since = None;
        }
        if wanted > 0 && self.ask_at.is_none() {
            self.ask_for(wanted)?;
        }
        Ok(false)
    }

    /// Breaks the pool.
    pub(crate) fn fail(&mut self, reason: String) {
        let mut after = Aftermath::new();
        self.shared.lock().fail(reason, &mut after);
        after.run();
    }

    /// The supervisor itself cannot go on: nothing may be left waiting. Who
    /// still lives loses its lifeline.
    pub(crate) fn give_up(&mut self, reason: String) {
        self.fail(reason);
        let slots = std::mem::take(&mut self.shared.lock().slots);
        drop(slots);
        if let Some(template) = self.template.take() {
            let struck = template.child.fd.strike(Blow::Kill);
            debug_assert!(struck.is_ok(), "{struck:?}");
        }
    }

    // ---- sleep

    fn sleep(&mut self, events: &mut Vec<Event>) -> super::Result<()> {
        let Self { shared, hearing, epoll, spin, ask_at, owed, leave_by, .. } = self;
        let mut sleep = || {
            let mut state = shared.lock();
            let State { appetite, slots, .. } = &mut *state;
            let grown = appetite.look_at(slots.values());
            let round = state.next_round();
            let leisure = state.next_leisure(Instant::now());
            let deaths = state.slots.values().filter_map(|slot| slot.dead_since);
            let deaths = deaths.map(|since| since + STATUS_WAIT);
            let deadline = deaths
                .chain(state.kill_at)
                .chain(state.alarms.next())
                .chain(round)
                .chain(leisure)
                .chain(*ask_at)
                .chain(*leave_by)
                .chain(hearing.look_at())
                .chain(owed.map(|(_, at)| at))
                .chain(grown)
                .min();
            state.asleep_until = Some(deadline.unwrap_or(Instant::from_nanos(u64::MAX)));
            let timeout = state.fall_asleep(deadline);
            drop(state);
            let slept = epoll.wait(events, timeout);
            shared.lock().wake_up();
            slept
        };
        if shared.lock().is_busy() {
            return Ok(sleep()?);
        }
        // Who helps looks for us; and whoever has the state looks too.
        let ready = || shared.try_lock().is_some_and(|mut state| !state.is_helped() && state.stirs());
        Ok(spin.wait(ready, sleep)?)
    }
}
