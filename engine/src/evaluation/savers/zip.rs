//! KVzip (Kim et al. 2025, arXiv 2505.23416): the document is said again, piece by piece, with itself before it; a token
//! of a head is worth the most attention that it gets from any row of that. What nothing comes back to can go.
//!
//! Reimplemented from the paper. One difference: the attention is that to the whole document, not to the piece alone.

use super::eviction::Scores;
use crate::attention::{CancelFlag, DenseAttention};
use crate::evaluation::EvaluationError;
use crate::evaluation::sparse::tasks::Document;
use crate::kv::KvCache;
use crate::reading::suffix;
use lectern_models::{Logits, Model};

/// Tokens that are said again at a time, and how many of those before them say where they begin.
const PIECE: usize = 2000;
const CUE: usize = 8;

/// Passes in which the largest attention is recorded have no more tokens.
const PASS: usize = 64;

/// Scores by what saying the document again looks at.
pub(super) fn scores(
    model: &Model,
    document: &Document,
    whole: &KvCache,
) -> Result<Scores, EvaluationError> {
    let mut attention = DenseAttention::over(whole, model.shape(), CancelFlag::new())?;
    attention.record_peaks();
    let ids: Vec<u32> = document.tokens.iter().map(|token| token.id).collect();
    for (nth, piece) in ids.chunks(PIECE).enumerate() {
        let request = match nth {
            0 => "Repeat the previous context exactly.".to_owned(),
            _ => {
                let cue = &ids[nth * PIECE - CUE..nth * PIECE];
                let cue = model.tokenizer().decode(cue);
                format!("Repeat the part of the previous context exactly, starting with \"{cue}\".")
            }
        };
        let asked = suffix(model.chat_template(), model.tokenizer(), &[], &request)?.tokens;
        let rows: Vec<u32> = asked.into_iter().chain(piece.iter().copied()).collect();
        for pass in rows.chunks(PASS) {
            model.forward(pass, &mut attention, Logits::None)?;
        }
        attention.reset();
    }
    Ok(Scores::new(whole, attention.take_peaks()))
}
