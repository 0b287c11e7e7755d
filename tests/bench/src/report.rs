//! What a run prints: one row a figure.

use serde_json::{Value, json};

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One JSON object a line.
    Json,
    /// Columns for people.
    Table,
}

/// What a figure should reach.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// Ours divided by the peer's, at most.
    RatioAtMost(f64),
    /// Ours divided by the peer's, at least.
    RatioAtLeast(f64),
    /// Our own figure, at most.
    AtMost(f64),
}

/// One figure, ours and where there is one a peer's.
#[derive(Clone, Debug)]
pub struct Row {
    pub bench: &'static str,
    pub case: String,
    pub unit: &'static str,
    pub ours: f64,
    pub peer: Option<(&'static str, f64)>,
    pub goal: Option<Goal>,
}

impl Row {
    #[must_use]
    pub fn new(
        bench: &'static str,
        case: impl Into<String>,
        unit: &'static str,
        ours: f64,
    ) -> Self {
        Self {
            bench,
            case: case.into(),
            unit,
            ours,
            peer: None,
            goal: None,
        }
    }

    #[must_use]
    pub fn beside(self, name: &'static str, figure: f64) -> Self {
        Self {
            peer: Some((name, figure)),
            ..self
        }
    }

    #[must_use]
    pub fn goal(self, goal: impl Into<Option<Goal>>) -> Self {
        Self {
            goal: goal.into(),
            ..self
        }
    }

    fn ratio(&self) -> Option<f64> {
        self.peer.map(|(_, peer)| self.ours / peer)
    }

    fn met(&self) -> Option<bool> {
        match self.goal? {
            Goal::RatioAtMost(most) => Some(self.ratio()? <= most),
            Goal::RatioAtLeast(least) => Some(self.ratio()? >= least),
            Goal::AtMost(most) => Some(self.ours <= most),
        }
    }

    fn json(&self) -> Value {
        json!({
            "bench": self.bench,
            "case": self.case,
            "unit": self.unit,
            "ours": rounded(self.ours),
            "peer": self.peer.map(|(_, figure)| rounded(figure)),
            "peer_name": self.peer.map(|(name, _)| name),
            "ratio": self.ratio().map(rounded),
            "goal": self.goal.map(|goal| match goal {
                Goal::RatioAtMost(x) | Goal::RatioAtLeast(x) | Goal::AtMost(x) => x,
            }),
            "met": self.met(),
        })
    }

    fn columns(&self) -> [String; 8] {
        let figure = |value: Option<f64>| value.map_or("-".to_owned(), |v| rounded(v).to_string());
        [
            self.bench.to_owned(),
            self.case.clone(),
            self.unit.to_owned(),
            figure(Some(self.ours)),
            figure(self.peer.map(|(_, figure)| figure)),
            self.peer.map_or("-", |(name, _)| name).to_owned(),
            figure(self.ratio()),
            self.verdict(),
        ]
    }

    fn verdict(&self) -> String {
        let bound = match self.goal {
            None => return "-".to_owned(),
            Some(Goal::RatioAtMost(most)) => format!("ratio <= {most}"),
            Some(Goal::RatioAtLeast(least)) => format!("ratio >= {least}"),
            Some(Goal::AtMost(most)) => format!("<= {most}"),
        };
        let met = if self.met() == Some(true) {
            "met"
        } else {
            "MISSED"
        };
        format!("{bound} {met}")
    }
}

/// Prints rows as they come.
#[derive(Debug)]
pub struct Report {
    style: Style,
}

impl Report {
    #[must_use]
    pub fn new(style: Style) -> Self {
        let report = Self { style };
        if style == Style::Table {
            print(&["bench", "case", "unit", "ours", "peer", "", "ratio", "goal"]);
        }
        report
    }

    pub fn row(&self, row: &Row) {
        match self.style {
            Style::Json => println!("{}", row.json()),
            Style::Table => print(&row.columns().each_ref().map(String::as_str)),
        }
    }
}

fn print(columns: &[&str; 8]) {
    let [bench, case, unit, ours, peer, name, ratio, goal] = columns;
    println!("{bench:<9}{case:<31}{unit:<22}{ours:>10}{peer:>10} {name:<20}{ratio:>7}  {goal}");
}

/// Four significant digits say all that such figures can.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    let rounded = format!("{value:.*}", usize::try_from(digits).unwrap_or(0));
    rounded.parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::{Goal, Row, rounded};

    #[test]
    fn a_ratio_is_ours_by_the_peers_and_is_held_against_the_goal() {
        let row = Row::new("http", "x", "us", 8.0).beside("nginx", 10.0);
        let json = row.clone().goal(Goal::RatioAtMost(0.8)).json();
        assert_eq!((&json["ratio"], &json["met"]), (&0.8.into(), &true.into()));
        let json = row.clone().goal(Goal::RatioAtMost(0.7)).json();
        assert_eq!(json["met"], false);
        for (least, met) in [(0.8, true), (0.9, false)] {
            let json = row.clone().goal(Goal::RatioAtLeast(least)).json();
            assert_eq!(json["met"], met);
        }
        let json = row.json();
        assert!(json["goal"].is_null() && json["met"].is_null());
    }

    #[test]
    fn a_figure_without_a_peer_is_held_against_the_goal_itself() {
        let json = Row::new("http", "x", "s", 1.5)
            .goal(Goal::AtMost(2.0))
            .json();
        assert_eq!(json["met"], true);
        assert!(json["ratio"].is_null() && json["peer_name"].is_null());
    }

    #[test]
    fn figures_keep_four_digits() {
        for (value, want) in [
            (0.0, 0.0),
            (0.123_456, 0.1235),
            (34.123_4, 34.12),
            (27_345.6, 27_346.0),
        ] {
            assert_eq!(rounded(value), want);
        }
    }
}
