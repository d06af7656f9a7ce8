//! Section 16 of the control contract: the program itself rotates the master key of both databases, whole or not at all.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "all of this is test, also outside of the test functions"
)]

#[allow(dead_code, reason = "shared with the backup contract")]
#[path = "../backup_contract/bench.rs"]
mod bench;
mod cuts;
#[path = "../registry_contract/postgres.rs"]
mod postgres;
mod secrets;
mod server;
mod stories;

use bench::{Bench, Place};
use postgres::Postgres;

/// Runs each story on a fresh database.
macro_rules! tell {
    ($place:expr, [$($module:ident :: $story:ident),+ $(,)?]) => {
        let place: &Place = $place;
        $(
            println!("{}::{}", stringify!($module), stringify!($story));
            Box::pin($module::$story(Bench::make(place, stringify!($story)).await)).await;
        )+
    };
}

macro_rules! tell_all {
    ($place:expr) => {
        tell!(
            $place,
            [
                stories::everything_goes_on_under_the_new_key,
                stories::the_former_key_opens_nothing,
                stories::a_key_is_rotated_again_and_again,
                stories::logins_and_api_keys_outlive_a_rotation,
                stories::it_is_refused_while_somebody_works_on_the_database,
                stories::another_key_changes_nothing,
                stories::what_does_not_open_is_named_and_changes_nothing,
                stories::snapshots_want_the_key_of_their_time,
                cuts::a_rotation_that_changed_nothing_is_done_later,
                cuts::a_rotation_before_its_key_took_the_place_is_ended_by_the_server,
                cuts::a_rotation_before_its_key_took_the_place_is_ended_by_the_next,
                cuts::kills_at_any_moment_lose_nothing,
            ]
        )
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_hold_on_sqlite() {
    tell_all!(&Place::Sqlite);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_hold_on_postgresql() {
    let server = Postgres::start();
    let place = Place::Server(server.socket_folder().to_owned());
    tell_all!(&place);
    tell!(
        &place,
        [
            cuts::a_rotation_is_killed_in_its_transaction,
            stories::a_server_that_was_cut_off_writes_nothing_under_the_former_key,
        ]
    );
}

#[test]
fn a_short_secret_of_tokens_is_refused_at_the_start() {
    server::a_short_jwt_secret_is_refused();
}
