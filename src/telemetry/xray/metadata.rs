//! Where in AWS the service runs: asked once, off every request's path, and never waited for.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::{Client, Url};
use serde_json::Value;

/// How long one question may take. Off AWS, nobody answers.
const PATIENCE: Duration = Duration::from_secs(1);
/// What X-Ray calls a container of ECS.
const ECS: &str = "AWS::ECS::Container";
/// What X-Ray calls an instance of EC2.
const EC2: &str = "AWS::EC2::Instance";

/// What is known of AWS around the service.
#[derive(Debug, Clone, Default)]
pub(super) struct Surroundings {
    /// The kind of place.
    pub(super) origin: Option<&'static str>,
    /// Whose account it is.
    pub(super) account_id: Option<String>,
    /// The instance, in X-Ray's words.
    pub(super) ec2: BTreeMap<&'static str, String>,
    /// The container, in X-Ray's words.
    pub(super) ecs: BTreeMap<&'static str, String>,
}

/// What is known by now. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(Arc<OnceLock<Surroundings>>);

/// Whom to ask.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources {
    /// ECS's container metadata (`ECS_CONTAINER_METADATA_URI_V4`).
    pub(super) ecs: Option<Url>,
    /// EC2's instance metadata.
    pub(super) ec2: Option<Url>,
}

impl Known {
    /// What is known by now; nothing before the answers are there.
    pub(super) fn get(&self) -> Surroundings {
        self.0.get().cloned().unwrap_or_default()
    }

    /// Asks ECS, else EC2. A place that does not answer is not where we are.
    pub(super) async fn find_out(self, sources: Sources) {
        let Ok(client) = Client::builder().timeout(PATIENCE).no_proxy().build() else { return };
        let mut found = None;
        if let Some(url) = sources.ecs {
            found = ecs(&client, &url).await;
        }
        if let (None, Some(url)) = (&found, sources.ec2) {
            found = ec2(&client, &url).await;
        }
        if let Some(found) = found {
            // Nobody else sets it.
            self.0.set(found).ok();
        }
    }
}

async fn ecs(client: &Client, url: &Url) -> Option<Surroundings> {
    let container = json(client.get(url.clone())).await?;
    let task =
        json(client.get(format!("{}/task", url.as_str().trim_end_matches('/')))).await.unwrap_or_default();
    let mut known = BTreeMap::new();
    for (key, document, field) in [
        ("container", &container, "DockerName"),
        ("container_id", &container, "DockerId"),
        ("container_arn", &container, "ContainerARN"),
        ("task_arn", &task, "TaskARN"),
        ("task_family", &task, "Family"),
        ("cluster_arn", &task, "Cluster"),
        ("launch_type", &task, "LaunchType"),
    ] {
        known.extend(text(document, field).map(|value| (key, value)));
    }
    // arn:aws:ecs:<region>:<account>:…
    let account_id = known.get("task_arn").and_then(|arn| Some(arn.split(':').nth(4)?.to_owned()));
    Some(Surroundings { origin: Some(ECS), account_id, ecs: known, ..Surroundings::default() })
}

/// By the second version of the service, which asks for a token first.
async fn ec2(client: &Client, url: &Url) -> Option<Surroundings> {
    let put =
        client.put(url.join("latest/api/token").ok()?).header("x-aws-ec2-metadata-token-ttl-seconds", "60");
    let token = put.send().await.ok()?.error_for_status().ok()?.text().await.ok()?;
    let get = client.get(url.join("latest/dynamic/instance-identity/document").ok()?);
    let identity = json(get.header("x-aws-ec2-metadata-token", token)).await?;
    let mut known = BTreeMap::new();
    for (key, field) in [
        ("instance_id", "instanceId"),
        ("instance_size", "instanceType"),
        ("ami_id", "imageId"),
        ("availability_zone", "availabilityZone"),
    ] {
        known.extend(text(&identity, field).map(|value| (key, value)));
    }
    let account_id = text(&identity, "accountId");
    Some(Surroundings { origin: Some(EC2), account_id, ec2: known, ..Surroundings::default() })
}

async fn json(request: reqwest::RequestBuilder) -> Option<Value> {
    request.send().await.ok()?.error_for_status().ok()?.json().await.ok()
}

fn text(document: &Value, field: &str) -> Option<String> {
    let text = document.get(field)?.as_str().filter(|text| !text.is_empty())?;
    Some(text.chars().take(250).collect())
}
