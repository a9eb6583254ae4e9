//! How much memory there is.

use rustix::process::{Resource, getrlimit};
use rustix::system::sysinfo;

/// The machine's memory, in bytes.
#[must_use]
pub fn physical_memory() -> u64 {
    let info = sysinfo();
    info.totalram * u64::from(info.mem_unit)
}

/// The limit of this process's address space (`RLIMIT_AS`), if it has one.
#[must_use]
pub fn address_space() -> Option<u64> {
    getrlimit(Resource::As).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_memory() {
        assert!(physical_memory() > 1 << 24);
        assert!(address_space().is_none_or(|limit| limit > 1 << 24));
    }
}
