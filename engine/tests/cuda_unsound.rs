//! A GPU that computes something else than the CPU: found before anything is trusted to it.

#![allow(clippy::unwrap_used)]

#[path = "../cuda/tests/support/fake_driver.rs"]
#[allow(dead_code)]
mod fake_driver;

use fake_driver::{Checked, FakeDriver, Fault, build};
use lectern_engine::attention::{CancelFlag, DenseAttention, GpuRead};
use lectern_engine::kv::BlockFormat;
use lectern_models::attention::{AttentionShape, Rotary, RotaryPairing};

#[test]
fn a_gpu_that_halves_what_was_attended_is_not_used() {
    let faulty = build(
        Checked::Plain,
        Some(Fault {
            file: "decode.cu",
            right: "value += shared.results.values[of][row][channel] * keep;",
            wrong: "value += shared.results.values[of][row][channel] * keep / 2;",
        }),
    );
    let driver = FakeDriver::load(&faulty);
    driver.reset(4 << 30, 0);
    let shape = AttentionShape {
        layers: 1,
        query_heads: 2,
        kv_heads: 1,
        head_dim: 64,
        softmax_scale: 0.125,
        rotary: Rotary {
            pairing: RotaryPairing::Halves,
            inverse_frequencies: vec![0.1; 32],
        },
        key_bias: vec![None],
    };
    let mut attention = DenseAttention::without_cache(&shape, CancelFlag::new()).unwrap();
    let read = GpuRead {
        spread: None,
        format: BlockFormat::K4V4,
        cached_tokens: 0,
        window_tokens: 64,
        pass_tokens: 64,
    };
    attention.use_gpu_if_sound(&read);
    assert!(!attention.is_on_gpu());
    assert!(driver.log().contains("launch decode_64"), "it was tried");
    // Asked without the check, it would be.
    attention.use_gpu(&read).unwrap();
    assert!(attention.is_on_gpu());
}
