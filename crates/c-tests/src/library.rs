//! Where the libraries are.

use std::env;
use std::path::{Path, PathBuf};

/// `libstrata.so` as `cargo xtask dist` made it, or as `STRATA_LIB` says.
///
/// # Panics
///
/// If there is no such file: there is nothing to test.
pub fn shared_library() -> PathBuf {
    let path = env::var_os("STRATA_LIB").map_or_else(|| built("libstrata.so"), PathBuf::from);
    assert!(path.is_file(), "there is no {}: run `cargo xtask dist` first", path.display());
    path.canonicalize().unwrap_or(path)
}

/// `libstrata.a`, which lies beside [`shared_library`].
///
/// # Panics
///
/// If there is no such file.
pub fn static_library() -> PathBuf {
    let path = shared_library().with_extension("a");
    assert!(path.is_file(), "there is no {}: run `cargo xtask dist` first", path.display());
    path
}

fn built(name: &str) -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let in_target = target.join("dist/lib").join(name);
    if in_target.is_file() { in_target } else { workspace.join("target/dist/lib").join(name) }
}
