//! Label selectors in text (`a=b,c in (d,e),!f`) and as `LabelSelector` objects.

use serde_json::{Map, Value};

use crate::admission::names;
use crate::status::{Outcome, Status};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

/// All requirements must hold; none hold always.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<(String, Operator)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Symbol(&'static str),
}

fn tokens(text: &str) -> Vec<Token> {
    const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", ",", "(", ")", ">", "<"];
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            out.push(Token::Symbol(symbol));
            rest = rest[symbol.len()..].trim_start();
            continue;
        }
        let end = rest
            .find(|c: char| c.is_whitespace() || "=!,()<>".contains(c))
            .unwrap_or(rest.len());
        out.push(Token::Word(rest[..end].into()));
        rest = rest[end..].trim_start();
    }
    out
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn shown(token: Option<&Token>) -> &str {
        match token {
            Some(Token::Word(word)) => word,
            Some(Token::Symbol(symbol)) => symbol,
            None => "",
        }
    }

    fn word(&mut self, expected: &str) -> Result<String, String> {
        match self.next() {
            Some(Token::Word(word)) => Ok(word),
            other => Err(format!("found '{}', expected: {expected}", Self::shown(other.as_ref()))),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        match self.next() {
            Some(Token::Symbol("(")) => {}
            other => return Err(format!("found '{}' expected: '('", Self::shown(other.as_ref()))),
        }
        let mut values = Vec::new();
        loop {
            match self.next() {
                Some(Token::Word(word)) => {
                    values.push(word);
                    match self.next() {
                        Some(Token::Symbol(",")) => {}
                        Some(Token::Symbol(")")) => return Ok(values),
                        other => return Err(format!("found '{}', expected: ',' or ')'", Self::shown(other.as_ref()))),
                    }
                }
                Some(Token::Symbol(",")) => values.push(String::new()),
                Some(Token::Symbol(")")) => {
                    values.push(String::new());
                    return Ok(values);
                }
                other => {
                    return Err(format!(
                        "found '{}', expected: ',', ')' or identifier",
                        Self::shown(other.as_ref())
                    ));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<(String, Operator), String> {
        if self.peek() == Some(&Token::Symbol("!")) {
            self.next();
            let key = self.word("identifier")?;
            checked_key(&key)?;
            return Ok((key, Operator::Absent));
        }
        let key = match self.next() {
            Some(Token::Word(word)) => word,
            other => {
                return Err(format!(
                    "found '{}', expected: !, identifier, or 'end of string'",
                    Self::shown(other.as_ref())
                ));
            }
        };
        checked_key(&key)?;
        let operator = match self.peek().cloned() {
            None | Some(Token::Symbol(",")) => return Ok((key, Operator::Exists)),
            Some(token) => token,
        };
        self.next();
        let single = |parser: &mut Self| match parser.peek() {
            None | Some(Token::Symbol(",")) => Ok(String::new()),
            _ => parser.word("identifier"),
        };
        let operator = match operator {
            Token::Symbol("=" | "==") => Operator::In(vec![single(self)?]),
            Token::Symbol("!=") => Operator::NotIn(vec![single(self)?]),
            Token::Symbol(">") => Operator::Greater(number(&key, &single(self)?)?),
            Token::Symbol("<") => Operator::Less(number(&key, &single(self)?)?),
            Token::Word(word) if word == "in" => Operator::In(self.values()?),
            Token::Word(word) if word == "notin" => Operator::NotIn(self.values()?),
            other => {
                return Err(format!(
                    "found '{}', expected: in, notin, =, ==, !=, gt, lt, >, <, exists, !",
                    Self::shown(Some(&other))
                ));
            }
        };
        if let Operator::In(values) | Operator::NotIn(values) = &operator {
            values
                .iter()
                .enumerate()
                .try_for_each(|(index, value)| checked_value(&key, index, value))?;
        }
        Ok((key, operator))
    }
}

fn checked_key(key: &str) -> Result<(), String> {
    match names::qualified_name(key).as_slice() {
        [] => Ok(()),
        errors => Err(format!("key: Invalid value: {key:?}: {}", errors.join("; "))),
    }
}

fn checked_value(key: &str, index: usize, value: &str) -> Result<(), String> {
    match names::label_value(value).as_slice() {
        [] => Ok(()),
        errors => Err(format!(
            "values[{index}][{key}]: Invalid value: {value:?}: {}",
            errors.join("; ")
        )),
    }
}

fn number(key: &str, text: &str) -> Result<i64, String> {
    let wrong =
        || format!("values[0][{key}]: Invalid value: {text:?}: for 'Gt', 'Lt' operators, the value must be an integer");
    text.parse().map_err(|_| wrong())
}

impl LabelSelector {
    /// Parses a selector.
    ///
    /// # Errors
    /// 400 with the place that is wrong.
    pub fn parse(text: &str) -> Outcome<Self> {
        let refused = |why: String| Status::bad_request(format!("unable to parse requirement: {why}"));
        let mut parser = Parser {
            tokens: tokens(text),
            at: 0,
        };
        let mut requirements = Vec::new();
        if parser.tokens.is_empty() {
            return Ok(Self::default());
        }
        loop {
            requirements.push(parser.requirement().map_err(refused)?);
            match parser.next() {
                None => return Ok(Self { requirements }),
                Some(Token::Symbol(",")) => {}
                other => {
                    let found = Parser::shown(other.as_ref());
                    return Err(Status::bad_request(format!(
                        "found '{found}', expected: ',' or 'end of string'"
                    )));
                }
            }
        }
    }

    /// From a `LabelSelector` object; an empty one selects everything.
    pub fn from_object(selector: &Value) -> Self {
        let mut requirements = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            requirements.push((
                key.clone(),
                Operator::In(vec![value.as_str().unwrap_or_default().into()]),
            ));
        }
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let key = expression["key"].as_str().unwrap_or_default().to_string();
            let values = expression["values"].as_array().into_iter().flatten();
            let values: Vec<String> = values.filter_map(|v| v.as_str().map(str::to_string)).collect();
            let operator = match expression["operator"].as_str() {
                Some("In") => Operator::In(values),
                Some("NotIn") => Operator::NotIn(values),
                Some("Exists") => Operator::Exists,
                _ => Operator::Absent,
            };
            requirements.push((key, operator));
        }
        requirements.sort_by(|a, b| a.0.cmp(&b.0));
        Self { requirements }
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object's labels satisfy it.
    pub fn matches(&self, object: &Value) -> bool {
        let empty = Map::new();
        self.matches_labels(object["metadata"]["labels"].as_object().unwrap_or(&empty))
    }

    /// Whether labels satisfy it.
    pub fn matches_labels(&self, labels: &Map<String, Value>) -> bool {
        self.requirements.iter().all(|(key, operator)| {
            let value = labels.get(key).and_then(Value::as_str);
            let as_number = || value.and_then(|v| v.parse::<i64>().ok());
            match operator {
                Operator::In(values) => value.is_some_and(|v| values.iter().any(|x| x == v)),
                Operator::NotIn(values) => value.is_none_or(|v| values.iter().all(|x| x != v)),
                Operator::Exists => value.is_some(),
                Operator::Absent => value.is_none(),
                Operator::Greater(limit) => as_number().is_some_and(|n| n > *limit),
                Operator::Less(limit) => as_number().is_some_and(|n| n < *limit),
            }
        })
    }
}

impl std::fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = self
            .requirements
            .iter()
            .map(|(key, operator)| match operator {
                Operator::In(values) if values.len() == 1 => format!("{key}={}", values[0]),
                Operator::In(values) => format!("{key} in ({})", values.join(",")),
                Operator::NotIn(values) => format!("{key} notin ({})", values.join(",")),
                Operator::Exists => key.clone(),
                Operator::Absent => format!("!{key}"),
                Operator::Greater(limit) => format!("{key}>{limit}"),
                Operator::Less(limit) => format!("{key}<{limit}"),
            })
            .collect();
        f.write_str(&parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn selects(selector: &str, labels: Value) -> bool {
        LabelSelector::parse(selector)
            .unwrap()
            .matches(&json!({"metadata": {"labels": labels}}))
    }

    #[test]
    fn every_operator_selects_what_its_words_say() {
        let labels = json!({"a": "1", "env": "prod"});
        for yes in [
            "",
            "a",
            "a=1",
            "a==1",
            "env in (dev, prod)",
            "b!=1",
            "b notin (1)",
            "!b",
            "a>0",
            "a<2",
            "a=1,env=prod",
        ] {
            assert!(selects(yes, labels.clone()), "{yes}");
        }
        for no in ["b", "a=2", "env notin (prod)", "!a", "a!=1", "a>1", "a=1,env=dev"] {
            assert!(!selects(no, labels.clone()), "{no}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for bad in ["a in", "a in b", "a=b=c", ",", "!", "a b", "(a)", "a=bad!value"] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
    }
}
