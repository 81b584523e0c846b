//! How well a number tells true from false.

/// The chance that a true one has the higher number than a false one, equal numbers counting half (the area under the
/// ROC curve); `None` if either are missing.
pub(super) fn auroc(true_ones: &[f32], false_ones: &[f32]) -> Option<f64> {
    if true_ones.is_empty() || false_ones.is_empty() {
        return None;
    }
    let mut sorted = false_ones.to_vec();
    sorted.sort_by(f32::total_cmp);
    let below = |value: &f32| {
        let lower = sorted.partition_point(|other| other.total_cmp(value).is_lt());
        let not_higher = sorted.partition_point(|other| other.total_cmp(value).is_le());
        (lower + not_higher) as f64 / 2.0
    };
    let pairs = (true_ones.len() * sorted.len()) as f64;
    Some(true_ones.iter().map(below).sum::<f64>() / pairs)
}

/// The highest number that at least `share` of the true ones reach; what is lower is taken for false. `None` if there
/// are none.
pub(super) fn threshold(true_ones: &[f32], share: f64) -> Option<f32> {
    let mut sorted = true_ones.to_vec();
    sorted.sort_by(f32::total_cmp);
    let kept = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(sorted.len().checked_sub(kept.max(1))?).copied()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Small whole numbers, so that many are equal (Knuth's MMIX generator).
    fn numbers(random: &mut u64, count: usize, most: u64) -> Vec<f32> {
        let mut next = || {
            *random = random.wrapping_mul(6364136223846793005);
            *random = random.wrapping_add(1442695040888963407);
            (*random >> 40) % (most + 1)
        };
        (0..count).map(|_| next() as f32).collect()
    }

    #[test]
    fn the_area_is_the_share_of_pairs_in_order() {
        let mut random = 7;
        for round in 1..40 {
            let true_ones = numbers(&mut random, round, 12);
            let false_ones = numbers(&mut random, 41 - round, 9);
            let mut ordered = 0.0;
            for a in &true_ones {
                for b in &false_ones {
                    ordered += f64::from(u8::from(a > b)) + 0.5 * f64::from(u8::from(a == b));
                }
            }
            let expected = ordered / (true_ones.len() * false_ones.len()) as f64;
            assert!((auroc(&true_ones, &false_ones).unwrap() - expected).abs() < 1e-12);
        }
        assert_eq!(auroc(&[], &[1.0]), None);
    }

    #[test]
    fn a_threshold_is_the_highest_that_keeps_the_share() {
        let mut random = 8;
        for count in 1..60 {
            let ones = numbers(&mut random, count, 20);
            for share in [0.5, 0.95, 1.0] {
                let chosen = threshold(&ones, share).unwrap();
                let reach = |least: f32| ones.iter().filter(|&&v| v >= least).count() as f64;
                assert!(reach(chosen) >= share * count as f64);
                assert!(reach(chosen + 0.5) < share * count as f64);
            }
        }
        assert_eq!(threshold(&[], 0.9), None);
    }
}
