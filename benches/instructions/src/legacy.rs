//! `legacy::Trace`, `legacy::SlowSpanLayer` and the importer: what is done about timings that were
//! there before the spans.

use std::hint::black_box;
use std::io;
use std::path::Path;
use std::time::Duration;

use opentelemetry_sdk::trace::SpanData;
use spanbridge::legacy::SlowSpanLayer;
use spanbridge_instructions::import::{Importer, Options, Problem, Receiver};
use tracing::{info, info_span};
use tracing_subscriber::prelude::*;

use crate::shared::callgrind::{self, Count, CountError};
use crate::shared::trace::{self, Setting};
use crate::shared::work::{Op, Work};
use crate::shared::{ours, spans};

/// A row of its own.
pub(crate) struct Case {
    pub(crate) work: &'static str,
    pub(crate) stack: &'static str,
    set_up: fn() -> (Op, Finish),
    /// Before anything is counted.
    warm_up: u64,
    /// What is counted is the difference.
    iterations: (u64, u64),
}

/// Waits until nothing is in a queue.
type Finish = Box<dyn Fn()>;

const TRACE: &str = Work::Trace.name();
const TREE: &str = "3 spans, 2 events";

pub(crate) const CASES: [Case; 7] = [
    Case::quick(TRACE, "legacy, off", || trace(trace::OFF)),
    Case::quick(TRACE, "legacy, text", || trace(trace::TEXT)),
    Case::quick(TRACE, "legacy, span", || trace(trace::SPAN)),
    Case::quick(TRACE, "legacy, both", || trace(trace::BOTH)),
    Case::quick(TREE, "registry alone", || tree(false)),
    Case::quick(TREE, "slow-span layer", || tree(true)),
    Case {
        work: "1 MB without blocks",
        stack: "import",
        set_up: import,
        warm_up: 1,
        iterations: (1, 9),
    },
];

impl Case {
    const fn quick(work: &'static str, stack: &'static str, set_up: fn() -> (Op, Finish)) -> Self {
        Self { work, stack, set_up, warm_up: 2_000, iterations: (64, 2_112) }
    }

    pub(crate) fn count(&self, file: &Path) -> Result<Option<Count>, CountError> {
        callgrind::count_by_name(self.stack, self.work, self.iterations, file)
    }
}

/// The child's side, if this process is one for a row of these.
pub(crate) fn run_if_counted() -> bool {
    let Some((stack, work, iterations)) = callgrind::asked() else { return false };
    let Some(case) = CASES.iter().find(|case| case.work == work && case.stack == stack) else {
        return false;
    };
    let (mut op, finish) = (case.set_up)();
    callgrind::run(&mut op, (case.warm_up, iterations), 500, finish);
    true
}

/// A trace that is fast, as nearly all are: what is kept for its text is never printed.
fn trace(setting: Setting) -> (Op, Finish) {
    let finish: Finish = if setting.has_span {
        let running = ours::set_up(Work::Trace, spanbridge::layer(), |_| None);
        Box::new(move || {
            (running.finish)();
        })
    } else {
        Box::new(|| ())
    };
    let log = setting.log();
    let op: Op = Box::new(move |iterations| {
        spans::repeat(iterations, || trace::operation(&log, setting.threshold))
    });
    (op, finish)
}

/// A request's spans, which are not slow.
fn tree(has_layer: bool) -> (Op, Finish) {
    // A layer that is not there, as `None`, would switch all spans off.
    if has_layer {
        let builder = SlowSpanLayer::builder().with_threshold(Duration::from_secs(3_600));
        let layer = builder.with_callback(|_| panic!("nothing is slow")).build();
        tracing_subscriber::registry().with(layer).init();
    } else {
        tracing_subscriber::registry().init();
    }
    let mut number = 0_u64;
    let op: Op = Box::new(move |iterations| {
        spans::repeat(iterations, || {
            number += 1;
            let request = info_span!("request", number, method = "GET", path = "/api/v1/pods");
            let _request = request.enter();
            info!(number, "accepted");
            let list = info_span!("storage.list", resource = "pods", limit = 500);
            list.in_scope(|| info!("listed"));
            info_span!("encode").in_scope(|| black_box(number));
            request.record("number", number + 1);
        })
    });
    (op, Box::new(|| ()))
}

struct Nobody;

impl Receiver for Nobody {
    fn spans(&mut self, spans: Vec<SpanData>) -> io::Result<()> {
        panic!("there is no block: {spans:?}")
    }

    fn problem(&mut self, problem: &Problem) -> io::Result<()> {
        panic!("{problem}")
    }
}

/// What most of a log is: lines that do not matter.
fn import() -> (Op, Finish) {
    const LINES: [&str; 3] = [
        "I0310 11:12:14.000000       1 httplog.go:132] \"HTTP\" verb=\"GET\" URI=\"/api/v1/pods\" \
         latency=\"1.482ms\" userAgent=\"kubelet/v1.27.6\" srcIP=\"[::1]\" resp=200\n",
        "W0310 11:12:14.000001       1 reflector.go:533] Tracing is not what this line is about\n",
        "2025-03-10 11:12:14.000003 W | etcdserver: read-only range request took too long\n",
    ];
    let mut log = String::new();
    for line in LINES.iter().cycle() {
        if log.len() + line.len() > 1_000_000 {
            break;
        }
        log += line;
    }
    let op: Op = Box::new(move |iterations| {
        spans::repeat(iterations, || {
            let mut importer = Importer::new(Options::default());
            importer.read("log", &mut log.as_bytes(), &mut Nobody).expect("nothing fails");
            let summary = importer.finish(&mut Nobody).expect("nothing fails");
            assert_eq!(summary.bytes(), log.len() as u64);
        })
    });
    (op, Box::new(|| ()))
}
