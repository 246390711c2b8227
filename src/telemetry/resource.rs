//! Who emits all this: OpenTelemetry's resource.

use std::fs;

use opentelemetry::{KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use uuid::Uuid;

use crate::config::Config;

/// The resource: what `OTEL_RESOURCE_ATTRIBUTES` says over what is found out, and the service's name over both.
pub(super) fn resource(config: &Config) -> Resource {
    let service = &config.service;
    let own = |key: &'static str, value: &str| KeyValue::new(key, value.to_owned());
    let found = [
        Some(own("service.version", service.version)),
        Some(own("service.instance.id", &Uuid::new_v4().to_string())),
        Some(own("deployment.environment.name", &service.environment)),
        read("/proc/sys/kernel/hostname").map(|name| own("host.name", &name)),
        Some(own("os.type", std::env::consts::OS)),
        Some(KeyValue::new("process.pid", i64::from(std::process::id()))),
        Some(own("process.runtime.name", "rust")),
        config.cloudwatch.group.as_deref().map(|group| {
            KeyValue::new(
                "aws.log.group.names",
                Value::Array(vec![StringValue::from(group.to_owned())].into()),
            )
        }),
        read("/proc/self/mountinfo").as_deref().and_then(container_id).map(|id| own("container.id", id)),
    ];
    let given = config.otlp.resource.iter();
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(found.into_iter().flatten())
        .with_attributes(given.map(|(key, value)| KeyValue::new(key.clone(), Value::from(value.clone()))))
        .with_attribute(own("service.name", &service.name))
        .build()
}

fn read(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The container's id, out of the paths that engines mount `/etc/hostname` from:
/// `…/containers/<64 hex>/hostname`.
fn container_id(mounts: &str) -> Option<&str> {
    let is_id = |part: &&str| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    mounts.lines().filter(|line| line.contains("/hostname")).flat_map(|line| line.split('/')).find(is_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_known_by_its_mounts() {
        let id = "b".repeat(64);
        let mounts = format!(
            "22 1 0:21 / /proc rw - proc proc rw\n\
             640 611 254:1 /docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/vda1 rw"
        );
        assert_eq!(container_id(&mounts), Some(id.as_str()));
        assert_eq!(container_id("22 1 0:21 / /proc rw - proc proc rw"), None);
    }
}
