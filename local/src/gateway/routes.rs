//! Which function answers ("Routing API requests").

use anyhow::{Result, ensure};
use hyper::Method;
use percent_encoding::percent_decode_str;

/// A method and a path with parameters, of one function.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Route {
    method: Option<Method>,
    segments: Vec<Segment>,
    /// As API Gateway names the route: `GET /jobs/{job_id}`.
    key: String,
}

/// Ordered: the more specific first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(String),
    Parameter(String),
    /// `{name+}`: the rest of the path.
    Greedy(String),
}

impl Route {
    /// As a template's event tells it; `ANY` is every method, `$default` every request.
    pub(crate) fn new(method: &str, path: &str) -> Result<Self> {
        let method = method.to_ascii_uppercase();
        let segments = if path == "$default" {
            vec![Segment::Greedy("proxy".into())]
        } else {
            ensure!(path.starts_with('/'), "the path {path:?} does not start with /");
            path[1..].split('/').map(Segment::new).collect()
        };
        let key = if path == "$default" { path.to_owned() } else { format!("{method} {path}") };
        let method = match method.as_str() {
            "ANY" | "X-AMAZON-APIGATEWAY-ANY-METHOD" => None,
            name => Some(name.parse()?),
        };
        Ok(Self { method, segments, key })
    }

    /// The path parameters, decoded, when the path matches.
    fn parameters(&self, path: &[&str]) -> Option<Vec<(String, String)>> {
        let mut parameters = Vec::new();
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        for (index, segment) in self.segments.iter().enumerate() {
            let given = path.get(index)?;
            match segment {
                Segment::Literal(literal) if decode(given) == *literal => {}
                Segment::Literal(_) => return None,
                Segment::Parameter(_) if given.is_empty() => return None,
                Segment::Parameter(name) => parameters.push((name.clone(), decode(given))),
                Segment::Greedy(name) => {
                    parameters.push((name.clone(), decode(&path[index..].join("/"))));
                    return Some(parameters);
                }
            }
        }
        (path.len() == self.segments.len()).then_some(parameters)
    }
}

impl Segment {
    fn new(text: &str) -> Self {
        match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            None => Self::Literal(text.to_owned()),
            Some(name) => match name.strip_suffix('+') {
                Some(name) => Self::Greedy(name.to_owned()),
                None => Self::Parameter(name.to_owned()),
            },
        }
    }
}

/// A request's route.
#[derive(Debug, PartialEq)]
pub(crate) struct Found<'a> {
    pub(crate) function: &'a str,
    pub(crate) route_key: &'a str,
    pub(crate) parameters: Vec<(String, String)>,
}

/// Every route, the most specific first.
#[derive(Debug)]
pub(crate) struct Router(Vec<(Route, String)>);

impl Router {
    pub(crate) fn new(routes: impl Iterator<Item = (Route, String)>) -> Self {
        let mut routes: Vec<_> = routes.collect();
        // A route with a method wins over ANY on the same path.
        routes.sort_by(|(a, _), (b, _)| a.segments.cmp(&b.segments).then(a.method.is_none().cmp(&b.method.is_none())));
        Self(routes)
    }

    pub(crate) fn find(&self, method: &Method, path: &str) -> Option<Found<'_>> {
        let path: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        self.0.iter().filter(|(route, _)| route.method.as_ref().is_none_or(|wanted| wanted == method)).find_map(
            |(route, function)| {
                let parameters = route.parameters(&path)?;
                Some(Found { function, route_key: &route.key, parameters })
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router() -> Router {
        let routes = [
            ("POST", "/jobs/{chute_id}/{method}", "create-job"),
            ("GET", "/jobs/{job_id}", "get-job"),
            ("GET", "/jobs/claimable", "list-claimable-jobs"),
            ("PUT", "/jobs/{job_id}/claim", "claim-job"),
            ("ANY", "/jobs/{job_id}/{rest+}", "fallback"),
            ("GET", "/", "docs"),
        ];
        Router::new(
            routes.into_iter().map(|(method, path, function)| {
                (Route::new(method, path).expect("a valid route"), function.to_owned())
            }),
        )
    }

    fn function<'a>(router: &'a Router, method: Method, path: &str) -> Option<&'a str> {
        router.find(&method, path).map(|found| found.function)
    }

    #[test]
    fn the_most_specific_route_wins() {
        let router = router();
        assert_eq!(function(&router, Method::GET, "/jobs/claimable"), Some("list-claimable-jobs"));
        assert_eq!(function(&router, Method::GET, "/jobs/1"), Some("get-job"));
        assert_eq!(function(&router, Method::PUT, "/jobs/1/claim"), Some("claim-job"));
        assert_eq!(function(&router, Method::POST, "/jobs/1/claim"), Some("create-job"));
        assert_eq!(function(&router, Method::GET, "/jobs/1/2/3"), Some("fallback"));
        assert_eq!(function(&router, Method::GET, "/"), Some("docs"));
    }

    #[test]
    fn another_path_or_method_has_no_route() {
        let router = router();
        assert_eq!(function(&router, Method::PATCH, "/jobs/1"), None);
        assert_eq!(function(&router, Method::GET, "/jobs/"), None);
        assert_eq!(function(&router, Method::GET, "/jobs"), None);
        assert_eq!(function(&router, Method::GET, "/jobs/1/"), Some("fallback"));
    }

    #[test]
    fn parameters_arrive_decoded() {
        let router = router();
        let found = router.find(&Method::POST, "/jobs/a%2Fb/r%C3%BCn").expect("a route");
        assert_eq!(found.parameters, [("chute_id".into(), "a/b".into()), ("method".into(), "rün".into())]);
        assert_eq!(found.route_key, "POST /jobs/{chute_id}/{method}");
    }
}
