//! `impasto styles`: what there is to choose from.

use anyhow::{Context, Result};
use serde::Serialize;

use super::{Outcome, sheet};
use crate::cli::{StylesArgs, StylesCommand};
use crate::console;
use crate::style::{Catalog, CatalogStyle};

/// A style in JSON.
#[derive(Debug, Serialize)]
struct StyleFigures<'a> {
    name: &'a str,
    aliases: &'a [String],
    title: &'a str,
    artist: &'a str,
    year: i32,
    painting_license: &'a str,
    network: &'a str,
}

impl<'a> From<&'a CatalogStyle> for StyleFigures<'a> {
    fn from(style: &'a CatalogStyle) -> Self {
        Self {
            name: &style.name,
            aliases: &style.aliases,
            title: &style.title,
            artist: &style.artist,
            year: style.year,
            painting_license: &style.painting_license,
            network: &style.network,
        }
    }
}

/// Runs the command.
pub fn run(args: &StylesArgs) -> Result<Outcome> {
    if let Some(StylesCommand::Sheet(args)) = &args.command {
        return sheet::run(args);
    }
    let styles = Catalog::bundled()?.styles();
    let text = if args.json {
        let figures: Vec<StyleFigures<'_>> = styles.iter().map(StyleFigures::from).collect();
        serde_json::to_string_pretty(&figures).context("write the list")? + "\n"
    } else {
        let width = |column: fn(&CatalogStyle) -> String| {
            styles.iter().map(|style| column(style).chars().count()).max().unwrap_or(0)
        };
        let (names, paintings) = (width(|style| style.name.clone()), width(painting));
        styles
            .iter()
            .map(|style| {
                format!("{:names$}  {:paintings$}  also: {}\n", style.name, painting(style), style.aliases.join(", "))
            })
            .collect()
    };
    console::data(&text).context("write the list to stdout")?;
    Ok(Outcome::Done)
}

fn painting(style: &CatalogStyle) -> String {
    format!("{}, {} ({})", style.title, style.artist, style.year)
}
