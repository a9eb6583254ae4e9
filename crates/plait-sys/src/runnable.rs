//! How many threads want a core at the moment.
//!
//! The fourth field of `/proc/loadavg` begins with how many threads of the
//! whole machine are on a core or in the queue for one (proc(5)), whoever
//! reads it among them. The kernel adds up a counter of each core: 6 µs, most
//! of them for opening the file. A descriptor that is kept would be closed by
//! daemons, and its number would then be somebody else's.

use rustix::fs::{Mode, OFlags, open};
use rustix::io::read;

/// How many threads of the machine want a core, the calling one included;
/// `None` where the kernel does not tell.
#[must_use]
pub fn runnable() -> Option<u32> {
    let file = open("/proc/loadavg", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = [0; 96];
    let count = read(&file, &mut text).ok()?;
    counted(&text[..count])
}

/// The first figure of `2/345`, which is the fourth field of the line.
fn counted(text: &[u8]) -> Option<u32> {
    let field = text.split(|byte| byte.is_ascii_whitespace()).nth(3)?;
    let (count, _) = std::str::from_utf8(field).ok()?.split_once('/')?;
    count.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found() {
        assert_eq!(counted(b"0.10 0.72 1.51 3/83 10755\n"), Some(3));
        assert_eq!(counted(b"0.10 0.72 1.51 12/1083 10755\n"), Some(12));
        for odd in ["", "0.10 0.72 1.51", "0.10 0.72 1.51 3", "0.10 0.72 1.51 x/83 1"] {
            assert_eq!(counted(odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn who_reads_it_is_counted() {
        assert!(runnable().unwrap() >= 1);
    }
}
