use super::super::{Checked, Config, Environment};
use super::*;

fn check<const N: usize>(variables: [(&str, &str); N]) -> (Option<Xray>, Vec<String>, Vec<String>) {
    let environment = Environment::from_iter(variables);
    let Checked { warnings, errors, .. } = Config::check(&environment);
    let xray = Config::load(&environment).ok().map(|loaded| loaded.config.xray);
    let warnings = warnings.iter().map(ToString::to_string).collect();
    (xray, warnings, errors.iter().map(ToString::to_string).collect())
}

fn xray<const N: usize>(variables: [(&str, &str); N]) -> Xray {
    let (xray, _, errors) = check(variables);
    xray.unwrap_or_else(|| panic!("{errors:?}"))
}

#[test]
fn without_a_daemon_xray_is_off() {
    let (off, warnings, _) = check([]);
    let expected = Xray {
        ecs_metadata: None,
        ec2_metadata: None,
        daemon: None,
        name: "cruddur-backend".to_owned(),
        pattern: None,
        local_rules: LocalRules::default(),
    };
    assert_eq!((off, warnings), (Some(expected), vec![]));
}

#[test]
fn the_daemon_has_one_address_or_one_for_each_protocol() {
    for (text, tcp, udp) in [
        ("xray-daemon:2000", "xray-daemon:2000", "xray-daemon:2000"),
        ("127.0.0.1:2000", "127.0.0.1:2000", "127.0.0.1:2000"),
        ("[::1]:2000", "[::1]:2000", "[::1]:2000"),
        ("tcp:a:1 udp:b:2", "a:1", "b:2"),
        ("udp:b:2  tcp:a:1", "a:1", "b:2"),
        ("tcp:[::1]:1 udp:[fe80::1]:65535", "[::1]:1", "[fe80::1]:65535"),
    ] {
        let daemon = xray([("AWS_XRAY_DAEMON_ADDRESS", text)]).daemon.unwrap();
        assert_eq!((daemon.tcp.as_str(), daemon.udp.as_str()), (tcp, udp), "{text}");
        assert_eq!(address(&daemon.shown()), Ok(daemon), "what is shown could be set again");
    }
}

#[test]
fn any_other_address_is_a_fault() {
    for text in [
        "localhost",
        ":2000",
        "localhost:",
        "localhost:0",
        "localhost:65536",
        "localhost:+1",
        "::1:2000",
        "[::1]",
        "[::1:2000",
        "[localhost]:2000",
        "http://localhost:2000",
        "udp:localhost:2000",
        "udp:2000",
        "tcp:a:1 tcp:b:2",
        "udp:a:1 b:2",
        "tcp:a:1 udp:b:2 udp:c:3",
        "a:1 b:2",
    ] {
        let (_, _, errors) = check([("AWS_XRAY_DAEMON_ADDRESS", text)]);
        let expected = format!(
            "AWS_XRAY_DAEMON_ADDRESS: `{text}` is not an address such as xray-daemon:2000, 127.0.0.1:2000 or \
             [::1]:2000, or one for each as in tcp:127.0.0.1:2000 udp:127.0.0.1:2000"
        );
        assert_eq!(errors, [expected]);
    }
}

#[test]
fn it_can_be_switched_off_in_all_the_ways_of_the_sdk() {
    const DAEMON: (&str, &str) = ("AWS_XRAY_DAEMON_ADDRESS", "daemon:2000");
    for (text, on) in [
        ("y", true),
        ("Yes", true),
        ("t", true),
        ("TRUE", true),
        ("on", true),
        ("1", true),
        ("n", false),
        ("no", false),
        ("F", false),
        ("false", false),
        ("off", false),
        ("0", false),
    ] {
        let (xray, warnings, _) = check([DAEMON, ("AWS_XRAY_SDK_ENABLED", text)]);
        assert_eq!(xray.unwrap().daemon.is_some(), on, "{text}");
        let said = "AWS_XRAY_DAEMON_ADDRESS: has no effect, because AWS_XRAY_SDK_ENABLED is off";
        assert_eq!(warnings, if on { vec![] } else { vec![said] });
    }
    let (xray, warnings, _) = check([DAEMON, ("AWS_XRAY_SDK_ENABLED", "maybe")]);
    assert!(xray.unwrap().daemon.is_some());
    assert_eq!(warnings, ["AWS_XRAY_SDK_ENABLED: `maybe` is ignored; known are true and false"]);
}

#[test]
fn segments_are_called_as_told_or_as_the_service_is() {
    assert_eq!(xray([("OTEL_SERVICE_NAME", "a")]).name, "a");
    assert_eq!(xray([("OTEL_SERVICE_NAME", "a"), ("AWS_XRAY_TRACING_NAME", "Bär 1:/@")]).name, "Bär 1:/@");
    for bad in ["what?", "a*b", "(a)", &"x".repeat(201)] {
        let (_, _, errors) = check([("AWS_XRAY_TRACING_NAME", bad)]);
        assert!(
            errors[0].contains("is not a name of 1 to 200 letters, digits, blanks and _ . :"),
            "{errors:?}"
        );
    }
}

#[test]
fn a_services_name_that_xray_does_not_allow_is_changed_with_a_warning() {
    let named = ("OTEL_SERVICE_NAME", "cruddur(1)");
    assert_eq!(xray([named]).name, "cruddur_1_");
    assert_eq!(check([named]).1, [""; 0], "X-Ray is off");
    let (_, warnings, _) = check([named, ("AWS_XRAY_DAEMON_ADDRESS", "a:1")]);
    let said = "OTEL_SERVICE_NAME: X-Ray does not allow such a name, so segments are called cruddur_1_";
    assert_eq!(warnings, [said]);
    let given = [named, ("AWS_XRAY_DAEMON_ADDRESS", "a:1"), ("AWS_XRAY_TRACING_NAME", "b")];
    assert_eq!(check(given).1, [""; 0]);
}

#[test]
fn a_pattern_is_for_host_headers() {
    let hosts = xray([("AWS_XRAY_URL", "*4567-*.gitpod.io*")]).pattern.unwrap();
    assert!(hosts.matches("4567-cruddur-x1y2.ws-eu77.gitpod.io"));
    let (xray, warnings, _) = check([("AWS_XRAY_URL", "https://*4567-*.gitpod.io/home")]);
    assert_eq!(xray.unwrap().pattern.unwrap().to_string(), "*4567-*.gitpod.io");
    assert_eq!(
        warnings,
        ["AWS_XRAY_URL: it is compared with the Host header, which has neither scheme nor path, so only \
          *4567-*.gitpod.io is used"]
    );
    for bad in ["https://", "/", "a b", "ä"] {
        let (_, _, errors) = check([("AWS_XRAY_URL", bad)]);
        let expected = "is not a pattern for Host headers such as *4567-*.gitpod.io* or localhost:4567";
        assert_eq!(errors, [format!("AWS_XRAY_URL: `{bad}` {expected}")]);
    }
}

#[test]
fn local_rules_are_read_and_their_faults_name_variable_file_and_field() {
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/aws/json/xray.json");
    let rules = xray([("AWS_XRAY_SAMPLING_RULES", ours)]).local_rules;
    assert_eq!(rules.to_string(), format!("local rules from {ours}"));
    let toml = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    for (path, fault) in [
        ("/nowhere/rules.json", "a readable file: No such file or directory (os error 2)"),
        ("/dev", "a readable file: Is a directory (os error 21)"),
        (toml, "a file of sampling rules: it is not JSON: expected value at line 1 column 2"),
    ] {
        let (_, _, errors) = check([("AWS_XRAY_SAMPLING_RULES", path)]);
        assert_eq!(errors, [format!("AWS_XRAY_SAMPLING_RULES: `{path}` is not {fault}")]);
    }
    let path = std::env::temp_dir().join(format!("cruddur-rules-{}.json", std::process::id()));
    std::fs::write(&path, r#"{"version": 2, "default": {"fixed_target": 1, "rate": 5}}"#).unwrap();
    let (_, _, errors) = check([("AWS_XRAY_SAMPLING_RULES", path.to_str().unwrap())]);
    std::fs::remove_file(&path).unwrap();
    let path = path.display();
    let fault = "is not a file of sampling rules: default.rate: 5 is not a share from 0 to 1";
    assert_eq!(errors, [format!("AWS_XRAY_SAMPLING_RULES: `{path}` {fault}")]);
}

#[test]
fn local_rules_for_another_service_are_pointed_out() {
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/aws/json/xray.json");
    let (daemon, rules) = (("AWS_XRAY_DAEMON_ADDRESS", "a:1"), ("AWS_XRAY_SAMPLING_RULES", ours));
    assert_eq!(check([daemon, rules]).1, [""; 0]);
    let other = ("AWS_XRAY_TRACING_NAME", "backend-flask");
    let (_, warnings, errors) = check([daemon, rules, other]);
    let said =
        "AWS_XRAY_SAMPLING_RULES: no rule in it is for a service named backend-flask; see --explain-sampling";
    assert_eq!((warnings, errors.len()), (vec![said.to_owned()], 0));
    assert_eq!(check([rules, other]).1, [""; 0], "X-Ray is off");
    let named_by_host = ("AWS_XRAY_URL", "*.gitpod.io");
    assert_eq!(check([daemon, rules, other, named_by_host]).1, [""; 0], "a host could be called like that");
}

#[test]
fn context_missing_is_accepted_as_the_sdks_spell_it() {
    let (_, warnings, errors) = check([("AWS_XRAY_CONTEXT_MISSING", "runtime_error")]);
    assert_eq!((warnings.len(), errors.len()), (0, 0));
    let (_, _, errors) = check([("AWS_XRAY_CONTEXT_MISSING", "PANIC")]);
    let expected = "AWS_XRAY_CONTEXT_MISSING: `PANIC` is not one of LOG_ERROR, RUNTIME_ERROR, IGNORE_ERROR";
    assert_eq!(errors, [expected]);
}

#[test]
fn what_other_sdks_call_it_is_pointed_out() {
    let (_, warnings, _) = check([("AWS_XRAY_SDK_DISABLED", "true"), ("AWS_XRAY_NOOP_ID", "false")]);
    assert_eq!(
        warnings,
        [
            "AWS_XRAY_NOOP_ID: has no effect: a request keeps its trace id, kept or not",
            "AWS_XRAY_SDK_DISABLED: has no effect: AWS_XRAY_SDK_ENABLED=false switches X-Ray off",
        ]
    );
}
