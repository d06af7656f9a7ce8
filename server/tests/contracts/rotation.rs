//! Section 16 of the control contract: the program itself rotates the master key of both databases, whole or not at all.

mod cuts;
mod secrets;
mod server;
mod stories;

use crate::bench::{Bench, Place};
use harness::Postgres;

async fn contract(place: &Place) {
    tell_each!(
        place,
        Bench,
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
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_hold_on_sqlite() {
    contract(&Place::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_hold_on_postgresql() {
    let server = Postgres::start();
    let place = Place::Server(server.socket_folder().to_owned());
    contract(&place).await;
    tell_each!(
        &place,
        Bench,
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
