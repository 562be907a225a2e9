//! The lines of one block. What they must look like, and which there are, is in `text.rs`.

use std::fmt::{self, Write as _};

use crate::legacy::go::{Clock, DateAndClock, Nanoseconds};
use crate::legacy::text::{Fields, Item, Nanos, Node, Style, Tree, between};
use crate::quote::Quoted;

/// Writes one block.
pub(super) struct Writer<'a> {
    tree: &'a Tree<'a>,
    style: &'a Style,
    number: u32,
    text: String,
}

/// How far the writing of one operation's items has come.
struct Level<'a> {
    node: &'a Node<'a>,
    next: usize,
    /// False for one that is too fast, of which only nested ones may be shown.
    is_shown: bool,
    depth: usize,
    /// When the item before ended.
    last: Nanos,
    step_threshold: Option<Nanos>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(tree: &'a Tree<'a>, style: &'a Style, number: u32) -> Self {
        Self { tree, style, number, text: String::with_capacity(256) }
    }

    /// The lines of the operation `root` and all that is shown of what is within it.
    pub(super) fn block(mut self, root: &Node<'_>) -> String {
        self.first_line(root);
        self.items(root);
        self.last_line(root);
        self.text
    }

    fn first_line(&mut self, root: &Node<'_>) {
        let start = DateAndClock(self.read(root.start));
        let ids = root.ids.filter(|_| self.style.has_ids);
        let number = self.number;
        self.write(format_args!("Trace[{number}]: {} ", Quoted(root.name)));
        match (root.fields.0, ids) {
            (None, None) => {}
            (Some(fields), None) => self.write(format_args!("{fields} ")),
            (fields, Some((trace_id, span_id))) => {
                if let Some(fields) = fields {
                    self.write(format_args!("{fields},"));
                }
                self.write(format_args!("trace_id:{trace_id},span_id:{span_id} "));
            }
        }
        let total = milliseconds(self.duration(root));
        self.write(format_args!("({start}) (total time: {total}ms):"));
    }

    fn items(&mut self, root: &Node<'_>) {
        let mut levels = vec![Level {
            node: root,
            next: 0,
            is_shown: true,
            depth: 0,
            last: root.start,
            step_threshold: self.tree.step_threshold(root),
        }];
        while let Some(level) = levels.last_mut() {
            let item = level.node.items.get(level.next);
            level.next += 1;
            match item {
                None => {
                    if level.is_shown && level.depth > 0 {
                        self.text.push(']');
                    }
                    levels.pop();
                }
                Some(Item::Step { name, fields, at, is_kept }) => {
                    let took = between(level.last, *at);
                    level.last = *at;
                    let is_long = || self.shows_step(took, level.step_threshold);
                    if level.is_shown && (*is_kept || is_long()) {
                        self.prefix(level.depth);
                        self.text.push_str("---");
                        self.summary(name, *fields, took, *at);
                    }
                }
                Some(Item::Nested(at)) => {
                    let Some(nested) = self.tree.nodes.get(*at) else { continue };
                    level.last = nested.end.unwrap_or(nested.start);
                    let is_shown = self.shows(nested);
                    let inherited = level.step_threshold;
                    let mut depth = level.depth;
                    let mut step_threshold = inherited;
                    if is_shown {
                        self.nested(nested, depth);
                        depth += 1;
                        step_threshold = self.tree.step_threshold(nested).or(inherited);
                    }
                    let last = nested.start;
                    levels.push(Level {
                        node: nested,
                        next: 0,
                        is_shown,
                        depth,
                        last,
                        step_threshold,
                    });
                }
            }
        }
    }

    /// The first part of a nested operation; its items and a bracket follow.
    fn nested(&mut self, node: &Node<'_>, depth: usize) {
        let took = if self.style.is_exact {
            between(node.start, self.tree.now)
        } else {
            self.duration(node)
        };
        self.prefix(depth);
        self.text.push('[');
        self.summary(node.name, node.fields, took, node.start);
        if node.end.is_none() && !self.style.is_exact {
            self.text.push_str(" (unfinished)");
        }
    }

    fn last_line(&mut self, root: &Node<'_>) {
        let took = self.duration(root);
        self.prefix(0);
        // One number twice: it is so upstream, and parsers of the text expect it.
        self.write(format_args!("[{0}] [{0}] END\n", Nanoseconds(took)));
    }

    fn summary(&mut self, name: &str, fields: Fields<'_>, took: i128, at: Nanos) {
        self.write(format_args!("{} ", Quoted(name)));
        if let Some(fields) = fields.0 {
            self.write(format_args!("{fields} "));
        }
        let clock = Clock(self.read(at));
        self.write(format_args!("{}ms ({clock})", milliseconds(took)));
    }

    fn prefix(&mut self, depth: usize) {
        let number = self.number;
        self.write(format_args!("\nTrace[{number}]: {:depth$}", ""));
    }

    fn shows(&self, nested: &Node<'_>) -> bool {
        let is_fixed = !self.style.is_exact;
        let is_worth_it = nested.is_slow()
            || self.style.verbosity >= 4
            || (is_fixed && (nested.end.is_none() || nested.keeps_step()));
        is_worth_it && !nested.is_hidden
    }

    fn shows_step(&self, took: i128, threshold: Option<Nanos>) -> bool {
        let threshold = threshold.unwrap_or(0);
        threshold == 0 || took >= i128::from(threshold) || self.style.verbosity >= 4
    }

    fn duration(&self, node: &Node<'_>) -> i128 {
        between(node.start, node.end.unwrap_or(self.tree.now))
    }

    fn read(&self, at: Nanos) -> jiff::civil::DateTime {
        self.style.zone.read(self.tree.wall(at))
    }

    /// A field whose `Display` fails ends early; the text goes on.
    fn write(&mut self, text: fmt::Arguments<'_>) {
        let _ = self.text.write_fmt(text);
    }
}

fn milliseconds(nanos: i128) -> i128 {
    nanos / 1_000_000
}
