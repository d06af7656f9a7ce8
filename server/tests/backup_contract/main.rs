//! Section 16 of the control contract: the program itself backs up and restores both databases.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "all of this is test, also outside of the test functions"
)]

mod bench;
mod failures;
#[path = "../registry_contract/postgres.rs"]
mod postgres;
mod stories;

use bench::{Bench, Place};
use postgres::Postgres;

/// Runs each story on a fresh database.
macro_rules! tell {
    ($place:expr, [$($story:ident),+ $(,)?]) => {
        let place: Place = $place;
        $(
            println!("{}", stringify!($story));
            Box::pin(stories::$story(Bench::make(&place, stringify!($story)).await)).await;
        )+
    };
}

/// The same for those of [`failures`].
macro_rules! fail {
    ($place:expr, [$($story:ident),+ $(,)?]) => {
        let place: Place = $place;
        $(
            println!("{}", stringify!($story));
            Box::pin(failures::$story(Bench::make(&place, stringify!($story)).await)).await;
        )+
    };
}

macro_rules! tell_all {
    ($place:expr) => {
        tell!(
            $place,
            [
                a_snapshot_brings_back_what_was,
                a_snapshot_is_taken_while_others_write,
                a_restored_database_is_backed_up_again,
                old_snapshots_of_the_name_are_deleted,
                a_backup_that_fails_deletes_nothing,
                what_is_in_use_is_not_replaced,
                what_is_no_snapshot_changes_nothing,
                a_snapshot_of_a_newer_version_changes_nothing,
                a_snapshot_wants_its_master_key,
            ]
        );
        fail!(
            $place,
            [
                a_full_disk_leaves_nothing_and_deletes_nothing,
                a_folder_that_cannot_be_used_is_named,
                a_backup_that_is_terminated_leaves_nothing,
                what_a_killed_backup_left_is_removed_by_the_next,
            ]
        );
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_hold_on_sqlite() {
    tell_all!(Place::Sqlite);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_hold_on_postgresql() {
    let server = Postgres::start();
    tell_all!(Place::Server(server.socket_folder().to_owned()));
    fail!(
        Place::Server(server.socket_folder().to_owned()),
        [
            a_dump_that_fails_leaves_nothing,
            a_restore_that_fails_in_the_middle_changes_nothing,
            a_damaged_dump_changes_nothing,
        ]
    );
    stories::the_password_is_not_asked_for(
        Bench::make(
            &Place::Server(server.socket_folder().to_owned()),
            "password",
        )
        .await,
        server.socket_folder(),
    )
    .await;
    stories::missing_programs_are_named(
        Bench::make(
            &Place::Server(server.socket_folder().to_owned()),
            "programs",
        )
        .await,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_database_is_replaced() {
    stories::a_damaged_database_is_replaced(Bench::make(&Place::Sqlite, "damaged").await).await;
    fail!(
        Place::Sqlite,
        [what_a_killed_restore_left_is_removed_by_the_next]
    );
}
