//! The text of made-up trees, whose every moment is known.

use super::*;

const MS: Nanos = 1_000_000;
const NUMBER: u32 = 1_234_567_890;

/// A tree under construction; moments are in nanoseconds since 07:30:00.123.
struct Plan(Tree<'static>);

impl Plan {
    fn new(name: &'static str) -> Self {
        let epoch = SystemTime::UNIX_EPOCH + Duration::from_millis(1_763_796_600_123);
        Self(Tree { epoch, now: 0, nodes: vec![node(name, 0)] })
    }

    fn fields(mut self, at: usize, fields: &'static dyn Display) -> Self {
        self.0.nodes[at].fields = Fields(Some(fields));
        self
    }

    fn step(self, of: usize, name: &'static str, at: Nanos) -> Self {
        self.step_with(of, name, Fields(None), at)
    }

    fn step_with(
        mut self,
        of: usize,
        name: &'static str,
        fields: Fields<'static>,
        at: Nanos,
    ) -> Self {
        self.0.nodes[of].items.push(Item::Step { name, fields, at, is_kept: false });
        self
    }

    /// Adds the next node.
    fn nest(mut self, of: usize, name: &'static str, start: Nanos) -> Self {
        let at = self.0.nodes.len();
        self.0.nodes.push(node(name, start));
        self.0.nodes[of].items.push(Item::Nested(at));
        self
    }

    fn end(mut self, of: usize, at: Nanos, threshold: Option<Nanos>) -> Self {
        self.0.nodes[of].end = Some(at);
        self.0.nodes[of].threshold = threshold.map(|nanos| Duration::from_nanos(nanos as u64));
        self.0.now = self.0.now.max(at);
        self
    }

    fn print(&self, style: &Style) -> String {
        let mut all = String::new();
        self.0.print(style, || NUMBER, |block| all += &block.text);
        all.replace("Trace[1234567890]: ", "T: ")
    }

    fn exact(&self) -> String {
        self.print(&EXACT)
    }

    fn fixed(&self) -> String {
        self.print(&Style { is_exact: false, ..EXACT })
    }
}

fn node(name: &'static str, start: Nanos) -> Node<'static> {
    Node {
        name,
        fields: Fields(None),
        start,
        end: None,
        threshold: None,
        is_dropped: false,
        is_hidden: false,
        ids: None,
        items: Vec::new(),
    }
}

const EXACT: Style = Style { verbosity: 2, is_exact: true, zone: Zone::Utc, has_ids: false };

fn some(fields: &'static &'static str) -> Fields<'static> {
    Fields(Some(fields))
}

#[test]
fn steps_without_threshold_are_all_shown() {
    let plan = Plan::new("frobber")
        .step(0, "reticulated splines", 5 * MS)
        .step(0, "sequenced particles", 15 * MS)
        .end(0, 15 * MS, None);
    let expected = "\
T: \"frobber\" (22-Nov-2025 07:30:00.123) (total time: 15ms):
T: ---\"reticulated splines\" 5ms (07:30:00.128)
T: ---\"sequenced particles\" 10ms (07:30:00.138)
T: [15ms] [15ms] END
";
    assert_eq!(plan.exact(), expected);
    assert_eq!(plan.fixed(), expected);
}

#[test]
fn fields_stand_after_the_name() {
    let plan = Plan::new("Sample Trace")
        .fields(0, &"URL:/api,count:3")
        .step_with(0, "msg1", some(&"str:text,int:2,bool:false"), 2 * MS)
        .step_with(0, "msg2", some(&"x:1"), 3 * MS)
        .end(0, 3_500_000, None);
    let expected = "\
T: \"Sample Trace\" URL:/api,count:3 (22-Nov-2025 07:30:00.123) (total time: 3ms):
T: ---\"msg1\" str:text,int:2,bool:false 2ms (07:30:00.125)
T: ---\"msg2\" x:1 1ms (07:30:00.126)
T: [3.5ms] [3.5ms] END
";
    assert_eq!(plan.exact(), expected);
}

#[test]
fn a_step_below_its_share_is_left_out() {
    let plan = Plan::new("Update")
        .fields(0, &"url:/api/v1/nodes/a")
        .step(0, "decoded", 10 * MS)
        .step_with(0, "stored", some(&"len:42"), 910 * MS)
        .step(0, "answered", 1020 * MS)
        .end(0, 1020 * MS, Some(500 * MS));
    let expected = "\
T: \"Update\" url:/api/v1/nodes/a (22-Nov-2025 07:30:00.123) (total time: 1020ms):
T: ---\"stored\" len:42 900ms (07:30:01.033)
T: [1.02s] [1.02s] END
";
    assert_eq!(plan.exact(), expected);
    assert_eq!(plan.end(0, 1020 * MS, Some(2000 * MS)).exact(), "");
}

/// A list whose nested read from storage, and the writing of the answer, take their time.
fn list() -> Plan {
    Plan::new("List")
        .fields(0, &"url:/api/v1/pods")
        .step(0, "before", 20 * MS)
        .nest(0, "List etcd3", 20 * MS)
        .fields(1, &"key:/pods,limit:0")
        .step_with(1, "range done", some(&"count:3"), 620 * MS)
        .step(1, "decoded", 625 * MS)
        .end(1, 625 * MS, Some(500 * MS))
        .step(0, "Writing http response done", 725 * MS)
        .end(0, 726 * MS, Some(500 * MS))
}

#[test]
fn nested_time_runs_on_until_the_text_is_written_only_upstream() {
    let expected = "\
T: \"List\" url:/api/v1/pods (22-Nov-2025 07:30:00.123) (total time: 726ms):
T: [\"List etcd3\" key:/pods,limit:0 706ms (07:30:00.143)
T:  ---\"range done\" count:3 600ms (07:30:00.743)]
T: ---\"Writing http response done\" 100ms (07:30:00.848)
T: [726ms] [726ms] END
";
    assert_eq!(list().exact(), expected);
    assert_eq!(list().fixed(), expected.replace("706ms", "605ms"));
}

#[test]
fn slow_descendants_of_a_fast_root_have_blocks_of_their_own() {
    let plan = Plan::new("outer")
        .nest(0, "inner1", 0)
        .nest(1, "inner2", 3 * MS)
        .step(2, "s", 13 * MS)
        .end(2, 13 * MS, Some(5 * MS))
        .end(1, 13 * MS, Some(5 * MS))
        .nest(0, "inner3", 13 * MS)
        .nest(3, "inner4", 13 * MS)
        .end(4, 23 * MS, Some(5 * MS))
        .end(0, 24 * MS, Some(200 * MS));
    let expected = "\
T: \"inner1\" (22-Nov-2025 07:30:00.123) (total time: 13ms):
T: [\"inner2\" 10ms (07:30:00.126)
T:  ---\"s\" 10ms (07:30:00.136)]
T: [13ms] [13ms] END
T: \"inner4\" (22-Nov-2025 07:30:00.136) (total time: 10ms):
T: [10ms] [10ms] END
";
    assert_eq!(plan.fixed(), expected);
    let mut number = 0;
    let mut blocks = Vec::new();
    plan.0.print(
        &EXACT,
        || {
            number += 1;
            number
        },
        |block| blocks.push((block.node.name, block.text)),
    );
    assert_eq!(blocks.len(), 2);
    assert!(blocks[0].0 == "inner1" && blocks[0].1.starts_with("Trace[1]: "), "{blocks:?}");
    assert!(blocks[1].0 == "inner4" && blocks[1].1.starts_with("Trace[2]: "), "{blocks:?}");
}

#[test]
fn slow_descendants_of_a_fast_nested_operation_take_its_place() {
    let plan = Plan::new("outer")
        .step(0, "big step", 290 * MS)
        .nest(0, "fast", 290 * MS)
        .step(1, "lost step", 291 * MS)
        .nest(1, "slow child", 291 * MS)
        .end(2, 301 * MS, Some(5 * MS))
        .end(1, 301 * MS, Some(50 * MS))
        .end(0, 302 * MS, Some(200 * MS));
    let expected = "\
T: \"outer\" (22-Nov-2025 07:30:00.123) (total time: 302ms):
T: ---\"big step\" 290ms (07:30:00.413)
T: [\"slow child\" 11ms (07:30:00.414)]
T: [302ms] [302ms] END
";
    assert_eq!(plan.exact(), expected);
}

/// A nested operation below another is never ended.
fn unfinished() -> Plan {
    Plan::new("outer")
        .step(0, "big step", 290 * MS)
        .nest(0, "fast", 290 * MS)
        .step(1, "lost step", 291 * MS)
        .nest(1, "never ended", 291 * MS)
        .step(2, "begun", 292 * MS)
        .end(1, 301 * MS, Some(50 * MS))
        .end(0, 302 * MS, Some(200 * MS))
}

#[test]
fn at_verbosity_4_everything_within_a_slow_operation_is_shown() {
    let expected = "\
T: \"outer\" (22-Nov-2025 07:30:00.123) (total time: 302ms):
T: ---\"big step\" 290ms (07:30:00.413)
T: [\"fast\" 12ms (07:30:00.413)
T:  ---\"lost step\" 1ms (07:30:00.414)
T:  [\"never ended\" 11ms (07:30:00.414)
T:   ---\"begun\" 1ms (07:30:00.415)]]
T: [302ms] [302ms] END
";
    assert_eq!(unfinished().print(&Style { verbosity: 4, ..EXACT }), expected);
    let fast = unfinished().end(0, 302 * MS, Some(400 * MS));
    assert_eq!(fast.print(&Style { verbosity: 4, ..EXACT }), "");
}

#[test]
fn an_unfinished_operation_is_shown_and_says_so() {
    let hidden = "\
T: \"outer\" (22-Nov-2025 07:30:00.123) (total time: 302ms):
T: ---\"big step\" 290ms (07:30:00.413)
T: [302ms] [302ms] END
";
    let shown = "\
T: \"outer\" (22-Nov-2025 07:30:00.123) (total time: 302ms):
T: ---\"big step\" 290ms (07:30:00.413)
T: [\"never ended\" 11ms (07:30:00.414) (unfinished)]
T: [302ms] [302ms] END
";
    assert_eq!(unfinished().exact(), hidden);
    assert_eq!(unfinished().fixed(), shown);
}

#[test]
fn a_step_is_measured_from_the_start_of_an_unfinished_operation_before_it() {
    let plan = Plan::new("outer")
        .nest(0, "never ended", 2 * MS)
        .step(0, "after", 12 * MS)
        .nest(0, "ended later", 12 * MS)
        .end(2, 22 * MS, None)
        .step(0, "meanwhile", 15 * MS)
        .end(0, 30 * MS, None);
    let expected = "\
T: \"outer\" (22-Nov-2025 07:30:00.123) (total time: 30ms):
T: ---\"after\" 10ms (07:30:00.135)
T: [\"ended later\" 18ms (07:30:00.135)]
T: ---\"meanwhile\" -7ms (07:30:00.138)
T: [30ms] [30ms] END
";
    assert_eq!(plan.exact(), expected);
}

#[test]
fn below_verbosity_2_nothing_is_printed() {
    for verbosity in [0, 1] {
        assert_eq!(list().print(&Style { verbosity, ..EXACT }), "");
    }
    assert_ne!(list().print(&Style { verbosity: 3, ..EXACT }), "");
}

#[test]
fn an_empty_trace_has_a_first_and_a_last_line() {
    let plan = Plan::new("empty").end(0, 400, Some(0));
    let expected = "\
T: \"empty\" (22-Nov-2025 07:30:00.123) (total time: 0ms):
T: [400ns] [400ns] END
";
    assert_eq!(plan.exact(), expected);
}

#[test]
fn names_are_quoted_and_fields_are_not() {
    let plan = Plan::new("he said \"hi\"\n").fields(0, &"k:a,b:c d,err:<nil>,l:[a b]").end(
        0,
        61_001_250_000,
        None,
    );
    let expected = "\
T: \"he said \\\"hi\\\"\\n\" k:a,b:c d,err:<nil>,l:[a b] (22-Nov-2025 07:30:00.123) (total time: 61001ms):
T: [1m1.00125s] [1m1.00125s] END
";
    assert_eq!(plan.exact(), expected);
}

#[test]
fn a_kept_step_is_shown_however_short() {
    let mut plan =
        Plan::new("outer").step(0, "failed", 1).step(0, "short", 2).end(0, 9 * MS, Some(8 * MS));
    if let Item::Step { is_kept, .. } = &mut plan.0.nodes[0].items[0] {
        *is_kept = true;
    }
    let text = plan.exact();
    assert!(text.contains("failed") && !text.contains("short"), "{text}");
}

#[test]
fn a_nested_threshold_of_zero_shows_all_steps_and_none_inherits() {
    let plan = |threshold| {
        Plan::new("outer").nest(0, "inner", 0).step(1, "short", MS).end(1, 2 * MS, threshold).end(
            0,
            600 * MS,
            Some(500 * MS),
        )
    };
    assert!(plan(Some(0)).exact().contains("short"));
    assert!(!plan(None).exact().contains("short"));
}

#[test]
fn step_thresholds_are_upstreams() {
    let plan = Plan::new("")
        .step(0, "trace 1", 0)
        .step(0, "trace 2", 0)
        .nest(0, "", 0)
        .end(1, 0, Some(600 * MS))
        .nest(0, "msg 1", 0)
        .end(0, 0, Some(1000 * MS));
    let share = |plan: &Plan| plan.0.step_threshold(&plan.0.nodes[0]);
    assert_eq!(share(&plan), Some(100 * MS));
    assert_eq!(share(&plan.end(2, 0, Some(100 * MS))), Some(100 * MS));
    let large = Plan::new("").nest(0, "", 0).end(1, 0, Some(1200 * MS)).end(0, 0, Some(1000 * MS));
    assert_eq!(share(&large), Some(125 * MS));
    assert_eq!(share(&Plan::new("").end(0, 0, None)), None);
    assert_eq!(share(&Plan::new("").end(0, 0, Some(0))), Some(0));
}

#[test]
fn ids_are_the_last_fields_of_the_first_line() {
    let ids = Some((TraceId::from(0xabc_u128), SpanId::from(0x12_u64)));
    let trace_id = "00000000000000000000000000000abc";
    for (fields, before) in [(None, ""), (Some(&"k:v" as &dyn Display), "k:v,")] {
        let mut plan = Plan::new("x").end(0, MS, None);
        plan.0.nodes[0].fields = Fields(fields);
        plan.0.nodes[0].ids = ids;
        let text = plan.print(&Style { has_ids: true, ..EXACT });
        let expected = format!(
            "T: \"x\" {before}trace_id:{trace_id},span_id:0000000000000012 (22-Nov-2025 07:30:00.123) "
        );
        assert!(text.starts_with(&expected), "{text}");
        assert!(!plan.exact().contains("trace_id"));
    }
}

#[test]
fn a_deep_tree_does_not_need_a_deep_stack() {
    const DEPTH: usize = 2_000;
    let small_stack = std::thread::Builder::new().stack_size(64 * 1024);
    let printing = small_stack.spawn(|| {
        let mut plan = Plan::new("0");
        for at in 0..DEPTH {
            plan = plan.nest(at, "n", 0).end(at + 1, MS, None);
        }
        plan.end(0, MS, Some(5 * MS)).fixed()
    });
    let text = printing.unwrap().join().unwrap();
    assert_eq!(text.matches("[\"n\" ").count(), DEPTH - 1);
    assert!(text.contains(&"]".repeat(DEPTH - 1)), "brackets close on the last line");
}
