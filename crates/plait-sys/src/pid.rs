//! The number of this process, without a system call.
//!
//! A pool asks for it with every task, for a child of a fork must touch nothing
//! of its parent's, and a system call would be a tenth of the task. The number
//! is kept on a page that the kernel empties in the child of every fork,
//! however it was made (`MADV_WIPEONFORK`, Linux 4.14; madvise(2)). A child
//! that shares the memory (vfork) runs none of our code.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

/// Big enough for the pages of any machine.
const LENGTH: usize = 64 * 1024;

/// The word on the page; none if there can be no such page.
static WORD: OnceLock<Option<&'static AtomicU32>> = OnceLock::new();

/// Has [`current`] do without system calls from here on.
pub fn prepare() {
    WORD.get_or_init(make);
}

fn make() -> Option<&'static AtomicU32> {
    // SAFETY: a new mapping at an address of the kernel's choice touches no
    // memory that anybody uses.
    let page = unsafe {
        mmap_anonymous(std::ptr::null_mut(), LENGTH, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
    }
    .ok()?;
    // SAFETY: the advice is for our own mapping alone.
    unsafe { madvise(page, LENGTH, Advice::LinuxWipeOnFork) }.ok()?;
    // SAFETY: aligned, zero, never unmapped, and used as this one word alone.
    Some(unsafe { &*page.cast::<AtomicU32>() })
}

/// The number of this process.
#[must_use]
pub fn current() -> u32 {
    let Some(Some(word)) = WORD.get() else { return std::process::id() };
    // Relaxed: the word stands for nothing else.
    match word.load(Relaxed) {
        0 => {
            let id = std::process::id();
            word.store(id, Relaxed);
            id
        }
        id => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_number_of_the_process() {
        assert_eq!(current(), std::process::id());
        prepare();
        assert_eq!(current(), std::process::id());
        assert_eq!(current(), std::process::id());
    }
}
