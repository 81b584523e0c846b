-- A document whose source has changed is ingested again under its id; its conversations stay.

-- Names, sizes and times of the source's files when it was last found to hold this content: while they are the same,
-- nothing needs to be read to know that nothing changed.
ALTER TABLE documents ADD COLUMN stamp TEXT;
-- text_sha256 of an earlier version whose caches are kept: reading begins with what of it is unchanged.
ALTER TABLE documents ADD COLUMN earlier_text BLOB;
