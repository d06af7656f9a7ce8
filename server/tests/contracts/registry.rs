//! One contract for the registry, told as stories and run on every database it supports.

pub(crate) mod bed;
mod borders;
mod creation;
mod devices;
mod forwards;
mod people;
mod placement;
mod processes;
mod sessions;
mod work;

use bed::{Bed, Place};
use harness::Postgres;

async fn contract(place: Place) {
    tell_each!(
        &place,
        Bed,
        [
            work::tasks_of_a_host_are_taken_one_by_one,
            work::tasks_that_nobody_touches_fail,
            work::a_one_time_password_opens_once_and_for_its_host,
            work::forwards_are_renewed_and_old_ports_come_back,
            work::sessions_are_noted_and_closed,
            creation::parallel_calls_get_numbers_without_a_double,
            creation::each_prefix_counts_for_itself,
            creation::taken_names_are_skipped_and_refused,
            creation::a_deleted_device_frees_its_name_but_not_its_number,
            creation::random_names_have_twenty_letters_and_digits,
            creation::a_public_key_makes_the_call_idempotent,
            creation::calls_with_one_key_at_once_make_one_device,
            creation::a_key_with_uses_makes_that_many_devices,
            placement::ports_run_out_and_come_back,
            placement::the_region_is_chosen_by_rule,
            placement::nodes_that_are_not_active_take_no_device,
            creation::a_key_that_no_longer_counts_makes_nothing,
            creation::states_of_device_and_account_are_obeyed,
            creation::a_refused_call_costs_no_number,
            devices::accounts_do_not_see_each_other,
            devices::the_four_parts_have_to_fit,
            devices::lists_are_in_order_and_can_be_cut,
            devices::changes_are_kept,
            devices::names_and_keys_stay_unique,
            devices::signs_of_life_never_go_back,
            devices::a_device_without_forward_gets_one,
            devices::nodes_are_replaced_by_name,
            devices::how_devices_stand_is_told,
            devices::events_are_listed_newest_first,
            forwards::forwards_are_added_once_and_taken_away,
            forwards::a_device_has_so_many_forwards,
            forwards::a_node_without_a_port_adds_no_forward,
            forwards::http_names_lead_to_forwards,
            people::the_first_account_is_made_once,
            people::users_log_in_by_name_or_short_id,
            people::users_have_keys,
            people::api_keys_are_found_by_their_secret,
            people::what_is_secret_is_sealed,
            sessions::a_key_alone_makes_a_device,
            sessions::a_device_from_a_key_gets_a_region,
            sessions::open_sessions_are_found_by_account,
            sessions::clicks_outlive_their_device,
            sessions::traffic_counts_by_month,
            sessions::times_of_coming_up_never_go_back,
            sessions::protection_makes_the_links_that_are_missing,
            borders::a_host_stays_behind_when_its_device_moves,
            borders::what_was_allowed_in_one_account_does_nothing_in_the_next,
            borders::a_host_has_user_and_device_of_its_account,
            borders::a_password_is_changed_from_the_one_that_was_checked,
            borders::a_text_with_a_nul_names_nothing,
            borders::an_account_has_so_many_users_and_egress_ips,
            borders::a_policy_changes_in_what_is_named,
            borders::tasks_go_once_they_have_ended_and_are_old,
            processes::two_processes_share_ports_and_numbers,
            processes::a_key_revoked_elsewhere_is_refused,
            processes::everything_is_there_after_a_restart,
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registry_contract_holds_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    contract(Place::Folder(folder.path().to_owned())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registry_contract_holds_on_postgresql() {
    let server = Postgres::start();
    contract(Place::Server(server.socket_folder().to_owned())).await;
}
