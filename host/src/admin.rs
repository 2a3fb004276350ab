//! What is served on the second port: metrics, and health with reasons.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;

use crate::health::Watches;
use crate::metrics::{CONTENT_TYPE, Exposition};

/// `/metrics`, `/healthz` and `/readyz`.
pub fn router(exposition: Exposition, watches: Watches) -> Router {
    let exposition = Arc::new(exposition);
    let metrics = move || std::future::ready(metrics(&exposition));
    let readiness = move || {
        let (ready, report) = watches.report();
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
}

fn metrics(exposition: &Exposition) -> Response {
    match exposition.text() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
