//! What one would reach for: axum-tracing-opentelemetry for the server span, tracing-opentelemetry for the span
//! inside, opentelemetry-otlp's batches over HTTP, all by their defaults.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use axum_tracing_opentelemetry::middleware::{OtelAxumLayer, OtelInResponseLayer};
use chrono::Utc;
use cruddur::activities::{self, Activity, MemoryStore};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, Registry};
use yardsticks::{PATH, READY, serve};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let exporter = SpanExporter::builder().with_http().build()?;
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
    // The middleware's span is at `trace`, under a target of its own; nothing else is as talkative.
    let own = tracing_subscriber::filter::Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("otel::tracing", LevelFilter::TRACE)
        .with_target("hyper", LevelFilter::OFF)
        .with_target("reqwest", LevelFilter::OFF)
        .with_target("opentelemetry", LevelFilter::OFF);
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("usual")).with_filter(own);
    tracing::subscriber::set_global_default(Registry::default().with(spans))?;

    let routes = Router::new()
        .route(PATH, get(home))
        // The trace id in the response's headers, as ours has it.
        .layer(OtelInResponseLayer)
        .layer(OtelAxumLayer::default())
        .route(READY, get(async || ()));
    serve(routes.with_state(Arc::new(MemoryStore::new()))).await?;
    provider.shutdown()?;
    Ok(())
}

async fn home(State(store): State<Arc<MemoryStore>>) -> Json<Vec<Activity>> {
    Json(activities::home(&*store, Utc::now().into()).await.unwrap_or_default().into_cruds())
}
