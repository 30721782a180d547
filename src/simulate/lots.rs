//! Random numbers that are the same on every machine and in every version.

/// A stream of random numbers: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Lots {
    state: u64,
    spare: Option<f64>,
}

impl Lots {
    /// The stream of that number under a seed.
    pub fn new(seed: u64, stream: u64) -> Lots {
        let mut lots =
            Lots { state: seed.wrapping_mul(0xd134_2543_de82_ef95) ^ stream, spare: None };
        lots.state = lots.bits() ^ stream.rotate_left(32);
        lots
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1).
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Uniform in 0..`end`; 0 if that is empty.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.bits()) * end as u128) >> 64) as usize
    }

    /// Normal, of mean 0 and variance 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        self.spare = Some(radius * sin);
        radius * cos
    }

    /// Log-normal, of median 1.
    pub fn log_normal(&mut self, sigma: f64) -> f64 {
        (sigma * self.normal()).exp()
    }

    /// Exponential, of that mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -self.uniform().ln() * mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_stream_say_it_all() {
        let drawn = |seed, stream| {
            let mut lots = Lots::new(seed, stream);
            std::array::from_fn::<u64, 4, _>(|_| lots.bits())
        };
        assert_eq!(drawn(1, 2), drawn(1, 2));
        assert_ne!(drawn(1, 2), drawn(2, 1));
        assert_ne!(drawn(1, 2), drawn(1, 3));
    }

    #[test]
    fn the_moments_are_those_of_the_distributions() {
        let mut lots = Lots::new(7, 0);
        let n = 20_000;
        let mut mean = |draw: fn(&mut Lots) -> f64| {
            (0..n).map(|_| draw(&mut lots)).sum::<f64>() / f64::from(n)
        };
        assert!((mean(Lots::uniform) - 0.5).abs() < 0.01);
        assert!(mean(Lots::normal).abs() < 0.03);
        assert!((mean(|lots| lots.normal().powi(2)) - 1.0).abs() < 0.05);
        assert!((mean(|lots| lots.exponential(180.0)) - 180.0).abs() < 5.0);
        assert!((mean(|lots| lots.below(10) as f64) - 4.5).abs() < 0.1);
    }
}
