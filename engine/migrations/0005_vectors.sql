-- What passages are about, as a sentence transformer says it. A vector belongs to a text, so that it stays where a document's
-- new version has the passage still.
CREATE TABLE vectors (
    document    INTEGER NOT NULL REFERENCES documents(key) ON DELETE CASCADE,
    model       INTEGER NOT NULL,           -- which sentence transformer, and how it was used
    passage     INTEGER NOT NULL,           -- hash of the passage's text
    vector      BLOB NOT NULL,              -- a signed byte for each number; its length says nothing
    PRIMARY KEY (document, model, passage)
) STRICT, WITHOUT ROWID;
