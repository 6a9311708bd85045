//! The fast path of a function: the instructions that it runs when nothing goes wrong.
//!
//! There is no profile to ask, only the code. The path begins at the entry and goes on by these rules:
//!
//! 1. A conditional jump is not taken. The compiler puts what it thinks unlikely, and what is marked
//!    `#[cold]`, out of the way.
//! 2. Except where the block behind the jump *leaves*, while the block that the jump leads to lies in the function and
//!    does not leave: then the jump is taken. A block leaves if, before the next conditional jump or return,
//!    it calls, jumps out of the function, or traps.
//! 3. An unconditional jump within the function is followed.
//! 4. The first return ends the path. So does a jump out of the function, or one to an address in a register or in
//!    memory: that is a call whose return was saved, and counts as one.
//!
//! A path that comes back to an instruction of its own, runs out of the function or into a trap is an error.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction};

/// A function's code, at the address that it has in its file.
pub(crate) struct Code {
    start: u64,
    bytes: Vec<u8>,
}

impl Code {
    pub(crate) fn new(start: u64, bytes: Vec<u8>) -> Self {
        Self { start, bytes }
    }

    /// The instructions of the fast path, in the order in which they run.
    pub(crate) fn fast_path(&self) -> Result<Vec<Instruction>> {
        let mut path = Vec::new();
        let mut seen = BTreeSet::new();
        let mut next = Some(self.start);
        while let Some(address) = next {
            ensure!(seen.insert(address), "the fast path comes back to {address:#x}");
            let instruction = self.decode(address)?;
            next = self.after(&instruction)?;
            path.push(instruction);
        }
        Ok(path)
    }

    /// Whether `instruction` gives control away: a call, or a jump that is none within the function.
    pub(crate) fn is_call(&self, instruction: &Instruction) -> bool {
        match instruction.flow_control() {
            FlowControl::Call
            | FlowControl::IndirectCall
            | FlowControl::IndirectBranch
            | FlowControl::Interrupt => true,
            FlowControl::UnconditionalBranch => !self.contains(instruction.near_branch_target()),
            _ => false,
        }
    }

    /// Where the path goes on after `instruction`; none at its end.
    fn after(&self, instruction: &Instruction) -> Result<Option<u64>> {
        let behind = instruction.next_ip();
        let target = instruction.near_branch_target();
        Ok(match instruction.flow_control() {
            FlowControl::Return | FlowControl::IndirectBranch => None,
            FlowControl::UnconditionalBranch => self.contains(target).then_some(target),
            FlowControl::ConditionalBranch if self.is_taken(behind, target)? => Some(target),
            FlowControl::Exception => bail!("the fast path traps at {:#x}", instruction.ip()),
            _ => Some(behind),
        })
    }

    fn is_taken(&self, behind: u64, target: u64) -> Result<bool> {
        Ok(self.contains(target) && self.leaves(behind)? && !self.leaves(target)?)
    }

    /// Whether the block at `address` calls, jumps out of the function or traps, before it branches
    /// or returns.
    fn leaves(&self, address: u64) -> Result<bool> {
        let mut seen = BTreeSet::new();
        let mut address = address;
        while seen.insert(address) {
            let instruction = self.decode(address)?;
            address = match instruction.flow_control() {
                _ if self.is_call(&instruction) => return Ok(true),
                FlowControl::Exception => return Ok(true),
                FlowControl::Return | FlowControl::ConditionalBranch => return Ok(false),
                FlowControl::UnconditionalBranch => instruction.near_branch_target(),
                _ => instruction.next_ip(),
            };
        }
        Ok(false)
    }

    fn contains(&self, address: u64) -> bool {
        self.from(address).is_some()
    }

    fn decode(&self, address: u64) -> Result<Instruction> {
        let bytes =
            self.from(address).with_context(|| format!("{address:#x} is not in the function"))?;
        let instruction = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode();
        ensure!(!instruction.is_invalid(), "there is no instruction at {address:#x}");
        Ok(instruction)
    }

    /// The code from `address` on; none if that is outside the function.
    fn from(&self, address: u64) -> Option<&[u8]> {
        let offset = usize::try_from(address.checked_sub(self.start)?).ok()?;
        self.bytes.get(offset..).filter(|rest| !rest.is_empty())
    }
}

#[cfg(test)]
mod tests;
