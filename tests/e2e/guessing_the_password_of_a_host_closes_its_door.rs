use std::time::{Duration, Instant};

use harness::Done;

use crate::lodger::{Lodger, not_taken};

/// Wrong passwords that are looked at.
const GUESSES: u64 = 10;
/// After so long one of them is forgotten.
const STEP: Duration = Duration::from_secs(6);

/// How many wrong passwords may have been looked at since then.
fn most(since: Instant) -> u64 {
    GUESSES + since.elapsed().as_secs() / STEP.as_secs()
}

/// Guesses until the door closes; then the right password is not looked at either. `before` were guessed since then.
fn closes(since: Instant, before: u64, guess: impl Fn(u64) -> Done, right: impl Fn() -> Done) {
    let mut guessed = before;
    loop {
        let mut asked = Instant::now();
        let mut answer = guess(guessed);
        while not_taken(&answer) {
            guessed += 1;
            assert!(guessed <= most(since), "{guessed} were looked at");
            asked = Instant::now();
            answer = guess(guessed);
        }
        assert!(guessed >= GUESSES, "{guessed}: {answer:?}");
        let done = right();
        if done.code != 0 {
            assert!(!not_taken(&done), "the connection is closed: {done:?}");
            return;
        }
        // On a slow machine a guess may be forgotten before the next one is made.
        assert!(asked.elapsed() >= STEP, "{done:?}");
    }
}

#[test]
fn guessing_the_password_of_a_host_closes_its_door() {
    let lodger = Lodger::with_device("guessed");
    let from = |address: &str, short_id: &str, password: &str| {
        let ssh = harness::Ssh::gateway(&lodger.station.server, short_id, lodger.station.folder());
        ssh.password(password)
            .option(&format!("BindAddress={address}"))
            .run("true")
    };
    // Unknown hosts are refused in the same words.
    let since = Instant::now();
    let unknown = from("127.0.0.9", "zz99zz", "guess");
    let known = from("127.0.0.9", &lodger.short_id, "guess");
    assert!(not_taken(&unknown), "{unknown:?}");
    assert_eq!(known.code, unknown.code);
    assert_eq!(
        known.stderr.replace(&lodger.short_id, "zz99zz"),
        unknown.stderr
    );
    // Ten wrong ones for that host, each from elsewhere, the first of them above: then nobody gets in, with whatever
    // password.
    closes(
        since,
        1,
        |number| from(&format!("127.0.1.{number}"), &lodger.short_id, "guess"),
        || from("127.0.2.1", &lodger.short_id, &lodger.entry_password),
    );
    // The device and the operators go on.
    assert_eq!(
        lodger.station.by_name("guessed").run("echo on").ok(),
        "on\n"
    );

    // Ten wrong ones from one address, for whatever hosts: it is closed there, and others get in elsewhere.
    let other = Lodger::with_device("other");
    let from_other = |address: &str, short_id: &str, password: &str| {
        let ssh = harness::Ssh::gateway(&other.station.server, short_id, other.station.folder());
        ssh.password(password)
            .option(&format!("BindAddress={address}"))
            .run("true")
    };
    closes(
        Instant::now(),
        0,
        |number| from_other("127.0.3.1", &format!("zz9{number:03}"), "guess"),
        || from_other("127.0.3.1", &other.short_id, &other.entry_password),
    );
    let open = from_other("127.0.3.2", &other.short_id, &other.entry_password);
    assert_eq!(open.code, 0, "{open:?}");
}

#[test]
fn guesses_at_once_are_no_more_than_guesses_in_turn() {
    let lodger = Lodger::with_device("rushed");
    let known_hosts = lodger.ssh();
    let since = Instant::now();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let guesses: Vec<_> = (1..=40)
            .map(|last| {
                let from = format!("BindAddress=127.0.5.{last}");
                let ssh = known_hosts.clone().password("guess").option(&from);
                scope.spawn(move || ssh.run("true"))
            })
            .collect();
        guesses
            .into_iter()
            .map(|guess| guess.join().unwrap())
            .collect()
    });
    let looked_at = answers.iter().filter(|done| not_taken(done)).count() as u64;
    assert!(
        (1..=most(since)).contains(&looked_at),
        "{looked_at} were looked at"
    );
}

#[test]
fn a_connection_has_three_tries() {
    let lodger = Lodger::with_device("tried");
    let script = "import pty,os,sys,select\n\
        child, t = pty.fork()\n\
        if child == 0: os.execvp(sys.argv[1], sys.argv[1:])\n\
        said = b''\n\
        asked = 0\n\
        while select.select([t], [], [], 60)[0]:\n\
        \ttry: data = os.read(t, 4096)\n\
        \texcept OSError: break\n\
        \tif not data: break\n\
        \tsaid += data\n\
        \tif said.count(b'assword: ') > asked:\n\
        \t\tasked += 1\n\
        \t\tos.write(t, b'guess\\n')\n\
        print(asked)\n";
    let ssh = lodger
        .ssh()
        .option("PubkeyAuthentication=no")
        .option("NumberOfPasswordPrompts=9");
    let inner = ssh.command(&["true"]);
    let mut command = std::process::Command::new("python3");
    command
        .args(["-c", script])
        .arg(inner.get_program())
        .args(inner.get_args())
        .env_remove("SSH_AUTH_SOCK");
    assert_eq!(harness::run(&mut command).ok().trim(), "3");
}
