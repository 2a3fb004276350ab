//! What is served on the second port: metrics, health with reasons, and the state of the mappers.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Value, json};

use crate::health::Watches;
use crate::leader::{Role, Standing};
use crate::mappers::Report;
use crate::metrics::{CONTENT_TYPE, Exposition, Metrics};

/// `/metrics`, `/healthz`, `/readyz` and `/api/mappers`.
pub fn router(
    exposition: Arc<Exposition>,
    counted: &Metrics,
    watches: Watches,
    standing: Standing,
    mappers: Report,
) -> Router {
    let counted = counted.clone();
    let watched = watches.clone();
    let mappers = move || std::future::ready(Json(mappers.to_json(&counted, &watched)));
    let metrics = move || std::future::ready(metrics(&exposition));
    let readiness = move || {
        let (ready, report) = report(&watches, &standing.role());
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        std::future::ready((status, Json(report)))
    };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| std::future::ready("alive\n")))
        .route("/readyz", get(readiness))
        .route("/api/mappers", get(mappers))
}

/// One of several replicas is ready as soon as it takes webhooks, whoever leads: what it takes is kept.
fn report(watches: &Watches, role: &Role) -> (bool, Value) {
    match role {
        Role::Alone => watches.report(),
        Role::Leader => {
            let (_, mut report) = watches.report();
            if let Value::Object(report) = &mut report {
                report.insert("ready".to_owned(), json!(true));
                report.insert("role".to_owned(), json!("leader"));
            }
            (true, report)
        }
        Role::Follower { of, trouble } => {
            let leader = of.as_deref().unwrap_or("nobody yet");
            let role = format!("follower of {leader}");
            (
                true,
                json!({"ready": true, "role": role, "trouble": trouble}),
            )
        }
    }
}

fn metrics(exposition: &Exposition) -> Response {
    match exposition.text() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
