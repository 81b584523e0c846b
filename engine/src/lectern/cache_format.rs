//! Which block format a document's cache is kept in.

use super::{Job, Lectern};
use crate::kv::{BlockFormat, CacheIdentity};
use lectern_protocol::{Event, Failure, KvFormat};

impl Lectern {
    /// The format that a document which nobody has read would be kept in.
    #[cfg(feature = "cuda")]
    pub(super) fn format_of_new_caches(&self, measured: BlockFormat) -> BlockFormat {
        decide(self.settings().kv_format, measured, &[])
    }

    /// The format for a document: what the setting says, else the model's measured one, unless the document was read
    /// in a finer one. If what was read cannot be used, the person is told. The format of `identity` does not count.
    pub(super) fn cache_format(
        &self,
        identity: &CacheIdentity,
        measured: BlockFormat,
        job: &Job,
    ) -> Result<BlockFormat, Failure> {
        let here: Vec<BlockFormat> = self
            .caches()?
            .iter()
            .filter(|cache| cache.bytes > 0)
            .filter(|cache| {
                let found = CacheIdentity {
                    format: identity.format,
                    ..cache.identity.clone()
                };
                found == *identity
            })
            .filter_map(|cache| BlockFormat::by_number(cache.identity.format))
            .collect();
        let format = decide(self.settings().kv_format, measured, &here);
        if !here.is_empty() && !here.contains(&format) {
            job.tell(Event::Notice {
                message: format!(
                    "What was read of this document is kept as {}; it is read again to be kept as {}.",
                    here[0].name(),
                    format.name()
                ),
            });
        }
        Ok(format)
    }
}

/// Whether a document that was read in this format is used as it is.
pub(super) fn is_kept_in(format: BlockFormat, setting: KvFormat, measured: BlockFormat) -> bool {
    decide(setting, measured, &[format]) == format
}

/// The format to use, if the document was read already in those that are `here`.
fn decide(setting: KvFormat, measured: BlockFormat, here: &[BlockFormat]) -> BlockFormat {
    match setting {
        KvFormat::F16 => BlockFormat::F16,
        KvFormat::K8V8 => BlockFormat::K8V8,
        KvFormat::K8V4 => BlockFormat::K8V4,
        KvFormat::K4V4 => BlockFormat::K4V4,
        KvFormat::Auto => {
            let fine = BlockFormat::ALL
                .iter()
                .position(|format| *format == measured)
                .map_or(&BlockFormat::ALL[..1], |last| &BlockFormat::ALL[..=last]);
            let found = fine.iter().rev().find(|format| here.contains(format));
            found.copied().unwrap_or(measured)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BlockFormat::{F16, K2V4, K4V4, K8V4, K8V8};

    #[test]
    fn what_was_read_as_finely_or_finer_stays_in_use() {
        let auto = |here: &[BlockFormat]| decide(KvFormat::Auto, K8V4, here);
        assert_eq!(auto(&[]), K8V4);
        assert_eq!(auto(&[F16]), F16);
        assert_eq!(auto(&[F16, K8V8]), K8V8);
        assert_eq!(auto(&[F16, K8V4]), K8V4);
        assert_eq!(auto(&[K4V4, K2V4]), K8V4);
    }

    #[test]
    fn a_setting_is_obeyed() {
        assert_eq!(decide(KvFormat::K4V4, K8V8, &[F16]), K4V4);
        assert_eq!(decide(KvFormat::F16, K4V4, &[K4V4]), F16);
    }

    #[test]
    fn the_catalogues_formats_are_known() {
        let nowhere = std::path::Path::new("no-models");
        let catalogue = lectern_models::Catalogue::load(nowhere);
        let named = catalogue.iter().flat_map(|catalogue| catalogue.entries());
        let mut known = 0;
        for name in named.filter_map(|entry| entry.kv_format.as_deref()) {
            assert!(BlockFormat::by_name(name).is_some(), "{name}");
            known += 1;
        }
        assert!(known > 0);
    }
}
