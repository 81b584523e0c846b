#![allow(clippy::unwrap_used)]

use super::*;
use crate::document::{Block, BlockKind, Document, DocumentKind};

const PANTHERS: &str = "The Panthers defense gave up just 308 points, ranking sixth in the league, while also leading the NFL in interceptions with 24. Pro Bowl defensive tackle Kawann Short led the team in sacks with 11, while also forcing three fumbles and recovering two. Fellow lineman Mario Addison added 6½ sacks. Carolina's secondary featured Pro Bowl safety Kurt Coleman, who led the team with a career high seven interceptions.

The Broncos took an early lead in Super Bowl 50 and never trailed. Denver recorded seven sacks and forced four turnovers. Von Miller was named Super Bowl MVP.

Nikola Tesla was born in 1856 in Smiljan. Tesla did not receive the Nobel Prize. He said that \"the present is theirs\" in an interview.";

fn document(text: &str) -> Document {
    let mut blocks = Vec::new();
    let mut at = 0;
    for paragraph in text.split("\n\n") {
        let span = Span::new(at, at + paragraph.len());
        blocks.push(Block {
            kind: BlockKind::Paragraph,
            span,
            marks: Vec::new(),
        });
        at = span.end + 2;
    }
    Document {
        kind: DocumentKind::Text,
        title: "test".into(),
        authors: None,
        text: text.into(),
        sections: Vec::new(),
        blocks,
        pages: Vec::new(),
        notices: Vec::new(),
    }
}

pub(super) fn verdict(text: &str, question: &str, sentence: &str) -> (SupportState, Vec<String>) {
    let document = document(text);
    let index = SentenceIndex::new(&document);
    let claim = Claim { sentence, question };
    let found = cite(&claim, &document.text, &index, None, &Weights::default());
    let quotes = found
        .citations
        .iter()
        .map(|c| c.span.of(&document.text).unwrap().to_owned())
        .collect();
    (found.state, quotes)
}

#[test]
fn a_true_sentence_is_supported_by_the_right_words() {
    let cases = [
        (
            "How many points did the Panthers defense surrender?",
            "The Panthers defense gave up 308 points.",
            "308 points",
        ),
        (
            "Who led the team in sacks?",
            "Kawann Short.",
            "Kawann Short led",
        ),
        (
            "How many sacks did Denver record?",
            "Denver recorded seven sacks.",
            "Denver recorded",
        ),
        (
            "Where was Tesla born?",
            "Nikola Tesla was born in Smiljan.",
            "Smiljan",
        ),
        (
            "Who won MVP?",
            "Von Miller was named Super Bowl MVP.",
            "Von Miller",
        ),
    ];
    for (question, sentence, expected) in cases {
        let (state, quotes) = verdict(PANTHERS, question, sentence);
        assert_eq!(state, SupportState::Supported, "{sentence}: {quotes:?}");
        assert!(quotes[0].contains(expected), "{sentence}: {quotes:?}");
    }
}

#[test]
fn wrong_numbers_names_and_denials_are_not_supported() {
    for (question, sentence) in [
        (
            "How many points did the Panthers give up?",
            "The Panthers defense gave up just 309 points.",
        ),
        (
            "Who led the team in sacks?",
            "Mario Kaminski led the team in sacks with 11.",
        ),
        (
            "Did Tesla receive the Nobel Prize?",
            "Tesla did receive the Nobel Prize.",
        ),
        ("When was Tesla born?", "Nikola Tesla was born in 1956."),
        (
            "What did Tesla say?",
            "He said that \"the future is mine alone\" in an interview.",
        ),
    ] {
        let (state, quotes) = verdict(PANTHERS, question, sentence);
        assert_ne!(state, SupportState::Supported, "{sentence}: {quotes:?}");
    }
}

/// Found in answers of a real model: the question and the document hold 16, but not as a share.
#[test]
fn a_share_is_not_borne_out_by_a_number_of_another_kind() {
    let text = "Seawater molecules that contain the lighter isotope, oxygen-16, evaporate at a slightly faster rate than \
                water molecules containing the 12% heavier oxygen-18.";
    let question = "How much heavier is oxygen 18 than oxygen 16?";
    let (state, _) = verdict(text, question, "Oxygen-18 is 16% heavier than oxygen-16.");
    assert_ne!(state, SupportState::Supported);
    let (state, quotes) = verdict(
        text,
        question,
        "Oxygen-18 is 12 percent heavier than oxygen-16.",
    );
    assert_eq!(state, SupportState::Supported, "{quotes:?}");
}

/// The sample's first question: what is said of the bottle stands behind a "not" that is said of something else, and a word
/// of it before.
#[test]
fn a_not_that_belongs_to_another_clause_denies_nothing() {
    let text = "On this second occasion she found a little bottle on it, (“which certainly was not here before,” said Alice,) \
                and round the neck of the bottle was a paper label, with the words “DRINK ME,” beautifully printed on it in \
                large letters.";
    let question = "What did the label on the bottle say?";
    let (state, quotes) = verdict(text, question, "The label on the bottle said \"DRINK ME\".");
    assert_eq!(state, SupportState::Supported, "{quotes:?}");
    let text = "Round the neck of the bottle was a paper label, which did not say “DRINK ME,” in large letters.";
    let (state, _) = verdict(text, question, "The label on the bottle said \"DRINK ME\".");
    assert_ne!(state, SupportState::Supported);
}

#[test]
fn what_the_document_does_not_hold_is_unsupported_and_uncited() {
    for (question, sentence) in [
        (
            "What is the capital of France?",
            "Paris is the capital of France.",
        ),
        ("Who wrote Hamlet?", "William Shakespeare wrote Hamlet."),
        ("How many moons has Mars?", "Mars has 2 moons."),
        (
            "Who led the team?",
            "The document does not say, but it was he who did.",
        ),
        (
            "Who led the team?",
            "The document does not say, it was Jalen Hurts.",
        ),
        (
            "Who led the team?",
            "The document does not say although Jalen Hurts did.",
        ),
        ("Who led the team?", "Sorry, it was Jalen Hurts."),
        ("Who led the team?", "The answer is not Jalen Hurts."),
        (
            "Who led the team?",
            "Jalen Hurts led the team, for these reasons:",
        ),
        ("Is it so?", "Yes."),
        ("Who led the team?", ""),
    ] {
        assert_eq!(
            verdict(PANTHERS, question, sentence),
            (SupportState::Unsupported, vec![]),
            "{sentence}"
        );
    }
}

#[test]
fn what_claims_nothing_is_neither_borne_out_nor_not() {
    for (question, sentence) in [
        ("Who led the team?", "The document does not say."),
        (
            "Who led the team?",
            "I'm sorry, the text does not mention it.",
        ),
        (
            "Who led the team?",
            "The document does not say whether Irene Adler of Chicago did in 1888.",
        ),
        ("Name the players.", "Here are the players:"),
        ("谁带领球队？", "文中没有提到。"),
    ] {
        assert_eq!(
            verdict(PANTHERS, question, sentence),
            (SupportState::NoClaim, vec![]),
            "{sentence}"
        );
    }
}

#[test]
fn two_facts_from_two_places_get_two_citations() {
    let sentence =
        "Kawann Short led the team with 11 sacks, and Von Miller was named Super Bowl MVP.";
    let (state, quotes) = verdict(PANTHERS, "Who stood out?", sentence);
    assert_eq!(state, SupportState::Supported);
    assert_eq!(quotes.len(), 2, "{quotes:?}");
}

#[test]
fn chinese_is_cited_too() {
    let text = "黑豹队的防守只丢了308分，在联赛中排名第六。马里奥·爱迪生贡献了6次擒杀。\n\n特斯拉于1856年出生在斯米良。";
    let (state, quotes) = verdict(text, "黑豹队丢了多少分？", "黑豹队的防守丢了308分。");
    assert_eq!(state, SupportState::Supported, "{quotes:?}");
    assert!(quotes[0].contains("308"));
    let (state, _) = verdict(text, "黑豹队丢了多少分？", "黑豹队的防守丢了309分。");
    assert_ne!(state, SupportState::Supported);
}

#[test]
fn attention_breaks_the_tie_between_equal_words() {
    let text = "The red door was open. He went in.\n\nThe red door was open. She went out.";
    let document = document(text);
    let index = SentenceIndex::new(&document);
    let claim = Claim {
        sentence: "The red door was open.",
        question: "What of the door?",
    };
    for favourite in [0usize, 2] {
        let mut answer = vec![0.1; index.len()];
        answer[favourite] = 5.0;
        let evidence = AttentionEvidence::new(&answer, &[0.0; 4], &[0.1; 4]);
        let found = cite(&claim, text, &index, Some(&evidence), &Weights::default());
        assert_eq!(found.citations[0].span, index.span(favourite));
    }
}

#[test]
fn token_mass_falls_on_the_sentence_it_begins_in() {
    let text = "One two. Three four.";
    let index = SentenceIndex::new(&document(text));
    let tokens = [
        (0, 1.0),
        (3, 2.0),
        (7, 4.0),
        (8, 8.0),
        (14, 16.0),
        (19, 32.0),
    ];
    assert_eq!(sentence_mass(&index, tokens), [7.0, 56.0]);
}

#[test]
fn an_empty_document_cites_nothing() {
    assert_eq!(
        verdict("", "Who?", "Somebody did something."),
        (SupportState::Unsupported, vec![])
    );
}

#[test]
fn a_long_document_is_searched_in_milliseconds() {
    let mut text = String::new();
    for n in 0..20_000 {
        text.push_str(&format!(
            "The traveller number {n} went to house {} and saw nothing new there. ",
            n * 7
        ));
        if n % 10 == 0 {
            text.push_str("\n\n");
        }
    }
    text = text.replace(" \n\n", "\n\n");
    let document = document(text.trim_end());
    let index = SentenceIndex::new(&document);
    let claim = Claim {
        sentence: "Traveller 12345 went to house 86415.",
        question: "Where did traveller 12345 go?",
    };
    let started = std::time::Instant::now();
    let found = cite(&claim, &document.text, &index, None, &Weights::default());
    let took = started.elapsed();
    assert_eq!(found.state, SupportState::Supported);
    assert!(
        found.citations[0]
            .span
            .of(&document.text)
            .unwrap()
            .contains("12345")
    );
    assert!(took.as_millis() < 500, "took {took:?}");
}

#[test]
fn one_sentence_lends_no_name_to_what_another_says() {
    let text = "Kony Ealy had five sacks in nine starts. Josh Norman was called for holding on third down. \
The Panthers punted twice. Denver took over at midfield.";
    let question = "What defender was called for holding on third down?";
    for wrong in [
        "Kony Ealy was called for holding on third down.",
        "Kony Ealy.",
    ] {
        let found = verdict(text, question, wrong);
        assert_eq!(found, (SupportState::Unsupported, vec![]), "{wrong}");
    }
    for right in [
        "Josh Norman was called for holding on third down.",
        "Josh Norman.",
    ] {
        let (state, quotes) = verdict(text, question, right);
        assert_eq!(state, SupportState::Supported, "{right}");
        assert_eq!(
            quotes,
            ["Josh Norman was called for holding on third down."]
        );
    }
}

#[test]
fn a_pronoun_stands_for_a_name_unless_the_sentence_names_another() {
    let question = "Who was called for holding?";
    let sentence = "Josh Norman was called for holding on third down.";
    let text = "Josh Norman started at cornerback. He was called for holding on third down. The Panthers punted.";
    let (state, quotes) = verdict(text, question, sentence);
    assert_eq!(state, SupportState::Supported);
    assert_eq!(quotes.len(), 2, "{quotes:?}");
    let text = "Josh Norman started at cornerback. Then Ealy was called for holding on third down. The line held Ealy.";
    let (state, quotes) = verdict(text, question, sentence);
    assert_eq!((state, quotes), (SupportState::Unsupported, vec![]));
}

#[test]
fn a_paragraph_that_begins_with_a_pronoun_goes_on_with_the_one_before() {
    let text = "The lighthouse on Skarn rock was built of grey granite, and its lamp was first lit in 1874.\n\n\
Its first keeper was Marta Olsen, a fisherman's daughter who had taught herself to grind lenses.\n\n\
The inn has a garden.";
    let question = "Who was the first keeper of the lighthouse on Skarn rock?";
    let answer = "Marta Olsen was the first keeper of the lighthouse on Skarn rock.";
    let (state, quotes) = verdict(text, question, answer);
    assert_eq!(state, SupportState::Supported);
    assert!(
        quotes[0].starts_with("Its first keeper was Marta Olsen"),
        "{quotes:?}"
    );
    let elsewhere = text.replace("Its first keeper", "The first keeper of the inn");
    let (state, _) = verdict(&elsewhere, question, answer);
    assert_ne!(state, SupportState::Supported);
}

#[test]
fn a_premise_does_not_make_another_ones_number_its_own() {
    let question = "How many sacks did Kawann Short have?";
    let (state, _) = verdict(PANTHERS, question, "Kawann Short had 6½ sacks.");
    assert_ne!(state, SupportState::Supported);
    let (state, _) = verdict(PANTHERS, question, "Kawann Short had 11 sacks.");
    assert_eq!(state, SupportState::Supported);
}

#[test]
fn the_words_of_the_question_do_not_outrank_what_the_answer_says() {
    let text = "The lighthouse of Fenwick was first lit in 1871. It stands on a cliff. \
The keeper was Bartholomew Quill, who had three dogs.\n\nThe village has an inn.";
    let (state, quotes) = verdict(
        text,
        "Who was the first keeper of the lighthouse of Fenwick?",
        "The first keeper of the lighthouse was Bartholomew Quill.",
    );
    assert_ne!(state, SupportState::Unsupported);
    assert_eq!(
        quotes,
        ["The keeper was Bartholomew Quill, who had three dogs."]
    );
}

#[test]
fn a_sentence_about_the_same_thing_is_no_rival_unless_it_names_another() {
    let text = "The lighthouse on Skarn rock was built of grey granite, and its lamp was first lit on 3 May 1874.\n\n\
Its first keeper was Marta Olsen, a fisherman's daughter who had taught herself to grind lenses.";
    let (state, quotes) = verdict(
        text,
        "Who was the first keeper of the lighthouse on Skarn rock?",
        "Marta Olsen was the first keeper of the lighthouse on Skarn rock.",
    );
    assert_ne!(state, SupportState::Unsupported);
    assert_eq!(quotes.len(), 1);
    assert!(quotes[0].contains("Marta Olsen"), "{quotes:?}");
}

#[test]
fn initials_are_names_though_they_spell_a_small_word() {
    let text = "Teachers in Wales can join a union.\n\nSchools in the US set their own rules.";
    let question = "What can teachers in the US do?";
    let (state, _) = verdict(text, question, "Teachers in the US can join a union.");
    assert_ne!(state, SupportState::Supported);
    let (state, _) = verdict(text, question, "Teachers in Wales can join a union.");
    assert_eq!(state, SupportState::Supported);
}

#[test]
fn a_phrase_from_elsewhere_is_not_supported_in_another_ones_place() {
    let text = "During lower temperatures snow tends to be rich in light oxygen. The carbon cycle moves carbon between \
air and sea. Four species have been described. Two more were found later.";
    let question = "When is snow rich in light oxygen?";
    for wrong in [
        "During the carbon cycle snow tends to be rich in light oxygen.",
        "During the carbon cycle.",
    ] {
        let (state, _) = verdict(text, question, wrong);
        assert_ne!(state, SupportState::Supported, "{wrong}");
    }
    let question = "How many species have been described?";
    let (state, _) = verdict(text, question, "Two species have been described.");
    assert_ne!(state, SupportState::Supported);
    let (state, _) = verdict(text, question, "4 species have been described.");
    assert_eq!(state, SupportState::Supported);
}

#[test]
fn names_in_each_others_places_are_not_supported() {
    let text = "In 1886 Carl Benz sued Otto Kling over the engine. The bridge at Harrow was designed by Ada Ferro and replaced \
                the ferry. Marta Olsen married Jon Vik. Jon Vik greeted Marta Olsen on the quay.";
    let cases = [
        (
            "Whom did Carl Benz sue?",
            "Carl Benz sued Otto Kling over the engine.",
            true,
        ),
        (
            "Who sued whom over the engine?",
            "Otto Kling sued Carl Benz over the engine.",
            false,
        ),
        // In the passive the order is another and the sense the same.
        (
            "Who was sued over the engine?",
            "Otto Kling was sued by Carl Benz over the engine.",
            true,
        ),
        (
            "Who was sued over the engine?",
            "Carl Benz was sued by Otto Kling over the engine.",
            false,
        ),
        // Said of both ways: one of the sentences bears it out.
        (
            "Who greeted Marta Olsen?",
            "Jon Vik greeted Marta Olsen on the quay.",
            true,
        ),
        (
            "What did Ada Ferro do?",
            "The bridge at Harrow was designed by Ada Ferro.",
            true,
        ),
    ];
    for (question, sentence, right) in cases {
        let (state, quotes) = verdict(text, question, sentence);
        assert_eq!(
            state == SupportState::Supported,
            right,
            "{sentence}: {state:?} {quotes:?}"
        );
    }
}
