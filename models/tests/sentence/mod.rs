//! A sentence transformer by candle-transformers, in F32.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config, HiddenAct};
use std::path::Path;
use tokenizers::{Tokenizer, TruncationParams};

pub struct Plain {
    tokenizer: Tokenizer,
    model: BertModel,
}

impl Plain {
    /// Of a file that begins with so many bytes of `tokenizer.json`.
    pub fn open(path: &Path, tokenizer_bytes: usize) -> Plain {
        let bytes = std::fs::read(path).unwrap();
        let (tokenizer, tensors) = bytes.split_at(tokenizer_bytes);
        let mut tokenizer = Tokenizer::from_bytes(tokenizer).unwrap();
        tokenizer.with_padding(None);
        let truncation = TruncationParams {
            max_length: 256,
            ..TruncationParams::default()
        };
        tokenizer.with_truncation(Some(truncation)).unwrap();
        // As `config.json` of all-MiniLM-L6-v2 has it.
        let config = Config {
            vocab_size: 30522,
            hidden_size: 384,
            num_hidden_layers: 6,
            num_attention_heads: 12,
            intermediate_size: 1536,
            hidden_act: HiddenAct::Gelu,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            pad_token_id: 0,
            ..Config::default()
        };
        let tensors =
            VarBuilder::from_slice_safetensors(tensors, DType::F32, &Device::Cpu).unwrap();
        Plain {
            tokenizer,
            model: BertModel::load(tensors, &config).unwrap(),
        }
    }

    /// The states of a text's tokens, the ones that begin and end it among them.
    #[allow(dead_code)] // the benchmark does not look at them
    pub fn states(&self, text: &str) -> Vec<Vec<f32>> {
        let hidden = self.hidden(text).squeeze(0).unwrap();
        hidden.to_vec2().unwrap()
    }

    fn hidden(&self, text: &str) -> Tensor {
        let encoding = self.tokenizer.encode(text, true).unwrap();
        let ids = Tensor::new(encoding.get_ids(), &Device::Cpu).unwrap();
        let ids = ids.unsqueeze(0).unwrap();
        let kinds = ids.zeros_like().unwrap();
        self.model.forward(&ids, &kinds, None).unwrap()
    }

    /// Of length one.
    pub fn embed(&self, text: &str) -> Vec<f32> {
        let mean = self.hidden(text).mean(1).unwrap().squeeze(0).unwrap();
        let length = mean.sqr().unwrap().sum_all().unwrap().sqrt().unwrap();
        mean.broadcast_div(&length).unwrap().to_vec1().unwrap()
    }
}
