//! Lectern's models: quantized weights from GGUF files, their forward passes, tokenizer, chat template, and the
//! catalogue of models with how to fetch one.
//!
//! In: a GGUF file. Out: token ids, logits, and, through the [`attention`] seam, un-rotated queries, keys and values
//! for whoever owns the cache. Knows nothing of documents, caches or questions.

pub mod attention;
