//! The operating system as an allocator sees it.
//!
//! Address space that is reserved, committed and released ([`PageSource`]); what of it stands in
//! memory; CPUs, the clock, the restartable-sequence area, futexes, what happens at fork, exit
//! and a thread's end; one line to standard error when all else has failed. Every call into the
//! kernel and the C library that Strata makes is made here.
//!
//! It allocates nothing, takes no lock, never panics and leaves `errno` as it was, so that
//! `malloc` may call all of it, unless a function says otherwise. It must not know what the
//! memory is for: no page size but the kernel's, no span, no size class, no policy.
//!
//! Beside the real thing stand fakes for tests and simulations, with the same traits:
//! [`FailingPages`] fails the call that you name, [`ManualClock`] stands still until told, and with
//! the feature `std` `SimulatedPages` keeps books on address space that does not exist; `refuse_calls` has
//! the kernel refuse what you name; `ends_with_its_line` looks at what ends a process; the random numbers of a test come from a `Seed`, which is printed and can be given
//! back.
//!
//! ```
//! use strata_os::{Advice, PageSource, Purpose, Release, ReserveRequest, SystemPages};
//!
//! let pages = SystemPages::new();
//! let wish = ReserveRequest { bytes: 64 << 20, align: 2 << 20, purpose: Purpose::Heap };
//! let had = pages.reserve(wish)?;               // address space, no memory yet
//! pages.commit(had.range)?;
//!
//! let first = core::ptr::with_exposed_provenance_mut::<u8>(had.range.start);
//! // SAFETY: committed, and ours alone.
//! unsafe { first.write(42) };
//! assert!(pages.residency(had.range)?.resident_bytes >= pages.page_bytes());
//!
//! // SAFETY: nothing in there is needed any more.
//! unsafe { pages.release(had.range, Release::Forced)? };
//! assert_eq!(pages.residency(had.range)?.resident_bytes, 0);
//! // SAFETY: nobody uses it after this line.
//! unsafe { pages.unreserve(had.range)? };
//! # let _ = Advice::Hugepage;
//! # Ok::<(), strata_os::MapError>(())
//! ```
#![no_std]

#[cfg(any(test, feature = "std"))]
extern crate std;

#[cfg(not(target_os = "linux"))]
compile_error!("Strata runs on Linux alone");
#[cfg(not(target_pointer_width = "64"))]
compile_error!("Strata needs 64-bit addresses");

mod address_space;
mod broken_pipe;
mod buddies;
mod c_stream;
mod call_kind;
mod cgroup;
mod clock;
mod code;
mod confinement;
mod cpus;
mod dynamic_symbols;
mod errno;
mod failing_pages;
mod futex;
mod gathered;
mod glibc;
mod growing_file;
mod kept_stderr;
mod kernel_clock;
mod kernel_file;
mod kernel_pages;
mod loader;
pub mod membarrier;
mod message;
mod misuse;
mod new_file;
#[cfg(any(test, feature = "std"))]
mod own_process;
mod page_source;
mod page_source_layer;
mod process;
mod random;
mod range;
#[cfg(any(test, feature = "std"))]
mod refused_calls;
mod relocation;
mod residency;
mod restraint;
pub mod rseq;
#[cfg(any(test, feature = "std"))]
mod seed;
#[cfg(any(test, feature = "std"))]
mod simulated_pages;
mod stream_list;
mod system_call;
mod system_pages;
mod thp;
mod thread;
mod weak;

pub use address_space::{address_bits, kernel_page_bytes};
pub use buddies::{NodeMemory, for_each_node};
pub use c_stream::CStream;
pub use call_kind::{CallKind, CallKinds};
pub use cgroup::{CgroupLimits, cgroup_limits, cgroup_limits_in};
pub use clock::{
    Clock, ManualClock, MonotonicClock, coarse_now_ns, thread_time_ns, unix_time_seconds,
};
pub use code::replace_code;
pub use confinement::is_confined;
pub use cpus::{allowed_cpus, current_cpu, for_each_allowed_cpu, possible_cpus};
pub use dynamic_symbols::DynamicSymbols;
pub use errno::{KeepErrno, errno, set_errno};
pub use failing_pages::{FailingPages, Fault};
pub use futex::{WaitEnd, futex_wait, futex_wake};
pub use glibc::glibc_version;
pub use growing_file::GrowingFile;
pub use kept_stderr::{KeptStderr, StderrWriter};
pub use kernel_pages::KernelPages;
pub use loader::{LoadedLibrary, Loader};
pub use message::{LINE_BYTES, crash, stderr_line, warn_line};
pub use misuse::{OnMisuse, goes_on_after_misuse, misuse, misuses_reported, set_on_misuse};
pub use new_file::NewFile;
#[cfg(any(test, feature = "std"))]
pub use own_process::{ends_with_its_line, in_own_process, in_own_process_for};
pub use page_source::{
    Advice, MapError, PageSource, Purpose, Release, Reservation, ReserveRequest, Residency,
};
pub use page_source_layer::PageSourceLayer;
pub use process::{
    ExitKey, ProcessMemory, ProcessName, at_exit, at_fork, at_fork_of_program, environment,
    has_thread, process_id, process_memory, process_name, read_own_memory, thread_id,
};
pub use random::random_bits;
pub use range::AddressRange;
#[cfg(any(test, feature = "std"))]
pub use refused_calls::refuse_calls;
pub use residency::{Mapping, PageScan, for_each_mapping};
pub use restraint::{keep_to_memory_calls, keeps_to_memory_calls, make_no_calls, makes_no_calls};
#[cfg(any(test, feature = "std"))]
pub use seed::Seed;
#[cfg(any(test, feature = "std"))]
pub use simulated_pages::{LoggedCall, SimulatedFigures, SimulatedPages};
pub use stream_list::{lock_stream_list, reset_stream_list, unlock_stream_list};
pub use system_pages::{SystemPages, mapped_anew};
pub use thp::{ThpMode, thp_mode};
pub use thread::{SignalsBlocked, name_this_thread, own_descriptors, start_thread};
pub use weak::thread_pointer;
