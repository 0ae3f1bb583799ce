//! Which records a function is given: the patterns of `FilterCriteria` ("Control which events Lambda sends to your function").
//!
//! Comparisons look at leaves: at strings, numbers, booleans and null. A DynamoDB number is a string there (`{"N": "5"}`), which `numeric` never
//! fits. Operators that only EventBridge's rules have are refused.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

/// "Filter": "Maximum length of 4096".
const PATTERN_LIMIT: usize = 4096;
/// "You can define up to five different filters for a single event source mapping."
const FILTERS: usize = 5;

/// Patterns of which one has to fit. None at all let everything through.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filters(Vec<Pattern>);

impl Filters {
    /// Reads patterns as the template has them; one that AWS would refuse is an error.
    pub(crate) fn read(patterns: &[&str]) -> Result<Self> {
        ensure!(patterns.len() <= FILTERS, "more than {FILTERS} filters");
        let read = |text: &&str| {
            ensure!(text.len() <= PATTERN_LIMIT, "it is longer than {PATTERN_LIMIT} characters");
            let pattern: Value = serde_json::from_str(text).context("it is not JSON")?;
            Pattern::read(pattern.as_object().context("it is not an object")?)
        };
        let read = |text| read(text).with_context(|| format!("the filter {text}"));
        patterns.iter().map(read).collect::<Result<_>>().map(Self)
    }

    pub(crate) fn let_through(&self, event: &Value) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.fits(event))
    }
}

/// What an object has to be.
#[derive(Clone, Debug, PartialEq)]
struct Pattern {
    fields: Vec<(String, Field)>,
    /// `$or`: one of these has to fit, too.
    either: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq)]
enum Field {
    Object(Pattern),
    /// One of these has to hold.
    Leaf(Vec<Rule>),
}

#[derive(Clone, Debug, PartialEq)]
enum Rule {
    Equals(Value),
    EqualsIgnoringCase(String),
    Prefix(String),
    Suffix(String),
    AnythingBut(Vec<Value>),
    Exists(bool),
    Numeric(Vec<(Comparison, f64)>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl Pattern {
    fn read(object: &Map<String, Value>) -> Result<Self> {
        ensure!(!object.is_empty(), "an empty object is not allowed");
        let mut pattern = Self { fields: Vec::new(), either: Vec::new() };
        for (name, value) in object {
            if name == "$or" {
                let either = value.as_array().filter(|either| either.len() > 1);
                let either = either.context("$or needs a list of two objects at least")?;
                let read = |one: &Value| Self::read(one.as_object().context("$or needs a list of objects")?);
                pattern.either = either.iter().map(read).collect::<Result<_>>()?;
            } else {
                pattern.fields.push((name.clone(), Field::read(value).with_context(|| name.clone())?));
            }
        }
        Ok(pattern)
    }

    fn fits(&self, event: &Value) -> bool {
        self.fields.iter().all(|(name, field)| field.fits(event.get(name)))
            && (self.either.is_empty() || self.either.iter().any(|pattern| pattern.fits(event)))
    }
}

impl Field {
    fn read(value: &Value) -> Result<Self> {
        match value {
            Value::Object(object) => Pattern::read(object).map(Self::Object),
            Value::Array(rules) => {
                ensure!(!rules.is_empty(), "an empty list is not allowed");
                rules.iter().map(Rule::read).collect::<Result<_>>().map(Self::Leaf)
            }
            other => bail!("{other} must be an object or a list"),
        }
    }

    fn fits(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Object(pattern), Some(Value::Array(items))) => items.iter().any(|item| pattern.fits(item)),
            // In what is missing, everything is.
            (Self::Object(pattern), value) => pattern.fits(value.unwrap_or(&Value::Null)),
            (Self::Leaf(rules), value) => {
                let items = match value {
                    Some(Value::Array(items)) => items.as_slice(),
                    Some(one) => std::slice::from_ref(one),
                    None => &[],
                };
                let leaves: Vec<_> = items.iter().filter(|item| !item.is_object() && !item.is_array()).collect();
                rules.iter().any(|rule| match rule {
                    Rule::Exists(exists) => *exists != leaves.is_empty(),
                    rule => leaves.iter().any(|leaf| rule.holds(leaf)),
                })
            }
        }
    }
}

impl Rule {
    fn read(value: &Value) -> Result<Self> {
        let operator = match value {
            Value::Object(operator) => operator,
            Value::Array(_) => bail!("a list in a list is not allowed"),
            leaf => return Ok(Self::Equals(leaf.clone())),
        };
        let (name, operand) = match operator.iter().next() {
            Some(only) if operator.len() == 1 => only,
            _ => bail!("{value} must have exactly one operator"),
        };
        let text = || operand.as_str().map(str::to_owned).with_context(|| format!("{name} needs a string"));
        Ok(match name.as_str() {
            "equals-ignore-case" => Self::EqualsIgnoringCase(text()?),
            "prefix" => Self::Prefix(text()?),
            "suffix" => Self::Suffix(text()?),
            "exists" => Self::Exists(operand.as_bool().context("exists needs true or false")?),
            "anything-but" => Self::AnythingBut(anything_but(operand)?),
            "numeric" => Self::Numeric(numeric(operand)?),
            _ => bail!("Lambda knows no operator {name:?}"),
        })
    }

    fn holds(&self, leaf: &Value) -> bool {
        let text = leaf.as_str();
        match self {
            Self::Equals(value) => equal(value, leaf),
            Self::EqualsIgnoringCase(value) => text.is_some_and(|text| text.to_lowercase() == value.to_lowercase()),
            Self::Prefix(prefix) => text.is_some_and(|text| text.starts_with(prefix)),
            Self::Suffix(suffix) => text.is_some_and(|text| text.ends_with(suffix)),
            Self::AnythingBut(values) => !values.iter().any(|value| equal(value, leaf)),
            Self::Exists(exists) => *exists,
            Self::Numeric(bounds) => leaf.as_f64().is_some_and(|number| {
                bounds.iter().all(|(comparison, bound)| match comparison {
                    Comparison::Equal => number == *bound,
                    Comparison::Above => number > *bound,
                    Comparison::AtLeast => number >= *bound,
                    Comparison::Below => number < *bound,
                    Comparison::AtMost => number <= *bound,
                })
            }),
        }
    }
}

fn equal(value: &Value, leaf: &Value) -> bool {
    match (value.as_f64(), leaf.as_f64()) {
        (Some(value), Some(leaf)) => value == leaf,
        _ => value == leaf,
    }
}

/// A string, a number, or a list that has only strings or only numbers.
fn anything_but(operand: &Value) -> Result<Vec<Value>> {
    let values = match operand {
        Value::Array(values) => values.clone(),
        one => vec![one.clone()],
    };
    let uniform = values.iter().all(Value::is_string) || values.iter().all(Value::is_number);
    ensure!(uniform && !values.is_empty(), "anything-but needs a string, a number, or a list of strings or of numbers");
    Ok(values)
}

/// `["=", 5]`, `[">", 0]`, `[">", 0, "<=", 5]`.
fn numeric(operand: &Value) -> Result<Vec<(Comparison, f64)>> {
    let pairs: Vec<_> = operand.as_array().context("numeric needs a list")?.chunks(2).collect();
    let read = |pair: &&[Value]| {
        let [Value::String(comparison), bound] = *pair else { bail!("numeric needs comparisons and numbers") };
        let comparison = match comparison.as_str() {
            "=" => Comparison::Equal,
            ">" => Comparison::Above,
            ">=" => Comparison::AtLeast,
            "<" => Comparison::Below,
            "<=" => Comparison::AtMost,
            other => bail!("numeric knows no {other:?}"),
        };
        Ok((comparison, bound.as_f64().context("numeric needs numbers")?))
    };
    let bounds: Vec<_> = pairs.iter().map(read).collect::<Result<_>>()?;
    let range = |lower: &(Comparison, f64), upper: &(Comparison, f64)| {
        matches!(lower.0, Comparison::Above | Comparison::AtLeast)
            && matches!(upper.0, Comparison::Below | Comparison::AtMost)
            && lower.1 < upper.1
    };
    match bounds.as_slice() {
        [_] => {}
        [lower, upper] if range(lower, upper) => {}
        _ => bail!("numeric needs one comparison, or a lower bound and an upper one"),
    }
    Ok(bounds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Whether a pattern of `NewImage` fits an image.
    fn fits(pattern: Value, image: Value) -> bool {
        let pattern = json!({"dynamodb": {"NewImage": pattern}}).to_string();
        let filters = Filters::read(&[&pattern]).expect("a pattern of AWS");
        filters.let_through(&json!({"eventName": "MODIFY", "dynamodb": {"NewImage": image}}))
    }

    #[test]
    fn each_field_has_to_fit_and_of_a_list_one() {
        let image =
            json!({"status": {"S": "complete"}, "n": {"N": "5"}, "tags": {"SS": ["a", "b"]}, "on": {"BOOL": true}});
        for (pattern, expected) in [
            (json!({"status": {"S": ["error", "complete"]}}), true),
            (json!({"status": {"S": ["Complete"]}}), false),
            (json!({"status": {"S": [{"equals-ignore-case": "COMPLETE"}]}}), true),
            (json!({"status": {"S": [{"prefix": "comp"}]}}), true),
            (json!({"status": {"S": [{"suffix": "error"}]}}), false),
            (json!({"status": {"S": ["complete"]}, "other": {"S": ["x"]}}), false),
            (json!({"status": {"S": [{"anything-but": ["error", "timeout"]}]}}), true),
            (json!({"status": {"S": [{"anything-but": "complete"}]}}), false),
            (json!({"other": {"S": [{"anything-but": "complete"}]}}), false),
            (json!({"tags": {"SS": ["b"]}}), true),
            (json!({"on": {"BOOL": [true]}}), true),
            (json!({"n": {"N": ["5"]}}), true),
            (json!({"n": {"N": [5]}}), false),
            (json!({"n": {"N": [{"numeric": ["=", 5]}]}}), false),
            (json!({"$or": [{"status": {"S": ["error"]}}, {"n": {"N": ["5"]}}]}), true),
            (json!({"$or": [{"status": {"S": ["error"]}}, {"n": {"N": ["6"]}}]}), false),
            (json!({"on": {"BOOL": [false]}, "$or": [{"n": {"N": ["5"]}}, {"n": {"N": ["6"]}}]}), false),
        ] {
            assert_eq!(fits(pattern.clone(), image.clone()), expected, "{pattern}");
        }
    }

    #[test]
    fn whether_something_exists_is_asked_of_leaves() {
        let image = json!({"webhook": {"S": "https://example.com"}});
        assert!(fits(json!({"webhook": {"S": [{"exists": true}]}}), image.clone()));
        assert!(fits(json!({"other": {"S": [{"exists": false}]}}), image.clone()));
        // The attribute is there, but it is an object, `{"S": …}`, and no leaf.
        assert!(!fits(json!({"webhook": [{"exists": true}]}), image.clone()));
        assert!(fits(json!({"webhook": [{"exists": false}]}), image));
        let absent = Filters::read(&[r#"{"dynamodb":{"NewImage":{"webhook":{"S":[{"exists":false}]}}}}"#]);
        assert!(absent.expect("a pattern").let_through(&json!({"eventName": "REMOVE", "dynamodb": {"Keys": {}}})));
    }

    #[test]
    fn numbers_are_compared_where_there_are_some() {
        let filters =
            Filters::read(&[r#"{"dynamodb":{"SizeBytes":[{"numeric":[">",10,"<=",20]}]}}"#]).expect("a pattern");
        let of = |bytes: Value| filters.let_through(&json!({"dynamodb": {"SizeBytes": bytes}}));
        assert_eq!(
            [json!(10), json!(11), json!(20), json!(21), json!("15")].map(of),
            [false, true, true, false, false]
        );
    }

    #[test]
    fn one_of_several_filters_lets_a_record_through() {
        let filters = Filters::read(&[r#"{"eventName":["REMOVE"]}"#, r#"{"eventName":["INSERT"]}"#]).expect("patterns");
        let of = |name: &str| filters.let_through(&json!({"eventName": name}));
        assert_eq!(["INSERT", "MODIFY", "REMOVE"].map(of), [true, false, true]);
        assert!(Filters::default().let_through(&json!({})));
    }

    #[test]
    fn what_aws_would_refuse_is_refused() {
        for (pattern, reason) in [
            ("{", "it is not JSON"),
            ("[]", "it is not an object"),
            ("{}", "an empty object is not allowed"),
            (r#"{"eventName":"INSERT"}"#, r#"eventName: "INSERT" must be an object or a list"#),
            (r#"{"eventName":[]}"#, "eventName: an empty list is not allowed"),
            (r#"{"eventName":[["INSERT"]]}"#, "eventName: a list in a list is not allowed"),
            (r#"{"eventName":[{"exists":"yes"}]}"#, "eventName: exists needs true or false"),
            (r#"{"eventName":[{"wildcard":"I*"}]}"#, r#"eventName: Lambda knows no operator "wildcard""#),
            (r#"{"eventName":[{"prefix":"I","suffix":"T"}]}"#, "must have exactly one operator"),
            (r#"{"eventName":[{"anything-but":{"prefix":"I"}}]}"#, "anything-but needs a string"),
            (r#"{"eventName":[{"anything-but":["a",1]}]}"#, "anything-but needs a string"),
            (r#"{"a":[{"numeric":["<",5,">",1]}]}"#, "a lower bound and an upper one"),
            (r#"{"a":[{"numeric":["=="]}]}"#, "numeric needs comparisons and numbers"),
            (r#"{"$or":[{"a":["b"]}]}"#, "$or needs a list of two objects at least"),
        ] {
            let error = format!("{:#}", Filters::read(&[pattern]).expect_err(pattern));
            assert!(error.starts_with(&format!("the filter {pattern}: ")) && error.contains(reason), "{error}");
        }
        assert!(Filters::read(&[r#"{"a":["b"]}"#; 6]).is_err());
        let long = format!(r#"{{"a":["{}"]}}"#, "b".repeat(4096));
        assert!(Filters::read(&[&long]).is_err());
    }
}
