use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Command;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Running, run};

/// Messages of the browser that wait to be read.
const QUEUE: usize = 1024;
/// Longest wait for the answer to one command.
const ANSWER_LIMIT: Duration = Duration::from_secs(180);

/// Chromium without a window, led over the DevTools protocol through a pair of pipes.
#[derive(Debug)]
pub struct Browser {
    // Fields go in this order: the process before its folder.
    _process: Running,
    _folder: TempDir,
    commands: File,
    messages: Receiver<Value>,
    last: u64,
}

/// A page of a [`Browser`], by the session that leads it.
#[derive(Clone, Debug)]
pub struct Page(String);

impl Browser {
    /// Starts it with a profile of its own and further `arguments`.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        let own = TempDir::new().unwrap();
        let folder = own.path();
        let (to, from) = (folder.join("commands"), folder.join("messages"));
        run(Command::new("mkfifo").args([&to, &from])).ok();
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec \"$@\" 3<commands 4>messages", "browser"])
            .args(["chromium", "--remote-debugging-pipe", "--headless=new"])
            .args(["--no-sandbox", "--disable-gpu", "--disable-quic"])
            .args(["--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--no-proxy-server"])
            .arg(format!(
                "--user-data-dir={}",
                folder.join("profile").display()
            ))
            .args(arguments)
            .current_dir(folder)
            .env("HOME", folder);
        let process =
            Running::start("browser", &command, &folder.join("browser.log")).with_children();
        // The shell opens its ends in the same order, before it becomes the browser.
        let commands = File::options().write(true).open(&to).unwrap();
        let answers = BufReader::new(File::open(&from).unwrap());
        let (sender, messages) = sync_channel(QUEUE);
        std::thread::spawn(move || {
            for message in answers.split(0) {
                let Ok(message) = message else { return };
                let message = serde_json::from_slice(&message).unwrap();
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self {
            _process: process,
            _folder: own,
            commands,
            messages,
            last: 0,
        }
    }

    /// Opens `url` in a page of its own.
    pub fn open(&mut self, url: &str) -> Page {
        let made = self.call(None, "Target.createTarget", &json!({"url": "about:blank"}));
        let wish = json!({"targetId": made["targetId"], "flatten": true});
        let attached = self.call(None, "Target.attachToTarget", &wish);
        let page = Page(attached["sessionId"].as_str().unwrap().to_owned());
        self.call(Some(&page), "Page.navigate", &json!({ "url": url }));
        page
    }

    /// The value of an expression in `page`, a promise's when it comes; null when it throws.
    pub fn evaluate(&mut self, page: &Page, expression: &str) -> Value {
        let wish = json!({
            "expression": expression,
            "awaitPromise": true,
            "returnByValue": true,
            "userGesture": true,
        });
        self.call(Some(page), "Runtime.evaluate", &wish)["result"]["value"].take()
    }

    /// Clicks at a place of `page`, in its pixels.
    pub fn click(&mut self, page: &Page, x: u32, y: u32) {
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1, "buttons": 1});
            self.call(Some(page), "Input.dispatchMouseEvent", &event);
        }
    }

    /// Types lower-case letters into `page`, and Enter.
    pub fn type_line(&mut self, page: &Page, letters: &str) {
        for letter in letters.chars() {
            let upper = letter.to_ascii_uppercase();
            let code = u32::from(upper);
            self.press(page, &letter.to_string(), &format!("Key{upper}"), code);
        }
        self.press(page, "Enter", "Enter", 13);
    }

    fn press(&mut self, page: &Page, key: &str, code: &str, number: u32) {
        for kind in ["rawKeyDown", "keyUp"] {
            let event =
                json!({"type": kind, "key": key, "code": code, "windowsVirtualKeyCode": number});
            self.call(Some(page), "Input.dispatchKeyEvent", &event);
        }
    }

    /// Every cookie that it keeps.
    pub fn cookies(&mut self) -> Vec<Value> {
        let kept = self.call(None, "Storage.getCookies", &json!({}));
        kept["cookies"].as_array().unwrap().clone()
    }

    fn call(&mut self, page: Option<&Page>, method: &str, params: &Value) -> Value {
        self.last += 1;
        let mut command = json!({"id": self.last, "method": method, "params": params});
        if let Some(Page(session)) = page {
            command["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&command).unwrap();
        bytes.push(0);
        self.commands.write_all(&bytes).unwrap();
        loop {
            let message = self.messages.recv_timeout(ANSWER_LIMIT);
            let mut message = message.unwrap_or_else(|_| panic!("{method}: no answer"));
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].take();
            }
        }
    }
}
