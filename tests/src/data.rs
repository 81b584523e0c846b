//! Files that are too many or too large to come with the repository.

use crate::program::repository;
use std::path::PathBuf;

/// A file or folder of the test data, found through `LECTERN_TEST_DATA` or in `shared/data` beside the repository.
/// Where it is missing this prints why the test is skipped; the test then returns.
pub fn find(path: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os("LECTERN_TEST_DATA") {
        Some(folder) => PathBuf::from(folder),
        None => repository().parent()?.join("shared/data"),
    };
    let found = folder.join(path);
    if found.exists() {
        return Some(found);
    }
    println!(
        "skipped: {} is not there (LECTERN_TEST_DATA names the folder of test data)",
        found.display()
    );
    None
}
