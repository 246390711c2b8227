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

#[cfg(test)]
impl From<Surroundings> for Known {
    fn from(known: Surroundings) -> Self {
        Self(Arc::new(known.into()))
    }
}

impl Known {
    /// What is known by now; nothing before the answers are there.
    pub(super) fn get(&self) -> &Surroundings {
        static NOTHING: Surroundings =
            Surroundings { origin: None, account_id: None, ec2: BTreeMap::new(), ecs: BTreeMap::new() };
        self.0.get().unwrap_or(&NOTHING)
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

#[cfg(test)]
mod tests {
    use axum::routing::{get, put};
    use axum::{Json, Router};
    use http::{HeaderMap, StatusCode};
    use serde_json::json;
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::*;

    /// Serves `routes` for as long as the set is there.
    async fn serve(routes: Router) -> (Url, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        (url, tasks)
    }

    async fn found(sources: Sources) -> Surroundings {
        let known = Known::default();
        known.clone().find_out(sources).await;
        known.get().clone()
    }

    /// As the guide for ECS shows them.
    fn ecs() -> Router {
        let container = json!({"DockerId": "ea32192c8553fbff06c9340478a2ff089b2bb5646fb718b4ee206641c9086d66",
            "Name": "curl", "DockerName": "ecs-curltest-24-curl-cca48e8dcadd97805600",
            "ContainerARN": "arn:aws:ecs:us-west-2:111122223333:container/0206b271-b33f-47ab-86c6-a0ba208a70a9"});
        let task = json!({"Cluster": "default", "Family": "curltest", "LaunchType": "EC2",
            "TaskARN": "arn:aws:ecs:us-west-2:111122223333:task/default/158d1c8083dd49d6b527399fd6414f5c"});
        Router::new()
            .route("/v4/id", get(|| async { Json(container) }))
            .route("/v4/id/task", get(|| async { Json(task) }))
    }

    /// Only for those who have a token, as the second version of the service is.
    fn ec2() -> Router {
        const TOKEN: &str = "AQAEAHgNzGTl";
        let identity = json!({"accountId": "111122223333", "instanceId": "i-1234567890abcdef0",
            "instanceType": "t3.micro", "imageId": "ami-5fb8c835", "availabilityZone": "us-west-2b",
            "kernelId": null});
        let token = |headers: HeaderMap| async move {
            if headers.contains_key("x-aws-ec2-metadata-token-ttl-seconds") {
                Ok(TOKEN)
            } else {
                Err(StatusCode::BAD_REQUEST)
            }
        };
        let document = |headers: HeaderMap| async move {
            let allowed = headers.get("x-aws-ec2-metadata-token").is_some_and(|token| token == TOKEN);
            if allowed { Ok(Json(identity)) } else { Err(StatusCode::UNAUTHORIZED) }
        };
        Router::new()
            .route("/latest/api/token", put(token))
            .route("/latest/dynamic/instance-identity/document", get(document))
    }

    #[tokio::test]
    async fn a_container_of_ecs_knows_itself_and_does_not_ask_the_instance() {
        let ((ecs, _ecs_tasks), (ec2, _ec2_tasks)) = (serve(ecs()).await, serve(ec2()).await);
        let sources = Sources { ecs: Some(ecs.join("v4/id").unwrap()), ec2: Some(ec2) };
        let found = found(sources).await;
        assert_eq!((found.origin, found.account_id.as_deref()), (Some(ECS), Some("111122223333")));
        let known: Vec<_> = found.ecs.iter().map(|(key, value)| (*key, value.as_str())).collect();
        assert_eq!(
            known,
            [
                ("cluster_arn", "default"),
                ("container", "ecs-curltest-24-curl-cca48e8dcadd97805600"),
                (
                    "container_arn",
                    "arn:aws:ecs:us-west-2:111122223333:container/0206b271-b33f-47ab-86c6-a0ba208a70a9"
                ),
                ("container_id", "ea32192c8553fbff06c9340478a2ff089b2bb5646fb718b4ee206641c9086d66"),
                ("launch_type", "EC2"),
                (
                    "task_arn",
                    "arn:aws:ecs:us-west-2:111122223333:task/default/158d1c8083dd49d6b527399fd6414f5c"
                ),
                ("task_family", "curltest"),
            ]
        );
        assert!(found.ec2.is_empty(), "{found:?}");
    }

    #[tokio::test]
    async fn an_instance_of_ec2_tells_who_has_a_token() {
        // What is asked first does not know us.
        let ((ecs, _ecs_tasks), (ec2, _ec2_tasks)) = (serve(Router::new()).await, serve(ec2()).await);
        let found = found(Sources { ecs: Some(ecs), ec2: Some(ec2) }).await;
        assert_eq!((found.origin, found.account_id.as_deref()), (Some(EC2), Some("111122223333")));
        let known: Vec<_> = found.ec2.iter().map(|(key, value)| (*key, value.as_str())).collect();
        assert_eq!(
            known,
            [
                ("ami_id", "ami-5fb8c835"),
                ("availability_zone", "us-west-2b"),
                ("instance_id", "i-1234567890abcdef0"),
                ("instance_size", "t3.micro"),
            ]
        );
    }

    #[tokio::test]
    async fn elsewhere_nothing_is_known() {
        let (nothing, _tasks) = serve(Router::new()).await;
        for sources in [Sources::default(), Sources { ecs: Some(nothing.clone()), ec2: Some(nothing) }] {
            let found = found(sources).await;
            assert_eq!((found.origin, found.account_id), (None, None));
        }
    }
}
