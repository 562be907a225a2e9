//! From which duration on a span is slow.

use std::time::Duration;

/// What a target's spans are measured by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rule {
    /// They and their events are not looked at.
    Ignore,
    SlowAfter(Duration),
}

/// The default for roots, and what was said of targets.
#[derive(Clone, Debug)]
pub(super) struct Thresholds {
    pub(super) default: Duration,
    /// The name of the field with which a span sets its own.
    pub(super) field: String,
    /// Longest target first.
    targets: Vec<(String, Rule)>,
}

impl Thresholds {
    pub(super) fn new(default: Duration, field: &str) -> Self {
        Self { default, field: field.to_owned(), targets: Vec::new() }
    }

    pub(super) fn set(&mut self, target: String, rule: Rule) {
        self.targets.retain(|(known, _)| *known != target);
        let at = self.targets.partition_point(|(known, _)| known.len() >= target.len());
        self.targets.insert(at, (target, rule));
    }

    /// The rule of the longest target that is `target` or a module above it.
    pub(super) fn rule(&self, target: &str) -> Option<Rule> {
        let found = self.targets.iter().find(|(known, _)| {
            let rest = target.strip_prefix(known.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::") || known.is_empty())
        });
        found.map(|&(_, rule)| rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_module_decides() {
        let ms = Duration::from_millis;
        let mut thresholds = Thresholds::new(ms(500), "slow_after_ms");
        thresholds.set("app".to_owned(), Rule::SlowAfter(ms(1)));
        thresholds.set("app::db::pool".to_owned(), Rule::Ignore);
        thresholds.set("app::db".to_owned(), Rule::SlowAfter(ms(2)));
        thresholds.set("app".to_owned(), Rule::SlowAfter(ms(3)));
        let cases = [
            ("app", Some(Rule::SlowAfter(ms(3)))),
            ("app::web", Some(Rule::SlowAfter(ms(3)))),
            ("app::db", Some(Rule::SlowAfter(ms(2)))),
            ("app::db::pool::wait", Some(Rule::Ignore)),
            ("application", None),
            ("other", None),
        ];
        for (target, rule) in cases {
            assert_eq!(thresholds.rule(target), rule, "{target}");
        }
        thresholds.set(String::new(), Rule::Ignore);
        assert_eq!(thresholds.rule("other"), Some(Rule::Ignore));
    }
}
