//! Walks the provisioning contract line by line: a whole server, real HTTP, SQLite and PostgreSQL.

mod access;
mod conventions;
mod creation;
mod device_calls;
mod listing;
mod tunnel;

use crate::bed::Bed;
use harness::Postgres;

async fn contract(bed: Bed) {
    tell_all!(
        bed,
        [
            conventions::query_form_and_json_say_the_same,
            conventions::the_body_wins_and_the_last_one_counts,
            conventions::answers_have_their_shape,
            conventions::unknown_calls_and_methods_are_21,
            conventions::bodies_have_their_limits,
            conventions::bad_parameters_are_named,
            conventions::checks_come_in_their_order,
            access::keys_without_right_are_32_with_one_text,
            access::a_revoked_key_is_refused_at_once,
            access::a_device_context_sees_its_devices_only,
            access::a_foreign_account_is_as_if_it_were_not,
            access::the_quadruple_opens_the_calls_of_its_device,
            access::the_rate_of_a_key_is_one_budget,
            access::quadruples_have_a_rate_per_device,
            access::guessing_is_limited_per_address,
            creation::serial_names_count_up,
            creation::names_are_unique_without_case,
            creation::random_names_have_twenty_characters,
            creation::the_answer_tells_where_to_go,
            creation::a_public_key_makes_it_idempotent,
            creation::parallel_calls_of_one_device_make_one,
            creation::limits_of_a_key_bind,
            creation::regions_are_chosen,
            creation::a_node_that_is_down_is_40,
            creation::states_refuse_creation,
            listing::items_have_exactly_these_keys,
            listing::pages_and_prefixes_cut_the_list,
            listing::long_lists_come_whole,
            device_calls::a_script_comes_as_it_is,
            device_calls::the_secret_of_a_device_is_shown_to_few,
            device_calls::deleting_frees_the_name_and_forgets_the_device,
            device_calls::states_refuse_what_they_should,
            device_calls::a_suspended_account_refuses_everything,
            device_calls::offline_devices_say_so,
            device_calls::allow_is_required_and_checked,
            device_calls::keys_are_uploaded_and_replaced,
            tunnel::the_script_holds_the_tunnel_the_calls_steer_it,
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provisioning_contract_holds_on_sqlite() {
    contract(Bed::on_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provisioning_contract_holds_on_postgresql() {
    let server = Postgres::start();
    contract(Bed::on(&server.url()).await).await;
}
