//! A child process that is traced.

use crate::child::Scene;
use core::ffi::{c_int, c_void};

const BREAKPOINT: u8 = 0xcc;

/// What is asked of a child, as the C library's `ptrace` takes it.
#[cfg(target_env = "gnu")]
type Request = libc::c_uint;
#[cfg(not(target_env = "gnu"))]
type Request = c_int;

/// Why a child stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It is about to do an operation.
    Ready,
    /// It ran into the breakpoint at this address.
    Breakpoint(u64),
}

/// A child that is stopped, unless [`Child::go_on`] waits for it. It is killed when it is dropped.
pub(crate) struct Child {
    process: libc::pid_t,
    ended: Option<c_int>,
}

impl Child {
    /// A copy of this process that does `work`, stopped before it begins.
    ///
    /// # Errors
    ///
    /// The system's number, where nobody may be traced.
    pub(crate) fn begin(work: impl FnOnce()) -> Result<Self, i32> {
        // SAFETY: the child runs the work and ends, and never comes back to the test harness.
        let process = unsafe { libc::fork() };
        if process == 0 {
            run_child(work);
        }
        assert!(process > 0, "a child");
        let mut child = Self { process, ended: None };
        match child.wait() {
            Some(libc::SIGSTOP) => Ok(child),
            Some(signal) => panic!("stopped by {signal}"),
            None => Err(child.ended.map_or(0, |status| status >> 8)),
        }
    }

    /// Lets the child run to the end of its work.
    pub(crate) fn end(mut self, scene: Scene) {
        self.resume(0);
        while let Some(signal) = self.wait() {
            assert_eq!(signal, libc::SIGSTOP, "{scene:?}");
            self.resume(0);
        }
        assert_eq!(self.ended, Some(0), "{scene:?}: the child found a difference from the model");
    }

    /// Lets the child run until it stops.
    pub(crate) fn go_on(&mut self) -> Stop {
        self.resume(0);
        loop {
            match self.wait() {
                Some(libc::SIGSTOP) => return Stop::Ready,
                Some(libc::SIGTRAP) => return Stop::Breakpoint(self.registers().rip - 1),
                Some(libc::SIGABRT) => panic!("the child found a difference from the model"),
                Some(other) => self.resume(other),
                None => panic!("the child has ended: {:?}", self.ended),
            }
        }
    }

    /// Makes the next run go on at `address`.
    pub(crate) fn set_instruction(&mut self, address: u64) {
        let mut registers = self.registers();
        registers.rip = address;
        self.trace(libc::PTRACE_SETREGS, 0, (&raw mut registers).cast());
    }

    /// Puts a breakpoint at `address`; says what stood there.
    pub(crate) fn plant(&mut self, address: u64) -> u8 {
        let word = self.word(address);
        let original = word.to_le_bytes()[0];
        self.set_word(address, word & !0xff | u64::from(BREAKPOINT));
        original
    }

    /// Puts back what stood at `address`.
    pub(crate) fn restore(&mut self, address: u64, original: u8) {
        let word = self.word(address);
        self.set_word(address, word & !0xff | u64::from(original));
    }

    fn word(&self, address: u64) -> u64 {
        // SAFETY: reads a word of the child, which is stopped; an error shows in the text that comes.
        let word = unsafe {
            libc::ptrace(libc::PTRACE_PEEKTEXT, self.process, address, core::ptr::null::<c_void>())
        };
        word.cast_unsigned()
    }

    fn set_word(&self, address: u64, word: u64) {
        let word = core::ptr::without_provenance_mut(word as usize);
        self.trace(libc::PTRACE_POKETEXT, address, word);
    }

    fn registers(&self) -> libc::user_regs_struct {
        // SAFETY: numbers alone.
        let mut registers: libc::user_regs_struct = unsafe { core::mem::zeroed() };
        self.trace(libc::PTRACE_GETREGS, 0, (&raw mut registers).cast());
        registers
    }

    fn resume(&self, signal: c_int) {
        self.trace(libc::PTRACE_CONT, 0, core::ptr::without_provenance_mut(signal as usize));
    }

    fn trace(&self, request: Request, address: u64, data: *mut c_void) {
        // SAFETY: the child is stopped and ours; what `data` points to is as long as the request wants.
        let result = unsafe { libc::ptrace(request, self.process, address, data) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }

    /// Waits until the child stops, and says by which signal; none if it has ended.
    fn wait(&mut self) -> Option<c_int> {
        let mut status = 0;
        // SAFETY: the status is ours to write.
        let process = unsafe { libc::waitpid(self.process, &raw mut status, 0) };
        assert_eq!(process, self.process);
        if libc::WIFSTOPPED(status) {
            return Some(libc::WSTOPSIG(status));
        }
        self.ended = Some(status);
        None
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // SAFETY: the child is ours and was not waited for.
            unsafe { libc::kill(self.process, libc::SIGKILL) };
            let mut status = 0;
            // SAFETY: the status is ours to write.
            unsafe { libc::waitpid(self.process, &raw mut status, 0) };
        }
    }
}

/// Stops the child until the tracer lets it go on.
pub(crate) fn stop() {
    // SAFETY: sends a signal to this thread.
    unsafe { libc::raise(libc::SIGSTOP) };
}

fn run_child(work: impl FnOnce()) -> ! {
    // SAFETY: asks to be traced by the parent; no memory is meant.
    let refused = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) } != 0;
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(1);
    if !refused {
        stop();
    }
    let code = if refused {
        errno
    } else {
        let outcome = std::panic::catch_unwind(core::panic::AssertUnwindSafe(work));
        c_int::from(outcome.is_err())
    };
    // SAFETY: ends this process, and nothing of the harness runs.
    unsafe { libc::_exit(code) }
}
