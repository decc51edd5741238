//! Dates of the Gregorian calendar, UTC, and the forms of C's `strftime` and `strptime`.

use alloc::format;
use alloc::string::String;

/// The last second of the year 9999.
pub(super) const MAX: f64 = 253_402_300_799.0;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A date and a time of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    pub(super) year: i64,
    /// 1 to 12.
    pub(super) month: i64,
    /// 1 to 31.
    pub(super) day: i64,
    /// Of the day.
    pub(super) second: i64,
}

impl Date {
    /// The date so many seconds after 1970 began. Years are counted from March, so that a leap
    /// day is the last of its year, in eras of 400 years.
    pub(super) fn at(seconds: i64) -> Date {
        let days = seconds.div_euclid(86_400) + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year + era * 400 + i64::from(month <= 2);
        Date { year, month, day, second: seconds.rem_euclid(86_400) }
    }

    /// Days since 1970 began.
    pub(super) fn days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let month = (self.month + 9) % 12;
        let of_year = (153 * month + 2) / 5 + self.day - 1;
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    }

    /// 0 (Sunday) to 6.
    pub(super) fn day_of_week(self) -> i64 {
        (self.days() + 4).rem_euclid(7)
    }

    /// 0 to 365.
    pub(super) fn day_of_year(self) -> i64 {
        self.days() - Date { month: 1, day: 1, ..self }.days()
    }

    /// The date as `strftime` writes it in the C locale.
    pub(super) fn formatted(self, form: &str, seconds: i64) -> String {
        let mut text = String::new();
        let mut characters = form.chars();
        while let Some(character) = characters.next() {
            match character {
                '%' => match characters.next() {
                    Some(specifier) => text.push_str(&self.specified(specifier, seconds)),
                    None => text.push('%'),
                },
                _ => text.push(character),
            }
        }
        text
    }

    fn specified(self, specifier: char, seconds: i64) -> String {
        let (hour, minute, second) = (self.second / 3600, self.second / 60 % 60, self.second % 60);
        let twelve = (hour + 11) % 12 + 1;
        let month = MONTHS[self.month as usize - 1];
        let week_day = DAYS[self.day_of_week() as usize];
        match specifier {
            'Y' => format!("{}", self.year),
            'C' => format!("{:02}", self.year / 100),
            'y' => format!("{:02}", self.year % 100),
            'm' => format!("{:02}", self.month),
            'd' => format!("{:02}", self.day),
            'e' => format!("{:2}", self.day),
            'j' => format!("{:03}", self.day_of_year() + 1),
            'H' => format!("{hour:02}"),
            'k' => format!("{hour:2}"),
            'I' => format!("{twelve:02}"),
            'l' => format!("{twelve:2}"),
            'M' => format!("{minute:02}"),
            'S' => format!("{second:02}"),
            'p' => if hour < 12 { "AM" } else { "PM" }.into(),
            'B' => month.into(),
            'b' | 'h' => month[..3].into(),
            'A' => week_day.into(),
            'a' => week_day[..3].into(),
            'w' => format!("{}", self.day_of_week()),
            'u' => format!("{}", (self.day_of_week() + 6) % 7 + 1),
            'F' => self.formatted("%Y-%m-%d", seconds),
            'D' | 'x' => self.formatted("%m/%d/%y", seconds),
            'T' | 'X' => self.formatted("%H:%M:%S", seconds),
            'R' => self.formatted("%H:%M", seconds),
            'r' => self.formatted("%I:%M:%S %p", seconds),
            'c' => self.formatted("%a %b %e %H:%M:%S %Y", seconds),
            's' => format!("{seconds}"),
            'z' => "+0000".into(),
            'Z' => "GMT".into(),
            'n' => "\n".into(),
            't' => "\t".into(),
            '%' => "%".into(),
            other => format!("%{other}"),
        }
    }
}

/// The seconds since 1970 that a text says in a form of `strptime`; what it does not say is the
/// first. None if it does not follow the form.
pub(super) fn parsed(text: &str, form: &str) -> Option<i64> {
    let mut parsing = Parsing {
        rest: text,
        date: Date { year: 1970, month: 1, day: 1, second: 0 },
        time: [0; 3],
        is_afternoon: None,
        seconds: None,
    };
    parsing.read(form)?;
    if let Some(seconds) = parsing.seconds {
        return Some(seconds);
    }
    let [hour, minute, second] = parsing.time;
    let hour = match parsing.is_afternoon {
        Some(is_afternoon) => hour % 12 + if is_afternoon { 12 } else { 0 },
        None => hour,
    };
    Some(parsing.date.days() * 86_400 + hour * 3600 + minute * 60 + second)
}

struct Parsing<'t> {
    rest: &'t str,
    date: Date,
    /// Hour, minute and second.
    time: [i64; 3],
    is_afternoon: Option<bool>,
    /// Since 1970, if the text says so.
    seconds: Option<i64>,
}

impl Parsing<'_> {
    fn read(&mut self, form: &str) -> Option<()> {
        let mut characters = form.chars();
        while let Some(character) = characters.next() {
            if character.is_whitespace() {
                self.rest = self.rest.trim_start();
            } else if character == '%' {
                self.specified(characters.next()?)?;
            } else {
                self.rest = self.rest.strip_prefix(character)?;
            }
        }
        Some(())
    }

    fn specified(&mut self, specifier: char) -> Option<()> {
        match specifier {
            'Y' => self.date.year = self.number(4, 0, 9999)?,
            'y' => {
                let year = self.number(2, 0, 99)?;
                self.date.year = year + if year < 69 { 2000 } else { 1900 };
            }
            'm' => self.date.month = self.number(2, 1, 12)?,
            'd' | 'e' => self.date.day = self.number(2, 1, 31)?,
            'j' => {
                let day = self.number(3, 1, 366)?;
                (self.date.month, self.date.day) = (1, day);
            }
            'H' | 'k' => self.time[0] = self.number(2, 0, 23)?,
            'I' | 'l' => self.time[0] = self.number(2, 1, 12)?,
            'M' => self.time[1] = self.number(2, 0, 59)?,
            'S' => self.time[2] = self.number(2, 0, 60)?,
            's' => self.seconds = Some(self.number(12, 0, MAX as i64)?),
            'p' => self.is_afternoon = Some(self.one_of(&["AM", "PM"], 2)? == 1),
            'B' | 'b' | 'h' => self.date.month = self.one_of(&MONTHS, 3)? + 1,
            'A' | 'a' => drop(self.one_of(&DAYS, 3)?),
            'F' => self.read("%Y-%m-%d")?,
            'D' => self.read("%m/%d/%y")?,
            'T' => self.read("%H:%M:%S")?,
            'R' => self.read("%H:%M")?,
            'n' | 't' => self.rest = self.rest.trim_start(),
            '%' => self.rest = self.rest.strip_prefix('%')?,
            _ => return None,
        }
        Some(())
    }

    fn number(&mut self, digits: usize, least: i64, most: i64) -> Option<i64> {
        self.rest = self.rest.trim_start();
        let count = self.rest.bytes().take(digits).take_while(u8::is_ascii_digit).count();
        let (number, rest) = self.rest.split_at(count);
        self.rest = rest;
        number.parse().ok().filter(|number| (least..=most).contains(number))
    }

    /// The position of the name that is next, whole or its first letters, in any case.
    fn one_of(&mut self, names: &[&str], letters: usize) -> Option<i64> {
        let begins = |name: &str| {
            let start = self.rest.get(..name.len())?;
            start.eq_ignore_ascii_case(name).then_some(name.len())
        };
        let found = names.iter().enumerate().find_map(|(position, name)| {
            let length = begins(name).or_else(|| begins(&name[..letters]))?;
            Some((position, length))
        });
        let (position, length) = found?;
        self.rest = &self.rest[length..];
        Some(position as i64)
    }
}
