//! Prints the size classes of one page size: `cargo run --example print_table -- 8k`.

use std::process::ExitCode;

use strata_size_classes::{PageSize, Pages4K, Pages8K, Pages32K, Pages256K, SizeClassTable};

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_else(|| Pages8K::NAME.into());
    let tables = [
        (Pages4K::NAME, Pages4K::TABLE),
        (Pages8K::NAME, Pages8K::TABLE),
        (Pages32K::NAME, Pages32K::TABLE),
        (Pages256K::NAME, Pages256K::TABLE),
    ];
    let Some((_, table)) = tables.into_iter().find(|(known, _)| *known == name) else {
        eprintln!("print_table: no page size {name}; one of 4k, 8k, 32k, 256k");
        return ExitCode::FAILURE;
    };
    print_table(table);
    ExitCode::SUCCESS
}

fn print_table(table: &SizeClassTable) {
    println!("class    size  pages  objects  batch  object waste  span waste");
    let mut below = 0;
    for class in table.classes() {
        let info = table.info(class);
        let span_bytes = u32::from(info.pages) << table.page_shift();
        let unused = info.size - below - 1;
        let tail = span_bytes - info.objects * info.size;
        println!(
            "{:5}  {:6}  {:5}  {:7}  {:5}  {:10.2} %  {:8.2} %",
            class.index(),
            info.size,
            info.pages,
            info.objects,
            info.batch,
            100.0 * f64::from(unused) / f64::from(info.size),
            100.0 * f64::from(tail) / f64::from(span_bytes),
        );
        below = info.size;
    }
}
