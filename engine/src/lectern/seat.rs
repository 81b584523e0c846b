//! The seat of the model: who may compute now, and which model is loaded.
//!
//! Two jobs that computed side by side would each run at half speed and finish later than one after the other, so
//! there is one seat. A question waits only for other questions: while one waits a reading gives up the chunk that it is at, and stands
//! up until it is answered.

use super::lock;
use crate::attention::{CancelFlag, Wanted};
use lectern_models::{Model, ModelError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How soon a waiting job sees that it was cancelled.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precedence {
    /// A person waits.
    Question,
    /// Goes on whenever nobody asks.
    Reading,
}

/// The seat.
pub(super) struct Seat {
    line: Mutex<Line>,
    moved: Condvar,
    /// While questions wait.
    wanted: Wanted,
    loaded: Mutex<Option<Loaded>>,
}

#[derive(Default)]
struct Line {
    taken: bool,
    /// Questions that wait.
    questions: usize,
}

struct Loaded {
    path: PathBuf,
    /// How many times its positions are stretched.
    stretch: u32,
    stamp: (u64, Option<SystemTime>),
    model: Arc<Model>,
    last_used: Instant,
}

/// The right to compute; given up when dropped.
pub(super) struct Seated<'s> {
    seat: &'s Seat,
}

impl Seat {
    pub fn new() -> Seat {
        Seat {
            line: Mutex::new(Line::default()),
            moved: Condvar::new(),
            wanted: Wanted::new(),
            loaded: Mutex::new(None),
        }
    }

    /// Waits for the seat; `None` if `cancel` was raised first. `waiting` is called once if it is not free at once.
    pub fn take(
        &self,
        precedence: Precedence,
        cancel: &CancelFlag,
        waiting: impl FnOnce(),
    ) -> Option<Seated<'_>> {
        let question = precedence == Precedence::Question;
        let mut waiting = Some(waiting);
        let mut line = lock(&self.line);
        line.questions += usize::from(question);
        self.wanted.set(line.questions > 0);
        let seated = loop {
            if cancel.is_cancelled() {
                break None;
            }
            if !line.taken && (question || line.questions == 0) {
                line.taken = true;
                break Some(Seated { seat: self });
            }
            if let Some(waiting) = waiting.take() {
                drop(line);
                waiting();
                line = lock(&self.line);
                continue;
            }
            line = self
                .moved
                .wait_timeout(line, LOOK_AGAIN)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        };
        line.questions -= usize::from(question);
        self.wanted.set(line.questions > 0);
        drop(line);
        self.moved.notify_all();
        seated
    }

    /// Whether questions wait for it.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// The model of this file, to read `stretch` times further than it was trained for: the loaded one if it is the same file
    /// still, else it is loaded, and the one before it is let go first, so that two are never in memory. Only whoever is seated may
    /// ask.
    pub fn model(
        &self,
        _seated: &Seated<'_>,
        path: &Path,
        stretch: u32,
        loading: impl FnOnce(),
    ) -> Result<Arc<Model>, ModelError> {
        let mut loaded = lock(&self.loaded);
        let stamp = stamp(path);
        if let Some(resident) = loaded.as_mut()
            && resident.path == path
            && resident.stretch == stretch
            // A file that is gone does not make the loaded model worse.
            && stamp.is_none_or(|stamp| stamp == resident.stamp)
        {
            resident.last_used = Instant::now();
            return Ok(Arc::clone(&resident.model));
        }
        *loaded = None;
        loading();
        let model = Arc::new(crate::model::load_stretched(path, f64::from(stretch))?);
        *loaded = Some(Loaded {
            path: path.to_owned(),
            stretch,
            stamp: stamp.unwrap_or((0, None)),
            model: Arc::clone(&model),
            last_used: Instant::now(),
        });
        Ok(model)
    }

    /// This file's model, if it is loaded.
    #[cfg(feature = "cuda")]
    pub fn loaded(&self, path: &Path) -> Option<Arc<Model>> {
        let loaded = lock(&self.loaded);
        let of_file = loaded.as_ref().filter(|loaded| loaded.path == path)?;
        Some(Arc::clone(&of_file.model))
    }

    /// Lets the model go if nobody used it for `idle`; returns whether nobody did.
    pub fn release_if_idle(&self, idle: Duration) -> bool {
        if lock(&self.line).taken {
            return false;
        }
        let mut loaded = lock(&self.loaded);
        let unused = loaded
            .as_ref()
            .is_some_and(|loaded| loaded.last_used.elapsed() >= idle);
        if unused {
            *loaded = None;
            tracing::info!("the model was not used for {idle:?} and is let go");
        }
        unused
    }
}

impl Seated<'_> {
    /// Called by a reading between its chunks: stands up while questions wait.
    pub fn let_questions_through(&self, waiting: impl FnOnce()) {
        let mut line = lock(&self.seat.line);
        if line.questions == 0 {
            return;
        }
        line.taken = false;
        self.seat.moved.notify_all();
        drop(line);
        waiting();
        let mut line = lock(&self.seat.line);
        while line.taken || line.questions > 0 {
            line = self
                .seat
                .moved
                .wait(line)
                .unwrap_or_else(PoisonError::into_inner);
        }
        line.taken = true;
    }
}

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        lock(&self.seat.line).taken = false;
        self.seat.moved.notify_all();
    }
}

fn stamp(path: &Path) -> Option<(u64, Option<SystemTime>)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::mpsc::channel;
    use std::thread;

    #[test]
    fn a_question_goes_between_the_chunks_of_a_reading() {
        let seat = Seat::new();
        let never = CancelFlag::new();
        let (order, happened) = channel();
        let reading = seat.take(Precedence::Reading, &never, || ()).unwrap();
        thread::scope(|scope| {
            let asking = order.clone();
            let (seat, never) = (&seat, &never);
            scope.spawn(move || {
                let _seated = seat
                    .take(Precedence::Question, never, || {
                        asking.send("waits").unwrap()
                    })
                    .unwrap();
                asking.send("answers").unwrap();
            });
            assert_eq!(happened.recv().unwrap(), "waits");
            assert!(seat.wanted().is_wanted());
            reading.let_questions_through(|| order.send("stands up").unwrap());
            order.send("reads on").unwrap();
            drop(order);
            let rest: Vec<_> = happened.iter().collect();
            assert_eq!(rest.last(), Some(&"reads on"), "{rest:?}");
            assert!(rest.contains(&"answers"));
        });
        // Nobody waits: the reading keeps its seat.
        assert!(!seat.wanted().is_wanted());
        reading.let_questions_through(|| panic!("nobody waits"));
    }

    #[test]
    fn a_cancelled_job_stops_waiting() {
        let seat = Seat::new();
        let seated = seat
            .take(Precedence::Question, &CancelFlag::new(), || ())
            .unwrap();
        let cancel = CancelFlag::new();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| seat.take(Precedence::Question, &cancel, || ()).is_none());
            cancel.cancel();
            assert!(waiting.join().unwrap());
        });
        drop(seated);
        // Its place in the line is gone, too: a reading is not held up.
        assert!(!seat.wanted().is_wanted());
        assert!(
            seat.take(Precedence::Reading, &CancelFlag::new(), || ())
                .is_some()
        );
    }
}
