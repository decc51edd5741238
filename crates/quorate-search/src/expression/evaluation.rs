//! The value of an expression for a document.

use super::{Expression, Operator, Row, Value};
use crate::error::{Code, Error};

impl Expression {
    /// The value for a document.
    pub fn evaluate(&self, row: &dyn Row) -> Result<Value, Error> {
        Ok(match self {
            Expression::Constant(value) => value.clone(),
            Expression::Property(name) => row.property(name),
            Expression::Not(inner) => Value::truth(!inner.evaluate(row)?.is_true()),
            Expression::Negative(inner) => match inner.evaluate(row)? {
                Value::Null => Value::Null,
                value => Value::Number(-number(&value)?),
            },
            Expression::Joined(Operator::And, left, right) => {
                Value::truth(left.evaluate(row)?.is_true() && right.evaluate(row)?.is_true())
            }
            Expression::Joined(Operator::Or, left, right) => {
                Value::truth(left.evaluate(row)?.is_true() || right.evaluate(row)?.is_true())
            }
            Expression::Joined(operator, left, right) => {
                operator.apply(&left.evaluate(row)?, &right.evaluate(row)?)?
            }
            Expression::Call(function, arguments) => {
                let arguments: Result<alloc::vec::Vec<Value>, Error> =
                    arguments.iter().map(|argument| argument.evaluate(row)).collect();
                function.call(&arguments?, row)?
            }
        })
    }
}

impl Operator {
    fn apply(self, left: &Value, right: &Value) -> Result<Value, Error> {
        let order = || left.order(right);
        Ok(match self {
            Operator::Equal => Value::truth(order().is_some_and(|order| order.is_eq())),
            Operator::NotEqual => Value::truth(!order().is_some_and(|order| order.is_eq())),
            Operator::Less => Value::truth(order().is_some_and(|order| order.is_lt())),
            Operator::LessOrEqual => Value::truth(order().is_some_and(|order| order.is_le())),
            Operator::Greater => Value::truth(order().is_some_and(|order| order.is_gt())),
            Operator::GreaterOrEqual => Value::truth(order().is_some_and(|order| order.is_ge())),
            Operator::And => Value::truth(left.is_true() && right.is_true()),
            Operator::Or => Value::truth(left.is_true() || right.is_true()),
            // Nothing in, nothing out.
            _ if *left == Value::Null || *right == Value::Null => Value::Null,
            _ => Value::Number(self.calculate(number(left)?, number(right)?)),
        })
    }

    fn calculate(self, left: f64, right: f64) -> f64 {
        match self {
            Operator::Add => left + right,
            Operator::Subtract => left - right,
            Operator::Multiply => left * right,
            Operator::Divide if right == 0.0 => f64::NAN,
            Operator::Divide => left / right,
            Operator::Remainder => match right as i64 {
                0 => f64::NAN,
                right => (left as i64).wrapping_rem(right) as f64,
            },
            Operator::Power => libm::pow(left, right),
            Operator::Equal
            | Operator::NotEqual
            | Operator::Less
            | Operator::LessOrEqual
            | Operator::Greater
            | Operator::GreaterOrEqual
            | Operator::And
            | Operator::Or => f64::NAN,
        }
    }
}

fn number(value: &Value) -> Result<f64, Error> {
    let refused = || Error::new(Code::Expression, "Could not convert value to a number");
    value.number().ok_or_else(refused)
}
