//! One picture: CPU time per unit as a ratio to nginx, a group of bars for each shape, a dot for each round.

use std::path::Path;

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::Result;
use crate::proxies::Kind;
use crate::report::{Results, Spread};
use crate::shapes::Shape;

/// What ringgate means to stay below.
const TARGET: f64 = 0.65;

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

fn colour(kind: Kind) -> RGBColor {
    match kind {
        Kind::Ringgate => RGBColor(0x00, 0x72, 0xb2),
        Kind::Nginx => RGBColor(0x99, 0x99, 0x99),
        Kind::Haproxy => RGBColor(0xe6, 0x9f, 0x00),
    }
}

/// Writes the picture to `path`; without nginx there is nothing to compare with, and no picture.
pub(crate) fn write(path: &Path, shapes: &[&Shape], results: &Results) -> Result<()> {
    let ratios = |shape: &Shape, kind| results.ratios(shape.name, kind, |sample| sample.cpu_us);
    let kinds: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| shapes.iter().any(|shape| !ratios(shape, *kind).is_empty()))
        .collect();
    let highest = shapes
        .iter()
        .flat_map(|shape| kinds.iter().flat_map(|kind| ratios(shape, *kind)))
        .fold(1.0, f64::max);
    if kinds.is_empty() {
        return Ok(());
    }
    let width = 160 + 130 * shapes.len() as u32;
    let area = SVGBackend::new(path, (width.max(480), 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("CPU time per unit of work, nginx = 1 (less is better)", ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..shapes.len() as f64, 0.0..highest * 1.15)?;
    let name =
        |x: &f64| shapes.get(x.floor() as usize).filter(|_| x.fract() == 0.5).map_or("", |shape| shape.name);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(2 * shapes.len() + 1)
        .x_label_formatter(&|x| name(x).to_owned())
        .y_label_formatter(&|y| format!("{y:.2}"))
        .draw()?;
    for (place, kind) in kinds.iter().enumerate() {
        draw_proxy(&mut chart, shapes, results, *kind, (place, kinds.len()))?;
    }
    let target =
        DashedLineSeries::new([(0.0, TARGET), (shapes.len() as f64, TARGET)], 6, 4, RED.stroke_width(1));
    chart.draw_series(target)?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}

/// The bars and dots of one proxy, the `place`th of `count` in each group.
fn draw_proxy(
    chart: &mut Chart<'_, '_>,
    shapes: &[&Shape],
    results: &Results,
    kind: Kind,
    (place, count): (usize, usize),
) -> Result<()> {
    let fill = colour(kind);
    let bar = 0.8 / count as f64;
    let ratios = |shape: &Shape| results.ratios(shape.name, kind, |sample| sample.cpu_us);
    let left = |group: usize| group as f64 + 0.1 + place as f64 * bar;
    let medians = shapes.iter().enumerate().filter_map(|(group, shape)| {
        let median = Spread::of(ratios(shape).into_iter())?.median;
        Some(Rectangle::new([(left(group), 0.0), (left(group) + bar * 0.9, median)], fill.filled()))
    });
    chart
        .draw_series(medians)?
        .label(kind.name())
        .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], fill.filled()));
    let dots = shapes.iter().enumerate().flat_map(|(group, shape)| {
        let centre = left(group) + bar * 0.45;
        ratios(shape).into_iter().map(move |ratio| Circle::new((centre, ratio), 2, BLACK.mix(0.5).filled()))
    });
    chart.draw_series(dots)?;
    Ok(())
}
