//! Questions about a document as a whole, whose words find no part of it.

/// Words that ask for the whole, English and German.
const ASKS: [&str; 44] = [
    "about",
    "abstract",
    "conclusion",
    "conclusions",
    "content",
    "contents",
    "describe",
    "explain",
    "fasse",
    "geht",
    "gist",
    "handelt",
    "hauptpunkte",
    "hauptthema",
    "idea",
    "ideas",
    "inhalt",
    "key",
    "kernaussage",
    "kernaussagen",
    "main",
    "message",
    "outline",
    "overview",
    "plot",
    "point",
    "points",
    "subject",
    "summarise",
    "summarize",
    "summary",
    "takeaway",
    "takeaways",
    "tell",
    "theme",
    "themes",
    "thema",
    "themen",
    "topic",
    "topics",
    "worum",
    "zusammen",
    "zusammenfassen",
    "zusammenfassung",
];

/// Words that stand beside them and name nothing.
const BESIDE: [&str; 68] = [
    "a",
    "all",
    "an",
    "and",
    "are",
    "article",
    "artikel",
    "bitte",
    "book",
    "brief",
    "briefly",
    "buch",
    "can",
    "das",
    "dem",
    "den",
    "der",
    "des",
    "die",
    "diese",
    "diesem",
    "dieser",
    "dieses",
    "do",
    "document",
    "does",
    "dokument",
    "ein",
    "eine",
    "einen",
    "entire",
    "es",
    "few",
    "file",
    "for",
    "gib",
    "give",
    "hier",
    "i",
    "in",
    "is",
    "ist",
    "it",
    "kurz",
    "me",
    "mir",
    "novel",
    "of",
    "one",
    "paper",
    "please",
    "report",
    "sentence",
    "sentences",
    "short",
    "story",
    "text",
    "the",
    "this",
    "two",
    "um",
    "us",
    "was",
    "what",
    "whole",
    "words",
    "you",
    "your",
];

/// Whether a question asks what a document is about and names nothing in it.
pub fn asks_for_the_whole(question: &str) -> bool {
    let mut asks = false;
    for word in question.split(|c: char| !c.is_alphanumeric()) {
        let word = word.to_lowercase();
        let asking = ASKS.contains(&word.as_str());
        asks |= asking;
        if !asking && !word.is_empty() && !BESIDE.contains(&word.as_str()) {
            return false;
        }
    }
    asks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_something_is_no_question_about_the_whole() {
        for question in [
            "What is this document about?",
            "Summarize the book in two sentences, please.",
            "What are the main points?",
            "Give me a short summary",
            "Worum geht es in diesem Buch?",
            "Fasse den Text kurz zusammen.",
        ] {
            assert!(asks_for_the_whole(question), "{question}");
        }
        for question in [
            "",
            "What is this?",
            "What is chapter 3 about?",
            "Summarize the trial",
            "What does Holmes tell Watson about the photograph?",
            "What is the point of the harpoon?",
        ] {
            assert!(!asks_for_the_whole(question), "{question}");
        }
    }
}
