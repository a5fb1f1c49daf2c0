//! Seeded chance. Normals and logarithms come from the platform's libm, so bytes are the same on one platform.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal, Zipf};

pub struct Dice {
    rng: ChaCha8Rng,
}

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice { rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    pub fn bits(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// From 0 up to but not 1.
    pub fn unit(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// From 0 up to but not `bound`, which is more than 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product is below `bound`; its bias is bound / 2^64, of no account here.
        ((u128::from(self.rng.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// One of `choices`, which is not empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    pub fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.rng)
    }

    /// Log-normal with the given median; half of the values lie below it.
    pub fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }

    /// A rank from 1 up, 1 the likeliest.
    pub fn zipf(&mut self, ranks: &Zipf<f64>) -> u64 {
        ranks.sample(&mut self.rng) as u64
    }
}

/// Chances in proportion to weights.
pub struct Weighted {
    /// Running sums; the last is the total.
    sums: Vec<f64>,
}

impl Weighted {
    /// `weights` has one above 0 and none below.
    pub fn new(weights: impl IntoIterator<Item = f64>) -> Weighted {
        let sums = weights
            .into_iter()
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        Weighted { sums }
    }

    /// Rank n has weight 1/n^exponent.
    pub fn zipf(ranks: usize, exponent: f64) -> Weighted {
        Weighted::new((1..=ranks).map(|rank| (rank as f64).powf(-exponent)))
    }

    /// Index of the choice made.
    pub fn pick(&self, dice: &mut Dice) -> usize {
        let total = self.sums.last().copied().unwrap_or(0.0);
        let at = dice.unit() * total;
        self.sums.partition_point(|sum| *sum <= at).min(self.sums.len().saturating_sub(1))
    }
}
