//! llama.cpp's `llama-server` as a peer, where `LECTERN_LLAMA_SERVER` names it. Nothing is fetched.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::reference::model_path;

pub struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// Starts the server on a model; `None` if there is none on this machine.
    pub fn start(model: &str) -> Option<Self> {
        let program = std::env::var_os("LECTERN_LLAMA_SERVER")?;
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let libraries = Path::new(&program).parent().unwrap().to_owned();
        let child = Command::new(&program)
            .env("LD_LIBRARY_PATH", libraries)
            .arg("-m")
            .arg(model_path(model))
            .args(["-ngl", "0", "-t", "2", "-c", "2048", "--host", "127.0.0.1"])
            .args(["--port", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("llama-server starts");
        let mut server = Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
        };
        let begun = Instant::now();
        while ureq::get(format!("{}/health", server.url)).call().is_err() {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "llama-server ended: {ended:?}");
            assert!(
                begun.elapsed() < Duration::from_secs(120),
                "llama-server does not answer"
            );
            std::thread::sleep(Duration::from_millis(200));
        }
        Some(server)
    }

    fn ask(&self, path: &str, request: &Value) -> Value {
        let answer = ureq::post(format!("{}{path}", self.url))
            .header("Content-Type", "application/json")
            .send(request.to_string())
            .unwrap();
        let text = answer
            .into_body()
            .into_with_config()
            .limit(1 << 30)
            .read_to_string()
            .unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Ids of a text in which special tokens are not recognised.
    pub fn tokenize(&self, text: &str) -> Vec<u32> {
        let request = json!({ "content": text, "add_special": false, "parse_special": false });
        let mut answer = self.ask("/tokenize", &request);
        serde_json::from_value(answer["tokens"].take()).unwrap()
    }

    /// The greedy continuation of some tokens, as ids.
    pub fn continue_greedily(&self, prompt: &[u32], length: usize) -> Vec<u32> {
        let request = json!({
            "prompt": prompt, "n_predict": length, "temperature": 0.0, "top_k": 1,
            "cache_prompt": false, "return_tokens": true,
        });
        let mut answer = self.ask("/completion", &request);
        serde_json::from_value(answer["tokens"].take()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
