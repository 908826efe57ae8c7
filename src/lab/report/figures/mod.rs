//! Figures, and their drawing as SVG and PNG.
//!
//! Each kind of figure is one file with one function that draws it on anything that can [`Paint`]. Both back
//! ends of plotters therefore get the same picture.

pub mod frame;
pub mod heat;
pub mod histogram;
pub mod intervals;
pub mod lines;
pub mod number;
pub mod paint;
pub mod palette;
pub mod raster;
pub mod timeline;

use heat::Heat;
use histogram::Histogram;
use intervals::Intervals;
use lines::Lines;
use paint::Paint;
use timeline::Timeline;

/// The content of a figure, by kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Drawing {
    /// Curves.
    Lines(Lines),
    /// Modulators and rewards over the steps of episodes.
    Timeline(Timeline),
    /// A histogram.
    Histogram(Histogram),
    /// A heat map of a matrix.
    Heat(Heat),
    /// Medians with quartiles.
    Intervals(Intervals),
}

/// A figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The file name without extension: letters, digits, `-` and `_`.
    pub name: String,
    /// The title, a few words.
    pub title: String,
    /// The caption: everything needed to read the figure.
    pub caption: String,
    /// The content.
    pub drawing: Drawing,
}

/// A figure could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw the figure `{name}`: {message}")]
pub struct FigureError {
    name: String,
    message: String,
}

impl Figure {
    /// A figure; characters that its file name may not contain are removed from `name`.
    pub fn new(name: &str, title: &str, caption: &str, drawing: Drawing) -> Figure {
        let name: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
                    c
                } else {
                    '-'
                }
            })
            .collect();
        Figure {
            name,
            title: title.to_owned(),
            caption: caption.to_owned(),
            drawing,
        }
    }

    fn size(&self) -> (f64, f64) {
        match &self.drawing {
            Drawing::Lines(lines) => lines.size(),
            Drawing::Timeline(timeline) => timeline.size(),
            Drawing::Histogram(histogram) => histogram.size(),
            Drawing::Heat(heat) => heat.size(),
            Drawing::Intervals(intervals) => intervals.size(),
        }
    }

    fn draw(&self, paint: &mut dyn Paint) {
        match &self.drawing {
            Drawing::Lines(lines) => lines.draw(paint),
            Drawing::Timeline(timeline) => timeline.draw(paint),
            Drawing::Histogram(histogram) => histogram.draw(paint),
            Drawing::Heat(heat) => heat.draw(paint),
            Drawing::Intervals(intervals) => intervals.draw(paint),
        }
    }

    fn fault(&self, message: String) -> FigureError {
        FigureError {
            name: self.name.clone(),
            message,
        }
    }

    /// The figure as SVG elements without a root, and the size of their view box.
    ///
    /// # Errors
    /// Fails if the figure cannot be drawn.
    pub fn elements(&self) -> Result<(String, (i32, i32)), FigureError> {
        paint::svg(self.size(), &|paint| self.draw(paint)).map_err(|message| self.fault(message))
    }

    /// The figure as an SVG file.
    ///
    /// # Errors
    /// Fails if the figure cannot be drawn.
    pub fn svg(&self) -> Result<String, FigureError> {
        let (body, view) = self.elements()?;
        let title = super::page::escaped(&self.title);
        Ok(paint::svg_file(&body, view, &title))
    }

    /// The figure as a PNG file.
    ///
    /// # Errors
    /// Fails if the figure cannot be drawn.
    pub fn png(&self) -> Result<Vec<u8>, FigureError> {
        paint::bitmap(self.size(), &|paint| self.draw(paint)).map_err(|message| self.fault(message))
    }
}
