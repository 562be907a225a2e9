//! One variable at a time: empty is unset, unusable is warned of.

use std::{str::FromStr, time::Duration};

/// Looks variables up and collects what is wrong with them.
pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, warnings: Vec::new() }
    }

    pub(super) fn into_warnings(self) -> Vec<String> {
        self.warnings
    }

    /// Notes that `value` is ignored because it `problem`, as in "is not a number".
    pub(super) fn warn(&mut self, name: &str, value: &str, problem: &str) {
        self.warnings.push(super::warning(name, value, problem));
    }

    /// The value without the spaces around it.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let value = (self.lookup)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        let value = self.text(name)?;
        if value.eq_ignore_ascii_case("true") {
            Some(true)
        } else if value.eq_ignore_ascii_case("false") {
            Some(false)
        } else {
            self.warn(name, &value, "is neither true nor false");
            None
        }
    }

    pub(super) fn number<T: FromStr>(&mut self, name: &str) -> Option<T> {
        let value = self.text(name)?;
        let number = value.parse().ok();
        if number.is_none() {
            self.warn(name, &value, "is not a whole number in range");
        }
        number
    }

    /// A number that is of no use when 0.
    pub(super) fn positive<T: FromStr + Default + PartialEq>(&mut self, name: &str) -> Option<T> {
        let number = self.number(name)?;
        if number == T::default() {
            self.warn(name, "0", "must be at least 1");
            return None;
        }
        Some(number)
    }

    pub(super) fn milliseconds(&mut self, name: &str) -> Option<Duration> {
        self.number(name).map(Duration::from_millis)
    }

    pub(super) fn positive_milliseconds(&mut self, name: &str) -> Option<Duration> {
        self.positive(name).map(Duration::from_millis)
    }

    /// A list of names: those that `known` has, each once. Empty for `none`; `None` if the
    /// variable is unset or no name in it is known.
    pub(super) fn list<T: PartialEq>(
        &mut self,
        name: &str,
        problem: &str,
        known: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let value = self.text(name)?;
        let mut items = Vec::new();
        let mut has_none = false;
        for item in value.split(',').map(str::trim).filter(|i| !i.is_empty()) {
            let lower = item.to_ascii_lowercase();
            match known(&lower) {
                Some(item) if !items.contains(&item) => items.push(item),
                Some(_) => {}
                None if lower == "none" => has_none = true,
                None => self.warn(name, item, problem),
            }
        }
        if has_none && !items.is_empty() {
            self.warn(name, "none", "stands beside other values");
        }
        (has_none || !items.is_empty()).then_some(items)
    }
}
