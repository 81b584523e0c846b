-- Everything of the library but originals and key/value caches, which are files (DESIGN, decision 6).
-- Spans are byte offsets into texts.text. Times are Unix seconds.

CREATE TABLE documents (
    key         INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    id          TEXT NOT NULL UNIQUE,       -- first 16 hexadecimal digits of sha256
    sha256      TEXT NOT NULL,              -- of the content: the file's bytes, or a folder's extracted text
    kind        TEXT NOT NULL,              -- pdf, epub, html, markdown, text, code
    title       TEXT NOT NULL,
    authors     TEXT,
    source      TEXT NOT NULL,              -- where it was added from, as the person named it
    original    TEXT,                       -- file name in originals/; none for folders
    text_sha256 BLOB NOT NULL,
    text_bytes  INTEGER NOT NULL,
    words       INTEGER NOT NULL,
    pages       INTEGER,
    blocks      INTEGER NOT NULL,
    notices     TEXT NOT NULL,              -- JSON array of strings
    added       INTEGER NOT NULL
) STRICT;

CREATE TABLE texts (
    document    INTEGER PRIMARY KEY NOT NULL REFERENCES documents(key) ON DELETE CASCADE,
    text        TEXT NOT NULL,
    sections    BLOB NOT NULL,              -- postcard: Vec<document::Section>
    blocks      BLOB NOT NULL               -- postcard: Vec<document::Block>
) STRICT;

-- Character boxes are by far the largest part of a PDF, and a viewer needs those of a page or two.
CREATE TABLE pages (
    document    INTEGER NOT NULL REFERENCES documents(key) ON DELETE CASCADE,
    number      INTEGER NOT NULL,
    label       TEXT NOT NULL,
    width       REAL NOT NULL,
    height      REAL NOT NULL,
    start       INTEGER NOT NULL,
    end         INTEGER NOT NULL,
    boxes       BLOB NOT NULL,              -- library/page_boxes.rs
    PRIMARY KEY (document, number)
) STRICT;

CREATE TABLE passages (
    key         INTEGER PRIMARY KEY NOT NULL,
    document    INTEGER NOT NULL REFERENCES documents(key) ON DELETE CASCADE,
    start       INTEGER NOT NULL,
    end         INTEGER NOT NULL
) STRICT;
CREATE INDEX passages_by_document ON passages(document, start);

-- rowid = passages.key. Words as retrieval/words.rs prepares them (blanks between CJK characters).
CREATE VIRTUAL TABLE passage_words USING fts5(words, tokenize = 'unicode61 remove_diacritics 2');
CREATE TRIGGER passages_forgotten AFTER DELETE ON passages BEGIN
    DELETE FROM passage_words WHERE rowid = old.key;
END;

CREATE TABLE conversations (
    key         INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    id          TEXT NOT NULL UNIQUE,
    document    INTEGER NOT NULL REFERENCES documents(key) ON DELETE CASCADE,
    updated     INTEGER NOT NULL
) STRICT;
CREATE INDEX conversations_by_document ON conversations(document);

CREATE TABLE turns (
    key          INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    conversation INTEGER NOT NULL REFERENCES conversations(key) ON DELETE CASCADE,
    question     TEXT NOT NULL,
    answer       TEXT NOT NULL,             -- JSON: protocol::Answer
    asked        INTEGER NOT NULL
) STRICT;
CREATE INDEX turns_by_conversation ON turns(conversation);

-- rowid = turns.key.
CREATE VIRTUAL TABLE turn_words USING fts5(words, tokenize = 'unicode61 remove_diacritics 2');
CREATE TRIGGER turns_forgotten AFTER DELETE ON turns BEGIN
    DELETE FROM turn_words WHERE rowid = old.key;
END;

-- How far a model has read a document. The cache files are the truth; this is what a list shows without opening them.
CREATE TABLE readings (
    document    INTEGER NOT NULL REFERENCES documents(key) ON DELETE CASCADE,
    model       TEXT NOT NULL,              -- fingerprint of the model file
    tokens      INTEGER NOT NULL,           -- read and on disk
    total       INTEGER NOT NULL,           -- of the whole document
    window      INTEGER NOT NULL,           -- that the model can hold beside a question
    cache_bytes INTEGER NOT NULL,
    PRIMARY KEY (document, model)
) STRICT;

-- Fingerprints of model files, so that a list needs no pass over a gigabyte.
CREATE TABLE models (
    path        TEXT PRIMARY KEY NOT NULL,
    bytes       INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    fingerprint TEXT NOT NULL
) STRICT;
