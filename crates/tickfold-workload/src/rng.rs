//! The source of every choice: splitmix64. Twenty lines of our own, since the same seed must give
//! the same bytes for ever, whatever version of a crate is locked.

/// A seeded generator.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    /// Starts from a seed. Seeds that follow each other give unrelated sequences.
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x7469_636b_666f_6c64))
    }

    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `n`; 0 if `n` is 0. Biased by less than n / 2⁶⁴.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.bits().checked_rem(n).unwrap_or(0)
    }

    /// A place in a list of that length; 0 if it is empty.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// True in that share of calls.
    pub(crate) fn chance(&mut self, share: f64) -> bool {
        // 53 bits, as many as a double holds exactly.
        ((self.bits() >> 11) as f64) < share * (1_u64 << 53) as f64
    }

    /// One of the list; `None` if it is empty.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.index(of.len()))
    }
}

/// The output function of splitmix64: a bijection, so distinct inputs stay distinct.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_have_their_share_and_the_ends_are_exact() {
        let mut rng = Rng::new(1);
        let hits = (0..100_000).filter(|_| rng.chance(0.2)).count();
        assert!((19_000..21_000).contains(&hits), "{hits}");
        assert!((0..1_000).all(|_| rng.chance(1.0) && !rng.chance(0.0)));
        assert_eq!((rng.below(0), rng.index(0), rng.pick::<u8>(&[])), (0, 0, None));
    }
}
