//! Declares the window's own commands, so that each needs a permission in `capabilities/` like any plugin's.

fn main() {
    // The folder must be there to compile; without the built web view in it, a window that embeds it stays blank.
    let web_view = std::path::Path::new("../ui/dist");
    let embedded = std::env::var_os("CARGO_FEATURE_CUSTOM_PROTOCOL").is_some();
    if let Err(error) = std::fs::create_dir_all(web_view) {
        println!("cargo:warning={}: {error}", web_view.display());
    } else if embedded && !web_view.join("index.html").is_file() {
        println!(
            "cargo:warning=ui/dist holds no web view: run `npm ci` and `npm run build` in ui/ first"
        );
    }
    let commands = tauri_build::AppManifest::new().commands(&[
        "call",
        "cancel",
        "runs_on",
        "original_size",
        "read_original",
        "pick",
        "save_export",
        "sample_path",
        "opened",
    ]);
    if let Err(error) =
        tauri_build::try_build(tauri_build::Attributes::new().app_manifest(commands))
    {
        println!("cargo:warning={error:#}");
        std::process::exit(1);
    }
}
