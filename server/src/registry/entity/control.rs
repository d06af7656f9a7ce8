//! The rows of hosts and what belongs to them.

pub(in crate::registry) mod host {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "hosts")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub account_id: i64,
        pub user_id: Uuid,
        pub kind: String,
        pub device_id: Option<Uuid>,
        pub status: String,
        pub wanted: String,
        pub short_id: String,
        pub slot_key: String,
        pub region: Option<String>,
        pub timezone: String,
        pub hostname: String,
        pub memory_limit_mb: i64,
        pub cpu_limit: f64,
        pub disk_limit_gb: i64,
        pub home_volume_name: String,
        pub entry_password_hash: String,
        pub recording_required: bool,
        pub direct_tcpip_allowed: bool,
        pub keys_version: i64,
        pub created_at: i64,
        pub updated_at: i64,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(in crate::registry) mod short_id {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "short_ids")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub short_id: String,
        pub user_id: Option<Uuid>,
        pub host_id: Option<Uuid>,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(in crate::registry) mod egress_ip {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "egress_ips")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub account_id: i64,
        pub label: String,
        pub ip_address: String,
        pub provider: String,
        pub status: String,
        pub tunnel_type: String,
        pub wg_endpoint: Option<String>,
        pub wg_public_key: Option<String>,
        pub wg_allowed_ips: String,
        pub wg_dns_server: Option<String>,
        pub wg_peer_address: Option<String>,
        pub wg_client_public_key: Option<String>,
        pub wg_private_key_sealed: Option<Vec<u8>>,
        pub wg_preshared_key_sealed: Option<Vec<u8>>,
        pub proxy_config_sealed: Option<Vec<u8>>,
        pub created_at: i64,
        pub updated_at: i64,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(in crate::registry) mod binding {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "bindings")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub number: i64,
        pub id: Uuid,
        pub host_id: Uuid,
        pub egress_ip_id: Uuid,
        pub created_at: i64,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(in crate::registry) mod task {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "tasks")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub number: i64,
        pub id: Uuid,
        pub account_id: i64,
        pub host_id: Option<Uuid>,
        pub kind: String,
        pub status: String,
        pub requested_by: String,
        pub node: Option<String>,
        pub error_code: String,
        pub error_message: String,
        pub created_at: i64,
        pub updated_at: i64,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(in crate::registry) mod one_time_password {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "one_time_passwords")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub hash: Vec<u8>,
        pub host_id: Uuid,
        pub expires_at: i64,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(in crate::registry) mod operator_session {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "operator_sessions")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub account_id: i64,
        pub user_id: Uuid,
        pub username: String,
        pub device_id: Option<Uuid>,
        pub host_id: Option<Uuid>,
        pub target: String,
        pub way_in: String,
        pub node: String,
        pub peer: String,
        pub began_at: i64,
        pub ended_at: Option<i64>,
        pub received_bytes: i64,
        pub sent_bytes: i64,
        pub ending: Option<String>,
        pub recording_file: Option<String>,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(in crate::registry) mod login_failure {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "login_failures")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub kind: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub subject: String,
        pub full_at: i64,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
