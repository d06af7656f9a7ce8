//! Section 16 of the control contract: the program itself backs up and restores both databases.

mod failures;
mod stories;

use crate::bench::{Bench, Place};
use harness::Postgres;

async fn contract(place: &Place) {
    tell_each!(
        place,
        Bench,
        [
            stories::a_snapshot_brings_back_what_was,
            stories::a_snapshot_is_taken_while_others_write,
            stories::a_restored_database_is_backed_up_again,
            stories::old_snapshots_of_the_name_are_deleted,
            stories::a_backup_that_fails_deletes_nothing,
            stories::what_is_in_use_is_not_replaced,
            stories::what_is_no_snapshot_changes_nothing,
            stories::a_snapshot_of_a_newer_version_changes_nothing,
            stories::a_snapshot_wants_its_master_key,
        ]
    );
    tell_each!(
        place,
        Bench,
        [
            failures::a_full_disk_leaves_nothing_and_deletes_nothing,
            failures::a_folder_that_cannot_be_used_is_named,
            failures::a_backup_that_is_terminated_leaves_nothing,
            failures::what_a_killed_backup_left_is_removed_by_the_next,
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_hold_on_sqlite() {
    contract(&Place::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_hold_on_postgresql() {
    let server = Postgres::start();
    let place = Place::Server(server.socket_folder().to_owned());
    contract(&place).await;
    tell_each!(
        &place,
        Bench,
        [
            failures::a_dump_that_fails_leaves_nothing,
            failures::a_restore_that_fails_in_the_middle_changes_nothing,
            failures::a_damaged_dump_changes_nothing,
            failures::a_restore_that_is_killed_leaves_no_fresh_database,
            failures::what_killed_restores_put_back_does_not_pile_up,
        ]
    );
    stories::the_password_is_not_asked_for(
        Bench::make(&place, "password").await,
        server.socket_folder(),
    )
    .await;
    stories::missing_programs_are_named(Bench::make(&place, "programs").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_database_is_replaced() {
    stories::a_damaged_database_is_replaced(Bench::make(&Place::Sqlite, "damaged").await).await;
    tell_each!(
        &Place::Sqlite,
        Bench,
        [failures::what_a_killed_restore_left_is_removed_by_the_next]
    );
}
