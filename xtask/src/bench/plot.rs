//! The plot: bars with whiskers, in SVG, readable in light and dark.

use std::fmt::Write as _;

use super::report::{Bar, Group};

const WIDTH: f64 = 860.0;
const MARGIN: f64 = 24.0;
/// Names end here and bars begin a little later.
const NAMES: f64 = 210.0;
/// The longest whisker ends here; figures stand behind it.
const BARS_END: f64 = 700.0;
const LINE: f64 = 24.0;
const BAR: f64 = 14.0;
const TITLE: f64 = 40.0;

const STYLE: &str = "\
    .paper { fill: #ffffff } .title { fill: #1a2330; font-weight: 600 } .name { fill: #3c4858 } .figure { fill: #3c4858 }
    .ours { fill: #0b6bcb } .theirs { fill: #b4bfcc } .whisker { stroke: #3c4858; stroke-width: 1.5; fill: none }
    .axis { stroke: #b4bfcc; stroke-width: 1 }
    @media (prefers-color-scheme: dark) {
      .paper { fill: #14181f } .title { fill: #eef2f7 } .name { fill: #c3ccd8 } .figure { fill: #c3ccd8 }
      .ours { fill: #58a6ff } .theirs { fill: #596676 } .whisker { stroke: #dfe6ee } .axis { stroke: #596676 }
    }";

/// All groups, one below the other, each with a scale of its own.
pub fn draw(groups: &[&Group]) -> String {
    let mut body = String::new();
    let mut y = MARGIN;
    for group in groups {
        y = draw_group(&mut body, group, y);
    }
    let height = y + 28.0;
    let _ = writeln!(
        body,
        r#"  <text class="name" x="{MARGIN}" y="{:.0}">Shorter is better. Bars are medians, whiskers the least and the most. Each group has its own scale.</text>"#,
        y + 10.0
    );
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0} {height:.0}" width="{WIDTH:.0}" height="{height:.0}" role="img" aria-label="Benchmarks: bars for each scenario, shorter is better" font-family="system-ui, sans-serif" font-size="13">
  <style>
{STYLE}
  </style>
  <rect class="paper" width="{WIDTH:.0}" height="{height:.0}"/>
{body}</svg>
"#
    )
}

fn draw_group(body: &mut String, group: &Group, top: f64) -> f64 {
    let _ = writeln!(
        body,
        r#"  <text class="title" x="{MARGIN}" y="{:.0}" font-size="14">{} ({})</text>"#,
        top + 16.0,
        escape(&group.title),
        group.unit
    );
    let longest = group.bars.iter().map(|bar| bar.most).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let scale = (BARS_END - NAMES) / longest;
    let mut y = top + TITLE;
    for bar in &group.bars {
        draw_bar(body, bar, y, scale);
        y += LINE;
    }
    let (from, to) = (top + TITLE - LINE / 2.0 - 2.0, y - LINE / 2.0 + 2.0);
    let _ = writeln!(body, r#"  <path class="axis" d="M{NAMES} {from:.0}V{to:.0}"/>"#);
    y + 4.0
}

fn draw_bar(body: &mut String, bar: &Bar, middle: f64, scale: f64) {
    let class = if bar.ours { "ours" } else { "theirs" };
    let text = middle + 4.5;
    let _ = writeln!(
        body,
        r#"  <text class="name" x="{:.0}" y="{text:.1}" text-anchor="end">{}</text>"#,
        NAMES - 10.0,
        escape(&bar.name)
    );
    let _ = writeln!(
        body,
        r#"  <rect class="{class}" x="{NAMES}" y="{:.1}" width="{:.1}" height="{BAR}" rx="2"/>"#,
        middle - BAR / 2.0,
        bar.median * scale
    );
    let (least, most) = (NAMES + bar.least * scale, NAMES + bar.most * scale);
    if most - least > 1.0 {
        let (up, down) = (middle - 4.0, middle + 4.0);
        let _ = writeln!(
            body,
            r#"  <path class="whisker" d="M{least:.1} {up:.1}V{down:.1}M{least:.1} {middle:.1}H{most:.1}M{most:.1} {up:.1}V{down:.1}"/>"#
        );
    }
    let figure = if bar.median < 1.0 { format!("{:.3}", bar.median) } else { format!("{:.2}", bar.median) };
    let behind = NAMES + bar.median.max(bar.most) * scale + 10.0;
    let _ = writeln!(body, r#"  <text class="figure" x="{behind:.1}" y="{text:.1}">{figure}</text>"#);
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
