//! Panels of each type, with what all panels of that type share.
//!
//! In: what a panel says and asks. Out: a [`Panel`] that still has no place.
//! Left out on purpose: tables; see [`crate::table`].

use crate::model::{
    Color, Custom, DataSource, Defaults, FieldConfig, GridPos, Legend, LineStyle, MetricsTarget, Options,
    Override, Panel, Property, ReduceOptions, Stacking, Step, Target, Thresholds, Tooltip, TracesTarget,
};

/// The colours of good, doubtful and bad, as Grafana's themes name them.
pub(crate) const GREEN: &str = "green";
pub(crate) const ORANGE: &str = "orange";
pub(crate) const RED: &str = "red";

/// What every panel says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    pub(crate) title: &'static str,
    /// What it shows, and what to do about it.
    pub(crate) description: &'static str,
    /// A unit id of Grafana.
    pub(crate) unit: &'static str,
}

/// A query over the range, drawn under `legend` (`{{label}}` for a label's value).
pub(crate) fn over_time(ref_id: &str, expr: String, legend: &str) -> MetricsTarget {
    MetricsTarget {
        ref_id: ref_id.to_owned(),
        datasource: DataSource::PICKED,
        editor_mode: "code",
        expr,
        legend_format: legend.to_owned(),
        format: "time_series",
        instant: false,
        range: true,
        exemplar: false,
    }
}

/// A query of the range's end, as rows with one field for each label.
pub(crate) fn rows_now(ref_id: &str, expr: String) -> MetricsTarget {
    MetricsTarget {
        format: "table",
        instant: true,
        range: false,
        ..over_time(ref_id, expr, "")
    }
}

/// A panel with nothing but what is the same for every type.
pub(crate) fn bare(kind: &'static str, text: Text, targets: Vec<MetricsTarget>, options: Options) -> Panel {
    Panel {
        id: 0,
        kind,
        title: text.title,
        description: text.description.to_owned(),
        datasource: Some(DataSource::PICKED),
        grid_pos: GridPos::default(),
        targets: targets.into_iter().map(Target::Metrics).collect(),
        field_config: FieldConfig {
            defaults: Defaults {
                unit: text.unit,
                ..Defaults::default()
            },
            overrides: Vec::new(),
        },
        options,
        transformations: Vec::new(),
    }
}

/// A text in Markdown over the whole width, and the height at which it is seen without scrolling.
pub(crate) fn text(title: &'static str, description: &'static str, content: String) -> (u32, Panel) {
    let lines: usize = content
        .lines()
        .map(|line| line.chars().count().div_ceil(LETTERS_OF_A_LINE).max(1))
        .sum();
    let pixels = u32::try_from(lines)
        .unwrap_or(u32::MAX)
        .saturating_mul(LINE_PIXELS);
    let height = pixels.saturating_add(AROUND_TEXT_PIXELS).div_ceil(ROW_PIXELS);
    let text = Text {
        title,
        description,
        unit: "none",
    };
    let options = Options::Text {
        mode: "markdown",
        content,
    };
    let panel = Panel {
        datasource: None,
        ..bare("text", text, Vec::new(), options)
    };
    (height, panel)
}

/// Of a text over the whole width of a laptop's screen, 1366 pixels.
const LETTERS_OF_A_LINE: usize = 175;
const LINE_PIXELS: u32 = 22;
/// The panel's frame and title.
const AROUND_TEXT_PIXELS: u32 = 56;
/// A unit of the grid with the gap below it.
const ROW_PIXELS: u32 = 38;

/// The newest traces that a search in `TraceQL` finds, each a link.
pub(crate) fn traces(text: Text, query: String) -> Panel {
    let target = TracesTarget {
        ref_id: "A".to_owned(),
        datasource: DataSource::TRACES,
        query_type: "traceql",
        query,
        limit: MOST_TRACES,
        table_type: "traces",
        filters: [],
    };
    let options = Options::Table {
        show_header: true,
        frame_index: 0,
        sort_by: Vec::new(),
    };
    let mut panel = bare("table", text, Vec::new(), options);
    panel.datasource = Some(DataSource::TRACES);
    panel.targets = vec![Target::Traces(target)];
    panel.field_config.defaults.no_value = Some("no such trace in this range");
    panel.field_config.defaults.custom = Some(Custom::CELLS);
    panel
}

/// What a search for traces lists.
const MOST_TRACES: u32 = 20;

/// Lines over time, from 0 up.
pub(crate) fn lines(text: Text, targets: Vec<MetricsTarget>) -> Panel {
    let options = Options::Lines {
        legend: Legend {
            calcs: ["lastNotNull", "max"],
            display_mode: "table",
            placement: "bottom",
            show_legend: true,
            sort_by: "Last *",
            sort_desc: true,
        },
        tooltip: Tooltip {
            mode: "multi",
            sort: "desc",
        },
    };
    let mut panel = bare("timeseries", text, targets, options);
    let defaults = &mut panel.field_config.defaults;
    defaults.min = Some(0.0);
    defaults.color = Some(Color {
        mode: "palette-classic",
        fixed_color: None,
    });
    defaults.custom = Some(drawn(10, Stacking::NONE));
    panel
}

/// Areas on top of each other.
pub(crate) fn stacked(text: Text, targets: Vec<MetricsTarget>) -> Panel {
    let mut panel = lines(text, targets);
    panel.field_config.defaults.custom = Some(drawn(60, Stacking::NORMAL));
    panel
}

fn drawn(fill_opacity: u8, stacking: Stacking) -> Custom {
    Custom::Lines {
        draw_style: "line",
        line_width: 1,
        fill_opacity,
        show_points: "never",
        stacking,
    }
}

/// Draws the series of this legend as a dashed line that is in no stack: something to compare with.
pub(crate) fn reference(legend: &str) -> Override {
    Override::by_name(
        legend,
        vec![
            Property::LineStyle(LineStyle {
                fill: "dash",
                dash: [8, 6],
            }),
            Property::FillOpacity(0),
            Property::Stacking(Stacking::NONE),
            Property::Color(Color {
                mode: "fixed",
                fixed_color: Some(ORANGE),
            }),
        ],
    )
}

/// One number. `limits` are the values from which it is doubtful and bad; equal ones leave out the doubt.
pub(crate) fn number(text: Text, expr: String, limits: Option<(f64, f64)>) -> Panel {
    let reduce_options = ReduceOptions {
        calcs: ["lastNotNull"],
        fields: "",
        values: false,
    };
    let graph_mode = if limits.is_some() { "none" } else { "area" };
    let options = Options::Stat {
        color_mode: "value",
        graph_mode,
        reduce_options,
    };
    let mut panel = bare("stat", text, vec![over_time("A", expr, "")], options);
    panel.field_config.defaults.color = Some(Color {
        mode: "thresholds",
        fixed_color: None,
    });
    panel.field_config.defaults.thresholds = Some(Thresholds {
        mode: "absolute",
        steps: steps(limits),
    });
    panel
}

fn steps(limits: Option<(f64, f64)>) -> Vec<Step> {
    let Some((doubtful, bad)) = limits else {
        return vec![Step {
            value: None,
            color: "text",
        }];
    };
    let mut steps = vec![Step {
        value: None,
        color: GREEN,
    }];
    if doubtful < bad {
        steps.push(Step {
            value: Some(doubtful),
            color: ORANGE,
        });
    }
    steps.push(Step {
        value: Some(bad),
        color: RED,
    });
    steps
}
