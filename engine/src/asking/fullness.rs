//! What a model is told behind a question that is to be answered in full.
//!
//! The instructions in front of a document ask for one or two short sentences, and are part of what was read of it, so that more
//! is asked for behind each question. It is said in the question's language where that is English or Chinese, since small models
//! answer in the language that they were spoken to last; elsewhere the language is asked for as well.

use whatlang::Lang;

/// Measured with questions in English (`docs/citations.md`).
const ENGLISH: &str =
    "Answer in two or three full sentences, with all that the document says of it.";
const CHINESE: &str = "请用两到三个完整的句子回答，说出文档中与此有关的全部内容。";
const ANY: &str = "Answer in the language of the question, in two or three full sentences, with all that the document says of it.";

/// What stands behind `question` where it is to be answered in full.
pub fn in_full(question: &str) -> &'static str {
    match whatlang::detect_lang(question) {
        Some(Lang::Cmn) => CHINESE,
        Some(Lang::Eng) | None => ENGLISH,
        Some(_) => ANY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_in_the_language_of_the_question() {
        for (question, told) in [
            ("Why did the captain want to go back to the ocean?", ENGLISH),
            ("特斯拉是哪一年去世的？", CHINESE),
            ("Warum wollte der Kapitän wieder zur See fahren?", ANY),
            ("1915?", ENGLISH),
        ] {
            assert_eq!(in_full(question), told, "{question}");
        }
    }
}
