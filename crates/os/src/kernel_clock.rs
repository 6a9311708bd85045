//! The kernel's clocks, read without the C library: whoever defines `clock_gettime` for a program shows it another
//! time, and may allocate or wait for a lock of its own in there.
//!
//! The kernel maps a small library into each process (vdso(7)), whose function reads the clock without a system
//! call. It is found as the loader would find it, by the hash table of its names.

use crate::address_space::auxiliary;
use crate::system_call::system_call;
use core::ffi::{CStr, c_int, c_void};
use core::mem::transmute;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int;

#[cfg(target_arch = "aarch64")]
const NAME: &CStr = c"__kernel_clock_gettime";
#[cfg(not(target_arch = "aarch64"))]
const NAME: &CStr = c"__vdso_clock_gettime";

/// Who is asked; null before the first question. Written by whoever asks first, each time the same.
static FUNCTION: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// clock_gettime(2), but that an error is nobody's: the place stays as it was.
///
/// # Safety
///
/// The place may be written.
pub(crate) unsafe fn clock_gettime(clock: libc::clockid_t, now: *mut libc::timespec) {
    let mut function = FUNCTION.load(Ordering::Relaxed);
    if function.is_null() {
        function = find();
        FUNCTION.store(function, Ordering::Relaxed);
    }
    // SAFETY: `find` answers with functions of this type alone.
    let function = unsafe { transmute::<*mut c_void, ClockGettime>(function) };
    // SAFETY: the place may be written, as the caller promises.
    unsafe { function(clock, now) };
}

/// # Safety
///
/// As [`clock_gettime`].
unsafe extern "C" fn by_system_call(clock: libc::clockid_t, now: *mut libc::timespec) -> c_int {
    // SAFETY: the place may be written, as the caller promises.
    c_int::from(unsafe { system_call!(libc::SYS_clock_gettime, clock, now) } != 0)
}

#[cold]
fn find() -> *mut c_void {
    let start = usize::try_from(auxiliary(libc::AT_SYSINFO_EHDR)).unwrap_or(0);
    let found = if start == 0 { None } else { KernelLibrary::at(start).function(NAME) };
    found.map_or((by_system_call as ClockGettime as *const ()).cast_mut().cast(), |address| {
        ptr::with_exposed_provenance_mut(address)
    })
}

const DYNAMIC_STRINGS: u64 = 5;
const DYNAMIC_SYMBOLS: u64 = 6;
const DYNAMIC_HASHES: u64 = 0x6fff_fef5;

/// The library that the kernel mapped: addresses of its parts.
#[derive(Default)]
struct KernelLibrary {
    /// What is added to an address that the library names.
    bias: usize,
    strings: usize,
    symbols: usize,
    /// The table of GNU's form.
    hashes: usize,
}

impl KernelLibrary {
    /// The one that begins at `start`, where the kernel said so.
    fn at(start: usize) -> Self {
        let header: libc::Elf64_Ehdr = read(start);
        let segments = start.wrapping_add(header.e_phoff as usize);
        let mut library = Self::default();
        let mut dynamic = 0;
        for number in 0..usize::from(header.e_phnum) {
            let segment: libc::Elf64_Phdr = read(place::<libc::Elf64_Phdr>(segments, number));
            let from_file = start.wrapping_add(segment.p_offset as usize);
            match segment.p_type {
                libc::PT_LOAD => library.bias = from_file.wrapping_sub(segment.p_vaddr as usize),
                libc::PT_DYNAMIC => dynamic = from_file,
                _ => {}
            }
        }
        if dynamic != 0 {
            library.note_parts(dynamic);
        }
        library
    }

    fn note_parts(&mut self, dynamic: usize) {
        for number in 0.. {
            let [tag, value]: [u64; 2] = read(place::<[u64; 2]>(dynamic, number));
            let address = self.bias.wrapping_add(value as usize);
            match tag {
                0 => break,
                DYNAMIC_STRINGS => self.strings = address,
                DYNAMIC_SYMBOLS => self.symbols = address,
                DYNAMIC_HASHES => self.hashes = address,
                _ => {}
            }
        }
    }

    /// Where the function of that name begins.
    fn function(&self, name: &CStr) -> Option<usize> {
        if self.hashes == 0 || self.symbols == 0 || self.strings == 0 {
            return None;
        }
        let [buckets, first, filters, _]: [u32; 4] = read(self.hashes);
        let filter = self.hashes.wrapping_add(size_of::<[u32; 4]>());
        let bucket = place::<u64>(filter, filters as usize);
        let chain = place::<u32>(bucket, buckets as usize);
        let hash = name
            .to_bytes()
            .iter()
            .fold(5381_u32, |hash, &byte| hash.wrapping_mul(33).wrapping_add(byte.into()));
        let mut symbol: u32 = read(place::<u32>(bucket, hash.checked_rem(buckets)? as usize));
        // The lowest bit of a hash marks the last one of its bucket.
        while let Some(number) = symbol.checked_sub(first).filter(|_| symbol != 0) {
            let other: u32 = read(place::<u32>(chain, number as usize));
            if other | 1 == hash | 1
                && let Some(address) = self.address_of(symbol, name)
            {
                return Some(address);
            }
            if other & 1 != 0 {
                break;
            }
            symbol = symbol.checked_add(1)?;
        }
        None
    }

    /// Where a symbol begins, if it has that name and is the library's own.
    fn address_of(&self, symbol: u32, name: &CStr) -> Option<usize> {
        let symbol: libc::Elf64_Sym = read(place::<libc::Elf64_Sym>(self.symbols, symbol as usize));
        let its_name = self.strings.wrapping_add(symbol.st_name as usize);
        // SAFETY: names in the kernel's library end in a zero byte.
        let its_name = unsafe { CStr::from_ptr(ptr::with_exposed_provenance(its_name)) };
        let is_it = its_name == name && symbol.st_shndx != 0;
        is_it.then(|| self.bias.wrapping_add(symbol.st_value as usize))
    }
}

/// The address of one of the `T` that stand in a row from `first`.
fn place<T>(first: usize, number: usize) -> usize {
    first.wrapping_add(number.wrapping_mul(size_of::<T>()))
}

/// Reads plain numbers out of the kernel's library.
fn read<T: Copy>(address: usize) -> T {
    // SAFETY: the kernel's library stays mapped and readable as long as the process, and the addresses are those
    // that its own tables name.
    unsafe { ptr::with_exposed_provenance::<T>(address).read_unaligned() }
}

#[cfg(test)]
mod tests;
