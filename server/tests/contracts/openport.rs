//! Walks the openport contract line by line: a whole server, real HTTP and tunnels, SQLite and PostgreSQL.

mod v2;
mod v2_access;
mod v2_borders;
mod v2_conventions;
mod v2_keys;
mod v2_lists;
mod v2_server;
mod v2_settings;
mod v2_tunnels;

use crate::bed::Bed;
use crate::tunnel;
use harness::Postgres;

async fn v2_contract(bed: Bed) {
    tunnel::take_own_ports(&bed).await;
    tell_all!(
        bed,
        [
            v2_conventions::paths_end_in_a_slash,
            v2_conventions::methods_that_are_not_allowed_are_405,
            v2_conventions::bodies_come_in_three_forms,
            v2_conventions::bodies_have_their_limits,
            v2_conventions::bad_fields_are_reported_all_at_once,
            v2_conventions::pages_lead_to_their_neighbours,
            v2_access::calls_without_a_good_token_are_401,
            v2_access::a_revoked_token_is_refused_at_once,
            v2_access::every_call_needs_its_scope,
            v2_access::a_suspended_account_is_403,
            v2_access::a_device_context_sees_its_devices_only,
            v2_access::a_foreign_account_is_as_if_it_were_not,
            v2_access::the_rate_of_a_key_is_one_budget,
            v2_access::guessing_is_limited_per_address,
            v2_keys::an_item_has_exactly_these_fields,
            v2_keys::names_are_made_up_when_none_is_given,
            v2_keys::public_keys_and_names_are_unique,
            v2_keys::names_are_printable_text,
            v2_keys::a_key_is_renamed_and_rekeyed,
            v2_keys::an_item_can_be_sent_back_as_it_came,
            v2_keys::a_deleted_key_is_gone_everywhere,
            v2_keys::limits_of_a_token_do_not_bind_here,
            v2_keys::what_was_changed_stands_in_the_audit,
            v2_settings::settings_are_shown_and_set,
            v2_settings::bad_settings_have_their_texts,
            v2_settings::states_mean_the_same_everywhere,
            v2_lists::nodes_need_no_token,
            v2_lists::clicks_are_listed_and_outlive_the_key,
            v2_lists::the_document_describes_what_is_answered,
            v2_tunnels::a_session_is_listed_while_its_tunnel_is_up,
            v2_tunnels::bytes_are_counted_both_ways,
            v2_tunnels::settings_reach_open_ports_at_once,
            v2_tunnels::a_new_key_cuts_the_tunnel_and_keeps_the_port,
            v2_borders::a_move_ends_the_ways_between_devices,
            v2_borders::a_session_that_is_killed_while_its_port_opens_stays_down,
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openport_v2_contract_holds_on_sqlite() {
    v2_contract(Bed::on_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openport_v2_contract_holds_on_postgresql() {
    let server = Postgres::start();
    v2_contract(Bed::on(&server.url()).await).await;
}
