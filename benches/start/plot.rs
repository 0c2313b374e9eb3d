//! The plot for the README.

use std::path::Path;

use plotters::prelude::*;

use crate::side_by_side::Point;

const SIZE: (u32, u32) = (720, 420);
const COLOURS: [RGBColor; 4] =
    [RGBColor(31, 119, 180), RGBColor(150, 150, 150), RGBColor(214, 39, 40), RGBColor(90, 90, 90)];

/// Draws the time over the number of secrets, a line for each program and scheme.
pub(crate) fn save(file: &Path, points: &[Point]) {
    draw(file, points).expect("a plot");
}

fn draw(file: &Path, points: &[Point]) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let most = points.iter().map(|point| point.time).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d((1.0..110.0_f64).log_scale(), (1.0..most * 1.2).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("secrets")
        .y_desc("milliseconds until the application starts")
        .draw()?;
    for (number, line) in lines(points).into_iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let of_line = points.iter().filter(|point| point.line == line);
        #[allow(clippy::cast_precision_loss, reason = "at most a hundred secrets")]
        let places: Vec<(f64, f64)> =
            of_line.map(|point| (point.secrets as f64, point.time)).collect();
        chart
            .draw_series(LineSeries::new(places.clone(), colour.stroke_width(2)))?
            .label(line)
            .legend(move |(x, y)| {
                PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2))
            });
        chart
            .draw_series(places.into_iter().map(|place| Circle::new(place, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    Ok(())
}

fn lines(points: &[Point]) -> Vec<&str> {
    let mut lines = Vec::new();
    for point in points {
        if !lines.contains(&point.line.as_str()) {
            lines.push(point.line.as_str());
        }
    }
    lines
}
