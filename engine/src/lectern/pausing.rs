//! A reading that stands back: for questions, and while the machine runs on its battery.

use super::seat::{LOOK_AGAIN, Seated};
use super::{Job, Lectern};
use lectern_protocol::{Event, ReadProgress};
use std::time::{Duration, Instant};

/// How often the battery is looked at.
const LOOK_AT_POWER: Duration = Duration::from_secs(2);

/// Looks at the battery now and then, not between any two chunks.
#[derive(Default)]
pub(super) struct Pauses {
    looked: std::cell::Cell<Option<Instant>>,
}

impl Lectern {
    /// Called by a reading between its chunks: lets questions through, and waits while the machine runs on its battery, unless the
    /// settings say to go on or the job is ended. `waits` tells how far it is meanwhile.
    pub(super) fn stand_back(
        &self,
        pauses: &Pauses,
        seated: &Seated<'_>,
        job: &Job,
        waits: &dyn Fn() -> ReadProgress,
    ) {
        let let_through = || seated.let_questions_through(|| job.tell(Event::Reading(waits())));
        let_through();
        let looked = pauses.looked.get();
        if looked.is_some_and(|looked| looked.elapsed() < LOOK_AT_POWER) {
            return;
        }
        let mut told = false;
        while self.pauses_on_battery() && !job.cancel.is_cancelled() {
            if !told {
                told = true;
                job.tell(Event::Notice {
                    message: "Reading waits while the machine runs on its battery. The settings can have it go on.".to_owned(),
                });
                job.tell(Event::Reading(waits()));
            }
            let until = Instant::now() + LOOK_AT_POWER;
            while Instant::now() < until && !job.cancel.is_cancelled() {
                std::thread::sleep(LOOK_AGAIN);
                let_through();
            }
        }
        pauses.looked.set(Some(Instant::now()));
    }

    fn pauses_on_battery(&self) -> bool {
        !self.settings().read_on_battery && self.options.power.is_on_battery()
    }
}
