//! Walks the Openport client protocol line by line: a whole server, real HTTP, SQLite and PostgreSQL.

mod anonymous;
pub(crate) mod client;
mod conventions;
mod isolation;
mod kill;
mod lapse;
mod link_key;
mod links;
mod operators;
mod refusals;
mod sessions;
mod small_devices;

use crate::bed::Bed;
use harness::Postgres;

async fn contract(bed: Bed) {
    tell_all!(
        bed,
        [
            conventions::the_answer_has_its_shape,
            conventions::form_and_json_say_the_same,
            conventions::answers_are_200_and_json_whatever_comes,
            conventions::every_kind_of_key_is_taken,
            sessions::the_earlier_session_comes_back,
            sessions::any_other_case_is_a_new_session,
            sessions::a_token_of_another_key_is_none,
            sessions::an_http_name_stays_for_the_next_time,
            sessions::protection_is_as_said_else_as_set,
            sessions::the_one_unused_longest_gives_way,
            refusals::states_refuse_and_heal,
            refusals::requests_are_limited_per_key,
            refusals::requests_are_limited_per_address,
            kill::a_killed_session_is_refused_until_a_person_restarts_it,
            kill::what_does_not_match_is_404,
            anonymous::a_new_key_is_served_and_known_again,
            anonymous::create_new_client_adopts_a_key,
            anonymous::a_blocked_key_is_not_adopted,
            small_devices::a_pair_names_a_device_of_its_account,
            small_devices::a_bad_pair_is_told,
            link_key::a_key_is_registered,
            link_key::a_key_moves_between_accounts,
            link_key::taken_names_get_a_number,
            link_key::bad_tokens_are_told_and_limited,
            links::a_click_is_kept,
            links::wrong_links_are_refused_and_limited,
            links::head_opens_nothing,
            links::nothing_connected_is_404,
            isolation::forward_tunnels_stay_in_their_account,
            isolation::unregistered_keys_reach_only_themselves,
            operators::key_binding_is_for_administrators,
            operators::links_are_those_of_the_own_account,
            lapse::what_is_used_stays,
            lapse::what_is_unused_goes,
            // Last, since it adds a node, and with two of them a region has to be named.
            sessions::nodes_are_chosen,
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openport_client_contract_holds_on_sqlite() {
    contract(Bed::on_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openport_client_contract_holds_on_postgresql() {
    let server = Postgres::start();
    contract(Bed::on(&server.url()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_change_what_is_served() {
    let text = "[openport]\nallow_anonymous_keys = false\n\
        [ssh]\nfallback_host = \"ssh.example.net\"\nfallback_port = 8443\n\
        [http]\ntrusted_proxies = [\"127.0.0.0/8\"]\npublic_url = \"https://api.example.net/\"\n";
    tell_all!(
        Bed::configured(text).await,
        [
            anonymous::unregistered_keys_are_refused_where_that_is_set,
            conventions::the_second_address_is_as_set,
            links::a_trusted_proxy_names_the_visitor,
        ]
    );
}
