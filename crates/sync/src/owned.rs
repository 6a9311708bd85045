//! A value that the thread which uses it first has to itself, until another one wants it. It changes by way of its
//! cells: so that parts of it which are atomics may be read by anybody.
//!
//! A thread that is alone with a pool comes in without an atomic read-modify-write: by two stores and two loads.
//! Others take a lock, close the gate, have a fence put into every running thread, and wait until the owner is
//! outside; one that is not only visiting ends the ownership, so that all take the lock from then on, until the
//! last of them has left. (A lock that is biased towards its owner; Kawachiya, Koseki and Onodera, *Lock
//! Reservation*, OOPSLA 2002, with the fence of `strata_sync::asymmetric`.)

use crate::{
    Mutex,
    asymmetric::{heavy_fence, light_fence},
    atomic::{AtomicBool, AtomicUsize, Ordering},
    spin_hint,
    thread_block::ThreadBlock,
};
use core::{cell::UnsafeCell, marker::PhantomData, ops::Deref};
use strata_os::{keeps_to_memory_calls, membarrier};

/// Nobody was here yet. All zero bits are a value that nobody owns, and which may be owned as soon as that is allowed.
const NOBODY: usize = 0;
/// Several threads were here, or fences in other threads cannot be had: all take the lock.
const SHARED: usize = 1;
/// Of the gate alone: somebody has the lock, and the owner stays outside.
const CLAIMED: usize = 2;
/// Of the [place](Owned::outside) alone: the owner is inside.
const INSIDE: usize = 3;

/// How long a visitor sleeps between two looks whether the owner is outside, in nanoseconds, after as many spins as below.
const STEP_NS: u64 = 20_000;
const SPINS: u32 = 50;

/// Which thread calls. Threads that cannot be told from others have none.
///
/// It stays with its thread: who has one is that thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token(usize, PhantomData<*const ()>);

impl Token {
    /// The caller cannot be told from others.
    pub const NONE: Self = Self(usize::MAX, PhantomData);

    /// The thread that this block belongs to, while it runs: blocks are aligned to more than the words above.
    #[inline(always)]
    pub fn of(block: &ThreadBlock) -> Self {
        Self(core::ptr::from_ref(block).addr(), PhantomData)
    }

    /// The thread that calls.
    pub fn here() -> Self {
        #[cfg(not(strata_loom))]
        let token = Self::of(crate::thread_block::block());
        // Its threads have one block together.
        #[cfg(strata_loom)]
        let token = Self(crate::thread_token::thread_token(), PhantomData);
        token
    }
}

/// A value that one thread has to itself as long as no other one wants it: see the [module](self).
///
/// ```
/// use core::cell::Cell;
/// use strata_sync::{asymmetric::prepare_heavy_fence, owned::{Owned, Token}};
///
/// let mut slots = Owned::new(Cell::new(0));
/// if !prepare_heavy_fence() {
///     slots.share();
/// }
/// std::thread::scope(|scope| {
///     for _ in 0..2 {
///         scope.spawn(|| {
///             for _ in 0..1000 {
///                 match slots.enter(Token::here()) {
///                     Some(slots) => slots.update(|count| count + 1),
///                     None => slots.with(Token::here(), |slots| slots.update(|count| count + 1)),
///                 }
///             }
///         });
///     }
/// });
/// assert_eq!(slots.visit(|slots| slots.get()), 2000);
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct Owned<T> {
    /// Who may come inside without a lock: the owner's token; or one of the above, or [`CLAIMED`]. Written under
    /// the lock, read by who would come in.
    gate: AtomicUsize,
    /// The owner's token while it is outside; [`INSIDE`] while it is inside, or about to see that it may not be. So
    /// one look tells a thread that it is the owner, and was not interrupted inside. Written by the owner, and by who
    /// makes it the owner, under the lock; read by who claims the value. Of one that is nobody's it says nothing, but
    /// that it is never the token of a thread which has left.
    outside: AtomicUsize,
    /// The owner's token, or one of the above. Written and read under the lock.
    owner: AtomicUsize,
    /// Fences in other threads cannot be had. Written before others know of the value, or under the lock where the
    /// kernel came to refuse them.
    is_never_owned: AtomicBool,
    /// Whether [`acquire`](Owned::acquire) keeps the owner outside. Written and read under the lock.
    is_claimed_for_fork: AtomicBool,
    /// Guards the value where nobody owns it, and the claims where somebody does.
    lock: Mutex<()>,
    value: UnsafeCell<T>,
}

/// The value, as long as its owner is inside.
#[derive(Debug)]
pub struct Entered<'a, T> {
    value: &'a T,
    outside: &'a AtomicUsize,
    token: Token,
}

impl<T> Deref for Entered<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        self.value
    }
}

impl<T> Drop for Entered<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        // Release pairs with the acquire in `shut_owner_out`.
        self.outside.store(self.token.0, Ordering::Release);
    }
}

/// The owner does not come inside as long as this lives.
struct Claim<'a, T>(&'a Owned<T>);

impl<T> Drop for Claim<'_, T> {
    fn drop(&mut self) {
        self.0.open();
    }
}

// SAFETY: one thread at a time has the value: the owner while it is inside, or the lock's holder while the owner is
// outside.
unsafe impl<T: Send> Sync for Owned<T> {}

impl<T> Owned<T> {
    crate::const_fn! {
        /// A value that nobody owns yet. Where [`prepare_heavy_fence`](crate::asymmetric::prepare_heavy_fence) says
        /// no, nobody may: see [`share`](Self::share).
        pub const fn new(value: T) -> Self {
            Self {
                gate: AtomicUsize::new(NOBODY),
                outside: AtomicUsize::new(NOBODY),
                owner: AtomicUsize::new(NOBODY),
                is_never_owned: AtomicBool::new(false),
                is_claimed_for_fork: AtomicBool::new(false),
                lock: Mutex::new(()),
                value: UnsafeCell::new(value),
            }
        }
    }

    /// Nobody is going to own the value, ever.
    pub fn share(&mut self) {
        // SAFETY: nobody else knows of the value, or is inside.
        unsafe { self.share_unknown() };
    }

    /// The same of a value that is not borrowed as a whole.
    ///
    /// # Safety
    ///
    /// No other thread knows of the value yet, and nobody is inside.
    pub unsafe fn share_unknown(&self) {
        self.is_never_owned.store(true, Ordering::Relaxed);
        self.owner.store(SHARED, Ordering::Relaxed);
        self.open();
    }

    /// Lets this thread in, if it owns the value and nobody keeps it outside, and if it is not inside already (in a
    /// signal handler that interrupted it there).
    #[inline(always)]
    pub fn enter(&self, token: Token) -> Option<Entered<'_, T>> {
        // Who has no token is never outside: it was not made the owner.
        if self.outside.load(Ordering::Relaxed) != token.0 {
            return None;
        }
        // Who was shut out, or lost the value, comes here all the same, and sees below that it did.
        self.outside.store(INSIDE, Ordering::Relaxed);
        // Pairs with the fence in `shut_owner_out`: either we see the claim, or who claims sees us.
        light_fence();
        // Acquire pairs with the release in `open`: what was done under the last claim is seen.
        if self.gate.load(Ordering::Acquire) != token.0 {
            self.outside.store(token.0, Ordering::Release);
            return None;
        }
        // SAFETY: the owner is inside: who takes the lock waits until it is not.
        Some(Entered { value: unsafe { &*self.value.get() }, outside: &self.outside, token })
    }

    /// Works with the value, whoever owns it; the first thread that does so owns it.
    #[unsafe(link_section = ".text_rarely")]
    pub fn with<R>(&self, token: Token, work: impl FnOnce(&T) -> R) -> R {
        let _guard = self.lock.lock();
        let claim = self.shut_owner_out();
        // SAFETY: the lock is held, and the owner, if there is one, outside.
        let result = work(unsafe { &*self.value.get() });
        // Only now: an owner that nobody claims against comes in at once, in a signal handler, too, that interrupts
        // the work. Who has no token has the lock and the claim, and leaves things as they are.
        if token != Token::NONE {
            match self.owner.load(Ordering::Relaxed) {
                NOBODY => {
                    self.owner.store(token.0, Ordering::Relaxed);
                    self.outside.store(token.0, Ordering::Relaxed);
                }
                owner if owner != token.0 => {
                    self.owner.store(SHARED, Ordering::Relaxed);
                    self.give_up_place(token);
                }
                _ => {}
            }
        }
        drop(claim);
        self.open();
        result
    }

    /// A part of the value that anybody may look at, whoever is inside.
    ///
    /// # Safety
    ///
    /// `part` does nothing but to name a part of the value: its cells are for who is inside.
    pub unsafe fn shared_part<R: Sync>(&self, part: impl FnOnce(&T) -> &R) -> &R {
        // SAFETY: nobody has more than a shared reference to the value.
        part(unsafe { &*self.value.get() })
    }

    /// This thread ends, or has another one's value from now on. Another one may own this value: the first that
    /// comes if no thread is left, or if this one had it to itself.
    ///
    /// `is_last` is asked under the lock: a thread that came meanwhile may have owned the value, and lost it to one
    /// that came after it, and be about to see that it may not come in. Until it has, nobody else may own the
    /// value, whose owner's place it writes.
    ///
    /// # Safety
    ///
    /// The token is this thread's, which is outside, and comes no more as one of the threads that `is_last` is about.
    /// `is_last` says yes only if all other threads that ever came with a token of theirs have left, or come first
    /// after this.
    pub unsafe fn leave(&self, token: Token, is_last: impl FnOnce() -> bool) {
        let _guard = self.lock.lock();
        let owner = self.owner.load(Ordering::Relaxed);
        // A thread that comes to have this one's block is another one, with the same token.
        self.give_up_place(token);
        if owner == token.0
            || owner == SHARED && !self.is_never_owned.load(Ordering::Relaxed) && is_last()
        {
            // All who come now find no owner, and take the lock. This thread is outside, and so is one that had left and
            // came again, in the call of a handler: nobody is to pass by its token, which another thread may have by now.
            self.outside.store(NOBODY, Ordering::Relaxed);
            self.owner.store(NOBODY, Ordering::Relaxed);
            self.open();
        }
    }

    /// In the child of a fork, which found the value at rest: whoever comes first owns it from now on, or keeps it.
    ///
    /// # Safety
    ///
    /// The process is a child after `fork` and has only this thread, whose parent had [acquired](Self::acquire) the
    /// value; it is no more, and the child has [released](Self::release) it.
    pub unsafe fn forget_vanished(&self) {
        let _guard = self.lock.lock();
        if !self.is_never_owned.load(Ordering::Relaxed) && !self.is_owned_here() {
            // A thread that was no longer the owner may have vanished where it was about to see that.
            self.outside.store(NOBODY, Ordering::Relaxed);
            self.owner.store(NOBODY, Ordering::Relaxed);
            self.open();
        }
    }

    /// Works with the value, whoever owns it, and owns it still afterwards.
    pub fn visit<R>(&self, work: impl FnOnce(&T) -> R) -> R {
        let _guard = self.lock.lock();
        let claim = self.shut_owner_out();
        // SAFETY: the lock is held, and the owner is outside for as long as the claim lives.
        let result = work(unsafe { &*self.value.get() });
        drop(claim);
        result
    }

    /// Takes the value for a fork, until [`release`](Self::release). A thread that forks in a signal handler which
    /// interrupted it in [`with`](Self::with) or [`visit`](Self::visit) goes on there afterwards, with the claim
    /// that it made there.
    pub fn acquire(&self) {
        self.lock.acquire();
        // The owner itself forks: it is outside, or was interrupted inside by the signal in whose handler it forks,
        // and goes on there afterwards.
        if self.is_owned_here() {
            return;
        }
        // Claims are made under the lock: one that there is by now is the interrupted work's.
        let is_claimed = self.gate.load(Ordering::Relaxed) == CLAIMED;
        if let Some(claim) = self.shut_owner_out() {
            core::mem::forget(claim);
            self.is_claimed_for_fork.store(!is_claimed, Ordering::Relaxed);
        }
    }

    /// Gives it back.
    ///
    /// # Safety
    ///
    /// This thread took it with [`Self::acquire`], or is the child of the thread that did.
    pub unsafe fn release(&self) {
        if self.is_claimed_for_fork.load(Ordering::Relaxed) {
            self.is_claimed_for_fork.store(false, Ordering::Relaxed);
            self.open();
        }
        // SAFETY: `acquire` took the lock, in this thread or in the one that forked it, and no guard of it lives.
        unsafe { self.lock.release() };
    }

    /// Keeps the owner outside, if there is one; the lock is held. A thread that was interrupted inside, and comes
    /// by way of a signal handler, waits for itself, as for any lock.
    #[unsafe(link_section = ".text_rarely")]
    fn shut_owner_out(&self) -> Option<Claim<'_, T>> {
        let owner = self.owner.load(Ordering::Relaxed);
        if matches!(owner, NOBODY | SHARED) {
            return None;
        }
        self.gate.store(CLAIMED, Ordering::Relaxed);
        let claim = Claim(self);
        // Pairs with the light fence in `enter`.
        let is_certain = self.is_owned_here()
            || heavy_fence()
            || !keeps_to_memory_calls() && membarrier::visit_every_cpu(|_| ()).is_ok();
        if !is_certain {
            // Refused since: what the owner stored is seen when it was stopped for a while, as it is by each timer.
            // That is waited for once: from now on all take the lock.
            sleep(500 * STEP_NS);
            self.is_never_owned.store(true, Ordering::Relaxed);
            self.owner.store(SHARED, Ordering::Relaxed);
        }
        let mut looks = 0;
        // Acquire pairs with the release in `Entered::drop`.
        while self.outside.load(Ordering::Acquire) != owner {
            if looks < SPINS {
                looks += 1;
                spin_hint();
            } else {
                sleep(STEP_NS);
            }
        }
        Some(claim)
    }

    /// Lets the owner in, if there is one. The lock is held, or nobody else knows of the value.
    fn open(&self) {
        // Release pairs with the acquire in `enter`.
        self.gate.store(self.owner.load(Ordering::Relaxed), Ordering::Release);
    }

    /// If this thread, which is not the owner or is so no more, was the one before, it goes no further than the first
    /// look in [`enter`](Self::enter) from now on, and writes nothing there. The lock is held.
    fn give_up_place(&self, token: Token) {
        // While it is there, nobody else writes this: the owner, if there is one, is another one that has its own
        // token there.
        if self.outside.load(Ordering::Relaxed) == token.0 {
            self.outside.store(NOBODY, Ordering::Relaxed);
        }
    }

    /// Whether this thread is the owner, whose own steps are no news to it.
    fn is_owned_here(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == Token::here().0
    }
}

fn sleep(nanoseconds: u64) {
    // Nobody changes this word. Under loom no time passes.
    #[cfg(not(strata_loom))]
    let _ = strata_os::futex_wait(&core::sync::atomic::AtomicU32::new(0), 0, Some(nanoseconds));
    #[cfg(strata_loom)]
    let _ = (nanoseconds, spin_hint());
}

#[cfg(test)]
mod tests;
