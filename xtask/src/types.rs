//! The TypeScript types that the web view shares with the window: generated, committed, and tested for drift by the
//! window's own crate. This writes them again.

use crate::step::run;
use crate::workspace::{cargo, root};
use crate::{system, web};
use anyhow::Result;

/// `cargo xtask types`.
pub fn types() -> Result<()> {
    system::ensure_packages(system::Need::Window)?;
    web::install_packages()?;
    // The window embeds what Vite builds; for its types an empty folder will do.
    std::fs::create_dir_all(root().join("ui/dist"))?;
    run(cargo()
        .args([
            "test",
            "--quiet",
            "--locked",
            "--package",
            "lectern-desktop",
        ])
        .args(["--lib", "bindings"])
        .env("LECTERN_WRITE_BINDINGS", "1"))
}
