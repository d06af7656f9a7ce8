//! The rows, one module per table, as the migrations make them. Seen by nobody outside the registry.

mod control;

pub(super) use control::{binding, egress_ip, host, login_failure, short_id, task};
#[allow(unused_imports, reason = "written by the parts that let people in")]
pub(super) use control::{one_time_password, operator_session};

pub(super) mod account {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "accounts")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub uid: String,
        pub name: String,
        pub name_folded: String,
        pub suspended: bool,
        pub default_region: Option<String>,
        pub created_at: i64,
        pub binding_token_hash: Option<Vec<u8>>,
        pub binding_token_sealed: Option<Vec<u8>>,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) mod user {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "users")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub account_id: i64,
        pub username: String,
        pub short_id: String,
        pub role: String,
        pub status: String,
        pub expires_at: Option<i64>,
        pub password_hash: String,
        pub token_version: i64,
        pub created_at: i64,
        pub updated_at: i64,
        pub keys_version: i64,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) mod user_key {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "user_keys")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub user_id: Uuid,
        pub label: String,
        pub public_key: String,
        pub comment: String,
        pub fingerprint: String,
        pub created_at: i64,
        pub purpose: String,
        pub private_key_sealed: Option<Vec<u8>>,
        pub version: i64,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) mod api_client {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "api_clients")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub account_id: i64,
        pub name: String,
        pub name_folded: String,
        pub friendly_name: String,
        pub description: Option<String>,
        pub tags: Option<String>,
        pub locked: bool,
        pub created_at: i64,
        pub modified_at: i64,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) mod api_key {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "api_keys")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub api_client_id: String,
        pub account_id: i64,
        pub secret_hash: Vec<u8>,
        pub secret_sealed: Vec<u8>,
        pub context_kind: String,
        pub context_ids: String,
        pub scope: String,
        pub rate_limit: i64,
        pub limit_prefix: Option<String>,
        pub limit_region: Option<String>,
        pub limit_uses: Option<i64>,
        pub limit_expires_at: Option<i64>,
        pub created_at: i64,
        pub modified_at: i64,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) mod node {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "nodes")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        pub public_host: String,
        pub ssh_port: i32,
        pub host_key: String,
        pub status: String,
        pub port_first: i32,
        pub port_last: i32,
        pub engine: String,
        pub names_domain: Option<String>,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) mod device {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "devices")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub number: i64,
        pub id: Uuid,
        pub account_id: i64,
        pub name: String,
        pub name_folded: String,
        pub state: String,
        pub wanted: String,
        pub allow_clientless: bool,
        pub public_key: Option<String>,
        pub public_key_comment: Option<String>,
        pub public_key_fingerprint: Option<String>,
        pub dbid: Vec<u8>,
        pub redirect_token: String,
        pub username: Option<String>,
        pub hostname: Option<String>,
        pub hardware: Option<String>,
        pub region: String,
        pub sshd_host_keys: String,
        pub ip_link_protection: bool,
        pub max_connections_per_minute: i32,
        pub created_at: i64,
        pub unique_client_id: Option<String>,
        pub client_version: Option<String>,
        pub platform: Option<String>,
        pub recording_required: bool,
        pub direct_tcpip_allowed: bool,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) mod device_presence {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "device_presence")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub device_number: i64,
        pub last_seen_at: Option<i64>,
        pub last_end: Option<String>,
        pub last_end_at: Option<i64>,
        pub last_up_at: Option<i64>,
        pub bytes: i64,
        pub bytes_since: Option<i64>,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) mod forward {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "forwards")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub device_number: i64,
        pub node: String,
        pub device_port: i32,
        pub public_port: i32,
        pub is_first: bool,
        pub session_token: Option<String>,
        pub link_token: Option<String>,
        pub http_label: Option<String>,
        pub created_at: i64,
        pub is_http: bool,
        pub link_protection: Option<bool>,
        pub killed: bool,
        pub last_used_at: Option<i64>,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) mod link_click {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "link_clicks")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub at: i64,
        pub account_id: i64,
        pub device_id: Uuid,
        pub forward_id: i64,
        pub port: i32,
        pub source_ip: String,
        pub key_name: String,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) mod serial_counter {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "serial_counters")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub account_id: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub prefix: String,
        pub next_number: i64,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) mod event {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "events")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub at: i64,
        pub account_id: Option<i64>,
        pub device_id: Option<Uuid>,
        pub user_id: Option<Uuid>,
        pub level: String,
        pub kind: String,
        pub message: String,
        pub metadata: String,
        pub host_id: Option<Uuid>,
        pub task_id: Option<Uuid>,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) mod master_key_check {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "master_key_check")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i32,
        pub hash: Vec<u8>,
        pub lasting_sealed: Option<Vec<u8>>,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
