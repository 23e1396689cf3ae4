//! Random numbers that are the same for the same seed, so that what begins with them can be repeated: xorshift64*, Vigna 2016.

/// A sequence of random numbers.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03 }
    }

    /// At least `low`, below `high`.
    pub fn uniform(&mut self, low: f32, high: f32) -> f32 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let share = (self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as f32 / (1u32 << 24) as f32;
        low + (high - low) * share
    }

    /// A whole number below `count`, which is at least 1.
    pub fn below(&mut self, count: usize) -> usize {
        (self.uniform(0.0, count as f32) as usize).min(count.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fill_their_range_and_come_again() {
        let (mut a, mut b) = (Random::new(5), Random::new(5));
        let numbers: Vec<f32> = (0..1000).map(|_| a.uniform(2.0, 4.0)).collect();
        assert!(numbers.iter().all(|number| (2.0..4.0).contains(number) && *number == b.uniform(2.0, 4.0)));
        let mean = numbers.iter().sum::<f32>() / 1000.0;
        assert!((mean - 3.0).abs() < 0.1, "{mean}");
        let seen: std::collections::HashSet<usize> = (0..100).map(|_| a.below(3)).collect();
        assert_eq!(seen.len(), 3);
    }
}
