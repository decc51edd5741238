//! Reading expressions.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Expression, Function, Operator, Value};
use crate::error::{Code, Error};
use crate::limits;

impl Expression {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Expression, Error> {
        let tokens = tokens(text)?;
        if tokens.len() > limits::EXPRESSION_TOKENS {
            let most = limits::EXPRESSION_TOKENS;
            let text = format!("Expression has more than {most} words and signs");
            return Err(Error::new(Code::Expression, text));
        }
        let mut parser = Parser { tokens: &tokens, position: 0, depth: 0 };
        let expression = parser.joined(0)?;
        match parser.peek() {
            None => Ok(expression),
            Some(_) => Err(parser.unexpected()),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Number(f64),
    Text(String),
    Property,
    Name,
    Sign(&'static str),
}

#[derive(Debug, Clone)]
struct Token<'t> {
    kind: Kind,
    at: usize,
    text: &'t str,
}

/// Longer ones first, so that none is taken for the beginning of another.
const SIGNS: [&str; 18] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "+", "-", "*", "/", "%", "^", "!", "(", ")", ",",
];

fn tokens(text: &str) -> Result<Vec<Token<'_>>, Error> {
    let bytes = text.as_bytes();
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let (kind, end) = match byte {
            b'"' | b'\'' => match quoted(text, at) {
                Some((inside, end)) => (Kind::Text(inside), end),
                None => return Err(syntax(at, &tokens)),
            },
            b'@' => (Kind::Property, name_end(bytes, at + 1)),
            _ if number_end(bytes, at) > at => {
                let end = number_end(bytes, at);
                let number: Option<f64> = text[at..end].parse().ok();
                (Kind::Number(number.ok_or_else(|| syntax(at, &tokens))?), end)
            }
            _ if name_end(bytes, at) > at => (Kind::Name, name_end(bytes, at)),
            _ => match SIGNS.iter().find(|sign| text[at..].starts_with(*sign)) {
                Some(sign) => (Kind::Sign(sign), at + sign.len()),
                None => return Err(syntax(at, &tokens)),
            },
        };
        let begin = if kind == Kind::Property { at + 1 } else { at };
        let shown = if matches!(kind, Kind::Sign(_)) { "" } else { &text[begin..end] };
        if kind == Kind::Property && shown.is_empty() {
            return Err(syntax(at, &tokens));
        }
        tokens.push(Token { kind, at, text: shown });
        at = end;
    }
    Ok(tokens)
}

/// Where the name that begins here ends: letters, digits, `_` and all that is not ASCII.
fn name_end(bytes: &[u8], at: usize) -> usize {
    let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_' || !byte.is_ascii();
    at + bytes[at.min(bytes.len())..].iter().take_while(is_name).count()
}

/// Where the number without a sign that begins here ends.
fn number_end(bytes: &[u8], at: usize) -> usize {
    let digits = |at: usize| {
        at + bytes[at.min(bytes.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let mut end = digits(at);
    if bytes.get(end) == Some(&b'.') && digits(end + 1) > end + 1 {
        end = digits(end + 1);
    }
    if end > at && matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'-' | b'+')));
        if digits(end + 1 + sign) > end + 1 + sign {
            end = digits(end + 1 + sign);
        }
    }
    end
}

/// What is between the quote here and the next, without escapes, and where that ends.
fn quoted(text: &str, at: usize) -> Option<(String, usize)> {
    let mut characters = text[at..].char_indices();
    let (_, quote) = characters.next()?;
    let mut inside = String::new();
    loop {
        match characters.next()? {
            (end, character) if character == quote => return Some((inside, at + end + 1)),
            (_, '\\') => inside.push(characters.next()?.1),
            (_, character) => inside.push(character),
        }
    }
}

/// As RediSearch says it: the place, and the last word up to it.
fn syntax(at: usize, read: &[Token<'_>]) -> Error {
    let near = read.iter().rev().find(|token| !token.text.is_empty());
    let near = near.map_or("", |token| token.text);
    Error::new(Code::Expression, format!("Syntax error at offset {at} near '{near}'"))
}

struct Parser<'t> {
    tokens: &'t [Token<'t>],
    position: usize,
    depth: usize,
}

/// What binds how, the loosest first.
const LEVELS: [&[(&str, Operator)]; 4] = [
    &[("&&", Operator::And), ("||", Operator::Or)],
    &[
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<", Operator::Less),
        ("<=", Operator::LessOrEqual),
        (">", Operator::Greater),
        (">=", Operator::GreaterOrEqual),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[
        ("*", Operator::Multiply),
        ("/", Operator::Divide),
        ("%", Operator::Remainder),
        ("^", Operator::Power),
    ],
];

impl<'t> Parser<'t> {
    fn joined(&mut self, level: usize) -> Result<Expression, Error> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.joined(level + 1)?;
        while let Some(operator) = self.operator(operators) {
            let right = self.joined(level + 1)?;
            left = Expression::Joined(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn operator(&mut self, operators: &[(&str, Operator)]) -> Option<Operator> {
        let found = operators.iter().find(|(sign, _)| self.is_next(sign))?;
        self.position += 1;
        Some(found.1)
    }

    fn unary(&mut self) -> Result<Expression, Error> {
        if self.depth == limits::EXPRESSION_DEPTH {
            let most = limits::EXPRESSION_DEPTH;
            let text = format!("Expression is nested more than {most} deep");
            return Err(Error::new(Code::Expression, text));
        }
        self.depth += 1;
        let expression = if self.skip("!") {
            Expression::Not(Box::new(self.unary()?))
        } else if self.skip("-") {
            match self.unary()? {
                Expression::Constant(Value::Number(number)) => {
                    Expression::Constant(Value::Number(-number))
                }
                inner => Expression::Negative(Box::new(inner)),
            }
        } else {
            self.primary()?
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn primary(&mut self) -> Result<Expression, Error> {
        if self.skip("(") {
            let inner = self.joined(0)?;
            self.expect(")")?;
            return Ok(inner);
        }
        let Some(token) = self.peek() else { return Err(self.unexpected()) };
        let expression = match &token.kind {
            Kind::Number(number) => Expression::Constant(Value::Number(*number)),
            Kind::Text(text) => Expression::Constant(Value::Text(text.clone())),
            Kind::Property => Expression::Property(token.text.to_string()),
            Kind::Name => return self.named(token),
            Kind::Sign(_) => return Err(self.unexpected()),
        };
        self.position += 1;
        Ok(expression)
    }

    /// A function, or a constant that has a name.
    fn named(&mut self, token: &Token<'_>) -> Result<Expression, Error> {
        self.position += 1;
        if !self.skip("(") {
            // `-` before it has been taken for a sign.
            return match token.text {
                "NULL" => Ok(Expression::Constant(Value::Null)),
                _ => {
                    let text = format!("Unknown symbol '{}'", token.text);
                    Err(Error::new(Code::Expression, text))
                }
            };
        }
        let Some(function) = Function::named(token.text) else {
            let text = format!("Unknown function name '{}'", token.text);
            return Err(Error::new(Code::Expression, text));
        };
        let mut arguments = Vec::new();
        if !self.skip(")") {
            loop {
                arguments.push(self.joined(0)?);
                if !self.skip(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        if !function.takes(arguments.len()) {
            let text = format!("Invalid number of arguments for function '{}'", token.text);
            return Err(Error::new(Code::Expression, text));
        }
        Ok(Expression::Call(function, arguments))
    }

    fn peek(&self) -> Option<&'t Token<'t>> {
        self.tokens.get(self.position)
    }

    fn is_next(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token { kind: Kind::Sign(next), .. }) if *next == sign)
    }

    fn skip(&mut self, sign: &str) -> bool {
        let found = self.is_next(sign);
        self.position += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), Error> {
        if self.skip(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> Error {
        let token = self.peek().or(self.tokens.last());
        let read = self.tokens.get(..=self.position).unwrap_or(self.tokens);
        syntax(token.map_or(0, |token| token.at), read)
    }
}
