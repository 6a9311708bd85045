//! The names that a loaded object defines, in the table where the loader looks them up.
//!
//! The table is a part of the object's file, mapped privately and for reading alone: what is written there is this
//! process's own. It is read the way the loader reads it, by the hash table of GNU's form; an object without one is
//! as if it defined nothing.

use crate::system_call::system_call;
use crate::system_pages::pointer;
use crate::{KeepErrno, kernel_page_bytes};
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;

/// Marks in the dynamic section where names begin, where symbols do, and where the hash table stands. (elf.h)
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_GNU_HASH: u64 = 0x6fff_fef5;
/// The kind of symbol that a function is, and the bits of `st_info` that say the kind.
const STT_FUNC: u8 = 2;
const KIND_BITS: u8 = 15;
/// Where a symbol is that another object defines.
const SHN_UNDEF: u16 = 0;

/// One line of a dynamic section.
#[repr(C)]
#[derive(Clone, Copy)]
struct Mark {
    tag: u64,
    value: u64,
}

/// The dynamic symbols of an object that is never unloaded.
#[derive(Clone, Copy, Debug)]
pub struct DynamicSymbols {
    /// What the object's addresses are relative to.
    base: usize,
    symbols: *mut libc::Elf64_Sym,
    names: *const c_char,
    /// Words of the hash table: how many chains, the first symbol in one, how many words of the filter, a shift;
    /// then the filter, in words twice as long, the chains' beginnings, and for each symbol from that first one on
    /// its hash, odd where a chain ends.
    hash: *const u32,
    /// What may be done with the table's pages.
    protection: c_int,
}

impl DynamicSymbols {
    /// Those of the first object whose file has this name, wherever it lies, among those of this object's name
    /// space. Takes the loader's lock.
    pub fn of(file: &CStr) -> Option<Self> {
        let mut found = None;
        for_each_object(&mut |path, symbols| {
            let is_it =
                path.to_bytes().rsplit(|&byte| byte == b'/').next() == Some(file.to_bytes());
            found = Some(symbols).filter(|_| is_it);
            is_it
        });
        found
    }

    /// The first definition of a function in the order in which the objects were loaded: what the program's own
    /// calls find, if the object was there when it began. (Of a program that lies at a fixed address dlsym(3) may
    /// name an entry of its own, which leads there.)
    pub fn first_function(name: &CStr) -> Option<*const c_void> {
        let mut found = None;
        for_each_object(&mut |_, symbols| {
            found = symbols.function(name);
            found.is_some()
        });
        found
    }

    /// Where the object has the function of that name; none if it defines none.
    pub fn function(&self, name: &CStr) -> Option<*const c_void> {
        let mut found = None;
        self.for_each(name, |symbol| {
            // SAFETY: one of the table's, which stays; nobody writes it meanwhile but `redirect`, a word of it.
            let value = unsafe { symbol.read() }.st_value;
            found = Some(ptr::with_exposed_provenance(self.base.wrapping_add(address(value))));
        });
        found
    }

    /// From now on the loader finds these functions under these names of the object, in all their versions, as far
    /// as it defines them. What was looked up before stays. False, and nothing has changed, where the table may not
    /// be written.
    ///
    /// # Safety
    ///
    /// The functions are of the types that those of the object are, may be called in their place, and are never
    /// unloaded. No other thread does this meanwhile.
    pub unsafe fn redirect(&self, functions: &[(&CStr, *const ())]) -> bool {
        let _keep = KeepErrno::new();
        let (mut first, mut end) = (usize::MAX, 0);
        for (name, _) in functions {
            self.for_each(name, |symbol| {
                first = first.min(symbol.addr());
                end = end.max(symbol.addr() + size_of::<libc::Elf64_Sym>());
            });
        }
        if first >= end {
            return true;
        }
        let page = kernel_page_bytes();
        let start = first & !(page - 1);
        let bytes = end.next_multiple_of(page) - start;
        let protect = |protection| {
            // SAFETY: pages of the object's file, which stay readable throughout.
            unsafe { system_call!(libc::SYS_mprotect, pointer(start), bytes, protection) == 0 }
        };
        if !protect(self.protection | libc::PROT_WRITE) {
            return false;
        }
        for &(name, function) in functions {
            self.for_each(name, |symbol| {
                let value = function.addr().wrapping_sub(self.base) as u64;
                // SAFETY: one of the table's, so that the word is, too.
                let place = unsafe { &raw mut (*symbol).st_value };
                // SAFETY: writable since the line above. One aligned word: who reads it meanwhile finds the old
                // function or the new one.
                unsafe { place.write_volatile(value) };
            });
        }
        protect(self.protection);
        true
    }

    /// Visits the functions of that name, one for each version.
    fn for_each(&self, name: &CStr, mut visit: impl FnMut(*mut libc::Elf64_Sym)) {
        let [chains, first_hashed, filter_words] = [0, 1, 2].map(|index| self.word(index));
        if chains == 0 {
            return;
        }
        let wanted = hash(name);
        let beginnings = 4 + 2 * filter_words;
        let mut index = self.word(beginnings + wanted % chains);
        if index < first_hashed {
            return;
        }
        loop {
            let found = self.word(beginnings + chains + index - first_hashed);
            // SAFETY: symbols that are in a chain are in the table.
            let symbol = unsafe { self.symbols.add(index as usize) };
            if found | 1 == wanted | 1 && self.is_definition_of(symbol, name) {
                visit(symbol);
            }
            if found & 1 == 1 {
                return;
            }
            index += 1;
        }
    }

    fn word(&self, index: u32) -> u32 {
        // SAFETY: the table is as long as its own words say, which is where indices come from.
        let place = unsafe { self.hash.add(index as usize) };
        // SAFETY: the same; nobody writes it.
        unsafe { place.read() }
    }

    fn is_definition_of(&self, symbol: *const libc::Elf64_Sym, name: &CStr) -> bool {
        // SAFETY: one of the table's, which nobody writes but `redirect`, one thread at a time.
        let symbol = unsafe { symbol.read() };
        // SAFETY: the table of names is as long as symbols say.
        let its_name = unsafe { self.names.add(symbol.st_name as usize) };
        let is_defined = symbol.st_shndx != SHN_UNDEF && symbol.st_info & KIND_BITS == STT_FUNC;
        // SAFETY: each name in it ends in a zero byte.
        is_defined && unsafe { CStr::from_ptr(its_name) } == name
    }
}

/// The hash of GNU's tables.
fn hash(name: &CStr) -> u32 {
    name.to_bytes()
        .iter()
        .fold(5381, |hash: u32, &byte| hash.wrapping_mul(33).wrapping_add(u32::from(byte)))
}

fn address(value: u64) -> usize {
    usize::try_from(value).unwrap_or_default()
}

/// What is called with each object's path and symbols; true ends the walk.
type Visit<'a> = &'a mut dyn FnMut(&CStr, DynamicSymbols) -> bool;

/// Visits the objects in the order in which they were loaded, as far as they have tables of this form.
fn for_each_object(mut visit: Visit<'_>) {
    // SAFETY: the function bears what the loader calls it with, and what it passes on to outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(look_at), (&raw mut visit).cast()) };
}

/// # Safety
///
/// `object` is what the loader says of one, and `visit` points to a [`Visit`].
unsafe extern "C" fn look_at(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    visit: *mut c_void,
) -> c_int {
    // SAFETY: the loader passes its description of an object, which stands during the call.
    let object = unsafe { &*object };
    // SAFETY: the same.
    let visit = unsafe { &mut *visit.cast::<Visit<'_>>() };
    if object.dlpi_name.is_null() {
        return 0;
    }
    // SAFETY: the loader's own text.
    let path = unsafe { CStr::from_ptr(object.dlpi_name) };
    c_int::from(symbols_of(object).is_some_and(|symbols| visit(path, symbols)))
}

fn symbols_of(object: &libc::dl_phdr_info) -> Option<DynamicSymbols> {
    let base = address(object.dlpi_addr);
    let headers = || {
        (0..usize::from(object.dlpi_phnum)).map(|index| {
            // SAFETY: the loader has that many of them there.
            let header = unsafe { object.dlpi_phdr.add(index) };
            // SAFETY: the same; they stay as long as the object.
            unsafe { header.read() }
        })
    };
    let dynamic = headers().find(|header| header.p_type == libc::PT_DYNAMIC)?;
    let marks = ptr::with_exposed_provenance::<Mark>(base.wrapping_add(address(dynamic.p_vaddr)));
    let count = address(dynamic.p_memsz) / size_of::<Mark>();
    let place = |tag: u64| {
        let mark = (0..count)
            .map(|index| {
                // SAFETY: the section has that many lines.
                let mark = unsafe { marks.add(index) };
                // SAFETY: the same; the loader wrote them before any code of the object ran.
                unsafe { mark.read() }
            })
            .take_while(|mark| mark.tag != 0)
            .find(|mark| mark.tag == tag)?;
        let value = address(mark.value);
        // glibc's loader adds the base where the section may be written; others leave it as it is in the file.
        Some(if value < base { base + value } else { value })
    };
    let symbols = place(DT_SYMTAB)?;
    let segment = headers().find(|header| {
        let start = base.wrapping_add(address(header.p_vaddr));
        let end = start.wrapping_add(address(header.p_memsz));
        header.p_type == libc::PT_LOAD && (start..end).contains(&symbols)
    })?;
    let allows = |flag, protection| if segment.p_flags & flag == 0 { 0 } else { protection };
    Some(DynamicSymbols {
        base,
        symbols: ptr::with_exposed_provenance_mut(symbols),
        names: ptr::with_exposed_provenance(place(DT_STRTAB)?),
        hash: ptr::with_exposed_provenance(place(DT_GNU_HASH)?),
        protection: allows(libc::PF_R, libc::PROT_READ)
            | allows(libc::PF_W, libc::PROT_WRITE)
            | allows(libc::PF_X, libc::PROT_EXEC),
    })
}

#[cfg(all(test, not(miri)))]
mod tests;
