//! Pages of other origins, which a browser asks about first. The answers are the same behind every front.

use reqwest::Method;
use tests::Client;

const PAGE: (&str, &str) = ("origin", "https://page.example");

#[tokio::test]
async fn a_page_may_ask_for_every_route_and_read_the_answer() {
    for (method, path) in [("PUT", "/jobs/claim"), ("GET", "/jobs"), ("DELETE", "/jobs/none"), ("GET", "/openapi.json")] {
        let asked = [PAGE, ("access-control-request-method", method), ("access-control-request-headers", "authorization")];
        let may = Client::nobody().send(Method::OPTIONS, path, Vec::new(), &asked).await;
        assert_eq!((may.status, may.header("access-control-allow-origin")), (204, Some("*")), "{method} {path}");
        for (header, wanted) in [("access-control-allow-methods", method), ("access-control-allow-headers", "authorization")] {
            assert!(may.header(header).is_some_and(|allowed| allowed.contains(wanted)), "{method} {path}: {header}");
        }
        let answer = Client::nobody().send(method.parse().unwrap(), path, Vec::new(), &[PAGE]).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{method} {path}: {}", answer.status);
        let exposed = answer.header("access-control-expose-headers").expect("what a page may read");
        assert!(exposed.contains("retry-after"), "{exposed}");
    }
}
