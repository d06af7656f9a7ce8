//! HTTP names, tunnels over WebSocket and ports that carry several protocols, on a whole server with real sockets
//! (openport contract sections 11 and 12).

mod bed;
mod connections;
mod names;
mod ports;
mod site;
mod web;
mod websocket;
mod ws_device;

use bed::Bed;

/// Tells each story on one server.
macro_rules! tell_all {
    ($bed:expr, [$($module:ident :: $story:ident),+ $(,)?]) => {{
        let bed: &Bed = $bed;
        $(
            println!("{}::{}", stringify!($module), stringify!($story));
            Box::pin($module::$story(bed)).await;
        )+
    }};
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_lead_to_devices() {
    let bed = Bed::start().await;
    tell_all!(
        &bed,
        [
            names::requests_and_answers_pass_whole,
            names::the_node_says_where_a_request_comes_from,
            names::bodies_stream_in_both_directions,
            names::pages_tell_what_is_wrong,
            names::what_two_servers_would_read_differently_is_refused,
            connections::upgraded_connections_pass_byte_for_byte,
            connections::a_visitor_keeps_its_connection_to_the_device,
            connections::another_visitor_never_gets_that_connection,
            connections::a_device_that_is_blocked_or_deleted_is_so_at_once,
            names::a_header_block_over_64_kib_is_431,
            names::names_are_served_on_the_api_port_too,
            connections::a_demanded_recording_closes_a_name_and_ends_what_is_open,
            names::bytes_are_counted,
        ]
    );
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tunnels_come_over_websocket() {
    let bed = Bed::start().await;
    tell_all!(
        &bed,
        [
            websocket::a_visitor_is_served_through_messages,
            websocket::connections_do_not_mix,
            websocket::wrong_pairs_are_closed_with_1008,
            websocket::a_newer_tunnel_ends_the_older_with_1000,
            websocket::what_makes_no_sense_is_ignored,
            websocket::a_stalled_visitor_does_not_stop_the_others,
            websocket::a_session_for_http_has_no_public_port,
            websocket::a_device_that_is_blocked_is_cut_off_and_refused,
            websocket::a_demanded_recording_cuts_visitors_and_keeps_the_tunnel,
            websocket::half_closed_visitors_are_still_answered,
            websocket::a_session_that_is_killed_while_its_port_opens_stays_down,
        ]
    );
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_port_carries_several_protocols() {
    let bed = Bed::start().await;
    tell_all!(
        &bed,
        [
            ports::ssh_clients_that_speak_and_that_wait_get_to_the_gateway,
            ports::tls_clients_get_the_certificate_of_the_name,
            ports::names_in_clear_offer_no_api,
            ports::a_port_that_stands_in_both_lists_carries_both,
        ]
    );
    bed.stop().await;
}
