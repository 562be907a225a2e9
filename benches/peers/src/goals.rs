//! What spanbridge promises itself, and how far this run is from it.

use crate::http_stacks;
use crate::report::Results;
use crate::samples::Samples;
use crate::shared::work::Work;
use crate::shared::{ours, stack::Stack};
use crate::{export_stacks, theirs};

/// One figure with a limit.
#[derive(Debug, PartialEq)]
pub(crate) struct Goal {
    pub(crate) what: &'static str,
    pub(crate) limit: String,
    /// The median, and the least where that says something.
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
    goals
}

fn hot(results: &Results, goals: &mut Vec<Goal>) {
    let of = |work, stack: &Stack| results.nanos(work, stack.name);
    let request = of(Work::Request, &ours::SAMPLED);
    goals.extend(request.map(|ours| nanos("a request, all sampled", ours, 600.0)));
    if let (Some(ours), Some(theirs)) = (request, of(Work::Request, &theirs::DEFAULTS)) {
        goals.push(ratio("the same, of tracing-opentelemetry with defaults", ours.by(theirs), 0.1));
    }
    let over = |work, stack| Some((of(work, stack)?, of(work, &ours::REGISTRY)?));
    if let Some((ours, registry)) = over(Work::Span8, &ours::SAMPLED) {
        let what = "added by the layer to a span with 8 attributes";
        goals.push(nanos(what, &difference(ours, registry), 100.0));
    }
    if let Some(count) = results.instructions.of(Work::Span8, ours::SAMPLED.name) {
        goals.push(Goal {
            what: "heap allocations of that",
            limit: "0".to_owned(),
            measured: format!("{:.2}", count.allocations),
            // One in ten is a buffer or table that grows now and then, not one a span.
            verdict: verdict(count.allocations, 0.1),
        });
    }
    if let Some((ours, registry)) = over(Work::Request, &ours::UNSAMPLED) {
        let what = "a request, not sampled, over the registry alone";
        goals.push(nanos(what, &difference(ours, registry), 150.0));
    }
    let off = of(Work::Request, &ours::OFF);
    goals.extend(off.map(|off| nanos("a request, tracing off, context passed on", off, 100.0)));
    if let Some((ours, registry)) = over(Work::Request, &ours::NO_LAYER) {
        let what = "the same with a registry, without the layer, over the registry alone";
        goals.push(nanos(what, &difference(ours, registry), 100.0));
    }
}

fn propagation(results: &Results, goals: &mut Vec<Goal>) {
    if let Some(propagation) = &results.propagation {
        goals.push(nanos("traceparent read", &propagation.parse, 30.0));
        goals.push(nanos("traceparent written", &propagation.format, 20.0));
    }
}

fn export(results: &Results, goals: &mut Vec<Goal>) {
    let micros =
        |name: &str| results.export.iter().find(|row| row.stack == name).map(|row| &row.micros);
    let [ours, _, options_off, defaults] = export_stacks::ALL else { return };
    let (Some(ours), Some(options_off), Some(defaults)) =
        (micros(ours.name), micros(options_off.name), micros(defaults.name))
    else {
        return;
    };
    goals.push(Goal {
        what: "processor time for an exported span, gRPC",
        limit: "1.5 µs".to_owned(),
        measured: format!("{:.2} µs (least {:.2})", ours.median(), ours.least()),
        verdict: verdict(ours.median(), 1.5),
    });
    let what = "the same, of tracing-opentelemetry with defaults, SDK and opentelemetry-otlp";
    goals.push(ratio(what, ours.by(defaults), 0.125));
    let what = "the same, of tracing-opentelemetry with every option off";
    goals.push(ratio(what, ours.by(options_off), 0.125));
}

fn http(results: &Results, goals: &mut Vec<Goal>) {
    let row = |name: &str| results.http.iter().find(|row| row.stack == name);
    let Some(bare) = row(http_stacks::BARE) else { return };
    for (what, stack, limit) in [
        ("throughput lost under wrk, all sampled, gRPC", "spanbridge, sampled, gRPC", 0.10),
        ("throughput lost under wrk, not sampled", "spanbridge, unsampled", 0.02),
    ] {
        let row = row(stack).expect("is in the list of servers");
        let lost = 1.0 - row.rate.by(&bare.rate);
        goals.push(Goal {
            what,
            limit: format!("{:.0} %", limit * 100.0),
            measured: format!("{:.1} %", lost * 100.0),
            verdict: verdict(lost, limit),
        });
    }
    let ours = results.http.iter().filter(|row| row.stack.starts_with("spanbridge"));
    let (mut delivered, mut missing) = (0, 0);
    for row in ours {
        delivered += row.delivered;
        missing += row.missing;
    }
    goals.push(Goal {
        what: "spans unaccounted for (`started = exported + dropped + live` was checked at each flush)",
        limit: "0".to_owned(),
        measured: format!("{missing} of {delivered} counted as exported did not arrive"),
        verdict: verdict(missing as f64, 0.0),
    });
}

fn difference(ours: &Samples, other: &Samples) -> Samples {
    Samples(ours.0.iter().zip(&other.0).map(|(ours, other)| ours - other).collect())
}

fn nanos(what: &'static str, samples: &Samples, limit: f64) -> Goal {
    Goal {
        what,
        limit: format!("{limit:.0} ns"),
        measured: format!("{:.0} ns (least {:.0})", samples.median(), samples.least()),
        verdict: verdict(samples.median(), limit),
    }
}

fn ratio(what: &'static str, ratio: f64, limit: f64) -> Goal {
    Goal {
        what,
        limit: format!("{limit}"),
        measured: format!("{ratio:.3}"),
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

    #[test]
    fn the_distance_to_a_goal_is_said() {
        assert_eq!(verdict(1.5, 1.5), "met");
        assert_eq!(verdict(3.0, 1.5), "**not met**: 2.0 times the goal");
        assert_eq!(verdict(3.0, 0.0), "**not met**: 3");
    }

    #[test]
    fn what_is_faster_than_alone_has_met_its_goal() {
        let goal = nanos("x", &difference(&Samples(vec![1.0]), &Samples(vec![2.0])), 100.0);
        assert_eq!(goal.verdict, "met");
    }
}
