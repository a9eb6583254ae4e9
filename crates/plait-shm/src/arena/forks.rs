//! What children of a fork still see.
//!
//! A child has the views that its parent had, and their memory is the block's
//! until somebody writes to it. So a block that was in view at a fork is not
//! used again before the child, and whoever it has forked, is gone: the hold
//! of such a view is kept here when the view goes.

use std::cell::RefCell;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plait_sys::kin::{Begetting, Kin};

use super::view::{self, Hold};

/// How many forks have been made while there were views.
static COUNT: AtomicU64 = AtomicU64::new(0);
static FORKS: Mutex<Forks> = Mutex::new(Forks { alive: Vec::new(), kept: Vec::new() });

struct Forks {
    /// By the number that [`COUNT`] had before.
    alive: Vec<(u64, Arc<Kin>)>,
    /// What is kept, and for whom.
    kept: Vec<(Hold, Vec<Arc<Kin>>)>,
}

thread_local! {
    /// From the hook before a fork to the one after: nobody else is within.
    static FORKING: RefCell<Option<(MutexGuard<'static, Forks>, Option<Begetting>)>> =
        const { RefCell::new(None) };
}

fn forks() -> MutexGuard<'static, Forks> {
    FORKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of forks up to now.
pub(super) fn count() -> u64 {
    // Relaxed: views and forks are made under the interpreter's lock.
    COUNT.load(Relaxed)
}

impl Forks {
    /// Takes out what nobody sees any more.
    fn settle(&mut self) -> Vec<Hold> {
        self.alive.retain(|(_, kin)| !kin.are_gone());
        let gone = |(_, kin): &mut (Hold, Vec<Arc<Kin>>)| {
            kin.retain(|kin| !kin.are_gone());
            kin.is_empty()
        };
        self.kept.extract_if(.., gone).map(|(hold, _)| hold).collect()
    }
}

/// The hold of a view that was made when the count was `born`, and is gone.
pub(super) fn release(hold: Hold, born: u64) {
    if born == count() && forks().kept.is_empty() {
        return;
    }
    let mut forks = forks();
    let gone = forks.settle();
    let kin: Vec<_> =
        forks.alive.iter().filter(|(fork, _)| *fork >= born).map(|(_, kin)| Arc::clone(kin)).collect();
    if !kin.is_empty() {
        forks.kept.push((hold, kin));
        drop(forks);
    } else {
        drop(forks);
        drop(hold);
    }
    drop(gone);
}

/// To be called by a thread right before it forks.
pub fn before_fork() {
    let mut forks = forks();
    let gone = forks.settle();
    let begetting = (view::any() || !forks.kept.is_empty()).then(Begetting::new);
    FORKING.with(|slot| *slot.borrow_mut() = Some((forks, begetting)));
    drop(gone);
}

/// To be called by the same thread after the fork, in the parent.
pub fn after_fork_in_parent() {
    let Some((mut forks, begetting)) = FORKING.with(|slot| slot.borrow_mut().take()) else { return };
    let Some(begetting) = begetting else { return };
    let kin = Arc::new(begetting.in_parent());
    // What was kept for others is in view of this child too.
    forks.kept.iter_mut().for_each(|(_, kept)| kept.push(Arc::clone(&kin)));
    let fork = COUNT.fetch_add(1, Relaxed);
    forks.alive.push((fork, kin));
}

/// To be called by the only thread of the child.
pub fn after_fork_in_child() {
    let Some((mut forks, begetting)) = FORKING.with(|slot| slot.borrow_mut().take()) else { return };
    begetting.into_iter().for_each(Begetting::in_child);
    forks.alive.clear();
    // Not dropped: they would say to the parent's peers what is not so.
    std::mem::forget(std::mem::take(&mut forks.kept));
    drop(forks);
    view::forget_all();
}
