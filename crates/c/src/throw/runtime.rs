//! What is taken of a C++ runtime, if there is one.

use super::x86_64::words;
use core::ffi::{CStr, c_void};
use core::ptr;
use strata_os::{KeepErrno, Loader};
use strata_sync::atomic::{AtomicPtr, Ordering};

/// A word for each thing of the C++ runtime, null where it is not there. Filled by the loader, or else by [`find_runtime`],
/// which publishes nothing but the runtime's own code and constants: relaxed. The assembly knows the order of the fields.
#[repr(C)]
pub(super) struct Runtime {
    /// `std::get_new_handler()`
    pub(super) get_new_handler: AtomicPtr<c_void>,
    /// `__cxa_allocate_exception`
    pub(super) allocate_exception: AtomicPtr<c_void>,
    /// `std::bad_alloc`'s table of virtual functions
    pub(super) vtable: AtomicPtr<c_void>,
    /// `typeid(std::bad_alloc)`
    pub(super) type_information: AtomicPtr<c_void>,
    /// `std::bad_alloc::~bad_alloc()`
    pub(super) destructor: AtomicPtr<c_void>,
    /// `__cxa_begin_catch`
    pub(super) begin_catch: AtomicPtr<c_void>,
    /// `__cxa_end_catch`
    pub(super) end_catch: AtomicPtr<c_void>,
    /// `__gxx_personality_v0`, which reads the table of what is caught where
    pub(super) personality: AtomicPtr<c_void>,
    /// `__cxa_throw`: stored last
    pub(super) throw: AtomicPtr<c_void>,
}

/// The runtimes of C++ by their file names, each with all that is needed of it or of what it depends on.
const RUNTIMES: [&CStr; 2] = [c"libstdc++.so.6", c"libc++.so.1"];

/// Looks for a C++ runtime that was loaded after this library, unless the loader knew one. Memory has run out when this is
/// called, so that the loader may fail to look; then there is none.
pub(super) extern "C" fn find_runtime() {
    let words = words();
    if !words.throw.load(Ordering::Relaxed).is_null() {
        return;
    }
    let Some(loader) = Loader::find() else { return };
    let _keep = KeepErrno::new();
    for name in RUNTIMES {
        if let Some(library) = loader.loaded(name)
            && words.fill(|name| loader.in_library(library, name))
        {
            return;
        }
    }
}

impl Runtime {
    /// Fills all words with what `look_up` knows; false, and nothing changes, if it does not know all of them.
    fn fill(&self, look_up: impl Fn(&CStr) -> *mut c_void) -> bool {
        let wanted = [
            (c"_ZSt15get_new_handlerv", &self.get_new_handler),
            (c"__cxa_allocate_exception", &self.allocate_exception),
            (c"_ZTVSt9bad_alloc", &self.vtable),
            (c"_ZTISt9bad_alloc", &self.type_information),
            (c"_ZNSt9bad_allocD1Ev", &self.destructor),
            (c"__cxa_begin_catch", &self.begin_catch),
            (c"__cxa_end_catch", &self.end_catch),
            (c"__gxx_personality_v0", &self.personality),
            (c"__cxa_throw", &self.throw),
        ];
        let found = wanted.map(|(name, _)| look_up(name));
        if found.contains(&ptr::null_mut()) {
            return false;
        }
        for ((_, word), address) in wanted.iter().zip(found) {
            word.store(address, Ordering::Relaxed);
        }
        true
    }
}
