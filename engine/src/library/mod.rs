//! The library: documents, conversations and read states in SQLite, originals as files.
//!
//! In: a [`Document`](crate::document::Document) that ingest has made and checked, with the private copy of the file
//! it came from. Out: lists, documents, page boxes, conversations.
//!
//! Why this way:
//! - **A row is the fact.** A document exists when its row is committed, with its text, structure, pages and passages
//!   in the same transaction; its original was renamed into place before. A crash leaves at worst a file without a
//!   row, and [`Library::open`] sweeps those away. A document is removed in the opposite order.
//! - **One writer.** All changes go through a pool of one connection; lists and pages are read beside it (WAL). A
//!   second Lectern on the same library waits for the lock for up to half a minute instead of failing.
//! - **Boxes by page.** A [`Document`](crate::document::Document) is loaded without its character boxes, by far its largest part; an
//!   [`Anchor`](crate::document::Anchor) reads those of the pages it touches.
//!
//! Queries are checked when they are compiled, against the schema as `engine/.sqlx` holds it. After a change to a
//! query or a migration, in `engine/`: `export DATABASE_URL=sqlite:///tmp/check.db`, `cargo sqlx database setup`,
//! `cargo sqlx prepare` (`cargo install sqlx-cli`). A test fails when schema and metadata drift apart.

mod anchors;
mod content_hash;
mod conversations;
mod documents;
mod error;
mod incoming;
mod page_boxes;
mod readings;
mod storing;
mod vectors;
mod versions;
mod words;

pub use content_hash::ContentHash;
pub use conversations::Turn;
pub use documents::{DocumentRow, StoredDocument};
pub use error::LibraryError;
pub use incoming::Incoming;
pub use readings::{Reading, ReadingWay};
pub use storing::NewDocument;
pub use versions::NewVersion;
pub(crate) use words::{count_words, stands_alone};
pub use words::{indexed_words, query_names, query_words};

use crate::home::Home;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a statement waits for another Lectern that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections that read side by side.
const READERS: u32 = 4;

/// An open library.
#[derive(Debug, Clone)]
pub struct Library {
    home: Home,
    readers: SqlitePool,
    writer: SqlitePool,
}

impl Library {
    /// Opens the library of `home`, creating or migrating it, and sweeps away what a crash left behind.
    pub async fn open(home: &Home) -> Result<Library, LibraryError> {
        let originals = home.originals();
        std::fs::create_dir_all(&originals)
            .map_err(|source| LibraryError::file(&originals, source))?;
        let database = home.database();
        let cannot_open = |source| LibraryError::Open {
            path: database.clone(),
            source,
        };
        let options = SqliteConnectOptions::new()
            .filename(&database)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // In WAL mode NORMAL keeps the database whole through a crash of the machine; only FULL keeps the last
            // commit too, and a person who has seen "added" may count on it.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.clone())
            .await
            .map_err(cannot_open)?;
        sqlx::migrate!()
            .run(&writer)
            .await
            .map_err(|source| match source {
                sqlx::migrate::MigrateError::VersionMissing(version) => LibraryError::Newer {
                    path: database.clone(),
                    version,
                },
                other => LibraryError::Open {
                    path: database.clone(),
                    source: sqlx::Error::Migrate(Box::new(other)),
                },
            })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options)
            .await
            .map_err(cannot_open)?;
        let library = Library {
            home: home.clone(),
            readers,
            writer,
        };
        library.sweep().await?;
        Ok(library)
    }

    /// Where this library lies.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Finishes what was begun and closes the database.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Connections for the searches of `retrieval`.
    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }
}

/// Unix seconds now.
fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64)
}
