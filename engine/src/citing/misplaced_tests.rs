//! Sentences made of the text's words that it does not bear out.

use super::tests::verdict;
use super::*;

const MISPLACED: &str = "On the next play, Miller stripped the ball away from Newton, and it was recovered by Ward. On May 28, 2012, Jacksonville was hit by Tropical Storm Beryl, packing winds up to 70 miles per hour. A hurricane of 1964 did more damage there.

Only 100–150 species of comb jellies have been validated, and possibly another 25 have not been fully described. When the RIAA brought suit against Jesse Jordan, it knew that in Jordan it had found a scapegoat. Edison received one of 38 possible bids for the prize in 1915. The total area of forest lost rose from 415,000 to 587,000 square kilometres (160,000 to 227,000 sq mi). There were 12,843 unmarried partnerships, and 1,388 (0.9%) married couples.";

#[test]
fn what_is_put_in_anothers_place_is_not_supported() {
    for (question, sentence) in [
        (
            "Who stripped the ball from Newton?",
            "Newton stripped the ball away from Newton.",
        ),
        ("Who sued Jesse Jordan?", "Jesse Jordan sued Jesse Jordan."),
        (
            "How much forest was lost?",
            "587,000 square kilometres (587,000 sq mi) of forest were lost.",
        ),
        (
            "How many species of comb jellies have been validated?",
            "25",
        ),
        ("How many possible bids were there in 1915?", "1915"),
        (
            "What hit Jacksonville in May of 2012?",
            "It was hit by Hurricane Beryl.",
        ),
    ] {
        let (state, quotes) = verdict(MISPLACED, question, sentence);
        assert_ne!(state, SupportState::Supported, "{sentence}: {quotes:?}");
    }
    for (question, sentence) in [
        (
            "Who stripped the ball from Newton?",
            "Miller stripped the ball away from Newton.",
        ),
        (
            "How much forest was lost?",
            "587,000 square kilometres (227,000 sq mi) of forest were lost.",
        ),
        (
            "How many species of comb jellies have been validated?",
            "100–150",
        ),
        (
            "How many possible bids for the prize were there in 1915?",
            "38",
        ),
        ("How many married couples were there?", "1,388"),
        (
            "What hit Jacksonville in May of 2012?",
            "It was hit by Tropical Storm Beryl.",
        ),
    ] {
        let (state, quotes) = verdict(MISPLACED, question, sentence);
        assert_eq!(state, SupportState::Supported, "{sentence}: {quotes:?}");
    }
}

#[test]
fn what_the_text_says_of_something_else_is_not_supported() {
    let text = "The Amazon represents over half of the planet's remaining rainforests, with an estimated 390 billion individual trees of 16,000 species. One in ten known species in the world lives there.

Evergreen forests account for about 10% of the world's terrestrial primary productivity and 10% of the carbon stores in ecosystems.";
    let question = "What is the estimate for the amount of tree species in the Amazon?";
    for (sentence, state) in [
        (
            "The estimated amount of tree species in the Amazon is about 10% of the world's terrestrial primary productivity and 10% of the carbon stores in ecosystems.",
            SupportState::Partly,
        ),
        (
            "The estimated amount of tree species in the Amazon is 16,000.",
            SupportState::Supported,
        ),
        // It says nothing of what it is about.
        (
            "Evergreen forests account for about 10% of the world's terrestrial primary productivity and 10% of the carbon stores in ecosystems.",
            SupportState::Supported,
        ),
    ] {
        let (found, quotes) = verdict(text, question, sentence);
        assert_eq!(found, state, "{sentence}: {quotes:?}");
    }
}
