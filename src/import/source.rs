//! Who wrote a line: which lines with one number may be of one block.

/// Which stream a line is of, as container runtimes, journald and collectors say; `None` where
/// nothing does.
pub(super) type Stream = Option<u64>;

/// More of what stands before a block's text is not compared.
const MAX_TAG: usize = 256;

/// What is known of who wrote a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) stream: Stream,
    /// What no wrapping is known for, such as the name of a pod or a time, before the block's text.
    tag: String,
}

impl Source {
    pub(super) fn new(stream: Stream, tag: &str) -> Self {
        let end = tag.char_indices().map(|(at, _)| at).find(|at| *at >= MAX_TAG);
        Self { stream, tag: tag[..end.unwrap_or(tag.len())].to_owned() }
    }

    /// Whether lines of this one may continue a block whose first line is of `first`.
    ///
    /// A tag may have a time or a count in it, so that numbers and blanks do not count. A first line
    /// may have more before its text than others, such as a header of the logger.
    pub(super) fn continues(&self, first: &Self) -> bool {
        let is_same_stream = match (self.stream, first.stream) {
            (Some(this), Some(first)) => this == first,
            // Not all programs repeat what stands around a record for each of its lines.
            (None, _) | (_, None) => true,
        };
        let mut all = shape(&first.tag);
        is_same_stream && shape(&self.tag).all(|c| all.next() == Some(c))
    }
}

/// A tag without what may differ from line to line: each number is a zero, and blanks are one.
fn shape(tag: &str) -> impl Iterator<Item = char> {
    let mut last = None;
    tag.trim_start().chars().filter_map(move |c| {
        let c = match c {
            c if c.is_ascii_digit() => '0',
            c if c.is_whitespace() => ' ',
            c => c,
        };
        let is_same = last.replace(c) == Some(c) && matches!(c, '0' | ' ');
        (!is_same).then_some(c)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_other_writers_do_not_continue_a_block() {
        for (stream, tag, first_stream, first_tag, expected) in [
            (None, "", None, "", true),
            (Some(1), "", Some(1), "", true),
            (Some(1), "", Some(2), "", false),
            (None, "   ", Some(1), "", true),
            (Some(1), "", None, "", true),
            (None, "pod-a ", None, "pod-a ", true),
            (None, "pod-b ", None, "pod-a ", false),
            (None, "pod-b ", None, "", false),
            (None, "", None, "INFO trace.go:205 ", true),
            (None, "pod-a ", None, "pod-a INFO trace.go:205 ", true),
            (None, "[10:12:14.001] ", None, "[9:12:13.9] ", true),
            (None, "  9\t", None, " 10\t", true),
        ] {
            let (this, first) = (Source::new(stream, tag), Source::new(first_stream, first_tag));
            assert_eq!(this.continues(&first), expected, "{this:?} {first:?}");
        }
    }

    #[test]
    fn a_tag_is_kept_to_a_limit() {
        let long = "ä".repeat(10 * MAX_TAG);
        let source = Source::new(None, &long);
        assert!(source.tag.len() <= MAX_TAG + 2, "{}", source.tag.len());
        assert!(source.continues(&Source::new(None, &long)));
    }
}
