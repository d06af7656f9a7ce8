//! Walks the control contract as far as it speaks of hosts (sections 8, 9, 11 to 13 and 15): a whole server, real HTTP
//! and SSH, SQLite and PostgreSQL.

mod bootstrap;
mod containers;
mod desktop;
mod desktop_pages;
mod devices;
mod entry;
mod expiry;
mod hostile;
mod isolation;
mod line;
mod own;
mod place;
mod tasks;

use crate::bed::Bed;
use crate::world::World;
use harness::Postgres;

async fn contract(bed: Bed) {
    tell_all!(bed, on World,
        [
            containers::a_container_has_its_defaults_and_its_data,
            containers::wrong_wishes_are_named,
            containers::a_slot_holds_one_container,
            containers::without_an_engine_the_tasks_say_so,
            containers::a_host_that_runs_is_not_deleted_without_force,
            containers::policies_are_set,
            devices::a_device_is_adopted_and_only_unassigned,
            devices::start_and_stop_steer_the_tunnel,
            devices::a_rebuild_gives_new_ports_and_keeps_the_identity,
            devices::a_device_that_does_not_come_fails_its_start,
            tasks::tasks_of_one_host_run_in_order,
            tasks::waiting_tasks_go_with_their_host,
            tasks::a_queue_has_its_end,
            tasks::users_leave_room_for_administrators,
            tasks::a_storm_ends_in_what_was_asked_last,
            tasks::a_host_whose_tunnel_is_gone_is_stopped,
            own::users_see_their_hosts,
            own::users_rebuild_their_hosts,
            bootstrap::a_session_ends_in_a_handoff,
            bootstrap::every_refusal_has_its_code,
            bootstrap::a_start_that_fails_is_told,
            entry::a_script_comes_for_any_id,
            entry::a_password_for_one_login_is_given,
            entry::a_password_for_one_login_dies_with_the_users,
            entry::every_refusal_has_its_text,
            desktop::every_request_is_guarded,
            desktop::pages_and_websockets_come_through_the_tunnel,
            desktop_pages::pages_of_a_host_are_confined,
            desktop_pages::one_user_leaves_room_for_others,
            expiry::hosts_of_an_expired_user_are_stopped,
            isolation::without_a_token_nothing_is_served,
            isolation::users_reach_nothing_of_the_administrators,
            isolation::another_account_is_as_if_it_were_not,
            isolation::another_user_is_forbidden,
            isolation::a_device_that_moves_is_nobodys_host,
            hostile::a_name_that_is_a_short_id_takes_no_entry,
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_contract_holds_on_sqlite() {
    Box::pin(contract(Bed::on_sqlite().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_contract_holds_on_postgresql() {
    let server = Postgres::start();
    Box::pin(contract(Bed::on(&server.url()).await)).await;
}
