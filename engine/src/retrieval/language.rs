//! In which language a question has to be put to be found by the words of a text.
//!
//! In: the question and the text. Out: the text's language where it is another than the question's, by the letters and the runs
//! of letters that are common in a language (`whatlang`). That says little of a few words in letters that many languages have:
//! there most of them must stand nowhere in the text, too. Then little is lost by a mistake, since they find nothing.

use whatlang::{Info, Lang};

/// Bytes of a text by which its language is told.
const SAMPLE: usize = 8192;

/// Letters of a word that counts: shorter ones stand in texts of every language.
const LONG_WORD: usize = 4;

/// The English name of the text's language, if the question is in another one.
///
/// Cost: 8 KB of the text are looked at; where letters do not tell, all of it is searched for each word of the question.
pub fn language_to_ask_in(question: &str, text: &str) -> Option<&'static str> {
    let of_text = whatlang::detect(middle(text)).filter(Info::is_reliable)?;
    let of_question = whatlang::detect(question)?;
    if of_question.lang() == of_text.lang() {
        return None;
    }
    let is_foreign = of_question.script() != of_text.script() || are_mostly_unknown(question, text);
    is_foreign.then(|| match of_text.lang() {
        // As models call it, in either script.
        Lang::Cmn => "Chinese",
        other => other.eng_name(),
    })
}

/// What stands in the middle of a text, where there are no title pages.
fn middle(text: &str) -> &str {
    let begin = text.ceil_char_boundary((text.len() / 2).saturating_sub(SAMPLE / 2));
    let end = text.floor_char_boundary(text.len().min(begin + SAMPLE));
    text.get(begin..end).unwrap_or(text)
}

/// Whether more than half of the long words of `question` stand nowhere in `text`.
fn are_mostly_unknown(question: &str, text: &str) -> bool {
    let text = text.to_lowercase();
    let question = question.to_lowercase();
    let words = question.split(|letter: char| !letter.is_alphanumeric());
    let long: Vec<&str> = words
        .filter(|word| word.chars().count() >= LONG_WORD)
        .collect();
    let known = long.iter().filter(|word| text.contains(**word)).count();
    2 * known < long.len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ENGLISH: &str = "Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my \
        purse, and nothing particular to interest me on shore, I thought I would sail about a little and see the watery part of \
        the world. It is a way I have of driving off the spleen and regulating the circulation.";
    const GERMAN: &str = "Als Gregor Samsa eines Morgens aus unruhigen Träumen erwachte, fand er sich in seinem Bett zu einem \
        ungeheueren Ungeziefer verwandelt. Er lag auf seinem panzerartig harten Rücken und sah, wenn er den Kopf ein wenig hob, \
        seinen gewölbten, braunen, von bogenförmigen Versteifungen geteilten Bauch.";
    const CHINESE: &str = "华沙波兰人队在二零零零年夺得全国冠军。尼古拉·特斯拉于一九四三年在纽约去世，他是一位发明家和物理学家。";

    #[test]
    fn another_language_is_told_by_letters_and_by_words() {
        for (question, text, language) in [
            ("Who won the championship?", CHINESE, Some("Chinese")),
            ("特斯拉是哪一年去世的？", ENGLISH, Some("English")),
            ("特斯拉是哪一年去世的？", CHINESE, None),
            ("Why did he want to go to the ocean?", ENGLISH, None),
            (
                "Warum wollte der Erzähler überhaupt zur See fahren?",
                ENGLISH,
                Some("English"),
            ),
            (
                "What kind of creature did he turn into overnight?",
                GERMAN,
                Some("German"),
            ),
            ("In was wurde Gregor Samsa verwandelt?", GERMAN, None),
        ] {
            assert_eq!(language_to_ask_in(question, text), language, "{question}");
        }
    }

    /// Questions in the text's language whose words stand nowhere in it: few may be taken for another one.
    #[test]
    fn english_questions_are_in_english() {
        let questions = include_str!("../../../tests/files/moby-dick-questions.json");
        let questions: serde_json::Value = serde_json::from_str(questions).unwrap();
        let asked =
            |question: &serde_json::Value| question["question"].as_str().unwrap().to_owned();
        let questions: Vec<String> = questions["questions"]
            .as_array()
            .unwrap()
            .iter()
            .map(asked)
            .collect();
        let foreign = |question: &&String| language_to_ask_in(question, ENGLISH).is_some();
        let taken: Vec<&String> = questions.iter().filter(foreign).collect();
        assert!(questions.len() == 20 && taken.len() <= 2, "{taken:?}");
    }

    #[test]
    fn what_is_no_language_is_in_no_other() {
        for (question, text) in [
            ("", ENGLISH),
            ("Why?", ""),
            ("", ""),
            ("42?", ENGLISH),
            ("Why?", "0 1 2 3"),
        ] {
            assert_eq!(
                language_to_ask_in(question, text),
                None,
                "{question:?} {text:?}"
            );
        }
    }
}
