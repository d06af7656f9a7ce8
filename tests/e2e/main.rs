//! Moorline's stories, one a file, with real clients, servers, databases and networks.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says that something is wrong by panicking"
)]

mod a_blocked_device_is_refused_on_every_path;
mod a_browser_opens_a_page_of_a_device;
mod a_compatible_sdk_manages_api_clients;
mod a_desktop_opens_in_a_browser;
mod a_device_behind_a_captive_portal_waits;
mod a_device_serves_web_pages_under_its_name;
mod a_forward_tunnel_ends_at_its_account;
mod a_full_or_read_only_disk_stops_nothing;
mod a_killed_server_forgets_no_answered_client;
mod a_log_that_nobody_takes_stops_nothing;
mod a_lost_data_folder_comes_back_from_its_backup;
mod a_page_of_a_desktop_acts_for_nobody;
mod a_pinned_key_is_the_only_one_trusted;
mod a_replaced_key_is_refused_on_every_path;
mod a_second_connection_takes_over_a_frozen_one;
mod a_session_is_taken_over_and_killed;
mod a_signal_request_reaches_the_program;
mod a_stalled_visitor_leaves_the_others_going;
mod a_stranger_opens_a_shell_by_a_link;
mod a_visitor_connects_ten_times_a_minute;
mod a_visitor_gets_in_by_the_link_of_a_session;
mod an_administrator_keeps_people_and_ways_out;
mod an_enrolled_device_is_reached_with_stock_ssh;
mod an_http_proxy_leads_to_the_api;
mod desk;
mod guessing_the_password_of_a_host_closes_its_door;
mod lodger;
mod many_requests_at_once_meet_no_server_error;
mod no_weak_algorithm_is_offered;
mod one_device_is_the_same_on_every_surface;
mod openport_client;
mod power_cuts_at_first_boot_make_one_device;
mod sessions_by_name_behave_like_plain_ssh;
mod sessions_on_a_host_end_with_what_they_hang_on;
mod site;
mod ssh_and_https_share_a_port;
mod station;
mod stock_clients_hold_a_tunnel;
mod stock_clients_log_in_as_open;
mod the_agent_says_how_it_stands;
mod the_client_script_runs_in_small_shells;
mod the_document_of_the_api_holds;
mod the_operators_program_does_its_work;
mod the_tunnel_comes_back;
mod what_operators_do_is_noted_and_recorded;
mod work_on_a_host_survives_a_restart;
mod wrong_credentials_get_the_documented_words;
