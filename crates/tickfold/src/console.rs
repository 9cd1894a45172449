//! The console: a page on the admin listener that asks the mirror and `/statusz`. It is part of the binary and
//! loads nothing from anywhere else; the policy sent with it lets no markup of a stranger run, should one ever
//! find its way in. The page needs no token itself: what it shows does.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::response::IntoResponse;
use axum::routing::get;

/// Scripts, styles and answers of this listener only; no frames around it, and nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

const FILES: [(&str, &str, &str); 6] = [
    ("/", "text/html; charset=utf-8", include_str!("console/index.html")),
    ("/console/console.css", "text/css; charset=utf-8", include_str!("console/console.css")),
    ("/console/console.js", JAVASCRIPT, include_str!("console/console.js")),
    ("/console/api.js", JAVASCRIPT, include_str!("console/api.js")),
    ("/console/show.js", JAVASCRIPT, include_str!("console/show.js")),
    ("/console/timeline.js", JAVASCRIPT, include_str!("console/timeline.js")),
];

/// The page and what it loads.
pub(crate) fn router() -> Router {
    FILES.into_iter().fold(Router::new(), |router, (path, content, text)| {
        router.route(path, get(move || std::future::ready(file(content, text))))
    })
}

fn file(content: &'static str, text: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 5] = [
        (CONTENT_TYPE, content),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // Another version of the binary has other files.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}
