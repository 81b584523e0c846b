//! How a document is read: with attention to everything, in segments, or not at all.

use super::cache_format::is_kept_in;
use crate::kv::{BlockFormat, CacheIdentity};
use crate::library::ReadingWay;
use crate::reading::{SEGMENT_TOKENS, Segments};
use lectern_protocol::{BeyondWindow, KvFormat};

/// One of the ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Each token looks at all before it.
    Whole,
    /// See [`Segments`].
    InSegments,
    /// Passages of it are read for each question.
    TooLong,
}

impl Way {
    /// How a document of so many tokens is read by a model whose window leaves room for `window` of them and that reads
    /// up to `whole` well.
    pub fn of(tokens: usize, window: usize, whole: usize, beyond: BeyondWindow) -> Way {
        match (tokens > window, beyond) {
            (true, BeyondWindow::Read) => Way::InSegments,
            (true, BeyondWindow::Passages) => Way::TooLong,
            (false, _) if tokens > whole => Way::InSegments,
            (false, _) => Way::Whole,
        }
    }

    /// Whether what was read `earlier` is used by who reads this way, under this setting of the format, with a model for
    /// which `measured` was found good enough.
    pub fn uses(self, earlier: ReadingWay, setting: KvFormat, measured: BlockFormat) -> bool {
        let scope = match self {
            Way::Whole => Some(0),
            Way::InSegments => Some(Segments::scope(SEGMENT_TOKENS)),
            Way::TooLong => None,
        };
        let format = BlockFormat::by_number(earlier.format);
        scope == Some(earlier.scope)
            && format.is_some_and(|format| is_kept_in(format, setting, measured))
    }
}

/// The way in which a cache was read and is kept.
pub(super) fn way_of(identity: &CacheIdentity) -> ReadingWay {
    ReadingWay {
        scope: identity.scope,
        format: identity.format,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_and_what_is_read_well_decide() {
        let read = |tokens| Way::of(tokens, 30_000, 4096, BeyondWindow::Read);
        assert_eq!(read(4096), Way::Whole);
        assert_eq!(read(4097), Way::InSegments);
        assert_eq!(read(30_001), Way::InSegments);
        let passages = |tokens| Way::of(tokens, 30_000, 4096, BeyondWindow::Passages);
        assert_eq!(passages(30_000), Way::InSegments);
        assert_eq!(passages(30_001), Way::TooLong);
    }

    #[test]
    fn what_was_read_another_way_or_kept_otherwise_is_not_used() {
        let earlier = |scope, format: BlockFormat| ReadingWay {
            scope,
            format: format.number(),
        };
        let uses = |way: Way, earlier| way.uses(earlier, KvFormat::Auto, BlockFormat::K8V4);
        let whole = earlier(0, BlockFormat::K8V4);
        let in_segments = earlier(Segments::scope(SEGMENT_TOKENS), BlockFormat::K8V4);
        assert!(uses(Way::Whole, whole) && uses(Way::InSegments, in_segments));
        assert!(!uses(Way::InSegments, whole) && !uses(Way::Whole, in_segments));
        assert!(!uses(Way::TooLong, whole) && !uses(Way::TooLong, in_segments));
        // Kept finer than need be, it stays in use; coarser, it does not.
        assert!(uses(Way::Whole, earlier(0, BlockFormat::F16)));
        assert!(!uses(Way::Whole, earlier(0, BlockFormat::K4V4)));
        let set = |setting| Way::Whole.uses(whole, setting, BlockFormat::K8V8);
        assert!(set(KvFormat::K8V4) && !set(KvFormat::K4V4) && !set(KvFormat::Auto));
    }
}
