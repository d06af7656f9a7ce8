use std::process::Command;

use super::*;

fn origin(base: &str) -> Origin {
    Origin {
        base: base.to_owned(),
        host: "h".to_owned(),
    }
}

/// Both, as they are served.
fn scripts() -> [String; 2] {
    let of = |script| render(script, &origin("http://h"), None);
    [of(Script::Bootstrap), of(Script::Entry { id: "ab12cd" })]
}

#[test]
fn values_stand_in_quotes_at_the_head() {
    let entry = render(
        Script::Entry { id: "ab12cd" },
        &origin("http://192.0.2.1:8080"),
        Some("sha256/AAAA+/="),
    );
    for line in [
        "DEFAULT_API='http://192.0.2.1:8080'\n",
        "PIN='sha256//AAAA+/=' #",
        "ID='ab12cd'\n",
    ] {
        assert!(entry.contains(line), "{line}");
    }
    let bootstrap = render(Script::Bootstrap, &origin("https://h"), None);
    assert!(bootstrap.contains("DEFAULT_API='https://h'\n"));
    assert!(bootstrap.contains("PIN='' #"));
    for script in [entry, bootstrap] {
        assert!(!script.contains("@API@") && !script.contains("@PIN@"));
        assert!(!script.contains("session.sh"));
        assert_eq!(script.matches("#!/usr/bin/env bash").count(), 1, "{script}");
    }
}

#[test]
fn nothing_breaks_out_of_the_quotes() {
    for id in [
        "x'; touch /tmp/owned; '",
        "$(id)",
        "`id`",
        "a\nb",
        "../..",
        "\u{e4}",
    ] {
        let text = render(Script::Entry { id }, &origin("http://h"), None);
        let line = text.lines().find(|line| line.starts_with("ID=")).unwrap();
        let inner = line
            .strip_prefix("ID='")
            .unwrap()
            .strip_suffix('\'')
            .unwrap();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_%".contains(c);
        assert!(inner.chars().all(plain), "{line}");
    }
    assert_eq!(quoted("it's"), r"'it'\''s'");
}

/// Runs a function of a script with what bash makes of it.
fn call(script: &str, line: &str, argument: &str) -> String {
    let functions = script.replace("\nmain \"$@\"\n", "\n");
    let done = Command::new("bash")
        .args(["-c", &format!("{functions}\n{line}"), "bash", argument])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn what_is_typed_becomes_a_json_string() {
    for script in scripts() {
        for typed in [
            "plain",
            "quote \" and \\ backslash \\\\ \\\" end\\",
            "tab\tand\u{1}\u{7f}control",
            "line\nbreak",
            "umlaut \u{e4}\u{20ac} \u{1f6a2}",
            "$(id) `id` ${HOME} 'single' %s \\u0041",
            "",
        ] {
            let text = call(&script, "json_string \"$1\"", typed);
            let back: String = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!(back, typed);
        }
    }
}

#[test]
fn members_are_found_in_compact_json() {
    let answer = r#"{"ssh_user":"ab12cd","ssh_port":2222,"status":"ready","odd":"a\"b"}"#;
    for script in scripts() {
        let call = |line: &str| call(&script, &format!("answer=$1; {line}"), answer);
        assert_eq!(call("member ssh_user"), "ab12cd");
        assert_eq!(call("number ssh_port"), "2222");
        assert_eq!(call("member missing"), "");
        assert_eq!(call("member odd"), "");
    }
}

#[test]
fn a_script_that_came_in_half_does_nothing() {
    for script in scripts() {
        let whole = script.len();
        for cut in [whole / 3, whole / 2, whole - 12] {
            let half = script.get(..cut).unwrap();
            let done = Command::new("bash").args(["-c", half]).output().unwrap();
            assert!(done.stdout.is_empty(), "{done:?}");
            assert!(!String::from_utf8_lossy(&done.stderr).contains("moorline:"));
        }
    }
}
