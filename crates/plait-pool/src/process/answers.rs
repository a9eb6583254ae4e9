//! What workers say on their rings, and what becomes of it.

use super::aftermath::Aftermath;
use super::slot::{Fate, Stage};
use super::state::State;
use super::wire::{self, Body, Reply};
use super::{End, Ticket};

impl<T: Ticket> State<T> {
    /// What `worker` says; to be followed by a [`dispatch`](Self::dispatch).
    pub(crate) fn heard(&mut self, worker: u64, message: Vec<u8>, after: &mut Aftermath<T>) {
        let Some(slot) = self.slots.get_mut(&worker) else { return };
        if slot.corrupt {
            return;
        }
        let Some(([kind, number, nanos], _)) = wire::parse(&message) else {
            return self.distrust(worker, after);
        };
        match (kind, slot.stage) {
            (wire::READY, Stage::Asked | Stage::Starting) => {
                self.failed_starts = 0;
                slot.stage = Stage::Serving;
                self.relieved(worker);
            }
            (wire::UNFIT, Stage::Asked | Stage::Starting) => {
                let body = Body::of(message);
                let text = String::from_utf8_lossy(body.as_ref()).into_owned();
                self.fail(format!("the initializer of a worker process failed:\n{text}"), after);
            }
            (wire::RETURNED | wire::RAISED | wire::FAILED | wire::STOPPED, Stage::Serving) => {
                let length = message.len();
                let opened = slot.open(number, message);
                let Some((body, pieces)) = opened else { return self.distrust(worker, after) };
                let received = (length + pieces.weight()) as u64;
                let Some((task, stopping)) = slot.answered(number, kind == wire::STOPPED) else {
                    return self.distrust(worker, after);
                };
                let pid = slot.pid();
                let said = slot.said.take().and_then(|number| Some((pid?, number)));
                let output = slot.output.take();
                let end = match (kind, stopping) {
                    (wire::STOPPED, Some(stopping)) => stopping.end(pid, Some(body), output),
                    // Which came first, the end or the stop, is decided here.
                    (_, Some(stopping)) if slot.runs_several() => stopping.end(pid, None, output),
                    _ => End::Reply(Reply {
                        raised: kind != wire::RETURNED,
                        again: kind == wire::FAILED,
                        body,
                        output,
                        said,
                        pieces,
                    }),
                };
                slot.counts.received += received;
                slot.counts.add(&end);
                slot.late = false;
                if !slot.handed.is_empty() {
                    self.ahead -= 1;
                }
                self.tally.counts.received += received;
                self.pace.learn(nanos);
                self.look_for_late();
                self.relieved(worker);
                self.settle(task, end, after);
            }
            (wire::BEGAN, Stage::Serving) => self.reopen(worker),
            (wire::OUTPUT, Stage::Serving) => slot.output = Some(Body::of(message)),
            (wire::SAID, Stage::Serving) => slot.said = u32::try_from(nanos).ok(),
            (wire::RETIRE, Stage::Serving) => {
                // It begins nothing more: all that it has can be taken back.
                slot.stage = Stage::Leaving;
                self.idle.retain(|&other| other != worker);
                for task in self.recall(worker, Fate::Another) {
                    self.queue.put(task);
                }
                let Some(slot) = self.slots.get_mut(&worker) else { return };
                if !slot.handed.is_empty() {
                    return self.distrust(worker, after);
                }
                slot.order(wire::message(wire::LEAVE, 0, 0, &[]));
                slot.pump();
            }
            (wire::DONE, _) => match slot.kept.remove(&message) {
                Ok(blocks) => after.blocks.extend(blocks),
                Err(_) => self.distrust(worker, after),
            },
            // It was told to leave in the meantime.
            (_, Stage::Leaving) => {}
            _ => self.distrust(worker, after),
        }
    }

    /// `worker` has written garbage.
    pub(crate) fn distrust(&mut self, worker: u64, after: &mut Aftermath<T>) {
        if let Some(slot) = self.slots.get_mut(&worker) {
            slot.condemn(true);
            self.abandon(worker, after);
        }
    }
}
