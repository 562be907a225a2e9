//! What a server says of its spans, held against who asked it and who received them.

use std::fmt;

/// Of a stack that counts, since its process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) started: u64,
    pub(crate) delivered: u64,
    pub(crate) dropped: u64,
}

impl Account {
    /// From the line that [`Display`](fmt::Display) writes.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let numbers: Vec<u64> =
            line.split(' ').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        let [started, delivered, dropped] = numbers[..] else { return None };
        Some(Self { started, delivered, dropped })
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            started: self.started - before.started,
            delivered: self.delivered - before.delivered,
            dropped: self.dropped - before.dropped,
        }
    }

    /// How many spans of a round nobody knows of: of so many requests, and up to `open` more that
    /// the client did not wait for, and with so many that arrived, where they are sent anywhere.
    pub(crate) fn missing(self, requests: u64, open: u64, arrived: Option<u64>) -> u64 {
        let Self { started, delivered, dropped } = self;
        let unasked = started.saturating_sub(requests + open);
        let unmade = requests.saturating_sub(started);
        let unknown = started.abs_diff(delivered + dropped);
        let misrouted = arrived.map_or(0, |arrived| delivered.abs_diff(arrived));
        unasked + unmade + unknown + misrouted
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.started, self.delivered, self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND: Account = Account { started: 1_003, delivered: 900, dropped: 103 };

    #[test]
    fn what_adds_up_is_not_missing() {
        assert_eq!(ROUND.missing(1_000, 8, Some(900)), 0, "three were under way");
        assert_eq!(ROUND.missing(1_003, 8, None), 0, "nobody receives");
    }

    #[test]
    fn each_way_to_lose_sight_of_a_span_counts() {
        let missing = |account: Account| account.missing(1_000, 8, Some(900));
        assert_eq!(missing(Account { dropped: 101, ..ROUND }), 2, "neither delivered nor dropped");
        assert_eq!(missing(Account { dropped: 104, ..ROUND }), 1, "one twice");
        assert_eq!(ROUND.missing(1_000, 8, Some(899)), 1, "delivered to nobody");
        assert_eq!(ROUND.missing(1_000, 8, Some(901)), 1, "said to be dropped, and arrived");
        assert_eq!(ROUND.missing(1_004, 8, Some(900)), 1, "a request without a span");
        assert_eq!(ROUND.missing(990, 8, Some(900)), 5, "spans without a request");
    }

    #[test]
    fn an_account_is_read_as_it_is_written() {
        assert_eq!(Account::read(&ROUND.to_string()), Some(ROUND));
        assert_eq!(Account::read("-"), None);
        assert_eq!(Account::read("1 2"), None);
        let later = Account { started: 1_013, delivered: 907, dropped: 106 };
        let round = Account { started: 10, delivered: 7, dropped: 3 };
        assert_eq!(later.since(ROUND), round);
    }
}
