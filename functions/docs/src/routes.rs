//! The routes of [`crate::handle`], described: the attributes are what counts.

/// The API's description.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "docs",
    tag = "reference",
    summary = "This document",
    description = "For generators of clients, and for tools that try requests out.",
    security(()),
    responses((status = 200, description = "OpenAPI 3.1.", body = Object))
)]
pub fn openapi_json() {}

/// The API documentation.
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "docs-page",
    tag = "reference",
    summary = "The API reference",
    description = "Shows this description, and sends requests. It loads nothing from other servers.",
    security(()),
    responses(
        (status = 200, description = "HTML.", body = String, content_type = "text/html; charset=utf-8"),
        (status = 304, description = "The copy that the client has, by `If-None-Match`, is still good.")
    )
)]
pub fn docs_page() {}

/// A file that the documentation loads.
#[utoipa::path(
    get,
    path = "/docs/{file}",
    operation_id = "docs-file",
    tag = "reference",
    summary = "What the reference loads",
    description = "Scripts and styles, compressed.",
    security(()),
    params(("file" = String, Path, description = "A file that the page names.")),
    responses(
        (
            status = 200, description = "The file.",
            content((String = "text/css; charset=utf-8"), (String = "text/javascript; charset=utf-8"))
        ),
        (status = 304, description = "The copy that the client has, by `If-None-Match`, is still good."),
        (status = 404),
    )
)]
pub fn docs_file() {}

/// The console.
#[utoipa::path(
    get,
    path = "/console",
    operation_id = "console-page",
    tag = "reference",
    summary = "A page that shows a user their jobs",
    description = "The key that somebody signs in with stays in the browser's tab.",
    security(()),
    responses(
        (status = 200, description = "HTML.", body = String, content_type = "text/html; charset=utf-8"),
        (status = 304, description = "The copy that the client has, by `If-None-Match`, is still good.")
    )
)]
pub fn console_page() {}

/// A file that the console loads.
#[utoipa::path(
    get,
    path = "/console/{file}",
    operation_id = "console-file",
    tag = "reference",
    summary = "What the console loads",
    description = "Scripts and styles, compressed.",
    security(()),
    params(("file" = String, Path, description = "A file that the page names.")),
    responses(
        (
            status = 200, description = "The file.",
            content((String = "text/css; charset=utf-8"), (String = "text/javascript; charset=utf-8"))
        ),
        (status = 304, description = "The copy that the client has, by `If-None-Match`, is still good."),
        (status = 404),
    )
)]
pub fn console_file() {}
