//! Ending other CPUs' restartable sequences: membarrier(2), and what to do without it.
//!
//! Before another CPU's cache is touched, whatever section runs there must have ended or begun
//! anew. The kernel does that on request; where it refuses (seccomp, before Linux 5.10), a thread
//! that has itself scheduled onto that CPU has had the same effect.
//!
//! ```
//! use strata_os::membarrier;
//! if membarrier::register_rseq() {
//!     membarrier::fence_rseq(None).expect("it was registered");
//! } else {
//!     membarrier::visit_every_cpu(|_cpu| {}).expect("this CPU at least");
//! }
//! ```

use crate::cpus::{CpuMask, MASK_WORDS, USUAL_MASK_WORDS};
use crate::system_call::system_call;
use crate::{KeepErrno, cpus, errno, possible_cpus, restraint};
use core::ffi::c_int;

const PRIVATE_EXPEDITED: c_int = 1 << 3;
const REGISTER_PRIVATE_EXPEDITED: c_int = 1 << 4;
const PRIVATE_EXPEDITED_RSEQ: c_int = 1 << 7;
const REGISTER_PRIVATE_EXPEDITED_RSEQ: c_int = 1 << 8;
/// `MEMBARRIER_CMD_FLAG_CPU`.
const ONE_CPU: c_int = 1;

/// How often a thread binds itself to a CPU to which others do not let it come.
const MOST_BINDINGS: u32 = 16;

/// Announces to the kernel that this process will call [`fence_rseq`]. Says whether it may.
///
/// One system call, which waits for all CPUs if threads run already (milliseconds): do it once,
/// early. A forked child stays registered, a new program does not.
pub fn register_rseq() -> bool {
    let _keep = KeepErrno::new();
    call(REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0).is_ok()
}

/// Aborts the sections of this process that run at this moment, on `cpu` or on all; memory
/// accesses before this call are seen by the sections that begin after it.
///
/// One system call, which interrupts each of the CPUs that run this process: microseconds.
///
/// # Errors
///
/// The system's number: `EPERM` where [`register_rseq`] was not called or refused, `EINVAL` or
/// `ENOSYS` where the kernel has no such thing. Then use [`visit_every_cpu`]. A CPU that does not
/// exist or is offline is no error: nothing runs there.
pub fn fence_rseq(cpu: Option<u32>) -> Result<(), i32> {
    let _keep = KeepErrno::new();
    match cpu {
        None => call(PRIVATE_EXPEDITED_RSEQ, 0, 0),
        Some(cpu) => {
            let cpu = c_int::try_from(cpu).map_err(|_| libc::EINVAL)?;
            call(PRIVATE_EXPEDITED_RSEQ, ONE_CPU, cpu)
        }
    }
}

/// Announces to the kernel that this process will call [`fence`]. Says whether it may.
///
/// As [`register_rseq`]: once, early.
pub fn register() -> bool {
    let _keep = KeepErrno::new();
    restraint::check().and_then(|()| call(REGISTER_PRIVATE_EXPEDITED, 0, 0)).is_ok()
}

/// A full fence in every thread of this process that runs at this moment: of what such a thread accesses in its own program
/// order, all that lies before is before what this thread does next, and all that lies behind is behind what it did before.
/// Threads that do not run had theirs when they stopped.
///
/// One system call, which interrupts each of the CPUs that run this process: microseconds.
///
/// # Errors
///
/// The system's number: `EPERM` where [`register`] was not called or refused, `EINVAL` or `ENOSYS` where the kernel has no
/// such thing (before Linux 4.14), `EPERM` in a process that keeps to the calls of memory.
pub fn fence() -> Result<(), i32> {
    let _keep = KeepErrno::new();
    restraint::check()?;
    call(PRIVATE_EXPEDITED, 0, 0)
}

/// Runs `visit` on each CPU that this process may use, in turn, by binding this thread to it, and
/// puts the binding back. Says how many there were.
///
/// Whatever section ran on a CPU has ended or will begin anew when it is visited. Tries all CPUs,
/// not only those this thread was bound to, for other threads may be bound elsewhere; those that
/// the cpuset forbids, or that are offline, are left out: no thread of the process runs there.
/// (Threads of one process can be put in cpusets of their own; a section in another one is not
/// reached.)
///
/// Three system calls and a migration for each CPU: for rare use. A binding that another thread
/// gives this one meanwhile is lost.
///
/// # Errors
///
/// The system's number, where the binding cannot be read, changed for any CPU that is not forbidden, or put back;
/// `EAGAIN` where others bind this thread again and again before it has run on a CPU. Some CPUs may have been visited
/// then, and nothing follows for the others.
pub fn visit_every_cpu(mut visit: impl FnMut(u32)) -> Result<u32, i32> {
    let _keep = KeepErrno::new();
    let cpus = possible_cpus();
    if usual_masks_do() {
        visit_each::<USUAL_MASK_WORDS>(cpus, &mut visit)
    } else {
        visit_each::<MASK_WORDS>(cpus, &mut visit)
    }
}

/// Whether the kernel has no more CPUs than fit the usual mask. (Or answers nothing: then no mask does.)
#[unsafe(link_section = ".text_rarely")]
#[inline(never)]
fn usual_masks_do() -> bool {
    !matches!(CpuMask::<USUAL_MASK_WORDS>::of_this_thread(), Err(libc::EINVAL))
}

/// [`visit_every_cpu`], by masks of so many words: in functions of their own, whose stack nobody else pays for.
#[unsafe(link_section = ".text_rarely")]
#[inline(never)]
fn visit_each<const WORDS: usize>(cpus: u32, visit: &mut impl FnMut(u32)) -> Result<u32, i32> {
    let (before, _) = CpuMask::<WORDS>::of_this_thread()?;
    let visited = visit_by(cpus, bind_to::<WORDS>, visit);
    before.bind_this_thread()?;
    visited
}

/// [`visit_every_cpu`], with what binds this thread to a CPU.
fn visit_by(
    cpus: u32,
    mut bind: impl FnMut(u32) -> Result<(), i32>,
    visit: &mut impl FnMut(u32),
) -> Result<u32, i32> {
    let mut visited = 0;
    for cpu in 0..cpus {
        match bind(cpu) {
            Ok(()) => {
                visit(cpu);
                visited += 1;
            }
            Err(libc::EINVAL) => {}
            // Others of this process may run there.
            Err(errno) => return Err(errno),
        }
    }
    if visited == 0 { Err(libc::EINVAL) } else { Ok(visited) }
}

/// Binds this thread to one CPU, and has it run there; `EINVAL` where that does not exist, or is forbidden.
#[unsafe(link_section = ".text_rarely")]
#[inline(never)]
fn bind_to<const WORDS: usize>(cpu: u32) -> Result<(), i32> {
    let mask = CpuMask::<WORDS>::only(cpu).ok_or(libc::EINVAL)?;
    arrive(cpu, || mask.bind_this_thread(), cpus::kernel_cpu)
}

/// Binds this thread until it finds itself on `cpu`. Another thread, or process, may bind it elsewhere before it has run
/// there: then whoever runs there was not interrupted.
fn arrive(
    cpu: u32,
    mut bind: impl FnMut() -> Result<(), i32>,
    mut here: impl FnMut() -> Option<u32>,
) -> Result<(), i32> {
    for _ in 0..MOST_BINDINGS {
        bind()?;
        // A kernel that does not tell is believed.
        if here().is_none_or(|here| here == cpu) {
            return Ok(());
        }
    }
    Err(libc::EAGAIN)
}

/// Runs `visit` on `cpu`, as [`visit_every_cpu`] does; `Ok(false)` where the process may not run
/// there, so that nothing of it does.
///
/// # Errors
///
/// As [`visit_every_cpu`].
pub fn visit_cpu(cpu: u32, visit: impl FnOnce()) -> Result<bool, i32> {
    let _keep = KeepErrno::new();
    if usual_masks_do() {
        visit_one::<USUAL_MASK_WORDS>(cpu, visit)
    } else {
        visit_one::<MASK_WORDS>(cpu, visit)
    }
}

/// [`visit_cpu`], by masks of so many words.
#[unsafe(link_section = ".text_rarely")]
#[inline(never)]
fn visit_one<const WORDS: usize>(cpu: u32, visit: impl FnOnce()) -> Result<bool, i32> {
    let (before, _) = CpuMask::<WORDS>::of_this_thread()?;
    match bind_to::<WORDS>(cpu) {
        Ok(()) => {
            visit();
            before.bind_this_thread()?;
            Ok(true)
        }
        Err(libc::EINVAL) => Ok(false),
        Err(errno) => {
            before.bind_this_thread()?;
            Err(errno)
        }
    }
}

fn call(command: c_int, flags: c_int, cpu: c_int) -> Result<(), i32> {
    // SAFETY: orders memory and restarts sections, which sections are written to bear; reads and
    // writes no memory of ours.
    let result = unsafe { system_call!(libc::SYS_membarrier, command, flags, cpu) };
    if result == 0 { Ok(()) } else { Err(errno()) }
}

#[cfg(test)]
mod tests;
