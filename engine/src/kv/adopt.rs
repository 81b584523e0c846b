//! Taking over the beginning of another cache.
//!
//! Keys and values of a token depend on the tokens before it and on nothing behind it. So when a document has changed,
//! the blocks before the first token that differs are what reading the new text would compute again, byte for byte;
//! only the identity in their headers is another.

use super::{CacheIdentity, KvCache, KvError};

impl KvCache {
    /// Takes over from `donor`, a cache of another text read by the same model behind the same prompt into the same
    /// format in the same way, the blocks whose tokens are the first of `tokens`, as far as reading can go on: `begin` gives for a position the one
    /// at or before it where it can, a multiple of 64.
    /// Returns how many tokens this cache holds then. What it held before is given up, unless that is as much.
    ///
    /// The blocks are checked against their checksums first, and are durable when this returns.
    ///
    /// # Errors
    /// [`KvError::OtherIdentity`] if the caches differ in more than the text; [`KvError::DiskFull`] and
    /// [`KvError::Io`] leave an empty cache.
    pub fn adopt(
        &self,
        donor: &KvCache,
        tokens: &[u32],
        begin: impl Fn(usize) -> usize,
    ) -> Result<usize, KvError> {
        let of_this_text = CacheIdentity {
            text: self.identity().text,
            ..donor.identity().clone()
        };
        if of_this_text != *self.identity() || self.shape() != donor.shape() {
            return Err(KvError::OtherIdentity {
                path: donor.folder().to_owned(),
                difference: "not the same model, prompt, format and way of reading",
            });
        }
        donor.cut_damage()?;
        let view = donor.view();
        let common = begin(view.common_prefix(tokens));
        if common <= self.tokens() {
            return Ok(self.tokens());
        }
        self.cut(0)?;
        self.append_copies(&view, common)?;
        Ok(self.tokens())
    }
}
