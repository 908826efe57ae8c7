//! The page: one file without scripts that loads nothing.

mod compare;
mod experiment;
mod html;
mod network;
mod run;
mod sweep;

pub use compare::comparison;
pub use experiment::equations;
pub use html::{escaped, Html};

use super::figures::palette::dark_rules;
use super::gather::run::RunReport;
use super::gather::sweep::SweepReport;
use super::illustrate::{RunFigures, SweepFigures};
use super::{Options, ReportError};

/// The style rules of a dark page.
const DARK: &str =
    ":root{--ink:#e8eaee;--muted:#a6adb9;--line:#363c47;--surface:#16191f;--raised:#1f232b;\
    --accent:#6cbcf0;--minus:#ff9d5c;--plus:#4fd6b0}";

/// A function that writes one section of the page.
type WriteSection<'a> = Box<dyn FnOnce(&mut Html) -> Result<(), ReportError> + 'a>;

/// A section of the page, listed in its table of contents.
struct Section<'a> {
    id: String,
    title: String,
    write: WriteSection<'a>,
}

impl<'a> Section<'a> {
    fn new(
        id: &str,
        title: &str,
        write: impl FnOnce(&mut Html) -> Result<(), ReportError> + 'a,
    ) -> Section<'a> {
        Section {
            id: id.to_owned(),
            title: title.to_owned(),
            write: Box::new(write),
        }
    }
}

/// The page of a run.
///
/// # Errors
/// Fails if a figure cannot be drawn.
pub fn run(
    report: &RunReport,
    figures: &RunFigures,
    options: &Options,
) -> Result<String, ReportError> {
    let title = run::title(report);
    whole(
        &title,
        |html| run::head(report, html),
        run::sections(report, figures, options),
    )
}

/// The page of a sweep.
///
/// # Errors
/// Fails if a figure cannot be drawn.
pub fn sweep(
    report: &SweepReport,
    figures: &SweepFigures,
    options: &Options,
) -> Result<String, ReportError> {
    let title = format!("Sweep {}", report.name);
    whole(
        &title,
        |html| sweep::head(report, html),
        sweep::sections(report, figures, options),
    )
}

/// A part of a page that stands in another page: its style touches nothing outside.
///
/// # Errors
/// Those of `write`.
pub fn framed<E>(write: impl FnOnce(&mut Html) -> Result<(), E>) -> Result<String, E> {
    let mut html = Html::default();
    html.element("div", &[("class", "bpmc")], |html| {
        let dark = format!("{DARK}\n{}", dark_rules());
        let style = format!(
            "{}@media (prefers-color-scheme: dark) {{ {dark} }}",
            include_str!("style.css")
        );
        let style = style.replace(":root", "&");
        html.element("style", &[], |html| {
            html.raw(&format!(".bpmc {{\n{style}\n}}"))
        });
        write(html)
    })?;
    Ok(html.finish())
}

fn whole(
    title: &str,
    head: impl FnOnce(&mut Html),
    sections: Vec<Section<'_>>,
) -> Result<String, ReportError> {
    let mut html = Html::default();
    html.raw("<!DOCTYPE html>\n");
    html.element("html", &[("lang", "en")], |html| {
        html.element("head", &[], |html| {
            html.empty("meta", &[("charset", "utf-8")]);
            let view = "width=device-width, initial-scale=1";
            html.empty("meta", &[("name", "viewport"), ("content", view)]);
            html.empty(
                "meta",
                &[("name", "color-scheme"), ("content", "light dark")],
            );
            html.tag("title", &format!("{title} – bpmc report"));
            let style = include_str!("style.css");
            let dark = dark_rules();
            let style =
                format!("\n{style}@media (prefers-color-scheme: dark) {{ {DARK}\n{dark} }}\n");
            html.element("style", &[], |html| html.raw(&style));
        });
        html.element("body", &[], |html| {
            html.element("main", &[], |html| {
                html.tag("h1", title);
                head(html);
                html.element("nav", &[("aria-label", "Contents")], |html| {
                    for part in &sections {
                        let to = format!("#{}", part.id);
                        html.element("a", &[("href", &to)], |html| html.text(&part.title));
                    }
                });
                for part in sections {
                    html.element("section", &[("id", &part.id)], |html| {
                        html.tag("h2", &part.title);
                        (part.write)(html)
                    })?;
                }
                Ok::<(), ReportError>(())
            })
        })
    })?;
    Ok(html.finish())
}
