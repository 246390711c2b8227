//! `/api/health-check`.

use serde::Serialize;

use super::json::Json;

#[derive(Debug, Serialize)]
pub(super) struct Health {
    success: bool,
    ver: u32,
}

/// Says that the process serves; nothing it needs is elsewhere.
pub(super) async fn check() -> Json<Health> {
    Json(Health { success: true, ver: 1 })
}
