//! Numbers without a pattern, the same every time.

/// Evenly spread in -1 to 1 (xorshift: Marsaglia 2003).
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn next(&mut self) -> f32 {
        ((self.bits() >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0) as f32
    }

    pub fn numbers(&mut self, count: usize, size: f32) -> Vec<f32> {
        (0..count).map(|_| self.next() * size).collect()
    }
}
