//! The real window, driven through WebKitWebDriver, and the mouse of the system for what a page cannot do to itself.

use anyhow::{Context, Result, ensure};
use fantoccini::elements::Element;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use lectern_tests::{Home, program};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything a test waits for, on a slow and busy machine with a model at work.
const PATIENCE: Duration = Duration::from_secs(900);

/// A running `lectern-desktop` on a library of its own; ended when dropped.
pub struct Window {
    /// The page in it.
    pub page: Client,
    driver: Child,
}

impl Window {
    /// Opens the window and waits until its page is there.
    pub async fn open(home: &Home) -> Result<Window> {
        Window::open_with(home, &[]).await
    }

    /// Opens the window with arguments on its command line, and waits until its page is there.
    pub async fn open_with(home: &Home, arguments: &[&str]) -> Result<Window> {
        ensure!(
            std::env::var_os("DISPLAY").is_some(),
            "no display: run `cargo xtask test`, or put `xvfb-run -a dbus-run-session --` before the command"
        );
        // Free now; nothing else on this machine takes ports in between.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new("WebKitWebDriver");
        command
            .arg(format!("--port={port}"))
            .env("TAURI_WEBVIEW_AUTOMATION", "true")
            .env("LECTERN_BIN", program::lectern());
        home.dress(&mut command);
        let driver = command
            .spawn()
            .context("WebKitWebDriver is missing: install webkit2gtk-driver")?;
        let mut window = Window {
            page: connect(port, arguments).await?,
            driver,
        };
        window.wait("#app > *").await?;
        window.page.set_window_rect(0, 0, 1280, 832).await.ok();
        Ok(window)
    }

    /// Waits for the first element that matches.
    pub async fn wait(&mut self, selector: &str) -> Result<Element> {
        self.page
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::Css(selector))
            .await
            .with_context(|| format!("nothing matches {selector}"))
    }

    /// Waits for the first element that matches, and clicks it.
    pub async fn click(&mut self, selector: &str) -> Result<()> {
        Ok(self.wait(selector).await?.click().await?)
    }

    /// Runs a function body in the page.
    pub async fn run(&self, body: &str) -> Result<Value> {
        Ok(self.page.execute(body, Vec::new()).await?)
    }

    /// Waits until an expression in the page is true.
    pub async fn until(&self, expression: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.run(&format!("return Boolean({expression})")).await? != json!(true) {
            if Instant::now() > deadline {
                let shown = self.run("return document.body.innerText").await?;
                anyhow::bail!("never came true: {expression}; the window shows: {shown}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Drags a file from another program's window into this one, with the system's own mouse.
    pub fn drop_file(&self, path: &Path) -> Result<()> {
        let (x, y) = (40, 900);
        let script = lectern_tests::program::repository().join("tests/tests/window/drag_source.py");
        // The system's Python: one that a person installed beside it seldom has GTK.
        let mut source = Killed(
            Command::new("/usr/bin/python3")
                .arg(script)
                .arg(path)
                .args([x.to_string(), y.to_string()])
                .stdout(Stdio::piped())
                .spawn()
                .context("python3-gi is missing")?,
        );
        let said = source.0.stdout.take().context("stdout was asked for")?;
        let mut said = BufReader::new(said).lines();
        let mut expect = |what: &str| -> Result<()> {
            let line = said.next().transpose()?;
            ensure!(
                line.as_deref() == Some(what),
                "the drag source said {line:?}, not {what}"
            );
            Ok(())
        };
        expect("ready")?;
        mouse(&["mousemove", &(x + 80).to_string(), &(y + 40).to_string()])?;
        mouse(&["mousedown", "1"])?;
        // A drag begins after a few pixels, and a drop is taken only where the motion was seen.
        for step in 1..=20 {
            let (to_x, to_y) = (x + 80 + step * 25, y + 40 - step * 26);
            mouse(&["mousemove", &to_x.to_string(), &to_y.to_string()])?;
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_millis(300));
        mouse(&["mouseup", "1"])?;
        // The file's address is handed over after the button is released: whoever offers it must live until then.
        expect("ended")
    }

    /// Keeps a picture of the page, if `LECTERN_SCREENSHOTS` names a folder for them.
    pub async fn photograph(&self, name: &str) -> Result<()> {
        let Some(folder) = std::env::var_os("LECTERN_SCREENSHOTS") else {
            return Ok(());
        };
        // What is drawn may be a frame behind what is known.
        tokio::time::sleep(Duration::from_millis(600)).await;
        std::fs::create_dir_all(&folder)?;
        let picture = Path::new(&folder).join(format!("{name}.png"));
        Ok(std::fs::write(picture, self.page.screenshot().await?)?)
    }

    /// Replaces the name in a dialog of the system that saves a file, and confirms it.
    pub fn save_as(&self, title: &str, path: &str) -> Result<()> {
        let dialog = ["search", "--sync", "--onlyvisible", "--name", title];
        // Without a window manager nobody gives it the keyboard.
        mouse(&[&dialog[..], &["windowfocus", "--sync"]].concat())?;
        std::thread::sleep(Duration::from_secs(1));
        mouse(&["key", "ctrl+a"])?;
        mouse(&["type", "--delay", "20", path])?;
        mouse(&["key", "Return"])
    }

    /// Process id of the window's engine.
    pub fn engine(&self) -> Result<u32> {
        let window = child_of(self.driver.id(), "lectern-desktop")?;
        child_of(window, "lectern")
    }

    /// Closes the window.
    pub async fn close(self) -> Result<()> {
        Ok(self.page.clone().close().await?)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // A test that failed leaves its window open, and the driver does not close it. Its engine ends with its input.
        if let Ok(window) = child_of(self.driver.id(), "lectern-desktop") {
            let _ = Command::new("kill").arg(window.to_string()).status();
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Process id of the child with this name.
fn child_of(parent: u32, name: &str) -> Result<u32> {
    let found = Command::new("pgrep")
        .args(["--parent", &parent.to_string(), "--exact", name])
        .output()
        .context("pgrep is missing")?;
    String::from_utf8(found.stdout)?
        .lines()
        .next()
        .with_context(|| format!("process {parent} has no child {name}"))?
        .parse()
        .context("a process id")
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn connect(port: u16, arguments: &[&str]) -> Result<Client> {
    let wanted = json!({
        "webkitgtk:browserOptions": { "binary": program::desktop(), "args": arguments }
    });
    let Value::Object(capabilities) = wanted else {
        unreachable!("written as an object above");
    };
    let capabilities: Capabilities = capabilities;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let session = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities.clone())
            .connect(&format!("http://127.0.0.1:{port}"))
            .await;
        match session {
            Ok(client) => return Ok(client),
            // The driver needs a moment to listen.
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
}

fn mouse(arguments: &[&str]) -> Result<()> {
    let moved = Command::new("xdotool").args(arguments).status();
    ensure!(
        moved.context("xdotool is missing")?.success(),
        "xdotool {arguments:?} failed"
    );
    Ok(())
}
