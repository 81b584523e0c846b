-- A document may be read in more than one way, each with a cache of its own: a list shows the one that would be used now.
-- In which way earlier readings were is not known; who asks next finds their caches and notes them again.
DROP TABLE readings;
CREATE TABLE readings (
    document    INTEGER NOT NULL REFERENCES documents(key) ON DELETE CASCADE,
    model       TEXT NOT NULL,              -- fingerprint of the model file
    scope       INTEGER NOT NULL,           -- of the cache's identity
    format      INTEGER NOT NULL,           -- of the cache's identity
    tokens      INTEGER NOT NULL,           -- read and on disk
    total       INTEGER NOT NULL,           -- of the whole document
    window      INTEGER NOT NULL,           -- that the model can hold beside a question
    cache_bytes INTEGER NOT NULL,
    PRIMARY KEY (document, model, scope, format)
) STRICT;
