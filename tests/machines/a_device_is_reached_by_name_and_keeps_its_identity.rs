use std::fmt::Write as _;

use crate::board::Board;
use crate::boot::say;
use crate::memory::Memory;
use crate::yard::Yard;

/// Boards that have to be there: 64 and 32 bits, with and without a floating point unit.
const BOARDS: usize = 3;
/// What the agent says.
const TUNNEL_IS_UP: &str = "tunnel is up";

/// What the agent takes of a board.
struct Taken {
    board: Board,
    /// In the flash, in bytes.
    flash: u64,
    /// Connected and idle, after enrolment over HTTPS.
    enrolled: Memory,
    /// Connected and idle, in a later boot.
    later: Memory,
    /// In that boot, after a session.
    used: Memory,
}

#[test]
fn a_device_of_every_architecture_is_reached_by_name_and_keeps_its_identity() {
    let boards = Board::all();
    assert_eq!(boards.len(), BOARDS);
    let yard = Yard::open();
    let taken: Vec<Taken> = std::thread::scope(|scope| {
        let yard = &yard;
        let each = boards
            .into_iter()
            .map(|board| scope.spawn(move || live(yard, board)));
        let each: Vec<_> = each.collect();
        each.into_iter().map(|life| life.join().unwrap()).collect()
    });
    say(&table(&taken));
    for taken in taken {
        let limit = taken.board.target.rss_kib.unwrap();
        let most = taken.enrolled.resident.max(taken.later.resident);
        assert!(
            most <= limit,
            "on {} the agent takes {most} KiB, more than the {limit} KiB of cross/targets.toml",
            taken.board.name()
        );
    }
}

/// First boot, second boot, and a boot with a fresh data disk.
fn live(yard: &Yard, board: Board) -> Taken {
    let name = board.name();
    let mut device = yard.device(name, &board);
    let (first, second) = (format!("{name}-000001"), format!("{name}-000002"));

    let mut boot = device.boot();
    let tunnel = yard.operator.wait_online(&first, None);
    boot.wait_shown(TUNNEL_IS_UP, 0);
    let enrolled = Memory::of_agent(&mut boot);
    assert_eq!(
        yard.ssh(&first).run("uname -m").ok().trim(),
        board.target.machine
    );
    boot.power_off();
    yard.operator.wait_offline(&first);

    let mut boot = device.boot();
    yard.operator.wait_online(&first, Some(tunnel));
    boot.wait_shown(TUNNEL_IS_UP, 0);
    let later = Memory::of_agent(&mut boot);
    assert_eq!(
        yard.ssh(&first).run("uname -m").ok().trim(),
        board.target.machine
    );
    let used = Memory::of_agent(&mut boot);
    assert_eq!(yard.clients(name), [first.as_str()]);
    boot.cut();

    device.change_data_disk();
    let boot = device.boot();
    yard.operator.wait_online(&second, None);
    assert_eq!(
        yard.ssh(&second).run("uname -m").ok().trim(),
        board.target.machine
    );
    assert_eq!(yard.clients(name), [first.as_str(), &second]);
    boot.cut();

    Taken {
        flash: std::fs::metadata(board.target.agent()).unwrap().len(),
        board,
        enrolled,
        later,
        used,
    }
}

fn table(taken: &[Taken]) -> String {
    let mut text = String::from(
        "the agent on        flash   resident (of it anonymous) in KiB: enrolled      later boot    after a session   limit\n",
    );
    for Taken {
        board,
        flash,
        enrolled,
        later,
        used,
    } in taken
    {
        writeln!(
            text,
            "{:<12} {:>12} {:>51} {:>15} {:>18} {:>7}",
            board.name(),
            flash,
            enrolled.to_string(),
            later.to_string(),
            used.to_string(),
            board.target.rss_kib.unwrap()
        )
        .unwrap();
    }
    text
}
