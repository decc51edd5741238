//! Reads paths.

use super::{
    Path, Select, Step,
    filter::{Condition, Operator, Term, regex},
};
use crate::json::number::Number;

/// Bytes of a path, at most.
const LENGTH_MAX: usize = 64 << 10;

/// How deep parentheses, and filters in filters, may be nested.
const NESTING_MAX: usize = 32;

/// Steps of a path, those of its filters included.
const STEPS_MAX: usize = 1024;

/// A text that is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    #[error(
        "Error occurred on position {at}, \"{text}\", expected one of the following: {expected}."
    )]
    Syntax { at: usize, text: String, expected: &'static str },
    #[error("ERR a path is UTF-8, and has at most {LENGTH_MAX} bytes")]
    Text,
    #[error("ERR a path has at most {STEPS_MAX} steps, and {NESTING_MAX} levels of filters")]
    Size,
}

const STEP: &str = "EOI, '..'";
const NAME: &str = "<string>, '*'";
const BRACKET: &str = "'<string>[,<string>,...]', '<number>', ['start:end:steps'], '*'";
const TERM: &str = "decimal, from_current, from_root, boolean_true, boolean_false, null";
const AFTER_TERM: &str = "ge, gt, le, lt, eq, ne, re, and, or, '..'";

/// Reads a path in either form.
pub(super) fn parse(text: &[u8]) -> Result<Path, PathError> {
    let text = std::str::from_utf8(text).map_err(|_| PathError::Text)?;
    if text.len() > LENGTH_MAX {
        return Err(PathError::Text);
    }
    let is_legacy = Path::is_legacy_text(text.as_bytes());
    let given = text.to_owned();
    let text = match text {
        "." if is_legacy => "$".to_owned(),
        _ if is_legacy && text.starts_with('.') => format!("${text}"),
        _ if is_legacy => format!("$.{text}"),
        _ => text.to_owned(),
    };
    let mut parser = Parser { text: &text, at: 1, steps: 0, nesting: 0 };
    let steps = parser.steps()?;
    parser.blanks();
    if parser.at < text.len() {
        return Err(parser.expected(STEP));
    }
    Ok(Path { steps, is_legacy, text, given })
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// How many steps have been read.
    steps: usize,
    nesting: usize,
}

type Parsed<T> = Result<T, PathError>;

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn expected(&self, expected: &'static str) -> PathError {
        let (before, rest) = self.text.split_at(self.at);
        let text = match rest {
            "" => format!("{before} <<<<----"),
            rest => format!("{before} ---->>>> {rest}"),
        };
        PathError::Syntax { at: self.at, text, expected }
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    /// Takes a token, and blanks before it.
    fn takes(&mut self, token: &str) -> bool {
        let start = self.at;
        self.blanks();
        if self.rest().starts_with(token) {
            self.at += token.len();
            return true;
        }
        self.at = start;
        false
    }

    fn take(&mut self, token: &str, expected: &'static str) -> Parsed<()> {
        if self.takes(token) {
            return Ok(());
        }
        self.blanks();
        Err(self.expected(expected))
    }

    /// Takes a token made of some characters; empty when none is there.
    fn run(&mut self, is_part: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.bytes().take_while(|byte| is_part(*byte)).count();
        self.at += length;
        &rest[..length]
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(PathError::Size);
        }
        let parsed = parse(self)?;
        self.nesting -= 1;
        Ok(parsed)
    }

    fn steps(&mut self) -> Parsed<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            let descends = self.takes("..");
            let has_name = descends || self.takes(".");
            let select = if self.takes("[") {
                self.bracket()?
            } else if has_name {
                self.name()?
            } else {
                return Ok(steps);
            };
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return Err(PathError::Size);
            }
            steps.push(Step { descends, select });
        }
    }

    fn name(&mut self) -> Parsed<Select> {
        if self.takes("*") {
            return Ok(Select::All);
        }
        self.blanks();
        let key = self.run(|byte| byte.is_ascii_alphanumeric() || b"-_:#%^/+~`$".contains(&byte));
        if key.is_empty() {
            Err(self.expected(NAME))
        } else {
            Ok(Select::Keys(vec![key.to_owned()]))
        }
    }

    fn bracket(&mut self) -> Parsed<Select> {
        self.blanks();
        let start = self.at;
        let select = match self.rest().as_bytes().first() {
            Some(b'*') => {
                self.at += 1;
                Select::All
            }
            Some(b'?') => {
                self.at += 1;
                Select::Filter(self.nested(Self::condition)?)
            }
            Some(b'"' | b'\'') => Select::Keys(self.listed(Self::string, BRACKET)?),
            Some(b'-' | b'0'..=b'9' | b':') => self.indices()?,
            _ => return Err(self.expected(BRACKET)),
        };
        if self.takes("]") {
            return Ok(select);
        }
        self.at = start;
        Err(self.expected(BRACKET))
    }

    /// One or more, with commas between them.
    fn listed<T>(
        &mut self,
        one: impl Fn(&mut Self) -> Option<T>,
        expected: &'static str,
    ) -> Parsed<Vec<T>> {
        let mut all = Vec::new();
        loop {
            self.blanks();
            all.push(one(self).ok_or_else(|| self.expected(expected))?);
            if !self.takes(",") {
                return Ok(all);
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        let quote = self.rest().chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        let mut text = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => text.push(match characters.next()?.1 {
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    same @ ('"' | '\'' | '\\' | '/') => same,
                    _ => return None,
                }),
                _ if character == quote => {
                    self.at += at + 1;
                    return Some(text);
                }
                other => text.push(other),
            }
        }
        None
    }

    fn index(&mut self) -> Option<i64> {
        let start = self.at;
        self.takes("-");
        let digits = self.run(|byte| byte.is_ascii_digit());
        let text = &self.text[start..self.at];
        (!digits.is_empty()).then(|| text.parse().ok()).flatten()
    }

    fn indices(&mut self) -> Parsed<Select> {
        let start = match self.rest().starts_with(':') {
            true => None,
            false => Some(self.index().ok_or_else(|| self.expected(BRACKET))?),
        };
        if !self.takes(":") {
            let mut indices = Vec::from_iter(start);
            if self.takes(",") {
                indices.extend(self.listed(Self::index, "'<number>'")?);
            }
            return Ok(Select::Indices(indices));
        }
        self.blanks();
        let end = self.index();
        let mut step = 1;
        if self.takes(":") {
            self.blanks();
            let digits = self.run(|byte| byte.is_ascii_digit());
            let parsed = digits.parse().ok().filter(|step| *step > 0);
            self.at -= if parsed.is_none() { digits.len() } else { 0 };
            step = parsed.ok_or_else(|| self.expected("pos_number"))?;
        }
        Ok(Select::Slice { start, end, step })
    }

    fn condition(&mut self) -> Parsed<Condition> {
        let mut any = vec![self.all()?];
        while self.takes("||") {
            any.push(self.all()?);
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Condition::Any(any) })
    }

    fn all(&mut self) -> Parsed<Condition> {
        let mut all = vec![self.test()?];
        while self.takes("&&") {
            all.push(self.test()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Condition::All(all) })
    }

    fn test(&mut self) -> Parsed<Condition> {
        if self.takes("(") {
            let condition = self.nested(Self::condition)?;
            self.take(")", "and, or")?;
            return Ok(condition);
        }
        let left = self.term("single_filter")?;
        let operators = [
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            ("<", Operator::Less),
            (">=", Operator::GreaterOrEqual),
            (">", Operator::Greater),
            ("=~", Operator::Matches),
        ];
        let operator = operators.into_iter().find(|(token, _)| self.takes(token));
        let Some((_, operator)) = operator else {
            self.blanks();
            let ends = [")", "]", "&&", "||"].iter().any(|end| self.rest().starts_with(end));
            return if ends { Ok(Condition::Exists(left)) } else { Err(self.expected(AFTER_TERM)) };
        };
        let right = self.term(TERM)?;
        Ok(match (operator, &right) {
            (Operator::Matches, Term::Text(text)) => Condition::Matches(left, regex(text)),
            _ => Condition::Compare(left, operator, right),
        })
    }

    fn term(&mut self, expected: &'static str) -> Parsed<Term> {
        self.blanks();
        let words =
            [("true", Term::Bool(true)), ("false", Term::Bool(false)), ("null", Term::Null)];
        for (word, term) in words {
            if self.takes(word) {
                return Ok(term);
            }
        }
        for (sign, from_root) in [("@", false), ("$", true)] {
            if self.takes(sign) {
                let steps = self.nested(Self::steps)?;
                return Ok(Term::Path { from_root, steps });
            }
        }
        let start = self.at;
        if self.rest().starts_with(['"', '\'']) {
            return self.string().map(Term::Text).ok_or_else(|| self.expected(expected));
        }
        self.takes("-");
        self.run(|byte| byte.is_ascii_digit());
        if self.rest().starts_with('.') {
            self.at += 1;
            self.run(|byte| byte.is_ascii_digit());
        }
        let text = &self.text[start..self.at];
        let double = || text.parse().ok().filter(|value: &f64| value.is_finite());
        let number =
            text.parse().map(Number::Integer).ok().or_else(|| double().map(Number::Double));
        number.map(Term::Number).ok_or_else(|| {
            self.at = start;
            self.expected(expected)
        })
    }
}
