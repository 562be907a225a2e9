//! What spanbridge promises itself, and how far this run is from it.

use crate::hot::Row;
use crate::http_stacks;
use crate::report::{self, Results};
use crate::samples::Samples;
use crate::shared::alone::Alone;
use crate::shared::work::Work;
use crate::shared::{ours, stack::Stack};
use crate::{export_stacks, stacks, theirs};

/// One figure with a limit.
#[derive(Debug, PartialEq)]
pub(crate) struct Goal {
    pub(crate) what: &'static str,
    pub(crate) limit: String,
    /// With what it is by, where that may be one of two. The least only where it says something: not
    /// of a difference, which is least where the other stack was disturbed.
    pub(crate) measured: String,
    pub(crate) verdict: String,
}

/// Those of the parts that were run.
pub(crate) fn goals(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    hot(results, &mut goals);
    propagation(results, &mut goals);
    export(results, &mut goals);
    http(results, &mut goals);
    goals.extend(unaccounted(results));
    goals
}

fn hot(results: &Results, goals: &mut Vec<Goal>) {
    let of = |work, stack: &Stack| results.hot(work, stack.name);
    let request = of(Work::Request, &ours::SAMPLED);
    if let Some(ours) = request {
        goals.push(time("a request, all sampled, headers included: KEP-647", ours, 1_000.0));
        goals.push(time("the same: the goal of our own", ours, 600.0));
    }
    if let (Some(ours), Some(theirs)) = (request, of(Work::Request, &theirs::DEFAULTS)) {
        let (what, by) = ("the same, of tracing-opentelemetry with defaults", ours.by(theirs));
        goals.push(ratio(what, by.value(), by.note(), 0.1));
    }
    let over = |work, stack| Some((of(work, stack)?, of(work, &ours::REGISTRY)?));
    let mut more = |what, work, stack, limit| {
        let both = over(work, stack);
        goals.extend(both.map(|(ours, registry)| added(what, ours, registry, limit)));
    };
    let what = "added by the layer to a span with 8 attributes";
    more(what, Work::Span8, &ours::SAMPLED, 100.0);
    let what = "added to a poll (enter and exit)";
    more(what, Work::EnterExit, &ours::SAMPLED, 25.0);
    let what = "added to an event with 2 fields";
    more(what, Work::Event, &ours::SAMPLED, 80.0);
    let what = "added to a child that is not sampled, 8 attributes";
    more(what, Work::Child8, &ours::UNSAMPLED, 15.0);
    let what = "a request, not sampled, over the registry alone";
    more(what, Work::Request, &ours::UNSAMPLED, 150.0);
    if let Some(count) = results.instructions.of(Work::Span8, ours::SAMPLED.name) {
        let what = "heap allocations of a span with 8 attributes";
        goals.push(allocations(what, count.allocations));
    }
    let disabled = of(Work::Disabled8, &ours::SAMPLED);
    goals.extend(disabled.map(|ours| time("a span that is disabled, 8 attributes", ours, 1.0)));
    let off = of(Work::Request, &ours::OFF);
    goals.extend(off.map(|off| time("a request, tracing off, context passed on", off, 100.0)));
    if let Some((ours, registry)) = over(Work::Request, &ours::NO_LAYER) {
        let what = "the same with a registry, without the layer, over the registry alone";
        goals.push(added(what, ours, registry, 100.0));
    }
}

fn propagation(results: &Results, goals: &mut Vec<Goal>) {
    if let Some(propagation) = &results.propagation {
        goals.push(nanos("traceparent read", &propagation.parse, 30.0));
        goals.push(nanos("traceparent written", &propagation.format, 20.0));
    }
}

fn export(results: &Results, goals: &mut Vec<Goal>) {
    let row = |name: &str| results.export.iter().find(|row| row.stack == name);
    let [ours, _, options_off, defaults] = export_stacks::ALL else { return };
    let (Some(ours), Some(options_off), Some(defaults)) =
        (row(ours.name), row(options_off.name), row(defaults.name))
    else {
        return;
    };
    let (note, ours) = (ours.loss().note(), &ours.micros);
    goals.push(Goal {
        what: "processor time for an exported span, gRPC",
        limit: "1.5 µs".to_owned(),
        measured: format!("{:.2} µs (least {:.2}){note}", ours.median(), ours.least()),
        verdict: verdict(ours.median(), 1.5),
    });
    let what = "the same, of tracing-opentelemetry with defaults, SDK and opentelemetry-otlp";
    goals.push(ratio(what, ours.by(&defaults.micros), "", 0.125));
    let what = "the same, of tracing-opentelemetry with every option off";
    goals.push(ratio(what, ours.by(&options_off.micros), "", 0.125));
}

fn http(results: &Results, goals: &mut Vec<Goal>) {
    let row = |name: &str| results.http.iter().find(|row| row.stack == name);
    let Some(bare) = row(http_stacks::BARE) else { return };
    for (what, stack, limit) in [
        ("throughput lost under wrk, all sampled, gRPC", http_stacks::DEFAULT_BATCHES, 0.10),
        ("the same, with large batches", http_stacks::LARGE_BATCHES, 0.10),
        ("throughput lost under wrk, not sampled", http_stacks::UNSAMPLED, 0.02),
    ] {
        let row = row(stack).expect("is in the list of servers");
        let lost = 1.0 - row.rate.by(&bare.rate);
        goals.push(Goal {
            what,
            limit: format!("{:.0} %", limit * 100.0),
            measured: format!("{:.1} %{}", lost * 100.0, row.loss().note()),
            verdict: verdict(lost, limit),
        });
    }
}

/// What servers say of their spans against requests and what the receivers have, and what became of
/// the spans of the other parts against what the works make.
fn unaccounted(results: &Results) -> Option<Goal> {
    let (mut all, mut missing) = (0, 0);
    for row in results.http.iter().filter(|row| stacks::is_ours(row.stack)) {
        all += row.started;
        missing += row.missing;
    }
    let hot = results.hot.iter().map(|row| (row.stack, row.spans));
    let scaling = results.scaling.iter().map(|row| (row.stack, row.spans));
    let legacy = results.legacy.iter().map(|row| (row.stack, row.spans));
    let others = hot.chain(scaling).chain(legacy);
    for (_, spans) in others.filter(|(stack, _)| stacks::is_ours(stack)) {
        all += spans.started;
        let known = spans.exported + spans.dropped.unwrap_or_default();
        missing += spans.started.abs_diff(known);
    }
    (all > 0).then(|| Goal {
        what: "spans unaccounted for, by who asks for them, who makes them and who receives them",
        limit: "0".to_owned(),
        measured: format!("{missing} of {all}"),
        verdict: verdict(missing as f64, 0.0),
    })
}

/// What `ours` took more than `other`.
fn added(what: &'static str, ours: &Row, other: &Row, limit: f64) -> Goal {
    let more = ours.less(other);
    Goal {
        what,
        limit: format!("{limit:.0} ns"),
        measured: format!("{:.0} ns{}", more.value(), more.note()),
        verdict: verdict(more.value(), limit),
    }
}

/// None at all: one in two hundred is one too many.
fn allocations(what: &'static str, each: f64) -> Goal {
    // No minus before a zero.
    let hundredths = (each * 100.0).round() / 100.0 + 0.0;
    Goal {
        what,
        limit: "0".to_owned(),
        measured: format!("{hundredths:.2}"),
        verdict: verdict(hundredths, 0.0),
    }
}

/// Judged by what was undisturbed, if that was often enough.
fn time(what: &'static str, row: &Row, limit: f64) -> Goal {
    let of_all = nanos(what, &row.nanos, limit);
    match row.alone {
        None => of_all,
        Some(Alone { median, .. }) => Goal {
            measured: format!("{} ns alone; of all {}", report::rounded(median), of_all.measured),
            verdict: verdict(median, limit),
            ..of_all
        },
    }
}

fn nanos(what: &'static str, samples: &Samples, limit: f64) -> Goal {
    let (median, least) = (report::rounded(samples.median()), report::rounded(samples.least()));
    Goal {
        what,
        limit: format!("{limit:.0} ns"),
        measured: format!("{median} ns (least {least})"),
        verdict: verdict(samples.median(), limit),
    }
}

fn ratio(what: &'static str, ratio: f64, note: &str, limit: f64) -> Goal {
    Goal {
        what,
        limit: format!("{limit}"),
        measured: format!("{ratio:.3}{note}"),
        verdict: verdict(ratio, limit),
    }
}

fn verdict(value: f64, limit: f64) -> String {
    if value <= limit {
        "met".to_owned()
    } else if limit == 0.0 {
        format!("**not met**: {value}")
    } else {
        format!("**not met**: {:.1} times the goal", value / limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hot::Compared;
    use crate::http;
    use crate::shared::alone::Bursts;
    use crate::shared::child::Spans;

    fn served(stack: &'static str, rate: f64, lost: u64) -> http::Row {
        http::Row {
            stack,
            rate: Samples(vec![rate]),
            cpu: Samples(vec![1.0]),
            spans: 1_000,
            lost,
            started: 1_000,
            missing: 0,
        }
    }

    fn took(nanos: &[f64], alone: Option<f64>) -> Row {
        Row {
            work: Work::Request,
            stack: "x",
            nanos: Samples(nanos.to_vec()),
            bursts: Bursts::default(),
            alone: alone.map(|median| Alone { median, spread: 0.0, bursts: 30, of: 40 }),
            spans: Spans::default(),
        }
    }

    #[test]
    fn the_distance_to_a_goal_is_said() {
        assert_eq!(verdict(1.5, 1.5), "met");
        assert_eq!(verdict(3.0, 1.5), "**not met**: 2.0 times the goal");
        assert_eq!(verdict(3.0, 0.0), "**not met**: 3");
    }

    #[test]
    fn what_is_faster_than_the_other_has_met_its_goal() {
        let goal = added("x", &took(&[1.0], None), &took(&[2.0], None), 100.0);
        assert_eq!((&*goal.measured, &*goal.verdict), ("-1 ns of all", "met"));
    }

    #[test]
    fn what_is_added_is_compared_round_by_round() {
        // The machine is slower in the second round. The least of each is no pair.
        let (ours, other) = (took(&[30.0, 90.0, 31.0], None), took(&[20.0, 80.0, 21.0], None));
        assert_eq!(added("x", &ours, &other, 10.0).measured, "10 ns of all");
    }

    #[test]
    fn what_took_place_alone_is_judged_by_that() {
        let (ours, other) = (took(&[90.0], Some(40.0)), took(&[50.0], Some(10.0)));
        let goal = time("x", &ours, 41.0);
        assert_eq!(
            (&*goal.measured, &*goal.verdict),
            ("40 ns alone; of all 90 ns (least 90)", "met")
        );
        assert_eq!(added("x", &ours, &other, 10.0).measured, "30 ns alone");
        assert_eq!(ours.by(&other), Compared::Alone(4.0));
        // Alone on one side only: not to be compared.
        let never = took(&[45.0], None);
        assert_eq!(added("x", &ours, &never, 10.0).measured, "45 ns of all");
        assert_eq!(ours.by(&never), Compared::OfAll(2.0));
        assert_eq!(time("x", &never, 10.0).measured, "45 ns (least 45)");
    }

    #[test]
    fn an_allocation_now_and_then_is_one_too_many() {
        let judged = |each| allocations("x", each).verdict;
        assert_eq!((judged(0.0).as_str(), judged(-0.001).as_str()), ("met", "met"));
        assert_eq!(judged(0.004), "met", "a table that grew in so many");
        assert_eq!(judged(0.006), "**not met**: 0.01");
        assert_eq!(judged(1.0), "**not met**: 1");
    }

    #[test]
    fn a_nanosecond_is_not_rounded_to_its_goal() {
        let goal = nanos("x", &Samples(vec![1.4]), 1.0);
        assert_eq!(
            (&*goal.measured, &*goal.verdict.replace('*', "")),
            ("1.4 ns (least 1.4)", "not met: 1.4 times the goal")
        );
    }

    #[test]
    fn throughput_says_how_many_spans_it_did_not_deliver() {
        let results = Results {
            http: vec![
                served(http_stacks::BARE, 100.0, 0),
                served(http_stacks::UNSAMPLED, 99.0, 0),
                served(http_stacks::DEFAULT_BATCHES, 80.0, 470),
                served(http_stacks::LARGE_BATCHES, 75.0, 0),
            ],
            ..Results::default()
        };
        let measured: Vec<_> = goals(&results).into_iter().map(|goal| goal.measured).collect();
        assert_eq!(measured[..3], ["20.0 % (47 % of spans lost)", "25.0 %", "1.0 %"]);
    }

    #[test]
    fn a_span_that_nobody_knows_of_is_missed() {
        let spans = Spans { started: 10, exported: 7, dropped: Some(2) };
        let row = |stack| Row { work: Work::Span, stack, spans, ..took(&[], None) };
        let results = |stack| Results { hot: vec![row(stack)], ..Results::default() };
        let ours = unaccounted(&results(ours::SAMPLED.name)).unwrap();
        assert_eq!((&*ours.measured, &*ours.verdict), ("1 of 10", "**not met**: 1"));
        assert_eq!(unaccounted(&results(theirs::DEFAULTS.name)), None);
    }

    #[test]
    fn a_server_whose_account_does_not_add_up_misses_its_goal() {
        let judged = |missing| {
            let row = http::Row { missing, ..served(http_stacks::DEFAULT_BATCHES, 80.0, 470) };
            let results = Results { http: vec![row], ..Results::default() };
            let goal = unaccounted(&results).unwrap();
            (goal.measured, goal.verdict)
        };
        assert_eq!(judged(0), ("0 of 1000".to_owned(), "met".to_owned()));
        assert_eq!(judged(3), ("3 of 1000".to_owned(), "**not met**: 3".to_owned()));
    }
}
