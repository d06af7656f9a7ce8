use std::time::{Duration, UNIX_EPOCH};

use harness::wait_for;

use crate::board::Board;
use crate::boot::{Boot, say};
use crate::yard::Yard;

/// What the device shows when its agent is about to start.
const AGENT_STARTS: &str = "rcS: starting the agent";
/// One cut in so many comes before the agent starts; the others from there on: that is where it matters.
const ONE_EARLY_IN: u32 = 4;
/// The last moments lie that share beyond the tunnel.
const BEYOND: f64 = 1.2;
/// Longest wait for the moment to come: a boot on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);
/// Seed of the moments, to see them again; by default the time.
const SEED: &str = "MOORLINE_SEED";

#[test]
fn a_power_cut_at_any_of_eight_moments_makes_one_device_on_aarch64() {
    cut_often("aarch64", 8);
}

#[test]
fn a_power_cut_at_any_moment_makes_one_device_on_armv7() {
    cut_often("armv7", 1);
}

#[test]
fn a_power_cut_at_any_moment_makes_one_device_on_mipsel() {
    cut_often("mipsel", 1);
}

/// How long a first boot takes that nobody cuts.
#[derive(Clone, Copy, Debug)]
struct Pace {
    to_agent: Duration,
    to_tunnel: Duration,
}

fn cut_often(board: &str, times: u32) {
    let yard = Yard::open();
    let board = Board::named(board);
    let mut dice = Dice::new();
    say(&format!(
        "power cuts on {}: {SEED}={}\n",
        board.name(),
        dice.0
    ));
    let pace = measure(&yard, &board);
    for number in 0..times {
        let name = format!("cut-{}-{number}", board.name());
        let (client, prefix) = (format!("{name}-000001"), format!("{name}-"));
        let mut device = yard.device(&name, &board);
        let mut boot = device.boot();
        let share = dice.share(number, times);
        let moment = if number % ONE_EARLY_IN == ONE_EARLY_IN - 1 {
            pace.to_agent.mul_f64(share)
        } else {
            let start = wait_until_agent_starts(&mut boot);
            start + (pace.to_tunnel - pace.to_agent).mul_f64(share * BEYOND)
        };
        wait_for("the moment of the power cut", LIMIT, || {
            (boot.age() >= moment).then_some(())
        });
        boot.cut();
        let known = yard.clients(&prefix).len();
        // The server may not have noticed yet.
        let before = yard.operator.try_device(&client);
        let before = before.and_then(|device| Some(device.tunnel?.generation));

        let boot = device.boot();
        yard.operator.wait_online(&client, before);
        assert_eq!(
            yard.ssh(&client).run("uname -m").ok().trim(),
            board.target.machine
        );
        assert_eq!(
            yard.clients(&prefix),
            [client.as_str()],
            "cut at {moment:?}"
        );
        boot.cut();
        say(&format!(
            "cut {} after {moment:.2?} of {:.2?}, clients then {known}, in the end 1\n",
            board.name(),
            pace.to_tunnel
        ));
    }
}

fn measure(yard: &Yard, board: &Board) -> Pace {
    let name = format!("uncut-{}", board.name());
    let mut device = yard.device(&name, board);
    let mut boot = device.boot();
    let to_agent = wait_until_agent_starts(&mut boot);
    yard.operator.wait_online(&format!("{name}-000001"), None);
    let to_tunnel = boot.age();
    boot.cut();
    Pace {
        to_agent,
        to_tunnel,
    }
}

fn wait_until_agent_starts(boot: &mut Boot) -> Duration {
    boot.wait_shown(AGENT_STARTS, 0);
    boot.age()
}

/// Splitmix64: good enough to choose moments, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let given = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
        let time = || UNIX_EPOCH.elapsed().unwrap().as_secs();
        Self(given.unwrap_or_else(time))
    }

    /// A random number in the `number`th of `of` equal parts of 0 to 1.
    fn share(&mut self, number: u32, of: u32) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let top = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap();
        (f64::from(number) + f64::from(top) / f64::from(u32::MAX)) / f64::from(of)
    }
}
