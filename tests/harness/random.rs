//! Numbers that look random and are the same for the same seed (xorshift64).

use super::Result;

/// A generator.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A generator whose seed is `CHAOS_SEED`, or another each time; and the seed, to be told.
    pub(crate) fn seeded() -> Result<(Self, u64)> {
        let seed = match std::env::var("CHAOS_SEED") {
            Ok(text) => text.parse()?,
            Err(_) => {
                let mut bytes = [0; 4];
                getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
                u64::from(u32::from_le_bytes(bytes))
            }
        };
        // Zero would stay zero, and small ones begin alike.
        let state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Ok((Self(state), seed))
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
