//! About how many different values there are: HyperLogLog (Flajolet, Fusy, Gandouet and Meunier,
//! 2007) with 1,024 registers, so with a standard error of 3 %. Merged registers are those of all
//! values.

use alloc::collections::BTreeMap;

use super::order;
use crate::expression::Value;

const BITS: u32 = 10;

/// Registers.
const REGISTERS: u16 = 1 << BITS;

/// What is known of values that were seen: the registers that are not 0. Most groups are small.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Distinctish(pub(crate) BTreeMap<u16, u8>);

impl Distinctish {
    /// Whether there is such a register, with such a value.
    pub(crate) fn may_have(register: u64, rank: u8) -> bool {
        let ranks = 1..=(u64::BITS - BITS) as u8 + 1;
        register < u64::from(REGISTERS) && ranks.contains(&rank)
    }

    pub(crate) fn add(&mut self, value: &Value) {
        let hash = hash(0, &order::written(value));
        let register = (hash >> (u64::BITS - BITS)) as u16;
        let rank = (hash << BITS).leading_zeros().min(u64::BITS - BITS) as u8 + 1;
        self.raise(register, rank);
    }

    fn raise(&mut self, register: u16, rank: u8) {
        let own = self.0.entry(register).or_default();
        *own = rank.max(*own);
    }

    pub(crate) fn merge(&mut self, other: &Distinctish) {
        other.0.iter().for_each(|(&register, &rank)| self.raise(register, rank));
    }

    pub(crate) fn count(&self) -> u64 {
        let registers = f64::from(REGISTERS);
        let empty = registers - self.0.len() as f64;
        let sum: f64 = self.0.values().map(|&rank| libm::exp2(-f64::from(rank))).sum();
        let sum = sum + empty;
        let estimate = 0.7213 / (1.0 + 1.079 / registers) * registers * registers / sum;
        let few = estimate <= 2.5 * registers && empty > 0.0;
        let count = if few { registers * libm::log(registers / empty) } else { estimate };
        libm::round(count) as u64
    }
}

/// A hash of bytes: FNV-1a, then mixed as MurmurHash3 ends.
pub(super) fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let start = seed ^ 0xcbf2_9ce4_8422_2325;
    let hash = bytes
        .iter()
        .fold(start, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}
