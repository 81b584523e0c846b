//! Citations by words alone, for answers that are known to be right or wrong.
//!
//! Every gold answer of XQuAD is taken for a model's short answer and cited. Then it is replaced by the gold answer of
//! another question on the same document, which stands in the same text and often in the same paragraph: the hardest
//! kind of wrong answer to tell. And it is put into the gold sentence in the right answer's place: a whole sentence
//! of which one name or number is wrong. And both answers are said in the words of the question, as models do
//! ("What year did Tesla die?", "year did Tesla die was 1943."). Even documents fit thresholds, odd ones report.

use super::score::Share;
use super::xquad::{Exam, GoldQuestion, exams};
use super::{EvaluationError, WordsArgs};
use crate::citing::{Claim, SentenceIndex, Verdict, Weights, cite, ranked};
use crate::document::Span;
use lectern_protocol::SupportState;

/// How far away the question is whose answer is taken for a wrong one: past the same paragraph's, mostly.
const OTHER_QUESTION: usize = 7;

/// What a question begins with.
const QUESTION_WORDS: &[&str] = &[
    "what", "which", "who", "whom", "whose", "when", "where", "why", "how", "many", "much", "in",
    "on", "is", "was", "were", "are", "did", "does", "do",
];
const CHINESE_QUESTION_WORDS: &[&str] =
    &["什么", "多少", "谁", "哪里", "哪个", "哪一", "哪些", "哪"];

/// What was counted on one half.
#[derive(Default)]
struct Counts {
    first: Share,
    recall: Share,
    precision: Share,
    right: States,
    wrong: States,
    altered: States,
    /// Gold sentences as they stand, of those in which two names can be exchanged.
    verbatim: States,
    exchanged: States,
    right_echo: States,
    wrong_echo: States,
    /// Citations of right echoes.
    echo_recall: Share,
    echo_precision: Share,
}

#[derive(Default)]
struct States {
    supported: Share,
    partly: Share,
}

impl States {
    fn count(&mut self, state: SupportState) {
        self.supported.count(state == SupportState::Supported);
        self.partly.count(state == SupportState::Partly);
    }
}

/// Cites all gold answers and as many wrong ones, and prints the table.
pub(super) fn run(args: &WordsArgs) -> Result<(), EvaluationError> {
    let all = exams(&args.data, &args.language, args.bytes, |words| {
        Ok(words.len())
    })?;
    let mut halves = [Counts::default(), Counts::default()];
    let started = std::time::Instant::now();
    for (nth, exam) in all.iter().enumerate() {
        count(exam, &mut halves[nth % 2]);
    }
    let questions: usize = all.iter().map(|exam| exam.questions.len()).sum();
    println!(
        "{}: {} documents of about {} bytes, {questions} questions",
        args.language,
        all.len(),
        args.bytes
    );
    for (name, counts) in ["fitting half", "reporting half"].iter().zip(&halves) {
        println!("\n{name}");
        println!("  gold sentence ranks first  {}", counts.first);
        println!("  recall                     {}", counts.recall);
        println!("  precision                  {}", counts.precision);
        println!("  right, supported           {}", counts.right.supported);
        println!("  right, partly              {}", counts.right.partly);
        println!("  wrong, supported           {}", counts.wrong.supported);
        println!("  wrong, partly              {}", counts.wrong.partly);
        println!("  altered, supported         {}", counts.altered.supported);
        println!("  altered, partly            {}", counts.altered.partly);
        println!("  verbatim, supported        {}", counts.verbatim.supported);
        println!(
            "  exchanged, supported       {}",
            counts.exchanged.supported
        );
        println!("  exchanged, partly          {}", counts.exchanged.partly);
        println!(
            "  right echo, supported      {}",
            counts.right_echo.supported
        );
        println!("  right echo, partly         {}", counts.right_echo.partly);
        println!("  right echo, recall         {}", counts.echo_recall);
        println!("  right echo, precision      {}", counts.echo_precision);
        println!(
            "  wrong echo, supported      {}",
            counts.wrong_echo.supported
        );
        println!("  wrong echo, partly         {}", counts.wrong_echo.partly);
    }
    println!(
        "\n{:.1} ms a question",
        started.elapsed().as_secs_f64() * 1e3 / questions.max(1) as f64
    );
    Ok(())
}

fn count(exam: &Exam, counts: &mut Counts) {
    let index = SentenceIndex::new(&exam.document);
    let weights = Weights::default().lexical();
    let text = &exam.document.text;
    let verdict = |gold: &GoldQuestion, answer: &str| -> Verdict {
        let claim = Claim {
            sentence: answer,
            question: &gold.question,
        };
        cite(&claim, text, &index, None, &weights)
    };
    for (nth, gold) in exam.questions.iter().enumerate() {
        let holds = |span: Span| span.intersection(gold.span).is_some();
        let claim = Claim {
            sentence: &gold.answer,
            question: &gold.question,
        };
        let first = ranked(&claim, text, &index, None, &weights);
        counts
            .first
            .count(first.first().is_some_and(|c| holds(index.span(c.sentence))));
        let found = verdict(gold, &gold.answer);
        counts
            .recall
            .count(found.citations.iter().any(|cited| holds(cited.span)));
        found
            .citations
            .iter()
            .for_each(|cited| counts.precision.count(holds(cited.span)));
        counts.right.count(found.state);
        let other = &exam.questions[(nth + OTHER_QUESTION) % exam.questions.len()];
        if other.answer != gold.answer {
            counts.wrong.count(verdict(gold, &other.answer).state);
        }
        if let Some(sentence) = altered(exam, nth, &index) {
            counts.altered.count(verdict(gold, &sentence).state);
        }
        let stands = index.spans().iter().find(|span| span.contains(gold.span));
        let stands = stands.and_then(|span| span.of(text)).unwrap_or_default();
        if let Some(sentence) = exchanged(stands) {
            counts.verbatim.count(verdict(gold, stands).state);
            counts.exchanged.count(verdict(gold, &sentence).state);
        }
        let found = verdict(gold, &echo(&gold.question, &gold.answer));
        counts.right_echo.count(found.state);
        counts
            .echo_recall
            .count(found.citations.iter().any(|cited| holds(cited.span)));
        found
            .citations
            .iter()
            .for_each(|cited| counts.echo_precision.count(holds(cited.span)));
        let sentence = index.spans().iter().find(|span| holds(**span));
        let words = sentence.and_then(|span| span.of(text)).unwrap_or_default();
        if let Some(other) = of_same_kind(exam, nth, words) {
            let said = echo(&gold.question, &other.answer);
            counts.wrong_echo.count(verdict(gold, &said).state);
        }
    }
}

/// The next answer of the same kind (a number, a name, or neither) that is not said in `words`.
fn of_same_kind<'e>(exam: &'e Exam, nth: usize, words: &str) -> Option<&'e GoldQuestion> {
    let kind = |answer: &str| {
        let number = answer.chars().any(|c| c.is_ascii_digit());
        let name = answer.chars().next().is_some_and(char::is_uppercase);
        (number, name)
    };
    let (count, wanted) = (exam.questions.len(), kind(&exam.questions[nth].answer));
    (1..count)
        .map(|ahead| &exam.questions[(nth + ahead) % count])
        .find(|other| kind(&other.answer) == wanted && !words.contains(&other.answer))
}

/// The sentence that holds the gold answer, with another answer in its place; `None` if there is no other that the
/// sentence does not hold already.
fn altered(exam: &Exam, nth: usize, index: &SentenceIndex) -> Option<String> {
    let gold = &exam.questions[nth];
    let text = &exam.document.text;
    let span = *index.spans().iter().find(|s| s.contains(gold.span))?;
    let other = of_same_kind(exam, nth, span.of(text)?)?;
    let before = text.get(span.start..gold.span.start)?;
    let after = text.get(gold.span.end..span.end)?;
    Some(format!("{before}{}{after}", other.answer))
}

/// A sentence with two of its names in each other's places, if a verb in the past stands between them.
fn exchanged(sentence: &str) -> Option<String> {
    let words: Vec<&str> = sentence.split(' ').collect();
    let named = |at: usize| {
        let word = words[at];
        // Any word begins a sentence with a capital.
        at > 0 && word.len() > 3 && word.starts_with(|c: char| c.is_ascii_uppercase())
    };
    let ends = |at: usize| words[at].ends_with([',', '.', ';', ':', ')', '"']);
    let run = |from: usize| {
        let start = (from..words.len()).find(|&at| named(at))?;
        let end = (start + 1..words.len())
            .find(|&at| !named(at) || ends(at - 1))
            .unwrap_or(words.len());
        Some(start..end)
    };
    let mut first = run(0)?;
    loop {
        let second = run(first.end)?;
        let (left, right) = (
            words[first.clone()].join(" "),
            words[second.clone()].join(" "),
        );
        let middle = words[first.end..second.start].join(" ");
        let verb = words[first.end..second.start]
            .iter()
            .any(|word| word.len() > 4 && word.ends_with("ed"));
        let plain = |name: &str| name.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
        let (bare_left, bare_right) = (plain(&left), plain(&right));
        if verb && bare_left != bare_right {
            let left = left.replace(&bare_left, &bare_right);
            let right = right.replace(&bare_right, &bare_left);
            let before = words[..first.start].join(" ");
            let after = words[second.end..].join(" ");
            return Some(
                format!("{before} {left} {middle} {right} {after}")
                    .trim()
                    .to_owned(),
            );
        }
        first = second;
    }
}

/// An answer said in the words of its question: in place of the question word in Chinese, after the rest in English.
fn echo(question: &str, answer: &str) -> String {
    let question = question.trim().trim_end_matches(['?', '？']);
    if let Some(word) = CHINESE_QUESTION_WORDS
        .iter()
        .find(|word| question.contains(**word))
    {
        return question.replacen(word, answer, 1);
    }
    let mut words = question.split_whitespace().peekable();
    while let Some(word) = words.peek()
        && QUESTION_WORDS.contains(&word.to_lowercase().as_str())
    {
        words.next();
    }
    let rest: Vec<&str> = words.collect();
    format!("{} was {}.", rest.join(" "), answer.trim_end_matches('.'))
}
