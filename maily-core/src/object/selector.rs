//! Which objects a workload takes for its own, by their labels.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Object;

/// A label selector of Kubernetes. One that asks for nothing selects nothing: no workload has such a one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelSelector {
    labels: BTreeMap<String, String>,
    expressions: Vec<Expression>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Expression {
    key: String,
    operator: String,
    values: Vec<String>,
}

impl LabelSelector {
    /// Reads `matchLabels` and `matchExpressions`.
    pub fn parse(selector: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let labels = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
        let labels = labels.filter_map(|(key, value)| Some((key.clone(), text(value)?)));
        let expressions = selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten();
        let expressions = expressions.filter_map(|expression| {
            let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
            Some(Expression {
                key: text(expression.get("key")?)?,
                operator: text(expression.get("operator")?)?,
                values: values.filter_map(text).collect(),
            })
        });
        Self { labels: labels.collect(), expressions: expressions.collect() }
    }

    /// The labels that it asks for by value: what a server can narrow a list by.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// Whether it says by value which objects it means, and not only which ones it leaves out.
    pub(crate) fn names(&self) -> bool {
        !self.labels.is_empty() || self.expressions.iter().any(|expression| expression.operator == "In")
    }

    /// Whether it selects an object.
    pub fn selects(&self, object: &Object) -> bool {
        let asks = !self.labels.is_empty() || !self.expressions.is_empty();
        asks && self.labels.iter().all(|(key, value)| object.label(key) == Some(value))
            && self.expressions.iter().all(|expression| expression.fits(object.label(&expression.key)))
    }
}

impl Expression {
    fn fits(&self, label: Option<&str>) -> bool {
        let among = label.is_some_and(|label| self.values.iter().any(|value| value == label));
        match self.operator.as_str() {
            "In" => among,
            "NotIn" => !among,
            "Exists" => label.is_some(),
            "DoesNotExist" => label.is_none(),
            // What a newer server knows selects nothing here.
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_that_a_selector_asks_for_has_to_fit() {
        let selects = |selector: Value, labels: Value| {
            let object =
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": labels}});
            LabelSelector::parse(&selector).selects(&Object::from_value(object).expect("is an object"))
        };
        let expression = |operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
        let (api, web, none) = (json!({"app": "api"}), json!({"app": "web"}), json!({}));
        for (selector, fits) in [
            (json!({"matchLabels": {"app": "api"}}), [true, false, false]),
            (expression("In", &["api", "other"]), [true, false, false]),
            (expression("NotIn", &["api", "other"]), [false, true, true]),
            (expression("Exists", &[]), [true, true, false]),
            (expression("DoesNotExist", &[]), [false, false, true]),
            (expression("Newer", &[]), [false, false, false]),
            (json!({}), [false, false, false]),
        ] {
            let found = [&api, &web, &none].map(|labels| selects(selector.clone(), labels.clone()));
            assert_eq!(found, fits, "{selector}");
        }
        let mut both = expression("Exists", &[]);
        both["matchLabels"] = json!({"tier": "back"});
        assert!(!selects(both.clone(), api));
        assert!(selects(both, json!({"app": "api", "tier": "back"})));
    }
}
