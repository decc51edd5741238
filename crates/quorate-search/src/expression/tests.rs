use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::time::{Date, parsed};
use super::*;
use crate::limits;

/// A document with some properties.
struct Sample;

impl Row for Sample {
    fn property(&self, name: &str) -> Value {
        match name {
            "s" => Value::Text("Hello World".to_string()),
            "n" => Value::Number(5.5),
            "l" => Value::Text("-122.41,37.77".to_string()),
            _ => Value::Null,
        }
    }
}

/// The value as a text; `-` and the text of an error; `<null>`.
fn value(expression: &str) -> String {
    let value = Expression::parse(expression).and_then(|parsed| parsed.evaluate(&Sample));
    match value {
        Ok(Value::List(values)) => {
            let texts: Vec<String> = values.iter().filter_map(Value::text).collect();
            alloc::format!("[{}]", texts.join(" "))
        }
        Ok(value) => value.text().unwrap_or_else(|| "<null>".to_string()),
        Err(error) => alloc::format!("-{}", error.text),
    }
}

fn each(cases: &[(&str, &str)]) {
    for &(expression, expected) in cases {
        assert_eq!(value(expression), expected, "{expression}");
    }
}

/// All answered by a RediSearch 2.10.
#[test]
fn operators_are_those_of_redisearch() {
    each(&[
        ("2+2==4", "1"),
        ("2*3^2", "36"),
        ("2^3^2", "64"),
        ("1||0&&0", "0"),
        ("0&&0||1", "1"),
        ("!1==0", "1"),
        ("!@n", "0"),
        ("-2^2", "4"),
        ("- 2", "-2"),
        ("2+3*4", "14"),
        ("7%4*2", "6"),
        ("10/4/2", "1.25"),
        ("3>2>1", "0"),
        ("1/0", "nan"),
        ("5%0", "nan"),
        ("-7%3", "-1"),
        ("7.5%2", "1"),
        ("@n+'3'", "8.5"),
        ("'3'+4", "7"),
        ("'abc'+1", "-Could not convert value to a number"),
        ("'10'<'9'", "1"),
        ("10<9", "0"),
        ("'10'==10", "1"),
        ("@s=='Hello World'", "1"),
        ("((1+2)*3)", "9"),
        ("1.5e-3", "0.0015"),
        ("nan", "-Unknown symbol 'nan'"),
        ("NULL", "<null>"),
        ("'it\\'s'", "it's"),
    ]);
}

/// All answered by a RediSearch 2.10.
#[test]
fn functions_are_those_of_redisearch() {
    each(&[
        ("log(2)", "0.69314718056"),
        ("log2(8)", "3"),
        ("exp(1)", "2.71828182846"),
        ("floor(-1.2)", "-2"),
        ("abs('x')", "nan"),
        ("abs('-3')", "3"),
        ("upper(@s)", "HELLO WORLD"),
        ("upper(5)", "<null>"),
        ("substr('hello',1,3)", "ell"),
        ("substr('hello',1,-1)", "ell"),
        ("substr('hello',-3,2)", "ll"),
        ("substr('hello',10,2)", ""),
        ("substr('hello',-10,3)", ""),
        ("substr('hello',1,-10)", ""),
        ("format('%s-%s',1,@s)", "1-Hello World"),
        ("format('%%')", "%"),
        ("format('%d',5)", "-Unknown format specifier passed"),
        ("format('%s')", "-Not enough arguments for format"),
        ("split('a;b,c',';')", "[a b,c]"),
        ("split(' a , b ',',',' ')", "[a b]"),
        ("split('')", "[]"),
        ("split('a,,b')", "[a b]"),
        ("to_number('abc')", "-to_number: cannot convert string 'abc'"),
        ("to_str(1e20)", "1e+20"),
        ("strlen('héllo')", "6"),
        ("startswith('hello','HE')", "0"),
        ("contains('banana','an')", "2"),
        ("contains('banana','')", "7"),
        ("matched_terms()", "<null>"),
        ("timefmt(1517417144)", "2018-01-31T16:45:44Z"),
        ("timefmt(1517417144,'%Y')", "2018"),
        ("parsetime('2018-01-31T16:45:44Z','%FT%TZ')", "1517417144"),
        ("parsetime('x','%Y')", "<null>"),
        ("hour(1517417144)", "1517414400"),
        ("minute(1517417144)", "1517417100"),
        ("day(1517417144)", "1517356800"),
        ("month(1517417144)", "1514764800"),
        ("dayofweek(1517417144)", "3"),
        ("dayofyear(1517417144)", "30"),
        ("monthofyear(1517417144)", "0"),
        ("year(-1)", "<null>"),
        ("geodistance(@l,-122,37)", "92993.76"),
        ("geodistance('1,2','3,4')", "314371.93"),
        ("geodistance(1,2,3,4)", "314371.93"),
        ("nope(1)", "-Unknown function name 'nope'"),
        ("@n+", "-Syntax error at offset 2 near 'n'"),
        ("1x10", "-Syntax error at offset 1 near 'x10'"),
    ]);
}

/// Where RediSearch 2.10 has no answer, or takes a sign for a part of a number.
#[test]
fn what_redisearch_does_not_answer_is_plain() {
    each(&[
        ("10-2-3", "5"),
        (".5", "0.5"),
        ("-@n", "-5.5"),
        ("@missing+1", "<null>"),
        ("@missing==1", "0"),
        ("@missing!=1", "1"),
        ("!@missing", "1"),
        ("exists(@missing)", "0"),
        ("exists(@n)", "1"),
        ("case(@n>5,'big','small')", "big"),
        ("case(@missing,'a','b')", "b"),
        ("geodistance(1,2)", "<null>"),
        ("log()", "-Invalid number of arguments for function 'log'"),
        ("(1", "-Syntax error at offset 1 near '1'"),
        ("1)", "-Syntax error at offset 1 near '1'"),
        ("", "-Syntax error at offset 0 near ''"),
        ("'open", "-Syntax error at offset 0 near ''"),
        ("timefmt(0,'%a %d %b %y %j %I%p')", "Thu 01 Jan 70 001 12AM"),
        ("parsetime('31 Dec 1999 11:59:58 pm','%d %b %Y %I:%M:%S %p')", "946684798"),
        ("parsetime('2018','%Y')", "1514764800"),
    ]);
}

#[test]
fn expressions_are_bounded() {
    let chain = vec!["1"; limits::EXPRESSION_TOKENS].join("+");
    assert!(value(&chain).starts_with("-Expression has more than"));
    let chain = vec!["1"; limits::EXPRESSION_TOKENS / 2].join("+");
    assert_eq!(value(&chain), (limits::EXPRESSION_TOKENS / 2).to_string());
    for sign in ["(", "!", "-", "abs("] {
        let nested = sign.repeat(limits::EXPRESSION_TOKENS / 4);
        assert!(value(&nested).starts_with("-Expression is nested more than"), "{sign}");
    }
}

proptest! {
    #[test]
    fn dates_and_back(seconds in 0i64..253_402_300_799) {
        let date = Date::at(seconds);
        prop_assert_eq!(date.days() * 86_400 + date.second, seconds);
        let text = date.formatted("%Y-%m-%d %H:%M:%S", seconds);
        prop_assert_eq!(parsed(&text, "%F %T"), Some(seconds));
        prop_assert!((0..366).contains(&date.day_of_year()));
    }

    #[test]
    fn no_expression_makes_it_panic(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "1", "2.5", "@n", "@s", "@x", "'a'", "\"%s%d\"", "(", ")", ",", "+", "-", "*", "/", "%",
            "^", "==", "<", "&&", "||", "!", "substr(", "format(", "split(", "timefmt(", "%Y",
            "parsetime(", "geodistance(", "case(", "NULL", "1e300", "é", ".", "\\", "'",
        ]), 0..14),
        text in "\\PC{0,20}",
    ) {
        value(&pieces.concat());
        value(&text);
    }

    #[test]
    fn no_text_or_form_makes_times_panic(text in "\\PC{0,20}", form in "(%[a-zA-Z]|\\PC){0,8}", at in 0i64..1 << 40) {
        let _ = parsed(&text, &form);
        let _ = Date::at(at).formatted(&form, at);
    }
}
