//! What `lectern eval hold` prints.

use super::super::claims::ClaimKind;
use super::super::discern::{auroc, threshold};
use super::super::score::Share;
use super::{Judged, Score, Shown};
use lectern_protocol::SupportState;

/// All tables; `shown` is by kind, in the order of [`ClaimKind::ALL`].
pub(super) fn print(keep: &[f64], shown: &[Shown], found: &[Judged]) {
    println!("\nshown by words alone");
    for (kind, shown) in ClaimKind::ALL.iter().zip(shown) {
        println!(
            "  {:<11} supported {:<28} partly {}",
            kind.name(),
            shown.supported.to_string(),
            shown.partly
        );
    }
    let supported: Vec<&Judged> = found
        .iter()
        .filter(|judged| judged.state == SupportState::Supported)
        .collect();
    print_order(&supported);
    let (fits, reports): (Vec<&Judged>, Vec<&Judged>) =
        supported.into_iter().partition(|judged| judged.fits());
    for &share in keep {
        print_kept(share, &fits, &reports);
    }
    print_time(found);
}

/// How well each score orders claims: all true ones against each kind of false ones, and those of the same form.
fn print_order(supported: &[&Judged]) {
    println!(
        "\nAUROC of supported claims, true against false; in parentheses against true ones of the same form"
    );
    print!("  {:<29}", "");
    for kind in kinds(false) {
        print!(" {:<13}", kind.name());
    }
    println!(" all");
    for score in Score::all() {
        let of = |wanted: &dyn Fn(ClaimKind) -> bool| -> Vec<f32> {
            let wanted = supported.iter().filter(|judged| wanted(judged.kind));
            wanted.map(|judged| score.of(&judged.trial)).collect()
        };
        print!("  {:<29}", score.name());
        let all_true = of(&ClaimKind::is_true);
        for kind in kinds(false) {
            let false_ones = of(&|other| other == kind);
            let same_form = of(&|other| other == kind.true_kind());
            let pooled = number(auroc(&all_true, &false_ones));
            let paired = number(auroc(&same_form, &false_ones));
            print!(" {:<13}", format!("{pooled} ({paired})"));
        }
        println!(
            " {}",
            number(auroc(&all_true, &of(&|kind| !kind.is_true())))
        );
    }
}

/// What stays supported on documents that the threshold was not chosen on.
fn print_kept(share: f64, fits: &[&Judged], reports: &[&Judged]) {
    println!(
        "\nstill supported on odd documents if {:.0}% of the true ones are on even ones",
        100.0 * share
    );
    let kinds: Vec<ClaimKind> = kinds(true).into_iter().chain(kinds(false)).collect();
    print!("  {:<29} {:>9}", "", "threshold");
    kinds.iter().for_each(|kind| print!(" {:>12}", kind.name()));
    println!(" {:>12}", "all false");
    for score in Score::all() {
        let true_ones = fits.iter().filter(|judged| judged.kind.is_true());
        let true_ones: Vec<f32> = true_ones.map(|judged| score.of(&judged.trial)).collect();
        let Some(least) = threshold(&true_ones, share) else {
            continue;
        };
        let still = |wanted: &dyn Fn(ClaimKind) -> bool| {
            let mut still = Share::default();
            let wanted = reports.iter().filter(|judged| wanted(judged.kind));
            wanted.for_each(|judged| still.count(score.of(&judged.trial) >= least));
            format!("{}/{}", still.hits, still.of)
        };
        print!("  {:<29} {least:>9.3}", score.name());
        for &kind in &kinds {
            print!(" {:>12}", still(&|other| other == kind));
        }
        println!(" {:>12}", still(&|kind| !kind.is_true()));
    }
}

fn print_time(found: &[Judged]) {
    let count = found.len().max(1) as f64;
    let mean = |of: &dyn Fn(&Judged) -> f64| found.iter().map(of).sum::<f64>() / count;
    let [without, span, paragraph, rest, _, outright, _] =
        [0, 1, 2, 3, 4, 5, 6].map(|nth| mean(&|judged| judged.trial.ms[nth]));
    println!(
        "\na claim of {:.0} tokens: {without:.0} ms without words, {span:.0} ms with the cited ones, {paragraph:.0} ms \
         with their paragraph, {rest:.0} ms with the rest of it; asked outright {outright:.0} ms with the cited words",
        mean(&|judged| judged.tokens as f64)
    );
}

/// The kinds of true claims, or of false ones.
fn kinds(true_ones: bool) -> Vec<ClaimKind> {
    let kinds = ClaimKind::ALL.into_iter();
    kinds.filter(|kind| kind.is_true() == true_ones).collect()
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}
