//! Which trace is nested in which: lines with indentation and brackets -> a tree.

use super::line::{First, Item, ItemKind};
use super::text::Nanos;

/// A trace of a block. Times are filled in later.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) name: &'a str,
    pub(super) fields: &'a str,
    /// The index of the one that it is nested in, and how many are nested in that one before it.
    pub(super) parent: Option<(usize, usize)>,
    pub(super) steps: Vec<Step<'a>>,
    /// How long it took, as printed.
    pub(super) took: Nanos,
    pub(super) is_unfinished: bool,
    pub(super) start: Nanos,
    pub(super) end: Nanos,
    pub(super) is_estimated: bool,
    /// The line of the step that comes right after it in the trace that it is nested in.
    pub(super) following_step: Option<usize>,
    /// How many are nested directly in it.
    nested: usize,
    /// What came last in it, if that was a nested trace.
    last_nested: Option<usize>,
}

/// A step of a trace.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) item: &'a Item,
    pub(super) at: Nanos,
    pub(super) is_estimated: bool,
}

/// A block as a tree.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    /// Parents before children, the root first.
    pub(super) nodes: Vec<Node<'a>>,
    /// For each line in between, what it stands for.
    pub(super) entries: Vec<Entry>,
    /// Lines are missing.
    pub(super) has_gap: bool,
}

/// What a line stands for: a step, or a nested trace, of `owner`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) owner: usize,
    /// The index of the nested trace, or of the step among the owner's.
    pub(super) index: usize,
    pub(super) is_nested: bool,
}

pub(super) fn tree<'a>(first: &'a First, items: &'a [Item]) -> Tree<'a> {
    let mut nodes = vec![Node::new(&first.name, &first.fields, None)];
    let mut entries = Vec::with_capacity(items.len());
    // The traces that are open, the innermost last; the root never closes.
    let mut open = vec![0];
    let mut has_gap = false;
    // Some collectors trim lines; then only brackets tell.
    let is_indented =
        items.iter().any(|item| matches!(item.kind, ItemKind::Clock { indent, .. } if indent > 0));
    for (at, item) in items.iter().enumerate() {
        let mut closes_here = 0;
        let mut nested = None;
        if let ItemKind::Clock { is_nested, indent, closes, took, is_unfinished, .. } = item.kind {
            closes_here = closes;
            if is_indented && indent + 1 != open.len() {
                has_gap = true;
                open.truncate(indent + 1);
            }
            nested = is_nested.then_some((took, is_unfinished));
        }
        let owner = open.last().copied().unwrap_or(0);
        let next = nodes.len();
        let trace = &mut nodes[owner];
        let last_nested = trace.last_nested.take();
        match nested {
            None => {
                let index = trace.steps.len();
                entries.push(Entry { owner, index, is_nested: false });
                trace.steps.push(Step { item, at: 0, is_estimated: false });
                if let Some(nested) = last_nested {
                    nodes[nested].following_step = Some(at);
                }
            }
            Some((took, is_unfinished)) => {
                let parent = Some((owner, trace.nested));
                trace.nested += 1;
                trace.last_nested = Some(next);
                entries.push(Entry { owner, index: next, is_nested: true });
                open.push(next);
                let node = Node::new(&item.name, &item.fields, parent);
                nodes.push(Node { took, is_unfinished, ..node });
            }
        }
        has_gap |= closes_here >= open.len();
        open.truncate(open.len().saturating_sub(closes_here).max(1));
    }
    Tree { nodes, entries, has_gap: has_gap || open.len() > 1 }
}

impl<'a> Node<'a> {
    fn new(name: &'a str, fields: &'a str, parent: Option<(usize, usize)>) -> Self {
        Self {
            name,
            fields,
            parent,
            steps: Vec::new(),
            took: 0,
            is_unfinished: false,
            start: 0,
            end: 0,
            is_estimated: false,
            following_step: None,
            nested: 0,
            last_nested: None,
        }
    }
}
