use super::*;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in pairs {
        fields.set(name, value);
    }
    fields
}

fn create(name: &str, value: &str) -> Result<CreateClient, String> {
    CreateClient::parse(&fields(&[(name, value)])).map_err(|wrong| wrong.to_string())
}

#[test]
fn every_parameter_has_its_default() {
    let made = CreateClient::parse(&Fields::default()).unwrap();
    assert_eq!(made.kind, NameKind::Serial);
    assert_eq!(made.device_port, 22);
    assert_eq!(
        made.naming(None),
        Naming::Serial {
            prefix: String::new()
        }
    );
    assert_eq!(
        made.naming(Some("cam")),
        Naming::Serial {
            prefix: "cam".into()
        }
    );
    assert!(made.public_key.is_none() && made.hardware.is_none() && made.region.is_none());
}

#[test]
fn a_given_name_wins_over_type_and_prefix() {
    let given = fields(&[("name", "kiln-3"), ("type", "random"), ("prefix", "cam")]);
    let made = CreateClient::parse(&given).unwrap();
    assert_eq!(made.naming(Some("cam")), Naming::Given("kiln-3".into()));
    let random = fields(&[("type", "random"), ("prefix", "cam")]);
    assert_eq!(
        CreateClient::parse(&random).unwrap().naming(Some("cam")),
        Naming::Random
    );
}

#[test]
fn good_values_pass() {
    let long = |c: &str, count| c.repeat(count);
    let good = [
        ("type", "serial".to_owned()),
        ("type", "random".to_owned()),
        ("prefix", long("a", 32)),
        ("prefix", "0._-".to_owned()),
        ("name", long("Z", 64)),
        ("name", "7".to_owned()),
        ("fwport", "1".to_owned()),
        ("fwport", "65535".to_owned()),
        ("fwport", "0022".to_owned()),
        ("username", long("ü", 64)),
        ("public_key", KEY.to_owned()),
        ("public_key", format!("  {KEY} someone@there \r\n")),
        ("hostname", long("ß", 253)),
        ("hostname", "has a blank".to_owned()),
        ("hardware", "{}".to_owned()),
        ("hardware", format!("{{\"a\":\"{}\"}}", long("x", 4088))),
        ("region", "anything at all".to_owned()),
    ];
    for (name, value) in &good {
        assert!(create(name, value).is_ok(), "{name}={value}");
    }
}

#[test]
fn bad_values_get_the_words_of_the_contract() {
    let long = |count| "a".repeat(count);
    let (a33, a65, a254) = (long(33), long(65), long(254));
    let hardware = format!("{{\"a\":\"{}\"}}", long(4089));
    let cases = [
        (
            "type",
            "type must be serial or random",
            vec!["Serial", "x", " serial"],
        ),
        (
            "prefix",
            "prefix must be at most 32 characters of A-Z a-z 0-9 . _ -",
            vec!["-a", ".a", "_a", "a b", "ä", "a/b", "a\n", &a33],
        ),
        (
            "name",
            "name must be 1 to 64 characters of A-Z a-z 0-9 . _ -",
            vec!["-a", "a b", "a'b", "ä", "a%", "a\0", &a65],
        ),
        (
            "fwport",
            "fwport must be a number from 1 to 65535",
            vec![
                "0",
                "65536",
                "-1",
                "+22",
                "22.0",
                "0x16",
                " 22",
                "x",
                "99999999999999999999",
            ],
        ),
        (
            "username",
            "username must be at most 64 characters without blanks",
            vec!["a b", "a\tb", "a\u{7}", "a\u{a0}b", "a\u{202e}b", &a65],
        ),
        (
            "public_key",
            "public_key is not a supported OpenSSH public key",
            vec![
                "x",
                "ssh-ed25519",
                "ssh-ed25519 AAAA",
                "ssh-dss AAAAB3NzaC1kc3MAAAA=",
            ],
        ),
        (
            "hostname",
            "hostname must be at most 253 characters",
            vec!["a\nb", "a\0", &a254],
        ),
        (
            "hardware",
            "hardware must be a JSON object of at most 4096 bytes",
            vec!["[]", "1", "{", "null", "\"x\"", &hardware],
        ),
    ];
    let mut seen = 0;
    for (name, text, values) in &cases {
        for value in values {
            assert_eq!(create(name, value).unwrap_err(), *text, "{name}={value}");
            seen += 1;
        }
    }
    assert_eq!(seen, 46);
}

#[test]
fn pages_are_checked() {
    let parse = |name, value| {
        ListDevices::parse(&fields(&[(name, value)])).map_err(|wrong| wrong.to_string())
    };
    assert_eq!(
        ListDevices::parse(&Fields::default()),
        Ok(ListDevices::default())
    );
    assert_eq!(parse("limit", "10000").unwrap().limit, Some(10_000));
    assert_eq!(parse("offset", "7").unwrap().offset, 7);
    for value in ["0", "10001", "x", "-1", "1.5"] {
        let text = "limit must be a number from 1 to 10000";
        assert_eq!(parse("limit", value).unwrap_err(), text);
    }
    for value in ["-1", "x", "18446744073709551616", "9223372036854775808"] {
        assert_eq!(
            parse("offset", value).unwrap_err(),
            "offset must be a number from 0"
        );
    }
}

#[test]
fn booleans_are_read_in_any_case() {
    let parse = |value| allow(&fields(&[("allow", value)]));
    for value in ["true", "TRUE", "1", "on", "On"] {
        assert_eq!(parse(value), Ok(true));
    }
    for value in ["false", "False", "0", "off"] {
        assert_eq!(parse(value), Ok(false));
    }
    for value in ["yes", "2", " true"] {
        assert_eq!(
            parse(value).unwrap_err().to_string(),
            "allow must be true or false"
        );
    }
    assert_eq!(parse("").unwrap_err().to_string(), "allow is required");
}

#[test]
fn a_client_is_named_by_its_id_or_its_alias() {
    let id = "dfb39cdd-9140-4d74-9e26-a2f00bc3bad2";
    for name in ["client_id", "host_uuid"] {
        assert_eq!(client_id(&fields(&[(name, id)])).unwrap().to_string(), id);
    }
    assert_eq!(
        client_id(&fields(&[("client_id", "7")])),
        Err(UNKNOWN_CLIENT)
    );
    assert_eq!(
        client_id(&Fields::default()).unwrap_err().to_string(),
        "client_id is required"
    );
}

#[test]
fn a_quadruple_needs_its_four_parts() {
    let id = "dfb39cdd-9140-4d74-9e26-a2f00bc3bad2";
    let whole = [
        ("dbid", "x"),
        ("host_uuid", id),
        ("ports_id", "5"),
        ("user_id", "1"),
    ];
    let read = Quadruple::parse(&fields(&whole), QuadrupleForm::Strict).unwrap();
    assert_eq!((read.ports_id, read.user_id), (Some(5), 1));
    for missing in 0..4 {
        let mut parts = whole.to_vec();
        let (name, _) = parts.remove(missing);
        let parts = fields(&parts);
        assert_eq!(
            Quadruple::parse(&parts, QuadrupleForm::Strict).unwrap_err(),
            NO_SUCH_QUADRUPLE
        );
        let loose = Quadruple::parse(&parts, QuadrupleForm::Upload);
        assert_eq!(loose.is_ok(), name == "ports_id", "{name}");
        assert!(has_quadruple(&parts));
    }
    let spelled = fields(&[("db_server_key", "x"), ("host_uuid", id), ("user_id", "1")]);
    assert!(Quadruple::parse(&spelled, QuadrupleForm::Upload).is_ok());
    assert!(Quadruple::parse(&spelled, QuadrupleForm::Strict).is_err());
    assert!(!has_quadruple(&fields(&[("host_uuid", id)])));
}
