//! Constructors and arrays that are `const` in a program and not under loom.

/// Declares one function that is `const` in a program and not under `--cfg strata_loom`.
///
/// Takes one function an invocation, written as it would stand without the macro.
///
/// ```
/// use strata_sync::atomic::AtomicU64;
///
/// /// Counts batches.
/// pub struct Batches(AtomicU64);
///
/// impl Batches {
///     strata_sync::const_fn! {
///         /// Nothing counted yet.
///         pub const fn new() -> Self {
///             Self(AtomicU64::new(0))
///         }
///     }
/// }
/// # fn main() {
/// # let _ = Batches::new();
/// # }
/// ```
#[cfg(not(strata_loom))]
#[macro_export]
macro_rules! const_fn {
    ($(#[$attribute:meta])* $visibility:vis const $($function:tt)*) => {
        $(#[$attribute])* $visibility const $($function)*
    };
}

/// Declares one function that is `const` in a program and not under `--cfg strata_loom`.
#[cfg(strata_loom)]
#[macro_export]
macro_rules! const_fn {
    ($(#[$attribute:meta])* $visibility:vis const $($function:tt)*) => {
        $(#[$attribute])* $visibility $($function)*
    };
}

/// An array of `$length` values, each made by `$value`: a constant in a program and not under
/// `--cfg strata_loom`.
///
/// ```
/// use strata_sync::atomic::AtomicU64;
///
/// const COUNTERS: [AtomicU64; 3] = strata_sync::const_array![AtomicU64::new(0); 3];
/// # let _ = COUNTERS;
/// ```
#[cfg(not(strata_loom))]
#[macro_export]
macro_rules! const_array {
    ($value:expr; $length:expr) => {
        [const { $value }; $length]
    };
}

/// An array of `$length` values, each made by `$value`: a constant in a program and not under
/// `--cfg strata_loom`.
#[cfg(strata_loom)]
#[macro_export]
macro_rules! const_array {
    ($value:expr; $length:expr) => {
        ::core::array::from_fn::<_, { $length }, _>(|_| $value)
    };
}
