//! The greedy continuation of three prompts against llama.cpp's.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod peer;
mod reference;

use lectern_models::{ChatMessage, Role};
use reference::{QWEN_1_5B, QWEN_HALF_B, SMOLLM2, continue_greedily, load, slow_tests};

const PROMPTS: [&str; 3] = [
    "What is the capital of France, and on which river does it lie?",
    "Write a Python function that reverses a string.",
    "Explain in two sentences why the sky is blue.",
];

#[test]
fn continuations_are_llama_cpps() {
    let mut files = vec![SMOLLM2, QWEN_HALF_B];
    if slow_tests() {
        files.push(QWEN_1_5B);
    }
    for file in files {
        let Some(server) = peer::Server::start(file) else {
            eprintln!("skipped: no llama-server (LECTERN_LLAMA_SERVER)");
            return;
        };
        let model = load(file);
        let mut same = 0;
        for prompt in PROMPTS {
            let message = ChatMessage {
                role: Role::User,
                content: prompt.to_owned(),
            };
            let rendered = model.chat_template().render(&[message], true).unwrap();
            let tokens = model.tokenizer().encode_prompt(&rendered).unwrap();
            let ours = continue_greedily(&model, &tokens, 64);
            let mut theirs = server.continue_greedily(&tokens, 64);
            theirs.retain(|&token| !model.ends_answer(token));
            let length = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
            eprintln!(
                "{file}: {prompt:?}: the first {length} of {} and {} tokens are the same\n ours {:?}\n theirs {:?}",
                ours.len(),
                theirs.len(),
                model.tokenizer().decode(&ours),
                model.tokenizer().decode(&theirs),
            );
            if ours == theirs {
                same += 1;
            }
        }
        eprintln!(
            "{file}: {same} of {} continuations are the same",
            PROMPTS.len()
        );
    }
}
