//! Plots of a report, as SVG.

use std::path::Path as File;

use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;

use super::{
    report::{Report, extremes, median},
    rows::{SIZES, VPCS},
    shape::{Draw, Family, Gateway, Mode, Path, Row, Shape},
};

const SIZE: (u32, u32) = (900, 420);
const FONT: (&str, u32) = ("sans-serif", 14);
const TITLE: (&str, u32) = ("sans-serif", 18);
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x7f, 0x7f, 0x7f),
];

/// A plot's file and what it shows.
pub struct Plot {
    /// The file's name.
    pub file: &'static str,
    /// Its title.
    pub title: &'static str,
}

/// Draws a plot into a file, under a title; false if the report has no figures for it.
type Painter = fn(&Report, &File, &str) -> Result<bool>;

/// Draws what the report has figures for, into a folder.
pub fn draw(report: &Report, folder: &File) -> Result<Vec<Plot>> {
    let all: [(_, _, Painter); 4] = [
        (
            "rates.svg",
            "Million packets a second on one core, NAT in, 64 bytes, IPv4",
            rates,
        ),
        (
            "shares.svg",
            "Share of the bare redirect by the number of EIPs, uniformly drawn",
            shares,
        ),
        ("transfers.svg", "iperf3, Gbit/s, one stream", transfers),
        (
            "associate.svg",
            "associate --wait, milliseconds: the share of calls that took no longer",
            latencies,
        ),
    ];
    let mut plots = Vec::new();
    for (file, title, draw) in all {
        if draw(report, &folder.join(file), title)? {
            plots.push(Plot { file, title });
        }
    }
    Ok(plots)
}

/// A name and its median, least and most.
type Bar = (String, f64, f64, f64);

fn bar(name: String, values: &[f64], unit: f64) -> Option<Bar> {
    let median = median(values)? / unit;
    let (least, most) = extremes(values);
    Some((name, median, least / unit, most / unit))
}

fn rates(report: &Report, file: &File, title: &str) -> Result<bool> {
    let bars: Vec<Bar> = report
        .rows
        .iter()
        .filter(|measured| {
            let plain = Row::new(measured.row.gateway, measured.row.shape, Path::In);
            measured.row == plain && measured.row.shape == Shape::nat4(plain.shape.eips)
        })
        .filter_map(|measured| {
            let Row { gateway, shape, .. } = measured.row;
            let name = match gateway {
                Gateway::Ceiling | Gateway::Bare | Gateway::Kernel => gateway.to_string(),
                _ => format!("{gateway}, {}", shape.eips),
            };
            bar(name, &measured.rates, 1e6)
        })
        .collect();
    horizontal(&bars, file, title)
}

fn transfers(report: &Report, file: &File, title: &str) -> Result<bool> {
    let bars: Vec<Bar> = report
        .bulk
        .iter()
        .filter_map(|bulk| {
            let name = format!("{} {} {}", bulk.gateway, bulk.protocol, bulk.direction);
            bar(name, &bulk.rates, 1.0)
        })
        .collect();
    horizontal(&bars, file, title)
}

/// Bars from the left, a line from the least to the most on each.
fn horizontal(bars: &[Bar], file: &File, title: &str) -> Result<bool> {
    if bars.is_empty() {
        return Ok(false);
    }
    let count = u32::try_from(bars.len())?;
    let most = bars.iter().fold(0.0_f64, |most, bar| most.max(bar.3));
    let root = SVGBackend::new(file, (SIZE.0, 80 + 26 * count)).into_drawing_area();
    let drawn = || -> Result<(), Box<dyn std::error::Error + '_>> {
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, TITLE)
            .margin(8)
            .x_label_area_size(30)
            .y_label_area_size(230)
            .build_cartesian_2d(0.0..most * 1.05, (0..count).into_segmented())?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(bars.len() + 1)
            .y_label_formatter(&|place| match place {
                SegmentValue::CenterOf(place) => {
                    let bar = bars.iter().rev().nth(*place as usize);
                    bar.map(|bar| bar.0.clone()).unwrap_or_default()
                }
                _ => String::new(),
            })
            .label_style(FONT)
            .draw()?;
        for (place, (name, median, least, most)) in (0..count).zip(bars.iter().rev()) {
            let colour = COLOURS[usize::from(!name.starts_with("eip-dp")) * 5];
            let (low, high) = (SegmentValue::Exact(place), SegmentValue::Exact(place + 1));
            let mut rectangle =
                Rectangle::new([(0.0, low), (*median, high)], colour.mix(0.7).filled());
            rectangle.set_margin(3, 3, 0, 0);
            chart.draw_series([rectangle])?;
            let middle = SegmentValue::CenterOf(place);
            chart.draw_series([PathElement::new(
                [(*least, middle.clone()), (*most, middle)],
                BLACK,
            )])?;
        }
        Ok(root.present()?)
    };
    done(drawn(), file)?;
    Ok(true)
}

/// What is drawn: a name and points.
type Line = (String, Vec<(f64, f64)>);

fn shares(report: &Report, file: &File, title: &str) -> Result<bool> {
    let mut lines: Vec<Line> = Vec::new();
    for (family, vpcs) in [(Family::V4, 1), (Family::V6, 1), (Family::V4, VPCS)] {
        for path in [Path::In, Path::Out] {
            let points = SIZES.iter().filter_map(|eips| {
                let shape = Shape {
                    family,
                    mode: Mode::Nat,
                    eips: *eips,
                    vpcs,
                };
                let row = Row::new(Gateway::EipDp, shape, path).drawn(Draw::Uniform);
                Some((f64::from(*eips), median(&report.row(&row)?.of_bare)?))
            });
            let points: Vec<_> = points.collect();
            if !points.is_empty() {
                let many = if vpcs > 1 {
                    format!(", {vpcs} VPCs")
                } else {
                    String::new()
                };
                lines.push((format!("NAT {path}, {family}{many}"), points));
            }
        }
    }
    if lines.is_empty() {
        return Ok(false);
    }
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    let drawn = || -> Result<(), Box<dyn std::error::Error + '_>> {
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, TITLE)
            .margin(8)
            .x_label_area_size(30)
            .y_label_area_size(50)
            .build_cartesian_2d((800.0..1_300_000.0).log_scale(), 0.0..1.05)?;
        chart
            .configure_mesh()
            .x_label_formatter(&|eips| format!("{eips:.0}"))
            .label_style(FONT)
            .draw()?;
        for ((name, points), colour) in lines.iter().zip(COLOURS) {
            chart
                .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)).point_size(4))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerLeft)
            .background_style(WHITE.mix(0.8))
            .label_font(FONT)
            .draw()?;
        Ok(root.present()?)
    };
    done(drawn(), file)?;
    Ok(true)
}

fn latencies(report: &Report, file: &File, title: &str) -> Result<bool> {
    let mut figures = report.table.iter();
    let Some((_, values)) = figures.find(|(name, _)| name.starts_with("associate-")) else {
        return Ok(false);
    };
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    let Some(most) = sorted.last().copied() else {
        return Ok(false);
    };
    let count = f64::from(u32::try_from(sorted.len())?);
    let points = sorted
        .iter()
        .zip(1..)
        .map(|(value, place)| (*value, f64::from(place) / count));
    let points: Vec<_> = points.collect();
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    let drawn = || -> Result<(), Box<dyn std::error::Error + '_>> {
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, TITLE)
            .margin(8)
            .x_label_area_size(30)
            .y_label_area_size(50)
            .build_cartesian_2d(0.0..most * 1.05, 0.0..1.0)?;
        chart.configure_mesh().label_style(FONT).draw()?;
        chart.draw_series(LineSeries::new(points, COLOURS[0].stroke_width(2)))?;
        Ok(root.present()?)
    };
    done(drawn(), file)?;
    Ok(true)
}

fn done(drawn: Result<(), Box<dyn std::error::Error + '_>>, file: &File) -> Result<()> {
    let drawn = drawn.map_err(|error| anyhow!("{error}"));
    drawn.with_context(|| format!("cannot draw {}", file.display()))
}
