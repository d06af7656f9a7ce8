//! Rows of the contract, asked with curl and compared to the byte.

use std::collections::BTreeMap;
use std::process::Command;

use harness::{eventually, run_with_input};
use serde_json::{Value, json};

/// Method, path, body (empty: none), status, and the body of the answer without its line break.
///
/// An answer that says nothing but a text is written as that text. `<kind>` stands for something of that kind,
/// `<kind:name>` for the same wherever it comes again; in paths and bodies, and in answers too, `<name>` is what was
/// seen under that name.
pub(super) type Row<'a> = (&'a str, &'a str, &'a str, u16, &'a str);

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

/// Somebody with curl who remembers what they saw.
pub(super) struct Walk {
    base: String,
    token: String,
    known: BTreeMap<String, String>,
    steps: usize,
}

impl Walk {
    pub(super) fn new(base: &str) -> Self {
        Self {
            base: base.to_owned(),
            token: String::new(),
            known: BTreeMap::new(),
            steps: 0,
        }
    }

    /// Carries the token seen under that name from now on; none, if it is empty.
    pub(super) fn carry(&mut self, name: &str) {
        self.token = self.known.get(name).cloned().unwrap_or_default();
        assert_eq!(self.token.is_empty(), name.is_empty(), "{name}");
    }

    pub(super) fn know(&mut self, name: &str, value: &str) {
        self.known.insert(name.to_owned(), value.to_owned());
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.known.remove(name);
    }

    pub(super) fn known(&self, name: &str) -> &str {
        &self.known[name]
    }

    /// How many rows were walked.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    pub(super) fn rows(&mut self, rows: &[Row<'_>]) {
        for row in rows {
            self.row(*row);
        }
    }

    pub(super) fn row(&mut self, (method, path, body, status, wanted): Row<'_>) -> Answer {
        let what = format!("{method} {path} {body}");
        let answer = self.ask(method, path, body, &[]);
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        let is_json = wanted.starts_with('{');
        let wanted = match wanted {
            "" => String::new(),
            text if is_json => format!("{text}\n"),
            text => format!("{}\n", json!({ "error": text })),
        };
        self.compare(&what, &wanted, &answer.body);
        let kind = (!wanted.is_empty()).then_some("application/json");
        assert_eq!(answer.header("content-type"), kind, "{what}");
        self.steps += 1;
        answer
    }

    /// The same for an answer in plain text.
    pub(super) fn plain(&mut self, method: &str, path: &str, status: u16, text: &str) -> Answer {
        let answer = self.ask(method, path, "", &[]);
        let got = (answer.status, answer.body.as_str());
        assert_eq!(got, (status, format!("{text}\n").as_str()), "{path}");
        let kind = answer.header("content-type");
        assert_eq!(kind, Some("text/plain; charset=utf-8"), "{path}");
        self.steps += 1;
        answer
    }

    /// Asks with further arguments of curl.
    pub(super) fn ask(&self, method: &str, path: &str, body: &str, more: &[&str]) -> Answer {
        let mut command = Command::new("curl");
        command
            .args(["-q", "-sS", "-i", "--noproxy", "*", "--max-time", "60"])
            .args(["-X", method])
            .args(more);
        if !self.token.is_empty() {
            command.args(["-H", &format!("Authorization: Bearer {}", self.token)]);
        }
        if !body.is_empty() {
            let kind = "Content-Type: application/json";
            command.args(["-H", kind, "-H", "Expect:", "--data-binary", "@-"]);
        }
        command.arg(format!("{}{}", self.base, self.filled(path)));
        let whole = run_with_input(&mut command, self.filled(body).as_bytes()).ok();
        let (head, body) = whole
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{path}: {whole}"));
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    /// Waits until the task seen under that name has ended; gives it.
    pub(super) fn ended(&mut self, task: &str) -> Value {
        let id = self.known(task).to_owned();
        let mut found = Value::Null;
        eventually(&format!("task {task} ends"), || {
            let tasks = self.ask("GET", "/v1/admin/tasks", "", &[]).json();
            let tasks = tasks["tasks"].as_array().unwrap().clone();
            let mut tasks = tasks.into_iter();
            found = tasks.find(|task| task["task_id"] == *id).unwrap();
            !["pending", "running"].contains(&found["status"].as_str().unwrap())
        });
        found
    }

    /// `text` with what was seen in place of its names.
    pub(super) fn filled(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        for (name, value) in &self.known {
            filled = filled.replace(&format!("<{name}>"), value);
        }
        filled
    }

    fn compare(&mut self, what: &str, wanted: &str, got: &str) {
        match fit(&self.filled(wanted), got) {
            Ok(seen) => {
                for (name, value) in seen {
                    let before = self.known.get(&name);
                    let same = before.is_none_or(|before| *before == value);
                    assert!(same, "{what}: {name} was {before:?} and is {value}");
                    self.known.insert(name, value);
                }
            }
            Err(place) => panic!("{what}: at {place:?}\nwanted {wanted}\ngot    {got}"),
        }
    }
}

/// What stands in the named holes of `template`; else where it does not fit.
fn fit(template: &str, mut text: &str) -> Result<Vec<(String, String)>, String> {
    let mut seen = Vec::new();
    let mut parts = template.split('<');
    let start = parts.next().unwrap_or_default();
    text = text.strip_prefix(start).ok_or_else(|| start.to_owned())?;
    for part in parts {
        let (hole, literal) = part.split_once('>').ok_or_else(|| part.to_owned())?;
        let (kind, name) = hole.split_once(':').unwrap_or((hole, ""));
        let end = if literal.is_empty() {
            text.len()
        } else {
            text.find(literal).ok_or_else(|| part.to_owned())?
        };
        let (value, rest) = text.split_at(end);
        if !is(kind, value) {
            return Err(format!("<{kind}> is {value}"));
        }
        if !name.is_empty() {
            seen.push((name.to_owned(), value.to_owned()));
        }
        text = &rest[literal.len()..];
    }
    text.is_empty()
        .then_some(seen)
        .ok_or_else(|| format!("rest {text}"))
}

fn is(kind: &str, value: &str) -> bool {
    let of = |length: usize, good: fn(u8) -> bool| value.len() == length && value.bytes().all(good);
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    match kind {
        "uuid" => {
            let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
            of(36, hex)
                && value.split('-').map(str::len).eq([8, 4, 4, 4, 12])
                && value.as_bytes()[14] == b'4'
        }
        // 2026-11-22T03:24:17.512Z
        "time" => {
            let (date, rest) = value.split_at(value.len().min(19));
            let shape: String = date
                .chars()
                .map(|c| if c.is_ascii_digit() { '0' } else { c })
                .collect();
            let fraction = rest.strip_suffix('Z').map(|rest| rest.strip_prefix('.'));
            shape == "0000-00-00T00:00:00"
                && match fraction {
                    Some(None) => rest == "Z",
                    Some(Some(digits)) => {
                        (1..=9).contains(&digits.len())
                            && digits.bytes().all(|b| b.is_ascii_digit())
                    }
                    None => false,
                }
        }
        "short" => of(6, |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z')),
        "jwt" => {
            let part = |part: &str| {
                let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
                !part.is_empty() && part.bytes().all(good)
            };
            value.split('.').count() == 3 && value.split('.').all(part)
        }
        "password" => of(20, |byte| {
            byte.is_ascii_alphanumeric() || b"!@#$%&*".contains(&byte)
        }),
        "entry" => of(8, |byte| byte.is_ascii_alphanumeric()),
        "once" => of(24, |byte| byte.is_ascii_alphanumeric()),
        "wireguard" => of(44, base64),
        "desktop" => {
            let rest = value
                .strip_prefix("DESKTOP-")
                .or_else(|| value.strip_prefix("LAPTOP-"));
            rest.is_some_and(|rest| {
                let good = |byte| matches!(byte, b'0'..=b'9' | b'A'..=b'Z');
                rest.len() == 7 && rest.bytes().all(good)
            })
        }
        "number" => !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()),
        "text" => !value.contains('"'),
        "any" => true,
        other => panic!("there is no kind {other}"),
    }
}

#[test]
fn rows_are_compared_to_the_byte() {
    let template = r#"{"id":"<uuid:who>","at":"<time>","n":<number>}"#;
    let id = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";
    let good = format!(r#"{{"id":"{id}","at":"2026-11-22T03:24:17.5Z","n":7}}"#);
    let seen = fit(template, &good).unwrap();
    assert_eq!(seen, [("who".to_owned(), id.to_owned())]);
    for (one, other) in [
        (r#""id""#, r#" "id""#),
        ("}", "} "),
        ("-41d1-", "-11d1-"),
        ("17.5Z", "17.5+00:00"),
        ("17.5Z", "17.Z"),
        (":7", ":\"7\""),
        (":7}", ":7,\"more\":1}"),
    ] {
        assert!(fit(template, &good.replace(one, other)).is_err(), "{other}");
    }
}
