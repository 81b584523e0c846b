//! Leaving out of a cache what the person does not want to keep, once the document is read.

use super::caches::megabytes;
use super::pausing::Pauses;
use super::reading::Lesson;
use super::seat::Precedence;
use super::told::{DAMAGED, Told};
use super::{Job, Lectern};
use crate::background;
use crate::kv::KvCache;
use crate::reading::{self, Followers};
use lectern_protocol::{Event, Failure, ReadProgress};
use tokio::runtime::Handle;

impl Lectern {
    /// Leaves out of a document's cache, which is complete, what the settings say is not kept, and says what that saved. Where nothing
    /// is to be left out, or was already, nothing happens.
    pub(super) fn make_smaller(
        &self,
        on: &Handle,
        lesson: &Lesson,
        cache: KvCache,
        job: &Job,
    ) -> Result<(), Failure> {
        let percent = self.settings().kept_percent;
        if percent >= 100 {
            return Ok(());
        }
        if !cache.format().can_be_thinned() {
            job.tell(Event::Notice {
                message: format!(
                    "It is kept whole: of what is kept as {}, nothing can be left out.",
                    cache.format().name()
                ),
            });
            return Ok(());
        }
        let (id, before) = (&lesson.stored.row.id, cache.bytes());
        let answer = self.settings().max_answer_tokens as usize;
        let note = |tokens: usize, bytes: u64| -> Result<(), Failure> {
            let reading = lesson.so_far(tokens, bytes, answer);
            let model = lesson.model.fingerprint();
            Ok(on.block_on(self.library.note_reading(id, model, reading))?)
        };
        let waits = ReadProgress {
            making_smaller: true,
            ..super::reading::waiting(0, lesson.tokens.len())
        };
        let seated = self.sit_to_read(Precedence::Reading, job, waits)?;
        // What is worth something is told from what was read, not from what a disk made of it.
        let input = lesson.input();
        let mended = background::run(|| reading::mend(&lesson.model, &input, &cache, &job.cancel));
        if mended.map_err(Told::told)? > 0 {
            job.tell(Event::Notice {
                message: DAMAGED.to_owned(),
            });
        }
        if cache.tokens() < lesson.total() {
            // It could not be mended in its place: it is to be read on from there, and not made smaller before that.
            return note(lesson.of_document(cache.tokens()), cache.bytes());
        }
        let (shown, pauses) = (cache.view(), Pauses::default());
        let thinned = reading::thin(
            &lesson.model,
            &input,
            cache,
            f64::from(percent) / 100.0,
            Followers {
                progress: &|progress| job.tell(Event::Reading(*progress)),
                yield_point: &|| {
                    self.under_way.show(id, shown.clone());
                    self.stand_back(&pauses, &seated, job, &|| waits);
                },
                behind: Some(self.seat.wanted()),
                ..Followers::none(&job.cancel)
            },
        )
        .map_err(Told::told)?;
        thinned.note_kept(percent).map_err(Told::told)?;
        let after = thinned.bytes();
        if after < before {
            note(lesson.tokens.len(), after)?;
            job.tell(Event::Notice {
                message: format!(
                    "{:.0}% of what was read is kept, {} in place of {}. To have all of it again, discard what was read and read it anew.",
                    100.0 * thinned.view().share_kept(),
                    megabytes(after),
                    megabytes(before)
                ),
            });
        }
        Ok(())
    }
}
