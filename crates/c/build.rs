//! Arguments for the linker that makes `libstrata.so`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=cold.ld");
    let page_size = std::env::var("CARGO_CFG_STRATA_PAGE_SIZE").unwrap_or_default();
    let soname = match page_size.as_str() {
        "" | "8k" => "libstrata.so".to_owned(),
        other => format!("libstrata-{other}.so"),
    };
    for argument in [
        &format!("-Wl,-soname,{soname}"),
        // Blocks, thread keys and fork handlers outlive any handle to the library.
        "-Wl,-z,nodelete",
        // The C library and nothing else; what libm, libdl and the like have is not used.
        "-nodefaultlibs",
        "-Wl,--as-needed",
        "-lc",
        &format!("-Wl,-T,{}/cold.ld", env!("CARGO_MANIFEST_DIR")),
        // What the kernel maps around a page that is touched begins at multiples of 64 KiB; so do the library's
        // segments, wherever it is loaded.
        "-Wl,-z,max-page-size=65536",
        "-Wl,-z,separate-loadable-segments",
        // A symbol that nobody defines is an error here, not in the program that preloads the library.
        "-Wl,-z,defs",
    ] {
        println!("cargo::rustc-link-arg={argument}");
    }
}
