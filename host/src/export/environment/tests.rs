use proptest::prelude::*;

use super::super::settings::Pushing;
use super::*;

fn parse(
    variables: &[(&str, &str)],
    exporter: &str,
    endpoint: &str,
) -> Result<Settings, SettingsError> {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let flag = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Settings::parse(
        &variables,
        &Overrides {
            exporter: flag(exporter),
            endpoint: flag(endpoint),
        },
    )
}

fn from(variables: &[(&str, &str)]) -> Settings {
    parse(variables, "", "").unwrap()
}

fn receiver(settings: &Settings) -> &Otlp {
    match settings.destinations.as_slice() {
        [Destination::Otlp(otlp)] => otlp,
        other => panic!("{other:?}"),
    }
}

/// Protocol and endpoint of the one receiver.
fn target(variables: &[(&str, &str)], exporter: &str, endpoint: &str) -> (Protocol, String) {
    let settings = parse(variables, exporter, endpoint).unwrap();
    let otlp = receiver(&settings);
    (otlp.protocol, otlp.endpoint.clone())
}

fn error(variables: &[(&str, &str)]) -> String {
    let error = parse(variables, "", "").unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";

#[test]
fn nothing_configured_is_the_default_of_the_specification() {
    let settings = from(&[]);
    let otlp = receiver(&settings);
    assert_eq!(otlp.endpoint, "http://localhost:4318/v1/traces");
    assert_eq!(otlp.protocol, Protocol::HttpProtobuf);
    assert_eq!(otlp.timeout, Duration::from_secs(10));
    assert_eq!(otlp.compression, Compression::None);
    assert_eq!(settings.batching, Batching::default());
    assert_eq!(settings.limits, Limits::default());
    let grpc = target(&[(PROTOCOL, "grpc"), (ENDPOINT, "")], "", "");
    assert_eq!(grpc, (Protocol::Grpc, "http://localhost:4317".to_owned()));
}

#[test]
fn the_path_is_added_to_the_base_endpoint_alone() {
    let http = |variable, value| target(&[(variable, value)], "", "").1;
    assert_eq!(http(ENDPOINT, "http://c:4318"), "http://c:4318/v1/traces");
    assert_eq!(
        http(ENDPOINT, "https://c/otlp/"),
        "https://c/otlp/v1/traces"
    );
    assert_eq!(http(TRACES_ENDPOINT, "http://c:4318"), "http://c:4318");
    assert_eq!(http(TRACES_ENDPOINT, "http://c/in"), "http://c/in");
    let both = [
        (ENDPOINT, "http://all:1"),
        (TRACES_ENDPOINT, "http://traces:2/t"),
    ];
    assert_eq!(target(&both, "", "").1, "http://traces:2/t");
}

#[test]
fn the_registered_port_decides_where_nothing_says_the_protocol() {
    let of = |url| target(&[(ENDPOINT, url)], "", "").0;
    assert_eq!(of("http://c:4317"), Protocol::Grpc);
    assert_eq!(of("http://c:4318"), Protocol::HttpProtobuf);
    let said = [(ENDPOINT, "http://c:4317"), (PROTOCOL, "http/protobuf")];
    assert_eq!(
        target(&said, "", ""),
        (Protocol::HttpProtobuf, "http://c:4317/v1/traces".to_owned())
    );
}

#[test]
fn the_options_of_the_original_are_understood() {
    assert_eq!(
        target(&[], "otlp:grpc:insecure", "tempo:4317"),
        (Protocol::Grpc, "http://tempo:4317".to_owned())
    );
    assert_eq!(
        target(&[], "otlp:http:insecure", "tempo:4318"),
        (
            Protocol::HttpProtobuf,
            "http://tempo:4318/v1/traces".to_owned()
        )
    );
    assert_eq!(
        target(&[], "otlp:http", "tempo:4318"),
        (
            Protocol::HttpProtobuf,
            "https://tempo:4318/v1/traces".to_owned()
        )
    );
    assert_eq!(target(&[], "", "http://tempo/in").1, "http://tempo/in");
    let variables = [
        ("TRACES_EXPORTER_TYPE", "otlp:http:insecure"),
        ("TRACES_EXPORTER_ENDPOINT", "tempo:1"),
        (TRACES_ENDPOINT, "http://other:1"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ];
    assert_eq!(target(&variables, "", "").1, "http://tempo:1/v1/traces");
    assert_eq!(
        target(&variables, "otlp:grpc:insecure", "flag:1"),
        (Protocol::Grpc, "http://flag:1".to_owned())
    );
}

#[test]
fn without_a_scheme_grpc_is_encrypted_unless_told_otherwise() {
    let grpc = |insecure: &str| {
        let variables = [
            (PROTOCOL, "grpc"),
            (ENDPOINT, "c:4317"),
            ("OTEL_EXPORTER_OTLP_INSECURE", insecure),
        ];
        target(&variables, "", "").1
    };
    assert_eq!(grpc(""), "https://c:4317");
    assert_eq!(grpc("False"), "https://c:4317");
    assert_eq!(grpc("true"), "http://c:4317");
}

#[test]
fn exporters_are_chosen_and_switched_off() {
    let none = from(&[("OTEL_TRACES_EXPORTER", "none")]);
    assert_eq!(none.destinations, []);
    let both = from(&[("OTEL_TRACES_EXPORTER", "otlp, console")]);
    assert_eq!(both.destinations.len(), 2);
    assert_eq!(both.destinations[1], Destination::Console);
    let disabled = parse(
        &[("OTEL_SDK_DISABLED", "TRUE")],
        "otlp:grpc:insecure",
        "a:1",
    );
    assert_eq!(disabled.unwrap().destinations, []);
    let enabled = from(&[("OTEL_SDK_DISABLED", "1")]);
    assert_eq!(enabled.destinations.len(), 1);
}

#[test]
fn headers_are_decoded_and_never_shown() {
    let settings = from(&[
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-all=1"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            "Authorization=Bearer%20s3cr3t%3D, X-Tenant = jx ,",
        ),
    ]);
    let headers: Vec<_> = receiver(&settings)
        .headers
        .0
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(
        headers,
        [("authorization", "Bearer s3cr3t="), ("x-tenant", "jx")]
    );
    let shown = format!("{settings:?}");
    assert!(
        shown.contains("authorization") && !shown.contains("s3cr3t"),
        "{shown}"
    );
    for bad in ["s3cr3t", "a b=s3cr3t", "a=s3cr3t%0A"] {
        let error = error(&[("OTEL_EXPORTER_OTLP_HEADERS", bad)]);
        assert!(!error.contains("s3cr3t"), "{error}");
        assert!(error.contains("entry 1"), "{error}");
    }
}

#[test]
fn certificates_are_files_and_a_key_comes_with_its_certificate() {
    let settings = from(&[
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "/c.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k.pem"),
    ]);
    let expected = Tls {
        certificate: Some("/ca.pem".into()),
        client: Some(("/c.pem".into(), "/k.pem".into())),
    };
    assert_eq!(receiver(&settings).tls, expected);
    assert_eq!(
        error(&[("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k.pem")]),
        "OTEL_EXPORTER_OTLP_CLIENT_KEY is set alone: set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE too"
    );
}

#[test]
fn batches_time_outs_and_limits_are_read() {
    let settings = from(&[
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_BSP_SCHEDULE_DELAY", "250"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "5000"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "7000"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "10"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "99"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "0"),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "3"),
    ]);
    assert_eq!(
        settings.batching,
        Batching {
            queue: 100,
            batch: 100,
            delay: Duration::from_millis(250)
        }
    );
    assert_eq!(receiver(&settings).timeout, Duration::from_secs(5));
    assert_eq!(receiver(&settings).compression, Compression::Gzip);
    assert_eq!(
        settings.limits,
        Limits {
            attributes: 10,
            value_length: Some(99),
            events: 0,
            links: 128,
            event_attributes: 10,
            link_attributes: 3,
        }
    );
}

#[test]
fn resource_attributes_are_added_but_the_service_is_the_mappers() {
    let settings = from(&[
        ("OTEL_SERVICE_NAME", "me"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=a%2Cb,x=1,service.name=me,x=2",
        ),
    ]);
    let expected = [
        Attribute::new("deployment.environment.name", "a,b"),
        Attribute::new("x", "2"),
    ];
    assert_eq!(settings.resource_attributes, expected);
    assert_eq!(settings.notes.len(), 2);
}

#[test]
fn what_cannot_be_used_is_said_with_what_to_do() {
    let errors: Vec<_> = [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("TRACES_EXPORTER_TYPE", "jaeger"),
        (PROTOCOL, "http/json"),
        (ENDPOINT, "collector:4318"),
        (ENDPOINT, "ftp://collector"),
        (ENDPOINT, "http://user:s3cr3t@collector"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "99999"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "-1"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=1,b"),
    ]
    .iter()
    .map(|variable| error(&[*variable]))
    .collect();
    let errors = errors.join("\n");
    assert!(!errors.contains("s3cr3t"));
    insta::assert_snapshot!(errors);
}

proptest! {
    #[test]
    fn no_value_makes_parsing_panic_or_shows_a_secret(
        value in any::<String>(),
        name in prop::sample::select(vec![
            ENDPOINT, TRACES_ENDPOINT, "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_RESOURCE_ATTRIBUTES",
            "OTEL_TRACES_EXPORTER", "TRACES_EXPORTER_ENDPOINT", "OTEL_BSP_SCHEDULE_DELAY",
        ]),
    ) {
        match parse(&[(name, &value)], "", "") {
            Ok(_) => {}
            Err(error) => prop_assert_eq!(error.variable, name),
        }
    }
}

fn pushing(variables: &[(&str, &str)]) -> Result<Option<Pushing>, SettingsError> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Pushing::parse(&variables.iter().map(owned).collect())
}

/// With metrics asked for, and these variables.
fn metrics(variables: &[(&str, &str)]) -> Pushing {
    let all = [&[("OTEL_METRICS_EXPORTER", "otlp")], variables].concat();
    pushing(&all).unwrap().expect("they are pushed")
}

#[test]
fn metrics_are_pushed_if_that_is_asked_for() {
    for variables in [
        &[][..],
        &[("OTEL_METRICS_EXPORTER", "")],
        &[
            ("OTEL_METRICS_EXPORTER", "none"),
            (ENDPOINT, "http://c:4317"),
        ],
        &[
            ("OTEL_METRICS_EXPORTER", "otlp"),
            ("OTEL_SDK_DISABLED", "true"),
        ],
        // Nothing is asked of what is not used.
        &[("OTEL_METRIC_EXPORT_INTERVAL", "often")],
    ] {
        assert_eq!(pushing(variables), Ok(None), "{variables:?}");
    }
    let plain = metrics(&[]);
    assert_eq!(plain.interval, Duration::from_secs(60));
    assert_eq!(plain.receiver.endpoint, "http://localhost:4318/v1/metrics");
    assert_eq!(plain.receiver.timeout, Duration::from_secs(10));
}

#[test]
fn variables_for_metrics_go_before_those_for_all_signals() {
    let all = [
        (ENDPOINT, "http://all:4317"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=mine"),
        // Those are about spans.
        (TRACES_ENDPOINT, "http://traces:1/t"),
        ("TRACES_EXPORTER_ENDPOINT", "old:1"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "1"),
    ];
    let shared = metrics(&all);
    assert_eq!(shared.receiver.endpoint, "http://all:4317");
    assert_eq!(shared.receiver.protocol, Protocol::Grpc);
    assert_eq!(shared.receiver.compression, Compression::Gzip);
    assert_eq!(shared.receiver.timeout, Duration::from_secs(10));
    assert_eq!(shared.resource_attributes.len(), 1);
    let own = [
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://m:1/in"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "b=2,c=3"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "700"),
        ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "/ca.pem"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "900"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1500"),
    ];
    let own = metrics(&[&all[..], &own[..]].concat());
    assert_eq!(own.interval, Duration::from_millis(1_500));
    assert_eq!(own.receiver.endpoint, "https://m:1/in");
    assert_eq!(own.receiver.protocol, Protocol::HttpProtobuf);
    assert_eq!(own.receiver.compression, Compression::None);
    assert_eq!(format!("{:?}", own.receiver.headers), r#"["b", "c"]"#);
    assert_eq!(own.receiver.timeout, Duration::from_millis(700));
    assert_eq!(own.receiver.tls.certificate, Some("/ca.pem".into()));
}

#[test]
fn what_cannot_be_used_for_metrics_is_said() {
    let error = |variables: &[(&str, &str)]| pushing(variables).unwrap_err().to_string();
    assert_eq!(
        error(&[("OTEL_METRICS_EXPORTER", "prometheus")]),
        "OTEL_METRICS_EXPORTER is 'prometheus': give otlp or none; Prometheus reads /metrics in any case"
    );
    for (variable, value) in [
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "collector:4318"),
    ] {
        let error = error(&[("OTEL_METRICS_EXPORTER", "otlp"), (variable, value)]);
        assert!(error.starts_with(variable), "{error}");
    }
}
