//! Where answers are cited from, on data that says which parts of a document hold what: turns of a meeting (QMSum), documents
//! among a hundred (SummHay).
//!
//! What people wrote to a question is one text on some turns, or *insights*, each with the documents that hold it. A sentence of
//! an answer says the insight that is nearest to it in meaning; its citations are right if they touch what holds that one.
//! Beside it stands what words alone and attention alone would have cited, and what citing at random would hit.

use super::cite::ways;
use super::passages::Gold;
use super::record::Said;
use super::score::{Share, Touching, mean};
use super::xquad::{Exam, GoldQuestion};
use super::{EvaluationError, MeasuredModel, SourcesArgs, qmsum, summhay};
use crate::asking::Reader;
use crate::citing::{SentenceIndex, Weights, cite, is_abstention, ranked};
use crate::document::{Document, Span, sentences};
use crate::retrieval::Transformer;
use clap::ValueEnum;
use serde_json::json;

/// From this cosine of a sentence and an insight on, the sentence says it: 92% of SummHay's documents with an insight have such a
/// sentence, and 30% of those without it on the same question.
const SAYS: f64 = 0.7;

/// Data with questions and what holds their answers.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Set {
    /// Questions on meetings, with the turns that matter.
    Qmsum,
    /// Questions on a hundred documents, with the insights that these hold.
    Summhay,
}

/// What an answer should say, and the spans that hold it.
pub(super) struct Insight {
    pub text: String,
    pub spans: Vec<Span>,
}

/// A document with questions, and the insights that answer each.
pub(super) struct Sourced {
    pub exam: Exam,
    pub gold: Vec<Vec<Insight>>,
}

impl Sourced {
    /// No questions on `document`, to be filled by [`Sourced::push`].
    pub fn of(document: Document) -> Sourced {
        Sourced {
            exam: Exam {
                document,
                questions: Vec::new(),
            },
            gold: Vec::new(),
        }
    }

    /// The document, and the spans that answer each of its questions.
    pub fn passages(self) -> (Document, Vec<Gold>) {
        let asked = self.exam.questions.into_iter().zip(self.gold);
        let questions = asked.map(|(asked, insights)| {
            let spans = insights.into_iter().flat_map(|insight| insight.spans);
            (asked.question, spans.collect())
        });
        (self.exam.document, questions.collect())
    }

    pub fn push(&mut self, question: String, insights: Vec<Insight>) {
        let mut spans = insights.iter().flat_map(|insight| &insight.spans);
        self.exam.questions.push(GoldQuestion {
            question,
            answer: String::new(),
            span: spans.next().copied().unwrap_or(Span::new(0, 0)),
        });
        self.gold.push(insights);
    }
}

/// What one way of ranking cites.
#[derive(Default)]
struct Cited {
    /// The sentence that ranks first, before verification, is of what holds the insight.
    first: Share,
    /// Citations that are.
    precision: Share,
    /// Questions with such a citation, of those with a citation.
    found: Share,
    /// Of each sentence that says an insight: how well what it cites is what holds that.
    f1: Vec<f64>,
}

/// What was counted.
#[derive(Default)]
struct Counts {
    questions: usize,
    refused: usize,
    /// Sentences that say an insight, of all that say something.
    on_insight: Share,
    /// Insights that some sentence says.
    said: Share,
    /// Share of the text that holds the insight, for each sentence that says one.
    chance: Vec<f64>,
    ways: [Cited; 3],
}

/// Asks, cites, prints.
pub(super) fn run(args: &SourcesArgs, measured: &MeasuredModel) -> Result<(), EvaluationError> {
    let mut all = match args.set {
        Set::Qmsum => qmsum::meetings(&args.data)?,
        Set::Summhay => vec![summhay::haystack(&args.data)?],
    };
    all.truncate(args.documents);
    let judge = measured
        .transformer(false)?
        .ok_or(EvaluationError::NoEmbedder)?;
    let mut counts = Counts::default();
    let mut rows = Vec::new();
    if args.gold {
        for sourced in &all {
            let asked = 0..sourced.gold.len();
            let said: Vec<Vec<Said>> = asked.map(|nth| written(&sourced.gold[nth])).collect();
            rows.extend(judged(sourced, &said, &judge, &mut counts)?);
        }
    } else {
        let model = measured.load()?;
        let reader = Reader {
            model: &model,
            retrieval_heads: &measured.retrieval_heads,
        };
        let mut records = args.asked.records(measured)?;
        for (nth, sourced) in all.iter().enumerate() {
            let questions: Vec<&GoldQuestion> = sourced.exam.questions.iter().collect();
            let answers = records.answers(&reader, &sourced.exam, &questions, false)?;
            let said: Vec<Vec<Said>> = answers.into_iter().map(|a| a.sentences).collect();
            rows.extend(judged(sourced, &said, &judge, &mut counts)?);
            eprintln!("document {} of {}", nth + 1, all.len());
        }
    }
    if args.asked.json {
        println!("{}", json!({ "questions": rows }));
    } else {
        counts.print(args.gold);
    }
    Ok(())
}

/// What people wrote, as an answer.
fn written(insights: &[Insight]) -> Vec<Said> {
    let texts = insights.iter().map(|insight| insight.text.as_str());
    texts
        .flat_map(|text| {
            let spans = sentences(text, Span::new(0, text.len()));
            spans.into_iter().filter_map(|span| span.of(text))
        })
        .map(|sentence| Said {
            sentence: sentence.to_owned(),
            evidence: None,
        })
        .collect()
}

/// Counts the answers to the questions on one document and tells them.
fn judged(
    sourced: &Sourced,
    answers: &[Vec<Said>],
    judge: &Transformer,
    counts: &mut Counts,
) -> Result<Vec<serde_json::Value>, EvaluationError> {
    let text = &sourced.exam.document.text;
    let index = SentenceIndex::new(&sourced.exam.document);
    let asked = sourced.exam.questions.iter().zip(&sourced.gold);
    let mut rows = Vec::new();
    for ((gold, insights), answer) in asked.zip(answers) {
        counts.questions += 1;
        let claims = answer.iter().filter(|said| !is_abstention(&said.sentence));
        let claims: Vec<&Said> = claims.collect();
        counts.refused += usize::from(claims.is_empty());
        let mut said_insights = vec![false; insights.len()];
        let mut found = [None; 3];
        let mut sentences = Vec::new();
        for said in claims {
            let says = said_insight(&said.sentence, insights, judge)?;
            counts.on_insight.count(says.is_some());
            let claim = said.claim(&gold.question);
            let evidence = said.evidence.as_ref();
            let shipped = cite(&claim, text, &index, evidence, &Weights::default());
            let quotes = shipped.citations.iter();
            sentences.push(json!({
                "sentence": said.sentence,
                "state": shipped.state,
                "says": says.map(|nth| &insights[nth].text),
                "cited": quotes.map(|cited| cited.span.of(text)).collect::<Vec<_>>(),
            }));
            let Some(nth) = says else { continue };
            said_insights[nth] = true;
            let holding = &insights[nth].spans;
            let held: usize = holding.iter().map(|span| span.len()).sum();
            counts.chance.push(held as f64 / text.len() as f64);
            let holds = |span: Span| holding.iter().any(|h| h.intersection(span).is_some());
            for ((way, (_, weights)), found) in counts.ways.iter_mut().zip(ways()).zip(&mut found) {
                let candidates = ranked(&claim, text, &index, evidence, &weights);
                let first = candidates.first().map(|c| index.span(c.sentence));
                way.first.count(first.is_some_and(holds));
                let cited = cite(&claim, text, &index, evidence, &weights).citations;
                let cited: Vec<Span> = cited.iter().map(|cited| cited.span).collect();
                let touching = Touching::of(&cited, holding);
                way.precision.add(touching.cited);
                if !cited.is_empty() {
                    *found = Some(found.unwrap_or(false) | (touching.cited.hits > 0));
                }
                way.f1.push(touching.f1());
            }
        }
        for (way, found) in counts.ways.iter_mut().zip(found) {
            found.into_iter().for_each(|hit| way.found.count(hit));
        }
        said_insights
            .iter()
            .for_each(|said| counts.said.count(*said));
        rows.push(json!({ "question": gold.question, "sentences": sentences }));
    }
    Ok(rows)
}

/// Which of the insights a sentence says; where there is but one, what is said to the question is taken for it.
fn said_insight(
    sentence: &str,
    insights: &[Insight],
    judge: &Transformer,
) -> Result<Option<usize>, EvaluationError> {
    if insights.len() == 1 {
        return Ok(Some(0));
    }
    let texts: Vec<&str> = insights.iter().map(|insight| &*insight.text).collect();
    let cosines = judge.cosines(sentence, &texts)?;
    let nearest = cosines
        .into_iter()
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(&b.1));
    Ok(nearest.and_then(|(nth, cosine)| (cosine >= SAYS).then_some(nth)))
}

impl Counts {
    /// The table; of what people wrote there is no attention.
    fn print(&self, written: bool) {
        println!("questions {}, refused {}", self.questions, self.refused);
        println!("  sentences that say an insight   {}", self.on_insight);
        println!("  insights that are said          {}", self.said);
        println!(
            "  share of the text that holds it {:.2}",
            mean(&self.chance)
        );
        for (way, (name, _)) in self.ways.iter().zip(ways()) {
            if written && name != "words alone" {
                continue;
            }
            println!("  {name}");
            println!("    ranks first               {}", way.first);
            println!("    citations that are right  {}", way.precision);
            println!(
                "    questions with a right one, of those with any {}",
                way.found
            );
            println!("    F1 of the citations       {:.2}", mean(&way.f1));
            println!(
                "    F1 times insights said    {:.3}",
                mean(&way.f1) * self.said.value()
            );
        }
    }
}
