//! Walks the control contract line by line: a whole server, real HTTP, SQLite and PostgreSQL.

mod bindings;
mod conventions;
mod egress;
mod events;
mod expiry;
mod flow;
mod hostile;
mod isolation;
mod login;
mod portal;
mod ssh_keys;
mod users;

use crate::bed::Bed;
use crate::world::World;
use harness::Postgres;

async fn contract(bed: Bed) {
    tell_all!(bed, on World,
        [
            conventions::answers_are_compact_json_and_end_in_a_line_break,
            conventions::bodies_have_their_limits,
            conventions::unknown_routes_and_methods_are_told,
            conventions::health_is_told_without_a_token,
            conventions::an_engine_that_does_not_answer_is_a_warning,
            login::a_token_says_who_and_until_when,
            login::both_paths_and_both_identifiers_log_in,
            login::what_is_no_good_token_is_401,
            login::a_token_in_the_query_becomes_a_cookie,
            login::disabling_and_a_new_password_cut_tokens_at_once,
            login::who_is_not_active_is_told_after_the_right_password,
            login::ten_wrong_passwords_a_minute_lock_user_and_address,
            users::are_made_with_what_was_asked_for,
            users::wrong_wishes_are_named,
            users::are_listed_newest_first,
            users::passwords_are_rotated,
            users::the_last_admin_stays,
            users::expiry_is_set_and_taken_away,
            users::hosts_go_with_their_user_and_devices_stay,
            users::short_ids_are_one_space_over_users_and_hosts,
            ssh_keys::keys_are_kept_and_deleted,
            ssh_keys::wrong_keys_are_named,
            ssh_keys::generated_keys_are_what_openssh_reads,
            ssh_keys::outbound_keys_keep_their_private_half_sealed,
            ssh_keys::a_key_is_synced_when_all_running_containers_have_it,
            egress::wireguard_has_defaults_and_a_key_of_its_own,
            egress::proxies_are_checked_in_their_order,
            egress::secrets_are_never_shown_and_stay_when_sent_back,
            egress::changes_are_partial,
            egress::addresses_are_unique_in_the_account,
            egress::what_is_bound_is_not_deleted,
            egress::a_test_says_why_the_tunnel_is_not_there,
            bindings::hosts_are_bound_and_unbound,
            bindings::every_refusal_has_its_text,
            events::every_deed_leaves_its_event,
            events::filters_and_pages_cut_the_list,
            events::wrong_parameters_are_named,
            events::what_is_gone_is_not_named,
            portal::a_password_is_changed_by_who_knows_the_old_one,
            portal::users_keep_their_own_keys,
            expiry::time_that_is_over_is_noticed_once,
            expiry::a_new_date_brings_nobody_back,
            isolation::without_a_token_nothing_is_served,
            isolation::users_reach_nothing_of_the_administrators,
            isolation::another_account_is_as_if_it_were_not,
            flow::the_commands_of_a_new_installation_work_in_their_order,
            hostile::a_username_is_nobodys_short_id,
            hostile::a_nul_is_refused_as_anything_unknown,
            hostile::the_lock_does_not_tell_who_is_there,
            hostile::a_suspended_account_is_closed,
            hostile::an_account_does_not_run_out_of_administrators,
            hostile::whoever_is_sent_away_finishes_no_request,
            hostile::egress_texts_have_their_limits,
            hostile::what_is_hidden_is_no_secret,
            hostile::a_call_without_need_of_a_token_plants_none,
            hostile::of_two_at_once_one_is_told,
            hostile::bodies_that_are_odd_are_refused,
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_contract_holds_on_sqlite() {
    Box::pin(contract(Bed::on_sqlite().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_contract_holds_on_postgresql() {
    let server = Postgres::start();
    Box::pin(contract(Bed::on(&server.url()).await)).await;
}
