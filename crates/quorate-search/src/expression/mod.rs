//! Expressions over the fields of a document: `APPLY` and `FILTER` of `FT.AGGREGATE`, `FILTER` of
//! `FT.CREATE`.
//!
//! ```text
//! expression = compared, { ( "&&" | "||" ), compared }      the two bind alike
//! compared   = sum, { ( "==" | "!=" | "<" | "<=" | ">" | ">=" ), sum }
//! sum        = product, { ( "+" | "-" ), product }
//! product    = unary, { ( "*" | "/" | "%" | "^" ), unary }   the four bind alike
//! unary      = "!" unary | "-" unary | number | "text" | 'text' | NULL | @property
//!            | function "(" [ expression { "," expression } ] ")" | "(" expression ")"
//! ```
//!
//! All operators group from the left, as in RediSearch. There is no state and no clock: an
//! expression has one value for a document.

mod evaluation;
mod functions;
mod parser;
#[cfg(test)]
mod tests;
mod time;
mod value;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

pub use functions::Function;
pub use value::Value;

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// A value that does not depend on the document.
    Constant(Value),
    /// A property of the document.
    Property(String),
    /// 1 if it is false, else 0.
    Not(Box<Expression>),
    /// The number of other sign.
    Negative(Box<Expression>),
    /// Two, joined.
    Joined(Operator, Box<Expression>, Box<Expression>),
    /// A function of some.
    Call(Function, Vec<Expression>),
}

/// What joins two expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`; by 0: no number.
    Divide,
    /// `%`, of whole numbers.
    Remainder,
    /// `^`
    Power,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `&&`
    And,
    /// `||`
    Or,
}

/// A document as expressions see it.
pub trait Row {
    /// The value of a property; `Null` if there is none.
    fn property(&self, name: &str) -> Value;

    /// The terms of the query that the document has.
    fn matched_terms(&self) -> &[String] {
        &[]
    }
}
