//! `GET /docs`, the API reference, and `GET /docs/{file}`; `GET /console`, a user's jobs in a browser, and
//! `GET /console/{file}`; and `GET /openapi.json`, the API's description.
//!
//! All of it is in the binary: no database, no bucket, and no other server is asked, neither here nor in the browser.

mod policy;
pub mod routes;

use lambda_http::{
    Body, Request, Response,
    http::{StatusCode, response::Builder},
};
use shared::http::request::own_path;

use crate::policy::CONTENT_SECURITY_POLICY;

/// Ask every time whether it changed.
const REVALIDATE: &str = "no-cache";
/// The page asks for another address when it wants another version.
const A_YEAR: &str = "public, max-age=31536000, immutable";

/// A file as it is served.
struct File {
    path: &'static str,
    content_type: &'static str,
    cache: &'static str,
    /// None of what is compressed for everybody.
    plain: Option<&'static [u8]>,
    gzip: &'static [u8],
    etag: &'static str,
}

macro_rules! file {
    ($path:literal, $folder:literal, $name:literal, $content_type:literal) => {
        file!($path, $name, $content_type, REVALIDATE, Some(include_bytes!(concat!("../", $folder, $name))))
    };
    ($path:literal, $name:literal, $content_type:literal, $cache:expr, $plain:expr) => {
        File {
            path: $path,
            content_type: $content_type,
            cache: $cache,
            plain: $plain,
            gzip: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")),
            etag: include_str!(concat!(env!("OUT_DIR"), "/", $name, ".etag")),
        }
    };
}

const FILES: &[File] = &[
    file!("/openapi.json", "", "openapi.json", "application/json"),
    file!("/docs", "assets/", "docs.html", "text/html; charset=utf-8"),
    file!("/docs/docs.css", "assets/", "docs.css", "text/css; charset=utf-8"),
    file!("/docs/docs.js", "assets/", "docs.js", "text/javascript; charset=utf-8"),
    // 1.9 MB that only browsers load, and all of them read gzip. Sent as it is, it would be a fifth of a gigabyte for every hundred
    // requests that leave `Accept-Encoding` out.
    file!("/docs/swagger-ui.css", "swagger-ui.css", "text/css; charset=utf-8", A_YEAR, None),
    file!("/docs/swagger-ui-bundle.js", "swagger-ui-bundle.js", "text/javascript; charset=utf-8", A_YEAR, None),
    file!("/console", "assets/", "console.html", "text/html; charset=utf-8"),
    file!("/console/console.css", "assets/", "console.css", "text/css; charset=utf-8"),
    file!("/console/form.css", "assets/", "form.css", "text/css; charset=utf-8"),
    file!("/console/api.js", "assets/", "api.js", "text/javascript; charset=utf-8"),
    file!("/console/console.js", "assets/", "console.js", "text/javascript; charset=utf-8"),
    file!("/console/create.js", "assets/", "create.js", "text/javascript; charset=utf-8"),
    file!("/console/deliveries.js", "assets/", "deliveries.js", "text/javascript; charset=utf-8"),
    file!("/console/element.js", "assets/", "element.js", "text/javascript; charset=utf-8"),
    file!("/console/inputs.js", "assets/", "inputs.js", "text/javascript; charset=utf-8"),
    file!("/console/job.js", "assets/", "job.js", "text/javascript; charset=utf-8"),
    file!("/console/json.js", "assets/", "json.js", "text/javascript; charset=utf-8"),
    file!("/console/key-end.js", "assets/", "key-end.js", "text/javascript; charset=utf-8"),
    file!("/console/list.js", "assets/", "list.js", "text/javascript; charset=utf-8"),
    file!("/console/log.js", "assets/", "log.js", "text/javascript; charset=utf-8"),
    file!("/console/page.js", "assets/", "page.js", "text/javascript; charset=utf-8"),
    file!("/console/pieces.js", "assets/", "pieces.js", "text/javascript; charset=utf-8"),
    file!("/console/preview.js", "assets/", "preview.js", "text/javascript; charset=utf-8"),
    file!("/console/printed.js", "assets/", "printed.js", "text/javascript; charset=utf-8"),
    file!("/console/settings.js", "assets/", "settings.js", "text/javascript; charset=utf-8"),
    file!("/console/text.js", "assets/", "text.js", "text/javascript; charset=utf-8"),
    file!("/console/upload.js", "assets/", "upload.js", "text/javascript; charset=utf-8"),
    file!("/console/usage.js", "assets/", "usage.js", "text/javascript; charset=utf-8"),
    file!("/console/view.js", "assets/", "view.js", "text/javascript; charset=utf-8"),
];

/// Answers a file, or that the client's copy of it is still good. Compressed for who can read it: all browsers. The vendored bundle
/// is always compressed.
pub async fn handle(request: Request) -> Result<Response<Body>, lambda_http::Error> {
    let Some(file) = FILES.iter().find(|file| file.path == own_path(&request)) else {
        let answer = common(StatusCode::NOT_FOUND).header("content-type", "application/json");
        return Ok(answer.body(r#"{"detail":"Not Found"}"#.into())?);
    };
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut answer = common(StatusCode::OK)
        .header("content-type", file.content_type)
        .header("cache-control", file.cache)
        .header("etag", file.etag)
        .header("vary", "accept-encoding");
    if header("if-none-match").split(',').any(|tag| tag.trim().trim_start_matches("W/") == file.etag) {
        return Ok(answer.status(StatusCode::NOT_MODIFIED).body(Body::Empty)?);
    }
    let accepts_gzip = header("accept-encoding").split(',').any(|coding| coding.trim() == "gzip");
    let plain = file.plain.filter(|_| !accepts_gzip);
    if plain.is_none() {
        answer = answer.header("content-encoding", "gzip");
    }
    // As bytes: API Gateway then passes them on as they are.
    Ok(answer.body(Body::Binary(plain.unwrap_or(file.gzip).to_vec()))?)
}

fn common(status: StatusCode) -> Builder {
    Response::builder()
        .status(status)
        .header("content-security-policy", &*CONTENT_SECURITY_POLICY)
        .header("referrer-policy", "no-referrer")
        .header("x-content-type-options", "nosniff")
}
