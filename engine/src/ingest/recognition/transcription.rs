//! The words of a line: the reading network, and where on the line each character stands.
//!
//! The network looks at the line in steps of a few pixels and says for each step which character it sees, or none
//! (connectionist temporal classification, Graves et al. 2006). A character is a run of steps with the same answer;
//! its place is the middle of the run, and it reaches half way to its neighbours.

use super::RecognitionFault;
use super::network::Network;

/// Height at which the network is shown a line, in pixels.
pub(super) const HEIGHT: usize = 48;
/// Widest line it is shown; longer ones are cut before.
pub(super) const WIDEST: usize = 3200;
/// Narrowest.
const NARROWEST: usize = 16;

/// What was read of a line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Words {
    /// Its characters, each with where it begins and ends as a share of the line.
    pub characters: Vec<(char, [f32; 2])>,
    /// Mean probability of the characters.
    pub confidence: f32,
}

/// The reading network with its characters.
pub(super) struct Transcriber {
    network: Network,
    /// By class; the first is "none".
    characters: Vec<char>,
}

impl Transcriber {
    /// Takes the network, whose file lists its characters.
    pub fn new(network: Network) -> Result<Transcriber, RecognitionFault> {
        let list = network.field("character").unwrap_or_default();
        let mut characters = vec!['\0'];
        characters.extend(list.split('\n').filter_map(|line| line.chars().next()));
        characters.push(' ');
        if characters.len() < 3 {
            return Err(RecognitionFault::Model {
                network: "transcription".into(),
                reason: "it lists no characters".into(),
            });
        }
        Ok(Transcriber {
            network,
            characters,
        })
    }

    /// Width at which a line of these sides is shown.
    pub fn width(length: f32, height: f32) -> usize {
        let width = (HEIGHT as f32 * length / height.max(1.0)).ceil();
        (width as usize).clamp(NARROWEST, WIDEST)
    }

    /// Reads a line.
    pub fn read(&self, planes: Vec<f32>, width: usize) -> Result<Words, RecognitionFault> {
        let said = self.network.run(planes, [width, HEIGHT])?;
        match said.shape[..] {
            [1, _, classes] if classes == self.characters.len() => {
                Ok(words(&said.values, &self.characters))
            }
            _ => Err(RecognitionFault::Model {
                network: "transcription".into(),
                reason: format!(
                    "it answers with the shape {:?} for {} characters",
                    said.shape,
                    self.characters.len()
                ),
            }),
        }
    }
}

/// The likeliest character of each step, runs of the same one taken together.
fn words(probabilities: &[f32], characters: &[char]) -> Words {
    let steps = probabilities.len() / characters.len();
    // Middle of each run in steps, and its best probability.
    let mut runs: Vec<(char, f32, f32)> = Vec::new();
    let mut run: Option<(usize, usize, f32)> = None; // class, first step, best
    let best = probabilities
        .chunks_exact(characters.len())
        .map(|step| {
            let best = step.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            best.map_or((0, 0.0), |(class, probability)| (class, *probability))
        })
        .chain(std::iter::once((0, 0.0)));
    for (step, (class, probability)) in best.enumerate() {
        match &mut run {
            Some((same, _, best)) if *same == class => *best = best.max(probability),
            _ => {
                if let Some((class, first, best)) = run.take() {
                    runs.push((characters[class], (first + step) as f32 / 2.0, best));
                }
                run = (class != 0).then_some((class, step, probability));
            }
        }
    }
    let confidence = runs.iter().map(|run| run.2).sum::<f32>() / runs.len().max(1) as f32;
    Words {
        characters: placed(&runs, steps as f32),
        confidence,
    }
}

/// Characters from the middles of their runs: each reaches half way to its neighbours, the outermost as far out as in.
fn placed(runs: &[(char, f32, f32)], steps: f32) -> Vec<(char, [f32; 2])> {
    let middle = |index: usize| runs[index].1;
    (0..runs.len())
        .map(|index| {
            let before = index
                .checked_sub(1)
                .map(|i| (middle(i) + middle(index)) / 2.0);
            let after = (index + 1 < runs.len()).then(|| (middle(index) + middle(index + 1)) / 2.0);
            let begins = before.or(after.map(|after| 2.0 * middle(index) - after));
            let ends = after.or(before.map(|before| 2.0 * middle(index) - before));
            let sides = [begins.unwrap_or(0.0), ends.unwrap_or(steps)];
            (
                runs[index].0,
                sides.map(|side| (side / steps).clamp(0.0, 1.0)),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probabilities in which each step is sure of one class of four.
    fn sure(classes: &[usize]) -> Vec<f32> {
        classes
            .iter()
            .flat_map(|&class| (0..4).map(move |c| if c == class { 0.9 } else { 0.02 }))
            .collect()
    }

    const CHARACTERS: [char; 4] = ['\0', 'a', 'b', ' '];

    #[test]
    fn runs_are_characters_and_none_parts_twins() {
        let words = words(&sure(&[0, 1, 1, 0, 1, 3, 2, 2, 2, 0]), &CHARACTERS);
        let text: String = words.characters.iter().map(|c| c.0).collect();
        assert_eq!(text, "aa b");
        assert!((words.confidence - 0.9).abs() < 1e-6);
        // Middles at 2, 4.5, 5.5 and 7.5 of ten steps.
        let sides: Vec<[f32; 2]> = words.characters.iter().map(|c| c.1).collect();
        let expected = [[0.075, 0.325], [0.325, 0.5], [0.5, 0.65], [0.65, 0.85]];
        for (found, wanted) in sides.iter().zip(expected) {
            assert!(
                (found[0] - wanted[0]).abs() < 1e-5 && (found[1] - wanted[1]).abs() < 1e-5,
                "{sides:?}"
            );
        }
    }

    #[test]
    fn one_character_has_the_whole_line_and_nothing_none() {
        let one = words(&sure(&[0, 2, 0]), &CHARACTERS);
        assert_eq!(one.characters, [('b', [0.0, 1.0])]);
        assert!(words(&sure(&[0, 0]), &CHARACTERS).characters.is_empty());
    }

    #[test]
    fn no_numbers_are_no_panic() {
        let strange = words(&[f32::NAN; 12], &CHARACTERS);
        assert!(strange.characters.len() <= 3);
    }
}
