#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

fn split(text: &str) -> Vec<&str> {
    let spans = sentences(text, Span::new(0, text.len()));
    spans
        .into_iter()
        .map(|span| span.of(text).unwrap())
        .collect()
}

#[test]
fn english_terminators() {
    let cases: &[(&str, &[&str])] = &[
        ("One. Two! Three?", &["One.", "Two!", "Three?"]),
        (
            "Mr. Holmes met Dr. Watson. They left.",
            &["Mr. Holmes met Dr. Watson.", "They left."],
        ),
        (
            "Use a tool, e.g. Make. It works.",
            &["Use a tool, e.g. Make.", "It works."],
        ),
        (
            "J. R. R. Tolkien wrote it. So what?",
            &["J. R. R. Tolkien wrote it.", "So what?"],
        ),
        (
            "The U.S. Army left the U.S. The end.",
            &["The U.S. Army left the U.S.", "The end."],
        ),
        (
            "Pi is 3.14159. It cost $1,200.50.",
            &["Pi is 3.14159.", "It cost $1,200.50."],
        ),
        (
            "He wondered... then he left. Bye.",
            &["He wondered... then he left.", "Bye."],
        ),
        (
            "He wondered… then he left… Bye.",
            &["He wondered… then he left…", "Bye."],
        ),
        (
            "\"Is it you?\" he asked. \"Yes.\" She left.",
            &["\"Is it you?\" he asked.", "\"Yes.\"", "She left."],
        ),
        (
            "See Fig. 3 and No. 12. No. I won't.",
            &["See Fig. 3 and No. 12.", "No.", "I won't."],
        ),
        (
            "It was known.[1][23] Then more.[a] End.",
            &["It was known.[1][23]", "Then more.[a]", "End."],
        ),
        (
            "He left (at noon.) Then rain.",
            &["He left (at noon.)", "Then rain."],
        ),
        (
            "Load main.rs and lib.rs. Done.",
            &["Load main.rs and lib.rs.", "Done."],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(split(text), *expected, "{text}");
    }
}

#[test]
fn lines_and_lists() {
    let wrapped = "The quick brown fox\njumped over\r\nthe dog. It ran\naway.\n\nNew paragraph";
    let expected = [
        "The quick brown fox\njumped over\r\nthe dog.",
        "It ran\naway.",
        "New paragraph",
    ];
    assert_eq!(split(wrapped), expected);
    let list = "Buy:\n- milk. Fresh.\n- two eggs\n1. First thing\n2. Second thing\n   goes on";
    let expected = [
        "Buy:",
        "- milk.",
        "Fresh.",
        "- two eggs",
        "1. First thing",
        "2. Second thing\n   goes on",
    ];
    assert_eq!(split(list), expected);
}

#[test]
fn other_scripts() {
    assert_eq!(
        split("黑豹队丢了308分。他们赢了！“真的吗？”他问。"),
        ["黑豹队丢了308分。", "他们赢了！", "“真的吗？”", "他问。"]
    );
    assert_eq!(
        split("「行こう。」と彼は言った。雨が降った。本当？はい。"),
        [
            "「行こう。」と彼は言った。",
            "雨が降った。",
            "本当？",
            "はい。"
        ]
    );
    assert_eq!(
        split("ذهب الولد إلى البيت. هل أكل؟ نعم."),
        ["ذهب الولد إلى البيت.", "هل أكل؟", "نعم."]
    );
    assert_eq!(split("वह घर गया। वह सो गया।"), ["वह घर गया।", "वह सो गया।"]);
    assert_eq!(
        split("Er kam z.B. Montag. Dann ging er."),
        ["Er kam z.B. Montag.", "Dann ging er."]
    );
}

#[test]
fn code_is_split_into_statements() {
    let code = "import os\n\n# reads a file\n# whole\n@cached\ndef read(path,\n         mode):\n    with open(path, mode) as f:\n        return f.read()\n";
    assert_eq!(
        split(code),
        [
            "import os",
            "# reads a file\n# whole",
            "@cached\ndef read(path,\n         mode):",
            "with open(path, mode) as f:",
            "return f.read()"
        ]
    );
    let rust = "pub fn f(x: u32) -> u32 {\n    let y = x + 1;\n    y * 2;\n}\n";
    assert_eq!(
        split(rust),
        ["pub fn f(x: u32) -> u32 {", "let y = x + 1;", "y * 2;\n}"]
    );
    assert!(!code::looks_like_code(
        "He came from Paris; she stayed.\nThe rest is history."
    ));
}

#[test]
fn without_terminators_a_sentence_is_bounded() {
    let text = "word ".repeat(2000);
    let parts = split(&text);
    assert!(
        parts.iter().all(|part| part.len() <= LONGEST),
        "a part is too long"
    );
    assert_eq!(parts.join(" "), text.trim());
    let unbroken = "あ".repeat(3000);
    assert_eq!(split(&unbroken).concat(), unbroken);
}

#[test]
fn a_span_that_is_none_has_no_sentences() {
    assert!(sentences("é", Span::new(1, 2)).is_empty());
    assert!(sentences("abc", Span::new(1, 9)).is_empty());
    let text = "One. Two. Three.";
    assert_eq!(sentences(text, Span::new(5, 9)), [Span::new(5, 9)]);
}

fn check_cover(text: &str, spans: &[Span]) -> Result<(), TestCaseError> {
    let mut at = 0;
    for span in spans {
        prop_assert!(
            span.start >= at && !span.is_empty(),
            "{spans:?} is not in order"
        );
        let words = span.of(text);
        prop_assert!(words.is_some(), "{span:?} is not on characters");
        prop_assert_eq!(words.map(str::trim), words);
        prop_assert!(
            text[at..span.start].trim().is_empty(),
            "words before {span:?} are lost"
        );
        at = span.end;
    }
    prop_assert!(text[at..].trim().is_empty(), "words at the end are lost");
    Ok(())
}

proptest! {
    #[test]
    fn sentences_are_in_order_disjoint_and_cover_all_words(
        parts in prop::collection::vec(
            prop_oneof![
                Just(". ".to_string()), Just("\n".to_string()), Just("\n\n".to_string()), Just("Mr. ".to_string()),
                Just("[12]".to_string()), Just("…".to_string()), Just("。」と".to_string()), Just("- ".to_string()),
                Just("1. ".to_string()), Just("{ (".to_string()), Just("# ".to_string()), Just("```".to_string()),
                Just("fn f() -> u32 {\n".to_string()), Just("\r\n".to_string()), Just("?\" ".to_string()),
                Just("\u{2028}".to_string()), Just("\u{3000}".to_string()), "\\PC{0,12}", "[A-Z][a-z]{1,6}",
            ],
            0..40,
        )
    ) {
        let text = parts.concat();
        check_cover(&text, &sentences(&text, Span::new(0, text.len())))?;
        check_cover(&text, &statements(&text, Span::new(0, text.len())))?;
    }
}
