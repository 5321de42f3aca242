//! Which metrics and labels an expression of PromQL names. `promtool` checks the rest.

use std::collections::BTreeSet;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Other(char),
}

/// Words that stand between operands.
const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];
/// Words before a list of labels.
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// A metric, and the matchers of its labels: name and value.
#[derive(Debug, PartialEq, Eq)]
pub struct Selector {
    pub metric: String,
    pub matchers: Vec<(String, String)>,
}

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub selectors: Vec<Selector>,
    /// Labels that results are grouped or matched by.
    pub grouped_by: BTreeSet<String>,
}

/// What is in brackets is a time. It names nothing.
fn tokens(expression: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = expression.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '[' => drop(rest.by_ref().find(|c| *c == ']')),
            '"' => tokens.push(Token::Text(rest.by_ref().take_while(|c| *c != '"').collect())),
            c if c.is_ascii_alphanumeric() || c == '_' => {
                let mut word = String::from(c);
                while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || "_:.".contains(*c)) {
                    word.push(c);
                }
                let is_number = word.starts_with(|c: char| c.is_ascii_digit());
                tokens.push(if is_number { Token::Other('0') } else { Token::Word(word) });
            }
            c if c.is_whitespace() => {}
            c => tokens.push(Token::Other(c)),
        }
    }
    tokens
}

/// What the expression names.
pub fn names(expression: &str) -> Names {
    let mut names = Names::default();
    let mut rest = tokens(expression).into_iter().peekable();
    while let Some(token) = rest.next() {
        let Token::Word(word) = token else { continue };
        let followed_by = |c: char, next: Option<&Token>| next == Some(&Token::Other(c));
        if OPERATORS.contains(&word.as_str()) {
            continue;
        }
        if GROUPING.contains(&word.as_str()) {
            let labels = rest.by_ref().take_while(|token| *token != Token::Other(')'));
            names.grouped_by.extend(labels.filter_map(|token| match token {
                Token::Word(label) => Some(label),
                _ => None,
            }));
            continue;
        }
        // A function, or an aggregation with its list of labels before or behind the operand.
        let grouped =
            matches!(rest.peek(), Some(Token::Word(next)) if ["by", "without"].contains(&next.as_str()));
        if !grouped && !followed_by('(', rest.peek()) {
            let mut matchers = Vec::new();
            if followed_by('{', rest.peek()) {
                let inside: Vec<_> = rest.by_ref().take_while(|token| *token != Token::Other('}')).collect();
                let mut label = None;
                for token in inside {
                    match token {
                        Token::Word(word) => label = Some(word),
                        Token::Text(value) => matchers.extend(label.take().map(|label| (label, value))),
                        Token::Other(_) => {}
                    }
                }
            }
            names.selectors.push(Selector { metric: word, matchers });
        }
    }
    names
}

#[test]
fn an_expression_names_metrics_labels_and_groups() {
    let names = names(
        r#"histogram_quantile(0.95, sum by (le, a) (rate(x_bucket{job="s", b=~"1|2"}[$__rate_interval]))) > 2e3
           and on (c) (up == 0 or y{} offset 5m) / z"#,
    );
    let selector = |metric: &str, matchers: &[(&str, &str)]| Selector {
        metric: metric.to_owned(),
        matchers: matchers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    let selectors = [
        selector("x_bucket", &[("job", "s"), ("b", "1|2")]),
        selector("up", &[]),
        selector("y", &[]),
        selector("z", &[]),
    ];
    assert_eq!(names.selectors, selectors);
    assert_eq!(names.grouped_by, ["a", "c", "le"].map(str::to_owned).into());
}
