//! The template: started, asked for workers, listened to, replaced, sent home.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use plait_sys::clock::Instant;
use plait_sys::epoll::Interest;
use plait_sys::lifeline::Lifeline;
use plait_sys::memory::text_of;
use plait_sys::process::{Blow, ProcessFd, Status, is_stopped};

use super::Ticket;
use super::aftermath::Aftermath;
use super::lending::Results;
use super::pool::Settings;
use super::slot::{Slot, Stage};
use super::stderr::Outlet;
use super::supervisor::{CONTROL, Supervisor, TEMPLATE};
use super::template::Template;
use super::wire::{self, Report};

/// When to ask again if the socket to the template is full.
const ASK_AGAIN: Duration = Duration::from_millis(10);
/// When to ask again if there was no room for a process or its descriptors.
const SHORT_AGAIN: Duration = Duration::from_millis(50);
/// How long that may go on while nobody works, before the pool breaks.
const SHORT_LONGEST: Duration = Duration::from_secs(10);
/// So much of why a template cannot serve is told.
const LONGEST_REASON: usize = 1 << 16;
/// How long the template may take to fork before it is looked at...
const FORK_WAIT: Duration = Duration::from_secs(1);
/// ...and before it is given up although nobody has stopped it.
const FORK_PATIENCE: Duration = Duration::from_secs(30);
/// So many templates in a row that end by themselves before they serve break
/// the pool: the next would do the same.
const TOLERATED_TEMPLATES: u32 = 3;
/// So many that are killed: that is somebody else's doing, and passes.
const TOLERATED_KILLS: u32 = 100;
/// How long it may take to leave.
const LEAVE_WAIT: Duration = Duration::from_secs(2);

/// What a worker gets beside its memory.
struct Theirs {
    lifeline: OwnedFd,
    stderr: OwnedFd,
}

impl<T: Ticket> Supervisor<T> {
    /// Starts one, if there is room for it, and says whether there was.
    pub(super) fn start_template(&mut self) -> super::Result<bool> {
        let Settings { program, template, handed, .. } = &self.settings;
        let template = match Template::start(program, template, &self.bell, self.hearing.mouth(), handed) {
            Ok(template) => template,
            Err(super::Error::Sys(error)) if error.is_shortage() => {
                self.fall_short(&format!("their template process could not be started: {error}"));
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.generation += 1;
        self.epoll.set(template.child.control.as_raw_fd(), CONTROL, Interest::READ, false)?;
        self.epoll.set(template.child.fd.as_raw_fd(), TEMPLATE, Interest::READ, false)?;
        self.template = Some(template);
        Ok(true)
    }

    pub(super) fn send_template_home(&mut self) -> super::Result<bool> {
        let Some(template) = &mut self.template else { return Ok(self.hearing.may_leave(Instant::now())) };
        if self.leave_by.is_none() {
            self.leave_by = Some(Instant::now() + LEAVE_WAIT);
            // One that does not serve yet has nothing to tidy up.
            let told = template.serving
                && template.child.control.send(&wire::control(wire::GO, [0; 3]), &[]).unwrap_or(false);
            if !told {
                template.child.fd.strike(Blow::Kill)?;
            }
        }
        Ok(false)
    }

    /// A template that somebody has stopped, or that hangs, does not fork: it
    /// is ended, and another is asked. Workers go on without it.
    pub(super) fn look_at_the_template(&mut self, now: Instant) -> super::Result<()> {
        let (Some((since, at)), Some(template)) = (self.owed, &self.template) else { return Ok(()) };
        if at > now {
            return Ok(());
        }
        let hangs = template.serving && now.saturating_since(since) >= FORK_PATIENCE;
        if hangs || is_stopped(template.child.pid) {
            template.child.fd.strike(Blow::Kill)?;
            self.owed = None;
        } else {
            self.owed = Some((since, now + FORK_WAIT));
        }
        Ok(())
    }

    pub(super) fn read_reports(&mut self) -> super::Result<()> {
        while let Some((report, fd)) = self.template.as_mut().and_then(Template::report) {
            match (report, fd) {
                (Report::Forked { worker, pid }, Some(fd)) => {
                    let fd = ProcessFd::from(fd);
                    let mut state = self.shared.lock();
                    if let Some(fd) = state.forked(worker, pid, fd) {
                        self.epoll.set(fd.as_raw_fd(), worker, Interest::READ, false)?;
                    }
                    drop(state);
                    self.short_since = None;
                }
                (Report::Forked { worker, .. }, None) => {
                    let mut after = Aftermath::new();
                    self.shared.lock().lose(worker, &mut after);
                    after.run();
                    self.fall_short("the descriptor of one did not arrive");
                }
                (Report::NotForked { worker, errno }, _) => {
                    self.hearing.forget(&self.epoll, worker)?;
                    let slot = self.shared.lock().slots.remove(&worker);
                    drop(slot);
                    let reason = std::io::Error::from_raw_os_error(errno);
                    self.fall_short(&format!("it could not be forked: {reason}"));
                }
                (Report::Gone { worker, status }, _) => self.bury(worker, status)?,
                (Report::Unusable, Some(reason)) => {
                    let reason = text_of(&reason, LONGEST_REASON)?;
                    self.fail(format!("the template process {reason}"));
                }
                (Report::Serving | Report::Unusable, _) => {}
            }
        }
        if self.owed.is_some() {
            let now = Instant::now();
            let owes = self.shared.lock().slots.values().any(Slot::is_asked);
            self.owed = owes.then_some((now, now + FORK_WAIT));
        }
        if self.template.as_ref().is_some_and(|template| template.serving) {
            self.failed_templates = 0;
            self.killed_templates = 0;
        }
        Ok(())
    }

    pub(super) fn template_died(&mut self) -> super::Result<()> {
        // What it said before still counts.
        self.read_reports()?;
        let Some(template) = &self.template else { return Ok(()) };
        let Some(status) = template.child.fd.reap()? else { return Ok(()) };
        self.epoll.delete(template.child.control.as_raw_fd())?;
        self.epoll.delete(template.child.fd.as_raw_fd())?;
        let served = template.serving;
        self.template = None;
        self.owed = None;
        let state = self.shared.lock();
        let orphans: Vec<(u64, bool)> = state
            .slots
            .iter()
            .filter(|(_, slot)| slot.fd().is_none())
            .map(|(&id, slot)| (id, slot.stage == Stage::Asked))
            .collect();
        let dead: Vec<u64> =
            state.slots.iter().filter(|(_, slot)| slot.dead_since.is_some()).map(|(&id, _)| id).collect();
        drop(state);
        // Never reported: their lifelines go.
        for (worker, silent) in orphans {
            if silent {
                // Perhaps never forked.
                self.hearing.forget(&self.epoll, worker)?;
                let slot = self.shared.lock().slots.remove(&worker);
                drop(slot);
            } else {
                // It has spoken, so it lives, and may have been given a task.
                self.bury(worker, Status::Unknown)?;
            }
        }
        for worker in dead {
            self.bury_untold(worker)?;
        }
        if !served {
            match status {
                Status::Killed(_) => self.killed_templates += 1,
                Status::Exited(_) | Status::Unknown => self.failed_templates += 1,
            }
        }
        if self.failed_templates >= TOLERATED_TEMPLATES || self.killed_templates >= TOLERATED_KILLS {
            let how = match status {
                Status::Exited(code) => format!("exited with code {code}"),
                Status::Killed(signal) => format!("was killed by signal {signal}"),
                Status::Unknown => "died".to_owned(),
            };
            let program = self.settings.program.path.display();
            self.fail(format!("the template process ({program}) could not start: it {how}"));
        }
        Ok(())
    }

    pub(super) fn ask_for(&mut self, wanted: usize) -> super::Result<()> {
        if self.template.is_none() && !self.start_template()? {
            return Ok(());
        }
        for _ in 0..wanted {
            let (slot, outlet, theirs) = match self.make() {
                Ok(made) => made,
                Err(error) => {
                    self.fall_short(&format!("it could not be made: {error}"));
                    return Ok(());
                }
            };
            if !self.ask(slot, outlet, &theirs)? {
                self.ask_at.get_or_insert(Instant::now() + ASK_AGAIN);
                return Ok(());
            }
        }
        Ok(())
    }

    /// What there is of a worker before it is forked.
    fn make(&self) -> super::Result<(Slot<T>, Outlet, Theirs)> {
        let several = self.settings.concurrency.get() > 1;
        let (requests, responses) = if several { plait_shm::link_of_several()? } else { plait_shm::link()? };
        let (lifeline, theirs) = Lifeline::new()?;
        let (outlet, stderr) = Outlet::new()?;
        let room = self.arenas.as_ref().map(|(_, room)| room);
        let results = room.map(|room| Results::create(room.size, Arc::clone(&self.bell))).transpose()?;
        let mut slot = Slot::new(requests, responses, results, lifeline, self.generation);
        slot.tell(&self.settings.needs);
        slot.order_to_keep(&self.settings.arguments);
        slot.pump();
        Ok((slot, outlet, Theirs { lifeline: theirs, stderr }))
    }

    fn ask(&mut self, slot: Slot<T>, outlet: Outlet, theirs: &Theirs) -> super::Result<bool> {
        if self.template.is_none() {
            return Ok(false);
        }
        let worker = self.shared.lock().add(slot);
        let heard = self.hearing.listen(&self.epoll, worker, outlet);
        let Self { template, arenas, .. } = &*self;
        let state = self.shared.lock();
        let asked = heard.is_ok()
            && template.as_ref().zip(state.slots.get(&worker)).is_some_and(|(template, slot)| {
                let mut fds = vec![slot.requests().memory(), theirs.lifeline.as_fd(), theirs.stderr.as_fd()];
                fds.extend(slot.requests().doorbell());
                if let (Some((requests, _)), Some(results)) = (arenas, slot.results()) {
                    fds.extend([requests.as_fd(), results.fd()]);
                }
                template.fork(worker, &fds)
            });
        drop(state);
        if asked {
            let now = Instant::now();
            self.owed.get_or_insert((now, now + FORK_WAIT));
            return Ok(true);
        }
        self.hearing.forget(&self.epoll, worker)?;
        let slot = self.shared.lock().slots.remove(&worker);
        drop(slot);
        if let Err(error) = heard {
            self.fall_short(&format!("its standard error cannot be watched: {error}"));
        }
        Ok(false)
    }

    /// There is no room for a process or its descriptors: that passes, or does
    /// not concern those who work.
    fn fall_short(&mut self, how: &str) {
        let now = Instant::now();
        self.ask_at = Some(now + SHORT_AGAIN);
        if self.shared.lock().slots.values().any(Slot::serves) {
            self.short_since = None;
        } else if *self.short_since.get_or_insert(now) + SHORT_LONGEST <= now {
            let seconds = SHORT_LONGEST.as_secs();
            self.fail(format!("no worker process could be had for {seconds} seconds: {how}"));
        }
    }
}
