//! Values of one stack, round by round, and what can be said of them.

/// In the order of the rounds, so that what two stacks did in the same round can be compared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(pub(crate) Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn median(&self) -> f64 {
        median(self.0.clone())
    }

    pub(crate) fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn most(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// How far the middle half of the rounds lies apart, as a part of the median.
    pub(crate) fn spread(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |part: usize| sorted[(sorted.len() - 1) * part / 4];
        (at(3) - at(1)) / self.median()
    }

    /// The median over the rounds of this stack's value by the other's in the same round: what the
    /// machine does to both drops out.
    pub(crate) fn by(&self, other: &Self) -> f64 {
        median(self.0.iter().zip(&other.0).map(|(one, other)| one / other).collect())
    }

    /// The same for the difference.
    pub(crate) fn less(&self, other: &Self) -> f64 {
        median(self.0.iter().zip(&other.0).map(|(one, other)| one - other).collect())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Samples(vec![9.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(Samples(vec![9.0, 1.0, 2.0, 4.0]).median(), 3.0);
        assert!(Samples::default().median().is_nan());
    }

    #[test]
    fn a_ratio_is_of_values_of_the_same_round() {
        // 1. The machine is three times slower in the second round.
        // 2. The medians of each are 2 and 4, or 6 and 12, by chance; each pair is a half.
        let one = Samples(vec![2.0, 6.0, 2.0]);
        let other = Samples(vec![4.0, 12.0, 4.0]);
        assert_eq!(one.by(&other), 0.5);
        assert_eq!(other.less(&one), 2.0);
    }

    #[test]
    fn the_spread_is_of_the_middle_half() {
        assert_eq!(Samples(vec![100.0, 9.0, 10.0, 11.0, 0.0]).spread(), 0.2);
    }
}
