//! The whole engine behind one handle: the library, the seat of the model, and the jobs that need both.
//!
//! In: what a person wants, as the command line and `lectern serve` alike put it. Out: protocol values, with
//! [`Event`]s on the way. Everything here is `async` on the outside; what computes runs on blocking threads, one job
//! at a time in the model's [`Seat`](seat::Seat), questions before readings.

mod adding;
mod adopting;
mod anchoring;
mod asking;
mod cache_format;
mod caches;
mod choosing;
mod endpoint;
mod export;
mod following;
mod forecast;
#[cfg(feature = "cuda")]
mod gpu_plan;
mod keeping;
mod meaning;
mod models;
mod nearest;
mod opened;
mod passages;
mod pausing;
mod reading;
mod recognising;
mod refreshing;
mod seat;
mod summaries;
mod thinning;
mod told;
mod under_way;
mod viewing;
mod way;

pub use choosing::ChosenModel;
pub use export::{FAR, NEAREST, place};

use crate::attention::{CancelFlag, KeptIndex};
use crate::endpoint::Server;
use crate::home::Home;
use crate::library::Library;
use crate::power::Power;
use crate::settings;
use forecast::Forecaster;
use lectern_protocol::{Endpoint, Event, Failure, FailureCode, Hello, PROTOCOL_VERSION, Settings};
use opened::OpenDocuments;
use seat::Seat;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use under_way::UnderWay;

/// Whom a job tells what happens, and how it is stopped.
#[derive(Clone)]
pub struct Job {
    tell: Arc<dyn Fn(Event) + Send + Sync>,
    cancel: CancelFlag,
}

impl Job {
    /// A job whose events go to `tell` and which ends when `cancel` is raised.
    pub fn new(tell: impl Fn(Event) + Send + Sync + 'static, cancel: CancelFlag) -> Job {
        Job {
            tell: Arc::new(tell),
            cancel,
        }
    }

    /// Passes an event on.
    pub fn tell(&self, event: Event) {
        (self.tell)(event);
    }

    /// The flag that ends it.
    pub fn cancel(&self) -> &CancelFlag {
        &self.cancel
    }
}

/// How a Lectern is opened.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Name or path of a model; goes before the setting.
    pub model: Option<String>,
    /// The `lectern` program, which extracts documents in a process of its own; the one that is running without.
    pub program: Option<std::path::PathBuf>,
    /// A server that answers; goes before the setting.
    pub endpoint: Option<Endpoint>,
    /// What says whether the machine runs on its battery, which readings then wait for; nothing does without.
    pub power: Power,
}

/// An open Lectern: cheap to share behind an [`Arc`].
pub struct Lectern {
    library: Library,
    settings: RwLock<Settings>,
    options: Options,
    seat: Seat,
    opened: OpenDocuments,
    /// Of the document that was asked last.
    index: KeptIndex,
    /// One job at a time for a document's cache; others wait.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Jobs that hold a document or look at it, so that removing it can end them.
    running: Mutex<Vec<(String, CancelFlag)>>,
    under_way: UnderWay,
    forecaster: Forecaster,
    meaning: meaning::Meaning,
    #[cfg(feature = "cuda")]
    gpu_room: gpu_plan::Room,
    /// Documents are extracted one after the other.
    adding: tokio::sync::Semaphore,
    /// Scanned pages of one document are recognised at a time; other documents are added meanwhile.
    recognising: tokio::sync::Semaphore,
}

impl Lectern {
    /// Opens the library of `home`.
    pub async fn open(home: &Home, options: Options) -> Result<Arc<Lectern>, Failure> {
        let settings = settings::load(home)?;
        let library = Library::open(home).await?;
        #[cfg(feature = "cuda")]
        crate::attention::remember_gpu_checks_in(&home.gpu_checks());
        let lectern = Arc::new(Lectern {
            library,
            settings: RwLock::new(settings),
            options,
            seat: Seat::new(),
            opened: OpenDocuments::new(),
            index: KeptIndex::default(),
            turns: Mutex::new(HashMap::new()),
            running: Mutex::new(Vec::new()),
            under_way: UnderWay::default(),
            forecaster: Forecaster::open(home.paces()),
            meaning: meaning::Meaning::default(),
            #[cfg(feature = "cuda")]
            gpu_room: gpu_plan::Room::default(),
            adding: tokio::sync::Semaphore::new(1),
            recognising: tokio::sync::Semaphore::new(1),
        });
        lectern.settle_caches().await?;
        Ok(lectern)
    }

    /// Lets the model go if nobody used it for as long as the settings say, and what it was asked by.
    pub fn release_if_idle(&self) {
        let idle = std::time::Duration::from_secs(60 * u64::from(self.settings().idle_minutes));
        if self.seat.release_if_idle(idle) {
            self.index.forget();
            self.meaning.forget();
        }
    }

    /// Writes what is to be written and closes the library. Jobs must have ended.
    pub async fn close(&self) {
        self.library.close().await;
    }

    /// Who is there.
    pub fn hello(&self) -> Hello {
        Hello {
            protocol: PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            home: self.library.home().data().display().to_string(),
            model: self.chosen_model().ok().map(|chosen| chosen.name),
        }
    }

    /// The settings as they are now.
    pub fn settings(&self) -> Settings {
        self.settings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces the settings. Another model is loaded when it is next needed.
    pub fn change_settings(&self, changed: Settings) -> Result<Settings, Failure> {
        if let Some(model) = &changed.model {
            self.find_model(model)?;
        }
        if changed.endpoint.on {
            Server::new(&changed.endpoint, None)?;
        }
        settings::save(self.library.home(), &changed)?;
        *self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = changed.clone();
        Ok(changed)
    }

    /// The document whose id begins with `prefix`.
    pub async fn resolve(&self, prefix: &str) -> Result<String, Failure> {
        Ok(self.library.resolve(prefix).await?)
    }

    /// Waits until no other job of this Lectern holds the document, then holds it. Ends with `cancelled` when the
    /// job is. `waiting` is called once if it is not free at once.
    async fn hold(&self, id: &str, job: &Job, waiting: impl FnOnce()) -> Result<Held<'_>, Failure> {
        self.hold_or_overtake(id, job, false, waiting).await
    }

    /// As [`Lectern::hold`], but with `overtake` a reading of the document is not waited for: it goes on between
    /// the steps of this job, which then only looks at the document.
    async fn hold_or_overtake(
        &self,
        id: &str,
        job: &Job,
        overtake: bool,
        waiting: impl FnOnce(),
    ) -> Result<Held<'_>, Failure> {
        let turn = self.turn(id);
        let mut waiting = Some(waiting);
        let guard = loop {
            if let Ok(guard) = turn.clone().try_lock_owned() {
                break Some(guard);
            }
            if overtake && self.under_way.is_reading(id) {
                break None;
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            if job.cancel.is_cancelled() {
                return Err(cancelled());
            }
            tokio::time::sleep(seat::LOOK_AGAIN).await;
        };
        // Removed while this waited.
        self.library.row(id).await?;
        lock(&self.running).push((id.to_owned(), job.cancel.clone()));
        Ok(Held {
            lectern: self,
            id: id.to_owned(),
            turn: guard,
        })
    }

    /// Says that a job looks at a document and needs no cache: removing the document ends it, and nothing waits.
    fn look_at(&self, id: &str, job: &Job) -> Held<'_> {
        lock(&self.running).push((id.to_owned(), job.cancel.clone()));
        Held {
            lectern: self,
            id: id.to_owned(),
            turn: None,
        }
    }

    fn turn(&self, id: &str) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(lock(&self.turns).entry(id.to_owned()).or_default())
    }
}

/// A document that a job holds, or looks at while another reads it.
struct Held<'l> {
    lectern: &'l Lectern,
    id: String,
    turn: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl Held<'_> {
    /// Whether another job reads the document meanwhile.
    fn overtakes(&self) -> bool {
        self.turn.is_none()
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut running = lock(&self.lectern.running);
        if let Some(place) = running.iter().position(|(id, _)| *id == self.id) {
            running.remove(place);
        }
    }
}

/// What is guarded here stays whole through a panic, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cancelled() -> Failure {
    Failure {
        code: FailureCode::Cancelled,
        message: "cancelled".to_owned(),
        advice: None,
    }
}

/// Runs what computes on a thread of its own. A panic there is a failure of that job alone.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => {
            tracing::error!("a job ended in a panic: {panic}");
            Err(Failure {
                code: FailureCode::Other,
                message: "the engine met a fault of its own; this job was given up".to_owned(),
                advice: Some("Nothing that was stored is lost. Try again.".to_owned()),
            })
        }
    }
}
