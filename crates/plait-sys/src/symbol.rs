//! Where the program's data symbols lie, and how large they are.

use std::ffi::CStr;
#[cfg(target_env = "gnu")]
use std::ffi::c_void;

/// The memory of one data symbol. It belongs to the program or to a library
/// that the program started with, so it stays mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins.
    pub address: usize,
    /// How many bytes it has, as its symbol table says.
    pub bytes: usize,
}

/// The data symbol `name` as everybody in the process sees it; `None` if there
/// is none, or its size cannot be told (a C library other than glibc).
#[must_use]
pub fn find(name: &CStr) -> Option<Extent> {
    #[cfg(target_env = "gnu")]
    return found(name);
    #[cfg(not(target_env = "gnu"))]
    {
        let _ = name;
        None
    }
}

/// As `dladdr1(3)` gives an entry of the symbol table: `Elf64_Sym`.
#[cfg(target_env = "gnu")]
#[repr(C)]
struct Entry {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: u64,
    size: u64,
}

#[cfg(target_env = "gnu")]
fn found(name: &CStr) -> Option<Extent> {
    const RTLD_DL_SYMENT: i32 = 1;
    /// `STT_OBJECT`: data, not a function.
    const OBJECT: u8 = 1;
    // SAFETY: a string that ends; the default scope needs no handle.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    if address.is_null() {
        return None;
    }
    // SAFETY: all zeros are a valid value: four pointers.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    let mut entry: *const Entry = std::ptr::null();
    // SAFETY: both are written to as their types say: with this flag, the
    // second one is an entry of the symbol table.
    let known = unsafe {
        libc::dladdr1(address, &raw mut info, (&raw mut entry).cast::<*mut c_void>(), RTLD_DL_SYMENT)
    };
    if known == 0 || info.dli_saddr != address {
        return None;
    }
    // SAFETY: null, or an entry of a table that stays with its object.
    let entry = unsafe { entry.as_ref() }?;
    let bytes = usize::try_from(entry.size).ok()?;
    (entry.info & 0xf == OBJECT && bytes > 0).then_some(Extent { address: address as usize, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_env = "gnu")]
    fn the_environment_is_found_with_its_size() {
        // SAFETY: the C library's variable of that type; only its address is used.
        unsafe extern "C" {
            static environ: *const *const i8;
        }
        let extent = find(c"environ").unwrap();
        assert_eq!(extent, Extent { address: (&raw const environ) as usize, bytes: size_of::<usize>() });
    }

    #[test]
    fn functions_and_unknown_names_are_not() {
        assert_eq!(find(c"getpid"), None);
        assert_eq!(find(c"plait_has_no_such_symbol"), None);
    }
}
