//! The code of a named function in an ELF file.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use object::{Architecture, Object, ObjectSection, ObjectSymbol};

use super::path::Code;

/// Whether the file at `path` is for x86-64, the only machine whose instructions we know.
pub(crate) fn is_x86_64(path: &Path) -> Result<bool> {
    let data = read(path)?;
    Ok(parse(path, &data)?.architecture() == Architecture::X86_64)
}

/// The code of `name` in the file at `path`.
pub(crate) fn code_of(path: &Path, name: &str) -> Result<Code> {
    let data = read(path)?;
    let file = parse(path, &data)?;
    let code = find(&file, name).with_context(|| format!("{name} in {}", path.display()))?;
    Ok(code)
}

fn find(file: &object::File<'_>, name: &str) -> Result<Code> {
    let symbol = file
        .symbols()
        .chain(file.dynamic_symbols())
        .find(|symbol| symbol.is_definition() && symbol.name() == Ok(name))
        .context("there is no such function")?;
    ensure!(symbol.size() > 0, "the function is empty");
    let section = symbol.section_index().context("the function lies in no section")?;
    let section = file.section_by_index(section)?;
    let bytes = section
        .data_range(symbol.address(), symbol.size())?
        .context("the function is longer than its section")?;
    Ok(Code::new(symbol.address(), bytes.to_vec()))
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

pub(super) fn parse<'a>(path: &Path, data: &'a [u8]) -> Result<object::File<'a>> {
    object::File::parse(data).with_context(|| format!("reading {}", path.display()))
}
