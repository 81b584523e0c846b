//! Documents that are being read now, and what their caches hold so far: what a question that does not want to wait
//! looks at.

use super::lock;
use crate::kv::KvView;
use std::collections::HashMap;
use std::sync::Mutex;

/// Readings under way, by document. A view is there from the first chunk on.
#[derive(Default)]
pub(super) struct UnderWay {
    readings: Mutex<HashMap<String, Option<KvView>>>,
}

impl UnderWay {
    /// A reading begins, or waits to; it ends when what is returned is dropped.
    pub fn begin(&self, id: &str) -> ReadingUnderWay<'_> {
        lock(&self.readings).insert(id.to_owned(), None);
        ReadingUnderWay {
            under_way: self,
            id: id.to_owned(),
        }
    }

    /// Lets questions see this much of a document, if its reading may be overtaken.
    pub fn show(&self, id: &str, view: KvView) {
        if let Some(shown) = lock(&self.readings).get_mut(id) {
            *shown = Some(view);
        }
    }

    /// Whether this document is being read, or waits for it.
    pub fn is_reading(&self, id: &str) -> bool {
        lock(&self.readings).contains_key(id)
    }

    /// What its cache holds so far.
    pub fn view(&self, id: &str) -> Option<KvView> {
        lock(&self.readings).get(id).cloned().flatten()
    }
}

/// One of them.
pub(super) struct ReadingUnderWay<'u> {
    under_way: &'u UnderWay,
    id: String,
}

impl Drop for ReadingUnderWay<'_> {
    fn drop(&mut self) {
        lock(&self.under_way.readings).remove(&self.id);
    }
}
