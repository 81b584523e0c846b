//! A web page as a PDF, printed by the window's own web engine: what it lays out, with the fonts of the system, so that
//! every script that can be read in the window can be read in the file. A library that writes PDF would need its own
//! fonts and its own breaking of lines.
//!
//! In: a page that needs nothing but itself. Out: a file. The page is loaded where it can run no script, reach no
//! command of the window and keep nothing. Only WebKitGTK can print to a file without asking; elsewhere a person prints
//! the exported page from a browser.

use std::path::Path;
use tauri::AppHandle;
use thiserror::Error;

/// Why there is no PDF.
#[derive(Debug, Error)]
pub(crate) enum PrintError {
    #[error("the window is closing")]
    Closing,
    #[cfg(target_os = "linux")]
    #[error("its path is not one that a printer takes: {0}")]
    Path(String),
    #[cfg(target_os = "linux")]
    #[error("the page cannot be shown: {0}")]
    Page(String),
    #[cfg(target_os = "linux")]
    #[error("the page cannot be printed: {0}")]
    Printer(String),
    #[cfg(not(target_os = "linux"))]
    #[error("this system prints only from a browser: export a web page and print it there")]
    Elsewhere,
}

/// Prints `page`, the text of an HTML file, to `path`.
#[cfg(not(target_os = "linux"))]
pub(crate) async fn print(_: &AppHandle, _: &str, _: &Path) -> Result<(), PrintError> {
    Err(PrintError::Elsewhere)
}

/// Prints `page`, the text of an HTML file, to `path`.
#[cfg(target_os = "linux")]
pub(crate) async fn print(app: &AppHandle, page: &str, path: &Path) -> Result<(), PrintError> {
    let (done, outcome) = tokio::sync::oneshot::channel();
    let (page, path) = (page.to_owned(), path.to_owned());
    app.run_on_main_thread(move || webkit::print(&page, &path, done))
        .map_err(|_| PrintError::Closing)?;
    outcome.await.unwrap_or(Err(PrintError::Closing))
}

#[cfg(target_os = "linux")]
mod webkit {
    use super::PrintError;
    use gtk::{PageSetup, PrintSettings, Unit, glib};
    use std::cell::RefCell;
    use std::path::Path;
    use std::rc::Rc;
    use tokio::sync::oneshot::Sender;
    use webkit2gtk::{LoadEvent, PrintOperation, PrintOperationExt, Settings, WebView, WebViewExt};

    /// Room at the edges of a sheet, in millimetres.
    const MARGIN: f64 = 20.0;

    /// What must live until the file is written, and whom to tell.
    struct Job {
        _view: WebView,
        operation: Option<PrintOperation>,
        done: Sender<Result<(), PrintError>>,
    }

    /// Handlers share the job and end it once; what they hold of it then goes.
    type Shared = Rc<RefCell<Option<Job>>>;

    /// Begins to print; the main loop does the rest.
    pub(super) fn print(page: &str, path: &Path, done: Sender<Result<(), PrintError>>) {
        let file = match glib::filename_to_uri(path, None) {
            Ok(file) => file.to_string(),
            Err(error) => {
                let _ = done.send(Err(PrintError::Path(error.to_string())));
                return;
            }
        };
        let settings = Settings::builder().enable_javascript(false).build();
        let view = WebView::builder()
            .is_ephemeral(true)
            .settings(&settings)
            .build();
        let job: Shared = Rc::new(RefCell::new(Some(Job {
            _view: view.clone(),
            operation: None,
            done,
        })));
        let failing = Rc::clone(&job);
        view.connect_load_failed(move |_, _, _, error| {
            end(&failing, Err(PrintError::Page(error.to_string())));
            true
        });
        let loading = job;
        view.connect_load_changed(move |view, event| {
            if event == LoadEvent::Finished {
                send_to_file(view, &file, &loading);
            }
        });
        view.load_html(page, None);
    }

    fn send_to_file(view: &WebView, file: &str, job: &Shared) {
        let operation = PrintOperation::new(view);
        operation.set_print_settings(&to_file(file));
        operation.set_page_setup(&sheet());
        let failing = Rc::clone(job);
        operation.connect_failed(move |_, error| {
            end(&failing, Err(PrintError::Printer(error.to_string())));
        });
        let finishing = Rc::clone(job);
        operation.connect_finished(move |_| end(&finishing, Ok(())));
        // It may fail, and end the job, before it returns.
        let kept = job.borrow_mut().as_mut().map(|job| {
            job.operation = Some(operation.clone());
        });
        if kept.is_some() {
            operation.print();
        }
    }

    fn to_file(file: &str) -> PrintSettings {
        let settings = PrintSettings::new();
        // GTK knows its printer to a file by the name that the person sees.
        settings.set_printer(&glib::dgettext(Some("gtk30"), "Print to File"));
        settings.set(gtk::PRINT_SETTINGS_OUTPUT_URI, Some(file));
        settings.set(gtk::PRINT_SETTINGS_OUTPUT_FILE_FORMAT, Some("pdf"));
        settings
    }

    /// The sheet of the person's country, with room at its edges.
    fn sheet() -> PageSetup {
        let sheet = PageSetup::new();
        sheet.set_top_margin(MARGIN, Unit::Mm);
        sheet.set_bottom_margin(MARGIN, Unit::Mm);
        sheet.set_left_margin(MARGIN, Unit::Mm);
        sheet.set_right_margin(MARGIN, Unit::Mm);
        sheet
    }

    /// Tells how it ended; only the first end counts. The view and the operation go when nothing of theirs runs.
    fn end(job: &Shared, outcome: Result<(), PrintError>) {
        if let Some(Job {
            done,
            _view: view,
            operation,
        }) = job.borrow_mut().take()
        {
            let _ = done.send(outcome);
            glib::idle_add_local_once(move || drop((view, operation)));
        }
    }
}
