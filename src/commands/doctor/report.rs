//! What `impasto doctor` found, for people and for programs.

use serde::Serialize;

/// Everything that was looked at.
#[derive(Debug, Serialize)]
pub struct Report {
    /// impasto's version.
    pub version: &'static str,
    /// Whether networks run and are whole.
    pub can_paint: bool,
    /// By subject.
    pub sections: Vec<Section>,
}

/// What belongs together.
#[derive(Debug, Serialize)]
pub struct Section {
    /// The subject.
    pub name: &'static str,
    /// In the order in which they are shown.
    pub checks: Vec<Check>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It can be used.
    Ok,
    /// It is not there, and nothing that was installed needs it.
    Absent,
    /// It is there and cannot be used, or it is needed and not there.
    Broken,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is.
    pub name: String,
    /// How it is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do; always there unless the state is ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Check {
    /// Something that can be used.
    pub fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Ok, found: found.into(), advice: None }
    }

    /// Something that is not there and not needed.
    pub fn absent(name: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Absent, found: found.into(), advice: Some(advice.into()) }
    }

    /// Something that is wrong.
    pub fn broken(name: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Broken, found: found.into(), advice: Some(advice.into()) }
    }
}

impl Report {
    /// For people: a line for each check, and what to do below those that are not well.
    pub fn text(&self) -> String {
        let mut text = format!("impasto {}\n", self.version);
        let checks = self.sections.iter().flat_map(|section| &section.checks);
        let width = checks.map(|check| check.name.chars().count()).max().unwrap_or(0);
        for section in &self.sections {
            text += &format!("\n{}\n", section.name);
            for check in &section.checks {
                let mark = match check.state {
                    State::Ok => "ok",
                    State::Absent => "- ",
                    State::Broken => "!!",
                };
                text += &format!("  {mark}  {:<width$}  {}\n", check.name, check.found);
                if let Some(advice) = &check.advice {
                    text += &format!("      {:width$}  → {advice}\n", "");
                }
            }
        }
        text + match self.can_paint {
            true => "\nimpasto can paint on this machine.\n",
            false => "\nimpasto cannot paint on this machine: see the lines with !!.\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(can_paint: bool) -> Report {
        let checks = vec![
            Check::ok("CPU", "paints"),
            Check::absent("CUDA", "not in this build", "make gpu"),
            Check::broken("a longer name", "no file", "put it there"),
        ];
        Report { version: "1.2.3", can_paint, sections: vec![Section { name: "devices", checks }] }
    }

    #[test]
    fn what_is_not_well_is_marked_and_followed_by_what_to_do() {
        let expected = "\
impasto 1.2.3

devices
  ok  CPU            paints
  -   CUDA           not in this build
                     → make gpu
  !!  a longer name  no file
                     → put it there

impasto can paint on this machine.
";
        assert_eq!(report(true).text(), expected);
        assert!(report(false).text().ends_with("see the lines with !!.\n"));
    }

    #[test]
    fn programs_get_the_same() {
        let json: serde_json::Value = serde_json::to_value(report(true)).unwrap();
        assert_eq!(json["can_paint"], true);
        let checks = &json["sections"][0]["checks"];
        assert_eq!(checks[0]["state"], "ok");
        assert!(checks[0].get("advice").is_none());
        assert_eq!((&checks[1]["state"], &checks[1]["advice"]), (&"absent".into(), &"make gpu".into()));
        assert_eq!(checks[2]["state"], "broken");
    }
}
