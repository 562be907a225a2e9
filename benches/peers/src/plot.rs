//! Plots next to the result file.

use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::loss::Loss;
use crate::report::Results;
use crate::samples::Samples;
use crate::shared::work::Work;
use crate::{hot, http, scaling, stacks};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const OURS: RGBColor = RGBColor(0x1b, 0x6e, 0xc2);
const FLOOR: RGBColor = RGBColor(0x9a, 0x9a, 0x9a);
const THEIRS: RGBColor = RGBColor(0xd0, 0x74, 0x2c);
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);

const WIDTH: u32 = 900;
const ROW: u32 = 24;
const HEAD: u32 = 40;
/// For the names at the left and the figures at the right, alone and with what was lost or a second one.
const NAMES: i32 = 400;
const FIGURES: i32 = 90;
const LONG_FIGURES: i32 = 220;

/// Horizontal bars with a title.
struct Panel {
    title: String,
    decimals: usize,
    bars: Vec<Bar>,
}

/// Of a stack.
struct Bar {
    name: &'static str,
    value: f64,
    /// Where the value is of undisturbed bursts, the median of all.
    of_all: Option<f64>,
    loss: Loss,
}

impl Bar {
    /// What stands at its end: who drops spans does less for them.
    fn figure(&self, decimals: usize) -> String {
        let of_all = self.of_all.map(|value| format!(" / {value:.decimals$}"));
        format!("{:.decimals$}{}{}", self.value, of_all.unwrap_or_default(), self.loss.note())
    }
}

/// Draws what was measured: the costs in one file, and scaling in another.
pub(crate) fn draw(results: &Results, folder: &Path, name: &str) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let panels = panels(results);
    if !panels.is_empty() {
        let file = folder.join(format!("{name}-cost.svg"));
        costs(&panels, &file).map_err(|error| format!("{}: {error}", file.display()))?;
        files.push(file);
    }
    if !results.scaling.is_empty() {
        let file = folder.join(format!("{name}-scaling.svg"));
        threads(&results.scaling, &file).map_err(|error| format!("{}: {error}", file.display()))?;
        files.push(file);
    }
    Ok(files)
}

/// What a file that [`draw`] wrote shows.
pub(crate) fn title(file: &Path) -> &'static str {
    match file.to_string_lossy().ends_with("-cost.svg") {
        true => "What tracing costs",
        false => "Requests a second by number of threads",
    }
}

fn panels(results: &Results) -> Vec<Panel> {
    let bar =
        |name, samples: &Samples, loss| Bar { name, value: samples.median(), of_all: None, loss };
    let one_thread = |title: &str, rows: &[hot::Row], work| {
        let rows: Vec<_> = rows.iter().filter(|row| row.work == work).collect();
        // All of the same kind, or they could not stand side by side.
        let are_alone = rows.iter().all(|row| row.alone.is_some());
        let bars = rows.iter().map(|row| {
            let of_all = row.nanos.median();
            let alone = row.alone.filter(|_| are_alone);
            let (value, of_all) =
                alone.map_or((of_all, None), |alone| (alone.median, Some(of_all)));
            Bar { name: row.stack, value, of_all, loss: row.loss() }
        });
        let unit = if are_alone { "ns, undisturbed / of all" } else { "ns" };
        Panel { title: format!("{title} ({unit})"), decimals: 0, bars: bars.collect() }
    };
    let under_wrk = |value: fn(&http::Row) -> f64| {
        let bar = |row: &http::Row| Bar {
            name: row.stack,
            value: value(row),
            of_all: None,
            loss: row.loss(),
        };
        results.http.iter().map(bar).collect()
    };
    let panels = [
        one_thread(
            "A request: extract, SERVER span, CLIENT span, inject",
            &results.hot,
            Work::Request,
        ),
        one_thread("A span with 8 attributes", &results.hot, Work::Span8),
        Panel {
            title: "A span, made and delivered over gRPC (µs of processor time)".to_owned(),
            decimals: 2,
            bars: results
                .export
                .iter()
                .map(|row| bar(row.stack, &row.micros, row.loss()))
                .collect(),
        },
        one_thread("An operation of two steps", &results.legacy, Work::Trace),
        Panel {
            title: "actix-web under wrk (µs of processor time for a request)".to_owned(),
            decimals: 2,
            bars: under_wrk(|row| row.cpu.median()),
        },
        Panel {
            title: "actix-web under wrk (thousands of requests a second; more is better)"
                .to_owned(),
            decimals: 1,
            bars: under_wrk(|row| row.rate.median() / 1_000.0),
        },
    ];
    panels.into_iter().filter(|panel| !panel.bars.is_empty()).collect()
}

fn color(stack: &str) -> RGBColor {
    match stack {
        "registry alone" | "actix-web alone" => FLOOR,
        _ if stacks::is_ours(stack) => OURS,
        _ => THEIRS,
    }
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn costs(panels: &[Panel], file: &Path) -> Drawn {
    let heights: Vec<_> =
        panels.iter().map(|panel| HEAD + ROW * panel.bars.len() as u32 + 10).collect();
    let root = SVGBackend::new(file, (WIDTH, heights.iter().sum::<u32>() + 10)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut rest = root.clone();
    for (panel, height) in panels.iter().zip(heights) {
        let (area, below) = rest.split_vertically(height);
        bars(&area, panel)?;
        rest = below;
    }
    root.present()?;
    Ok(())
}

fn bars(area: &Area<'_>, panel: &Panel) -> Drawn {
    let style = |size: u32| ("sans-serif", size).into_font().color(&INK);
    let anchored = |horizontal| style(14).pos(Pos::new(horizontal, VPos::Center));
    area.draw(&Text::new(panel.title.as_str(), (12, 14), style(17)))?;
    let most = panel.bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let is_long = |bar: &Bar| bar.of_all.is_some() || !bar.loss.note().is_empty();
    let figures = if panel.bars.iter().any(is_long) { LONG_FIGURES } else { FIGURES };
    let room = f64::from(WIDTH as i32 - NAMES - figures);
    for (row, bar) in panel.bars.iter().enumerate() {
        let top = (HEAD + ROW * row as u32) as i32;
        let middle = top + ROW as i32 / 2;
        let end = NAMES + (room * bar.value / most).round() as i32;
        area.draw(&Text::new(bar.name, (NAMES - 8, middle), anchored(HPos::Right)))?;
        let corners = [(NAMES, top + 3), (end.max(NAMES + 1), top + ROW as i32 - 3)];
        area.draw(&Rectangle::new(corners, color(bar.name).filled()))?;
        area.draw(&Text::new(bar.figure(panel.decimals), (end + 6, middle), anchored(HPos::Left)))?;
    }
    Ok(())
}

/// With the most that it lost on any number of threads.
fn label(rows: &[scaling::Row], stack: &str) -> String {
    let losses = rows.iter().filter(|row| row.stack == stack).map(scaling::Row::loss);
    let most = losses.max_by(|one, other| one.part().total_cmp(&other.part()));
    let note = most.unwrap_or_default().note().replace('(', "(up to ");
    format!("{stack}{note}")
}

fn threads(rows: &[scaling::Row], file: &Path) -> Drawn {
    let root = SVGBackend::new(file, (WIDTH, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let thousands = |row: &scaling::Row| row.rate.median() / 1_000.0;
    // With room for the legend above the lines.
    let most = rows.iter().map(thousands).fold(1.0, f64::max) * 1.7;
    let last = *scaling::THREADS.last().expect("there are some") as f64;
    let mut chart = ChartBuilder::on(&root)
        .caption("Requests a second, thousands", ("sans-serif", 17).into_font().color(&INK))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(60)
        .build_cartesian_2d((1.0..last).log_scale().base(2.0), 0.0..most)?;
    chart
        .configure_mesh()
        .x_desc("threads")
        .x_labels(scaling::THREADS.len())
        .x_label_formatter(&|threads| format!("{threads:.0}"))
        .y_label_formatter(&|rate| format!("{rate:.0}"))
        .light_line_style(TRANSPARENT)
        .draw()?;
    let stacks = rows.iter().filter(|row| row.threads == scaling::THREADS[0]);
    for (number, stack) in stacks.map(|row| row.stack).enumerate() {
        let points: Vec<_> = rows
            .iter()
            .filter(|row| row.stack == stack)
            .map(|row| (row.threads as f64, thousands(row)))
            .collect();
        let color = Palette99::pick(number).to_rgba();
        let line = color.stroke_width(2);
        chart
            .draw_series(LineSeries::new(points, line).point_size(3))?
            .label(label(rows, stack))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], line));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(FLOOR)
        .draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::child::Spans;

    #[test]
    fn a_bar_says_what_was_lost_for_its_length() {
        let row = |stack, lost| http::Row {
            stack,
            rate: Samples(vec![35_204.0]),
            cpu: Samples(vec![28.06]),
            spans: 1_000,
            lost,
            started: 1_000,
            missing: 0,
        };
        let results = Results {
            http: vec![row("spanbridge, sampled, gRPC", 470), row("tracing-actix-web", 6)],
            ..Results::default()
        };
        let panels = panels(&results);
        let figures = |panel: &Panel| -> Vec<_> {
            panel.bars.iter().map(|bar| bar.figure(panel.decimals)).collect()
        };
        assert_eq!(figures(&panels[0]), ["28.06 (47 % of spans lost)", "28.06"]);
        assert_eq!(figures(&panels[1]), ["35.2 (47 % of spans lost)", "35.2"]);
    }

    #[test]
    fn a_line_says_the_most_that_was_lost() {
        let row = |threads, exported| scaling::Row {
            stack: "spanbridge",
            threads,
            rate: Samples(vec![1.0]),
            spans: Spans { started: 100, exported, dropped: None },
        };
        let rows = [row(1, 80), row(2, 52), row(4, 61)];
        assert_eq!(label(&rows, "spanbridge"), "spanbridge (up to 48 % of spans lost)");
        assert_eq!(label(&[row(1, 100)], "spanbridge"), "spanbridge");
    }

    #[test]
    fn what_was_lost_is_drawn() {
        let file = std::env::temp_dir().join(format!("bars-{}.svg", std::process::id()));
        let loss = Loss { lost: 99, of: 100 };
        let bar = Bar { name: "x", value: 88_888.8, of_all: Some(99_999.9), loss };
        costs(&[Panel { title: "x".to_owned(), decimals: 1, bars: vec![bar] }], &file).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert!(text.contains("88888.8 / 99999.9 (99 % of spans lost)"), "{text}");
    }
}
