//! Walks the API client contract line by line: a whole server, real HTTP, SQLite and PostgreSQL.

mod attributes;
mod auth;
mod conventions;
mod create;
mod desk;
mod filters;
mod isolation;
mod keys;
mod limits;
mod lock;
mod operators;
mod pages;
mod update;

use crate::bed::Bed;
use harness::Postgres;

async fn contract(bed: Bed) {
    tell_all!(
        bed,
        [
            auth::credentials_are_checked,
            auth::every_operation_needs_its_scope,
            auth::a_key_without_the_account_as_context_is_refused,
            auth::nobody_gives_more_than_they_have,
            auth::nobody_sees_more_than_they_have,
            auth::a_suspended_account_is_refused,
            auth::guessing_is_limited_per_address,
            conventions::both_roots_are_the_same_resources,
            conventions::errors_have_their_shape,
            conventions::a_parameter_stands_for_the_method,
            conventions::methods_and_paths_that_are_not_there,
            conventions::bodies_have_their_form_and_length,
            conventions::codes_have_their_pages,
            conventions::checks_come_in_their_order,
            create::nothing_given_makes_the_default,
            create::everything_given_is_kept,
            create::a_name_is_made_of_the_friendly_name,
            create::parallel_calls_get_names_of_their_own,
            create::names_are_unique_without_case,
            attributes::every_problem_of_a_body_is_told,
            attributes::values_at_their_bounds,
            attributes::contexts_name_what_is_there,
            create::compatible_clients_get_what_they_rely_on,
            update::what_is_absent_stays,
            update::null_unsets_what_may_be_unset,
            update::names_change_and_free_the_old_one,
            update::it_is_all_or_nothing,
            update::key_attributes_change_the_key,
            lock::a_locked_client_stays_as_it_is,
            lock::unlocking_is_the_only_change_it_takes,
            lock::its_key_can_be_regenerated,
            keys::the_secret_is_what_other_surfaces_carry,
            keys::a_regenerated_key_is_refused_at_once_everywhere,
            keys::a_changed_key_works_from_the_next_call_on,
            keys::a_deleted_key_is_refused_at_once_everywhere,
            keys::whoever_regenerates_their_own_goes_on_with_the_answer,
            filters::names_and_friendly_names_select,
            filters::tags_select,
            filters::odd_tags_select_themselves_alone,
            pages::pages_cut_the_list,
            pages::bad_numbers_are_told,
            isolation::another_account_sees_and_changes_nothing,
            limits::limits_bind_and_run_out,
            limits::the_rate_of_a_key_is_one_budget,
            operators::an_administrator_does_the_same_by_token,
            operators::others_may_not,
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_client_contract_holds_on_sqlite() {
    contract(Bed::on_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_client_contract_holds_on_postgresql() {
    let server = Postgres::start();
    contract(Bed::on(&server.url()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_http_is_refused_where_https_is_required() {
    auth::plain_http_is_refused().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_account_gets_root() {
    auth::the_first_account_gets_root().await;
}
