use super::super::tests::{config, read, warnings};
use super::super::{Checked, Config, Environment};
use super::*;

const KEY: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "AKIADUMMY"), ("AWS_SECRET_ACCESS_KEY", "dummy-secret")];

fn group<const N: usize>(variables: [(&str, &str); N]) -> Option<String> {
    config(variables).cloudwatch.group
}

#[test]
fn a_group_or_a_region_with_credentials_switches_it_on() {
    let (region, default) = (("AWS_REGION", "eu-central-1"), ("AWS_DEFAULT_REGION", "eu-central-1"));
    assert_eq!(group([]), None);
    assert_eq!(group([region]), None);
    assert_eq!(group(KEY), None);
    assert_eq!(group([region, KEY[0]]), None, "half a key");
    assert_eq!(group([region, KEY[0], KEY[1]]).as_deref(), Some("cruddur"));
    for name in [
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ] {
        assert_eq!(group([default, (name, "somewhere")]).as_deref(), Some("cruddur"), "{name}");
    }
    assert_eq!(group([("CLOUDWATCH_LOG_GROUP", "own/group")]).as_deref(), Some("own/group"));
    for off in ["off", "OFF"] {
        assert_eq!(group([("CLOUDWATCH_LOG_GROUP", off), region, KEY[0], KEY[1]]), None);
    }
}

#[test]
fn the_variable_that_switched_it_on_is_named() {
    let environment = Environment::from_iter([("AWS_REGION", "us-east-1"), KEY[0], KEY[1]]);
    let settings = Config::check(&environment).settings;
    let group = settings.iter().find(|setting| setting.name == "CLOUDWATCH_LOG_GROUP").unwrap();
    assert_eq!((group.value.as_str(), group.source), ("cruddur", Source::Variable("AWS_ACCESS_KEY_ID")));
}

#[test]
fn every_name_and_value_is_validated() {
    let long = "x".repeat(512);
    for (name, value) in [
        ("CLOUDWATCH_LOG_GROUP", "a.b-c_d/e#F9"),
        ("CLOUDWATCH_LOG_GROUP", &long),
        ("CLOUDWATCH_LOG_STREAM", "plain é"),
        ("CLOUDWATCH_LOG_STREAM", "{environment}/{service}/{host}-{port} {instance}"),
        ("CLOUDWATCH_RETENTION_DAYS", "1"),
        ("CLOUDWATCH_RETENTION_DAYS", "3653"),
        ("CLOUDWATCH_LOG_CLASS", "INFREQUENT_ACCESS"),
        ("CLOUDWATCH_LOG_FORMAT", "classic"),
        ("CLOUDWATCH_LOG_LEVEL", "debug"),
        ("CLOUDWATCH_LOG_LEVEL", "off"),
        ("CLOUDWATCH_METRICS_NAMESPACE", "Cruddur/Backend"),
        ("AWS_REGION", "us-gov-west-1"),
        ("AWS_ENDPOINT_URL", "http://localhost:5000/"),
    ] {
        assert_eq!(read(name, value).as_deref(), Ok(value), "{name}");
    }
    let too_long = "x".repeat(513);
    for (name, value) in [
        ("CLOUDWATCH_LOG_GROUP", "aws/own"),
        ("CLOUDWATCH_LOG_GROUP", "two words"),
        ("CLOUDWATCH_LOG_GROUP", "a:b"),
        ("CLOUDWATCH_LOG_GROUP", "é"),
        ("CLOUDWATCH_LOG_GROUP", &too_long),
        ("CLOUDWATCH_LOG_STREAM", "a:b"),
        ("CLOUDWATCH_LOG_STREAM", "a*"),
        ("CLOUDWATCH_LOG_STREAM", "{nobody}"),
        ("CLOUDWATCH_LOG_STREAM", "{host"),
        ("CLOUDWATCH_LOG_STREAM", "host}"),
        ("CLOUDWATCH_LOG_STREAM", &too_long),
        ("CLOUDWATCH_RETENTION_DAYS", "6"),
        ("CLOUDWATCH_RETENTION_DAYS", "0"),
        ("CLOUDWATCH_RETENTION_DAYS", "a week"),
        ("CLOUDWATCH_LOG_CLASS", "DELIVERY"),
        ("CLOUDWATCH_LOG_FORMAT", "xml"),
        ("CLOUDWATCH_LOG_LEVEL", "3"),
        ("CLOUDWATCH_LOG_LEVEL", "loud"),
        ("CLOUDWATCH_METRICS_NAMESPACE", "AWS/Own"),
        ("CLOUDWATCH_METRICS_NAMESPACE", "a?b"),
        ("AWS_REGION", "us-east-1.evil.example"),
        ("AWS_REGION", "US"),
        ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "localhost:5000"),
        ("AWS_ENDPOINT_URL", "http://me:dummy@localhost:5000"),
        ("AWS_ENDPOINT_URL", "http://localhost:5000/?a=1"),
        ("AWS_ACCESS_KEY_ID", "with blank"),
    ] {
        let error = read(name, value).expect_err(value);
        assert!(error.starts_with(&format!("{name}: `")), "{error}");
    }
}

#[test]
fn retention_names_what_would_be_right() {
    assert_eq!(
        read("CLOUDWATCH_RETENTION_DAYS", "6").unwrap_err(),
        "CLOUDWATCH_RETENTION_DAYS: `6` is not a number of days that CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, \
         150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653"
    );
}

#[test]
fn no_secret_is_shown() {
    let Checked { settings, errors, .. } = Config::check(&Environment::from_iter([
        KEY[0],
        ("AWS_SECRET_ACCESS_KEY", "hush-secret"),
        ("AWS_SESSION_TOKEN", "hush token"),
    ]));
    let all = format!("{settings:?} {errors:?}");
    assert!(!all.contains("hush"), "{all}");
    let config = config([KEY[0], ("AWS_SECRET_ACCESS_KEY", "hush-secret")]);
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn half_a_key_is_noticed() {
    for (given, missing) in [(KEY[0], KEY[1]), (KEY[1], KEY[0])] {
        assert_eq!(warnings([given]), [format!("{}: has no effect without {}", given.0, missing.0)]);
        assert!(config([given]).cloudwatch.key.is_none());
    }
    assert!(warnings(KEY).is_empty());
}

#[test]
fn the_more_particular_variable_wins() {
    let config = config([
        ("AWS_REGION", "eu-west-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", "http://localhost:1/"),
        ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "http://localhost:2/"),
    ]);
    assert_eq!(config.cloudwatch.region.as_deref(), Some("eu-west-1"));
    assert_eq!(config.cloudwatch.endpoint.unwrap().as_str(), "http://localhost:2/");
}

#[test]
fn metrics_need_what_reads_them() {
    let namespace = ("CLOUDWATCH_METRICS_NAMESPACE", "Cruddur");
    for other in [("CLOUDWATCH_LOG_FORMAT", "classic"), ("CLOUDWATCH_LOG_CLASS", "INFREQUENT_ACCESS")] {
        let errors = Config::check(&Environment::from_iter([namespace, other])).errors;
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].to_string().contains(other.0), "{}", errors[0]);
    }
}

#[test]
fn a_stream_is_filled_in_and_made_legal() {
    let name = stream("{service}").unwrap();
    assert_eq!(name.fill(|_| Some("a:b*c\n")), "a_b_c_");
    let name = stream("{environment}/{host}/x").unwrap();
    assert_eq!(name.fill(|place| (place == "host").then_some("web-1")), "unknown/web-1/x");
    let long = "é".repeat(600);
    assert_eq!(name.fill(|_| Some(&long)).chars().count(), LONGEST_NAME);
}
