use super::*;

fn combined(text: &str) -> Result<Config, ConfigError> {
    Config::combine(ConfigFile::parse(text).unwrap(), Overrides::default())
}

#[test]
fn nothing_at_all_is_a_working_server() {
    let config = combined("").unwrap();
    assert_eq!(config.region, "local");
    assert_eq!(config.ports, DEFAULT_PORTS);
    assert_eq!(config.http, vec!["0.0.0.0:8080".parse().unwrap()]);
    assert_eq!(config.ssh, vec!["0.0.0.0:2222".parse().unwrap()]);
    assert!(config.database_url.expose().starts_with("sqlite:///"));
    assert!(
        config
            .database_url
            .expose()
            .ends_with("/moorline.db?mode=rwc")
    );
    assert!(config.tls.is_none() && config.jwt_secret.is_none());
    assert!(!config.public_host.is_empty());
    assert_eq!(config.default_rate_limit, 600);
    assert_eq!(
        (config.ssh_fallback_host, config.ssh_fallback_port),
        (None, 443)
    );
    assert!(config.allow_anonymous_keys && !config.legacy_ssh_rsa);
    assert!(config.trusted_proxies.0.is_empty());
}

#[test]
fn every_key_is_read() {
    let text = r#"
        data_dir = "/srv/moorline"
        region = "eu1"
        public_host = "eu1.example.org"
        ports = "20000-20999"
        shutdown_grace = "1m 5s"
        [http]
        listen = ["127.0.0.1:80", "[::1]:80"]
        public_url = "https://api.example.org/"
        docs_url = "https://docs.example.org/moorline/"
        require_https = true
        connections = 100
        trusted_proxies = ["10.0.0.0/8", "::1"]
        [tls]
        certificate = "/c.pem"
        key = "/k.pem"
        listen = ["127.0.0.1:443"]
        [ssh]
        listen = ["127.0.0.1:22"]
        public_port = 2222
        fallback_host = "ssh.example.org"
        fallback_port = 8443
        legacy_ssh_rsa = true
        [database]
        url = "postgres://moorline@db/moorline"
        [auth]
        jwt_secret = "0123456789abcdef0123456789abcdef"
        [openport]
        allow_anonymous_keys = false
        [limits]
        default_rate_limit = 1000
        [log]
        format = "json"
        filter = "debug"
    "#;
    let config = combined(text).unwrap();
    assert_eq!(config.data_file("x"), Path::new("/srv/moorline/x"));
    assert_eq!(
        (config.region.as_str(), config.ports),
        ("eu1", (20000, 20999))
    );
    assert_eq!(config.shutdown_grace, Duration::from_secs(65));
    assert_eq!(
        config.public_url.as_deref(),
        Some("https://api.example.org")
    );
    assert_eq!(
        config.docs_url.as_deref(),
        Some("https://docs.example.org/moorline")
    );
    assert!(config.require_https);
    assert_eq!((config.http.len(), config.http_connections), (2, 100));
    assert_eq!(config.ssh_public_port, Some(2222));
    let fallback = (
        config.ssh_fallback_host.as_deref(),
        config.ssh_fallback_port,
    );
    assert_eq!(fallback, (Some("ssh.example.org"), 8443));
    assert!(config.legacy_ssh_rsa && !config.allow_anonymous_keys);
    assert_eq!(config.trusted_proxies.0.len(), 2);
    assert_eq!(
        config.database_url.expose(),
        "postgres://moorline@db/moorline"
    );
    assert_eq!(
        (config.log_format, config.log_filter.as_str()),
        (LogFormat::Json, "debug")
    );
    let tls = config.tls.unwrap();
    assert!(matches!(tls.source, TlsSource::Files { .. }));
    assert_eq!(tls.listen.len(), 1);
}

#[test]
fn the_command_line_wins() {
    let file =
        ConfigFile::parse("ports = \"20000-20999\"\nhttp.listen = [\"127.0.0.1:1\"]").unwrap();
    let overrides = Overrides {
        data_dir: Some("/d".into()),
        http: Some("127.0.0.1:0".parse().unwrap()),
        ssh: vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()],
        ports: Some("1-2".parse().unwrap()),
        tls_self_signed: true,
        log_format: Some(LogFormat::Json),
        ..Overrides::default()
    };
    let config = Config::combine(file, overrides).unwrap();
    assert_eq!(config.http, vec!["127.0.0.1:0".parse().unwrap()]);
    assert_eq!((config.ssh.len(), config.ports), (2, (1, 2)));
    assert_eq!(
        config.public_host, "127.0.0.1",
        "the address that is listened on"
    );
    assert_eq!(config.tls.unwrap().source, TlsSource::SelfSigned);
    assert_eq!(
        config.database_url.expose(),
        "sqlite:///d/moorline.db?mode=rwc"
    );
}

#[test]
fn mistakes_are_told_with_their_line() {
    let cases = [
        ("\n\ncolour = 1", 3, "unknown field `colour`"),
        ("[http]\nlisten = [\"x\"]", 2, "invalid socket address"),
        ("[ssh]\n\nportt = 1", 3, "unknown field `portt`"),
        ("ports = \"9-1\"", 1, "not a range of ports"),
        ("shutdown_grace = \"soon\"", 1, "not a duration"),
        ("region = 7", 1, "invalid type"),
        ("region = \"a\"\nregion = \"b\"", 2, "duplicate key"),
        ("[log]\nformat = \"xml\"", 2, "unknown variant `xml`"),
        ("= 1", 1, ""),
    ];
    for (text, line, part) in cases {
        let (at, message) = ConfigFile::parse(text).unwrap_err();
        assert_eq!(at, line, "{text}: {message}");
        assert!(message.contains(part), "{text}: {message}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("moorline.toml");
    std::fs::write(&path, "\ncolour = 1\n").unwrap();
    let error = Config::load(Some(&path), Overrides::default()).unwrap_err();
    assert!(
        error.to_string().contains("moorline.toml:2: unknown field"),
        "{error}"
    );
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let cases = [
        ("public_host = \"a b\"", "public_host"),
        ("public_host = \"it's\"", "public_host"),
        ("region = \"\"", "region"),
        ("[auth]\njwt_secret = \"short\"", "auth.jwt_secret"),
        ("[tls]\ncertificate = \"/c\"", "tls.key"),
        ("[tls]\nkey = \"/k\"", "tls.certificate"),
        ("[tls]\nlisten = [\"127.0.0.1:1\"]", "tls.listen"),
        (
            "[tls]\nself_signed = true\ncertificate = \"c\"\nkey = \"k\"",
            "tls.self_signed",
        ),
        ("[http]\npublic_url = \"ftp://x\"", "http.public_url"),
        ("[http]\npublic_url = \"http://x'y\"", "http.public_url"),
        ("[http]\ndocs_url = \"docs\"", "http.docs_url"),
        (
            "[limits]\ndefault_rate_limit = 0",
            "limits.default_rate_limit",
        ),
    ];
    for (text, key) in cases {
        let error = combined(text).unwrap_err().to_string();
        assert!(error.starts_with(key), "{text}: {error}");
        assert!(!error.contains("short\""), "a secret is not repeated");
    }
}

#[test]
fn names_are_off_until_they_have_a_place_and_need_a_domain_to_be_below() {
    assert_eq!(combined("").unwrap().names, None);
    let text = "public_host = \"EU1.example.net\"\n[names]\nlisten = [\"0.0.0.0:80\"]";
    let names = combined(text).unwrap().names.unwrap();
    assert_eq!(names.domain, "eu1.example.net");
    assert_eq!(names.listen, vec!["0.0.0.0:80".parse().unwrap()]);
    assert!(names.tls_listen.is_empty() && names.certificate.is_none());
    assert_eq!(names.connections, DEFAULT_HTTP_CONNECTIONS);
    let text = r#"
        [names]
        tls_listen = ["0.0.0.0:443"]
        domain = "names.example.net."
        certificate = "/c.pem"
        key = "/k.pem"
        connections = 0
    "#;
    let names = combined(text).unwrap().names.unwrap();
    assert_eq!(
        (names.domain.as_str(), names.connections),
        ("names.example.net", 1)
    );
    assert_eq!(names.certificate, Some(("/c.pem".into(), "/k.pem".into())));
    for (text, key) in [
        (
            "public_host = \"192.0.2.1\"\n[names]\nlisten = [\"0.0.0.0:80\"]",
            "names.domain",
        ),
        ("[names]\ndomain = \"a b\"", "names.domain"),
        (
            "[names]\ndomain = \"x.net\"\ntls_listen = [\"0.0.0.0:443\"]",
            "names.tls_listen",
        ),
        (
            "[names]\ndomain = \"x.net\"\nkey = \"/k\"",
            "names.certificate",
        ),
        (
            "[names]\ndomain = \"x.net\"\ncertificate = \"/c\"",
            "names.key",
        ),
        (
            "[names]\ncertificate = \"/c\"\nkey = \"/k\"",
            "names.listen",
        ),
    ] {
        let error = combined(text).unwrap_err().to_string();
        assert!(error.starts_with(key), "{text}: {error}");
    }
}

#[test]
fn a_secret_of_tokens_has_32_characters() {
    let given = |file: &str, environment: Option<&str>| {
        let overrides = Overrides {
            jwt_secret: environment.map(|text| Secret::new(text.to_owned())),
            ..Overrides::default()
        };
        Config::combine(ConfigFile::parse(file).unwrap(), overrides)
            .map(|config| config.jwt_secret.map(|secret| secret.expose().clone()))
    };
    let (exact, short) = ("ä".repeat(32), "ä".repeat(31));
    assert_eq!(given("", Some(&exact)).unwrap(), Some(exact.clone()));
    let file = format!("[auth]\njwt_secret = \"{}\"", "f".repeat(32));
    assert_eq!(given(&file, None).unwrap(), Some("f".repeat(32)));
    assert_eq!(given(&file, Some(&exact)).unwrap(), Some(exact));
    let error = given(&file, Some(&short)).unwrap_err().to_string();
    assert_eq!(error, "ADMIN_JWT_SECRET: must have 32 characters or more");
}
