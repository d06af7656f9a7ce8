//! The contracts, walked line by line: whole servers, real HTTP and SSH, SQLite and PostgreSQL.
//!
//! One module a surface, and `registry` for what they all stand on. A story is a function; the stories of a contract are
//! told one after the other on one server ([`bed`]), each from a source address and in an account of its own.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "all of this is test, also outside of the test functions"
)]

/// Tells each story on one server; with `on Stage` on a stage that is made for it on that server.
macro_rules! tell_all {
    ($bed:expr, [$($module:ident :: $story:ident),+ $(,)?]) => {
        let mut bed: $crate::bed::Bed = $bed;
        $(
            println!("{}::{}", stringify!($module), stringify!($story));
            bed.turn_page(stringify!($story)).await;
            Box::pin($module::$story(&bed)).await;
        )+
        bed.stop().await;
    };
    ($bed:expr, on $stage:ident, [$($module:ident :: $story:ident),+ $(,)?]) => {
        let mut bed: $crate::bed::Bed = $bed;
        $(
            println!("{}::{}", stringify!($module), stringify!($story));
            bed.turn_page(stringify!($story)).await;
            let stage = Box::pin($stage::make(&bed)).await;
            Box::pin($module::$story(&stage)).await;
        )+
        bed.stop().await;
    };
}

/// Tells each story on a bed of its own, made at a place that all of them share.
macro_rules! tell_each {
    ($place:expr, $bed:ident, [$($module:ident :: $story:ident),+ $(,)?]) => {
        $(
            println!("{}::{}", stringify!($module), stringify!($story));
            let bed = Box::pin($bed::make($place, stringify!($story))).await;
            Box::pin($module::$story(bed)).await;
        )+
    };
}

mod bed;
mod bench;
mod http;
mod tunnel;
mod world;

mod apiclients;
mod backup;
mod control;
mod hosts;
mod http_names;
mod listener;
mod openport;
mod openport_client;
mod operator;
mod provisioning;
mod registry;
mod rotation;
