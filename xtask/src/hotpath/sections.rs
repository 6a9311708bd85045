//! The restartable sequences of an ELF file: every copy that the compiler made of one, held against what the kernel
//! and the restart ask of it.
//!
//! A tracer sends back the copies in a test program (`stepped`, of `strata-cpu-cache`). The copies in a release build
//! are others, inlined into other functions with other registers; of these it is looked at that
//!
//! 1. the descriptor is one, and stands where no other does; the signature stands before the abort handler;
//! 2. the handler goes to the instruction that loads this descriptor's address, from which the way in leads straight
//!    on, and changes no memory but the word of the thread;
//! 3. the section begins right behind the store to that word: the kernel clears it where it finds the thread outside
//!    of the section, and what came between would run with nobody to send it back;
//! 4. it ends with one store, the commit, and neither calls nor touches the stack;
//! 5. what way in and section read of the caller's registers they leave as it is, so that a second run finds what the
//!    first one found.

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess,
    OpKind, Register,
};
use object::{Object, ObjectSection, SectionKind};

use super::symbol::{parse, read};
use super::text;

/// The section of the descriptors.
const NAME: &str = "__rseq_cs";
/// Bytes of a `struct rseq_cs`, and its alignment.
const DESCRIPTOR_BYTES: usize = 32;
/// What stands before each abort handler, as the C library registers it.
const SIGNATURE: [u8; 4] = 0x5305_3053_u32.to_le_bytes();
/// Instructions between the abort handler's target and the section, at most.
const MOST_INSTRUCTIONS: usize = 16;

/// What was found in a file.
pub(crate) struct Found {
    /// How many sections there are.
    pub(crate) sections: usize,
    /// What is wrong, in words.
    pub(crate) faults: Vec<String>,
}

/// Looks at every section of the file at `path`.
pub(crate) fn look_at_all(path: &Path) -> Result<Found> {
    let data = read(path)?;
    let file = parse(path, &data)?;
    let mut texts = Vec::new();
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        texts.push((section.address(), section.data()?));
    }
    let image = Image { texts };
    let descriptors = descriptors(&file).with_context(|| path.display().to_string())?;
    let starts: BTreeSet<u64> = descriptors.iter().map(|descriptor| descriptor.start).collect();
    ensure!(starts.len() == descriptors.len(), "two descriptors of one section");
    let mut faults = Vec::new();
    for descriptor in &descriptors {
        if let Err(fault) = image.look_at(descriptor) {
            faults.push(format!("the section at {:#x}: {fault:#}", descriptor.start));
        }
    }
    Ok(Found { sections: descriptors.len(), faults })
}

/// `struct rseq_cs` of `linux/rseq.h`, and where it lies.
#[derive(Clone, Copy)]
struct Descriptor {
    address: u64,
    start: u64,
    /// Behind the commit.
    end: u64,
    abort: u64,
}

fn descriptors(file: &object::File<'_>) -> Result<Vec<Descriptor>> {
    let section = file.section_by_name(NAME).context("there are no descriptors")?;
    let data = section.data()?;
    ensure!(data.len().is_multiple_of(DESCRIPTOR_BYTES), "something else among the descriptors");
    // In what can be loaded anywhere, the loader writes the addresses.
    let relocated: BTreeMap<u64, u64> = file
        .dynamic_relocations()
        .into_iter()
        .flatten()
        .map(|(address, relocation)| (address, relocation.addend().cast_unsigned()))
        .collect();
    let first = section.address();
    let descriptor = |(address, words): (u64, &[u8])| {
        let word = |place: usize| {
            let bytes: [u8; 8] = words[8 * place..][..8].try_into().expect("eight bytes");
            let address = address + 8 * place as u64;
            relocated.get(&address).copied().unwrap_or(u64::from_le_bytes(bytes))
        };
        ensure!(address.is_multiple_of(DESCRIPTOR_BYTES as u64), "{address:#x} is not aligned");
        ensure!(word(0) == 0, "a version or flags at {address:#x}");
        let start = word(1);
        Ok(Descriptor { address, start, end: start.wrapping_add(word(2)), abort: word(3) })
    };
    (first..).step_by(DESCRIPTOR_BYTES).zip(data.chunks(DESCRIPTOR_BYTES)).map(descriptor).collect()
}

/// The instructions of a file, at their addresses.
struct Image<'a> {
    texts: Vec<(u64, &'a [u8])>,
}

impl Image<'_> {
    /// What is wrong with a section, if anything is.
    fn look_at(&self, descriptor: &Descriptor) -> Result<()> {
        let Descriptor { start, end, abort, .. } = *descriptor;
        ensure!(start < end && !(start..end).contains(&abort), "no descriptor");
        ensure!(self.bytes(abort - 4)?.starts_with(&SIGNATURE), "no signature before {abort:#x}");
        let jump = self.instruction(abort)?;
        ensure!(jump.mnemonic() == Mnemonic::Jmp, "a handler that does not jump: {}", text(&jump));

        let way_in = self.straight_on(jump.near_branch_target(), start)?;
        look_at_way_in(&way_in, descriptor)?;
        let section = self.straight_on(start, end)?;
        look_at_section(&section, start..end)?;
        let all: Vec<Instruction> = way_in.into_iter().chain(section).collect();
        look_at_registers(&all)
    }

    /// The instructions from one address to another, which end there.
    fn straight_on(&self, from: u64, to: u64) -> Result<Vec<Instruction>> {
        let mut instructions = Vec::new();
        let mut next = from;
        while next < to {
            let instruction = self.instruction(next)?;
            next = instruction.next_ip();
            instructions.push(instruction);
            ensure!(instructions.len() <= 4 * MOST_INSTRUCTIONS, "no way from {from:#x}");
        }
        ensure!(next == to && from < to, "no way from {from:#x} to {to:#x}");
        Ok(instructions)
    }

    fn instruction(&self, address: u64) -> Result<Instruction> {
        let bytes = self.bytes(address)?;
        let instruction = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode();
        ensure!(!instruction.is_invalid(), "no instruction at {address:#x}");
        Ok(instruction)
    }

    fn bytes(&self, address: u64) -> Result<&[u8]> {
        let from = |&(start, bytes): &(u64, &'_ [u8])| {
            let offset = usize::try_from(address.checked_sub(start)?).ok()?;
            Some(bytes.get(offset..)?.len()).filter(|&left| left > 0)
        };
        let (start, bytes) =
            self.texts.iter().find(|it| from(it).is_some()).context("outside of the text")?;
        Ok(&bytes[usize::try_from(address - start)?..])
    }
}

/// The first instruction has the descriptor's address, the last one stores it for the kernel.
fn look_at_way_in(way_in: &[Instruction], descriptor: &Descriptor) -> Result<()> {
    ensure!(way_in.len() <= MOST_INSTRUCTIONS, "a way in of {} instructions", way_in.len());
    let (Some((store, before)), Some(lea)) = (way_in.split_last(), way_in.first()) else {
        bail!("no way in");
    };
    let names_it = lea.mnemonic() == Mnemonic::Lea
        && lea.is_ip_rel_memory_operand()
        && lea.ip_rel_memory_address() == descriptor.address;
    ensure!(names_it, "the handler leads to {}", text(lea));
    let stores_it = store.mnemonic() == Mnemonic::Mov
        && store.op0_kind() == OpKind::Memory
        && store.memory_segment() == Register::FS
        && store.op1_kind() == OpKind::Register
        && store.op1_register() == lea.op0_register();
    ensure!(stores_it, "before the section stands {}", text(store));
    for instruction in before {
        ensure!(instruction.flow_control() == FlowControl::Next, "{}", text(instruction));
        ensure!(stores(instruction) == 0, "a store on the way in: {}", text(instruction));
    }
    let is_lost = |it: &&Instruction| written(it).contains(&lea.op0_register().full_register());
    let lost = before.iter().skip(1).find(is_lost);
    ensure!(lost.is_none(), "the descriptor's address is lost on the way in");
    Ok(())
}

/// Ends with the commit, stays in its bounds or leaves them for good, and touches nothing but memory and registers.
fn look_at_section(section: &[Instruction], bounds: Range<u64>) -> Result<()> {
    let Some((commit, before)) = section.split_last() else { bail!("empty") };
    let commits = commit.mnemonic() == Mnemonic::Mov
        && commit.op0_kind() == OpKind::Memory
        && commit.op1_kind() == OpKind::Register
        && commit.op1_register().is_gpr64();
    ensure!(commits, "it ends with {}", text(commit));
    for instruction in before {
        match instruction.flow_control() {
            FlowControl::Next => {}
            FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch => {
                let target = instruction.near_branch_target();
                let is_whole = section.iter().any(|it| it.ip() == target);
                let is_fine = is_whole || !bounds.contains(&target);
                ensure!(is_fine, "a jump into an instruction: {}", text(instruction));
            }
            _ => bail!("it gives control away: {}", text(instruction)),
        }
        let to_header = instruction.op0_kind() == OpKind::Memory
            && stores(instruction) > 0
            && same_place(instruction, commit);
        ensure!(!to_header, "committed before the end: {}", text(instruction));
    }
    Ok(())
}

fn same_place(one: &Instruction, other: &Instruction) -> bool {
    let place = |it: &Instruction| {
        let scale = it.memory_index_scale();
        (it.memory_base(), it.memory_index(), scale, it.memory_displacement64())
    };
    place(one) == place(other)
}

/// What is read before it is written is never written, and the stack is left alone.
fn look_at_registers(instructions: &[Instruction]) -> Result<()> {
    let (mut given, mut made) = (BTreeSet::new(), BTreeSet::new());
    for instruction in instructions {
        given.extend(read_registers(instruction).into_iter().filter(|it| !made.contains(it)));
        for register in written(instruction) {
            let is_given = given.contains(&register);
            ensure!(!is_given, "changes what a second run needs: {}", text(instruction));
            made.insert(register);
        }
    }
    ensure!(!given.contains(&Register::RSP) && !made.contains(&Register::RSP), "uses the stack");
    Ok(())
}

/// The registers of which an instruction makes use, whole.
fn read_registers(instruction: &Instruction) -> BTreeSet<Register> {
    registers(instruction, |access| {
        let reads = [OpAccess::Read, OpAccess::CondRead, OpAccess::ReadWrite];
        reads.contains(&access) || access == OpAccess::ReadCondWrite
    })
}

/// The registers that an instruction may change, whole.
fn written(instruction: &Instruction) -> BTreeSet<Register> {
    registers(instruction, is_write)
}

fn registers(instruction: &Instruction, of: impl Fn(OpAccess) -> bool) -> BTreeSet<Register> {
    let mut factory = InstructionInfoFactory::new();
    let used = factory.info(instruction).used_registers();
    let whole =
        used.iter().filter(|used| of(used.access())).map(|it| it.register().full_register());
    whole.filter(|register| register.is_gpr64()).collect()
}

/// How many places in memory an instruction writes.
fn stores(instruction: &Instruction) -> usize {
    let mut factory = InstructionInfoFactory::new();
    factory.info(instruction).used_memory().iter().filter(|used| is_write(used.access())).count()
}

fn is_write(access: OpAccess) -> bool {
    let writes = [OpAccess::Write, OpAccess::CondWrite, OpAccess::ReadWrite];
    writes.contains(&access) || access == OpAccess::ReadCondWrite
}

#[cfg(test)]
mod tests;
