use std::fmt;
use std::time::Duration;

use super::super::pool::{Order, Route, State, WHOLE};
use super::Operator;

/// What an operator did, in the extensions of the answer: for the log. Refused requests have a
/// [`Refusal`](crate::Refusal) there.
///
/// Its text is `operator="alice" route=http-1 action=drain`, in one line whatever the operator's id holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminAction {
    pub(super) operator: Operator,
    pub(super) route: Route,
    pub(super) change: AdminChange,
}

impl AdminAction {
    /// Who.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// With which member.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// What.
    pub fn change(&self) -> AdminChange {
        self.change
    }
}

impl fmt::Display for AdminAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operator={:?} route={} action={}", self.operator.id(), self.route, self.change)
    }
}

/// A change of a member that operators can ask for. Its text is `enable`, `drain`, `drain minutes=30`, `disable`, `stop`
/// or `weight weight=2.25`, the fields of its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdminChange {
    /// [`State::Ok`].
    Enable,
    /// [`State::Drain`].
    Drain {
        /// How long clients that are pinned to the member may come: see
        /// [`Membership::drain`](super::super::Membership::drain). `None`: as long as they like.
        minutes: Option<u32>,
    },
    /// [`State::Disabled`].
    Disable,
    /// [`State::Stopped`].
    Stop,
    /// Another weight.
    Weight {
        /// 225 for 2.25.
        hundredths: u32,
    },
}

impl AdminChange {
    /// What [`name`](Self::name) gives.
    pub(super) const NAMES: [&str; 5] = ["enable", "drain", "disable", "stop", "weight"];

    /// `None` where the action is unknown, its field is missing or unreadable, or there is one too many.
    pub(super) fn parse(action: &str, weight: Option<&str>, minutes: Option<&str>) -> Option<Self> {
        Some(match (action, weight, minutes) {
            ("enable", None, None) => Self::Enable,
            ("drain", None, None | Some("")) => Self::Drain { minutes: None },
            ("drain", None, Some(minutes)) => Self::Drain { minutes: Some(number(minutes)?) },
            ("disable", None, None) => Self::Disable,
            ("stop", None, None) => Self::Stop,
            ("weight", Some(weight), None) => Self::Weight { hundredths: hundredths(weight)? },
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Enable => "enable",
            Self::Drain { .. } => "drain",
            Self::Disable => "disable",
            Self::Stop => "stop",
            Self::Weight { .. } => "weight",
        }
    }

    pub(super) fn order(self) -> Order {
        match self {
            Self::Enable => Order::State(State::Ok),
            Self::Drain { minutes: None } => Order::State(State::Drain),
            Self::Drain { minutes: Some(minutes) } => {
                Order::Drain(Duration::from_secs(u64::from(minutes).saturating_mul(60)))
            }
            Self::Disable => Order::State(State::Disabled),
            Self::Stop => Order::State(State::Stopped),
            Self::Weight { hundredths } => Order::Weight { hundredths },
        }
    }
}

impl fmt::Display for AdminChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Drain { minutes: Some(minutes) } => write!(f, " minutes={minutes}"),
            Self::Weight { hundredths } => write!(f, " weight={}", Hundredths(*hundredths)),
            _ => Ok(()),
        }
    }
}

/// Prints 225 as `2.25`, 250 as `2.5` and 200 as `2`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hundredths(pub(super) u32);

impl fmt::Display for Hundredths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / WHOLE, self.0 % WHOLE);
        match (rest, rest % 10) {
            (0, _) => write!(f, "{whole}"),
            (_, 0) => write!(f, "{whole}.{}", rest / 10),
            _ => write!(f, "{whole}.{rest:02}"),
        }
    }
}

fn hundredths(text: &str) -> Option<u32> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    let rest = match rest.len() {
        1 => number(rest)?.checked_mul(10)?,
        2 => number(rest)?,
        _ => return None,
    };
    number(whole)?.checked_mul(WHOLE)?.checked_add(rest)
}

/// Digits alone, without a sign.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_action_reads_in_one_line_of_a_log() {
        let action = AdminAction {
            operator: Operator::new("a\nb\" route=x"),
            route: Route::parse("http-1").unwrap(),
            change: AdminChange::Weight { hundredths: 225 },
        };
        let line = r#"operator="a\nb\" route=x" route=http-1 action=weight weight=2.25"#;
        assert_eq!(action.to_string(), line);
    }

    #[test]
    fn changes_have_exactly_their_fields() {
        let parse = AdminChange::parse;
        assert_eq!(parse("drain", None, Some("30")), Some(AdminChange::Drain { minutes: Some(30) }));
        assert_eq!(parse("drain", None, Some("")), Some(AdminChange::Drain { minutes: None }));
        for name in AdminChange::NAMES {
            let weight = (name == "weight").then_some("1");
            assert_eq!(parse(name, weight, None).map(AdminChange::name), Some(name));
            if name != "drain" {
                assert_eq!(parse(name, weight, Some("")), None, "{name}");
            }
            if name != "weight" {
                assert_eq!(parse(name, Some("1"), None), None, "{name}");
            }
        }
        for bad in ["", "Drain", "remove", "eject", "drain "] {
            assert_eq!(parse(bad, None, None), None, "{bad}");
        }
        assert_eq!(parse("weight", None, None), None);
        for bad in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e2",
            "1.234",
            "1,5",
            " 1",
            "0x1",
            "NaN",
            "42949673",
            "42949672.96",
            "١",
        ] {
            assert_eq!(parse("weight", Some(bad), None), None, "{bad}");
        }
        for bad in ["-1", "+1", "1.5", "4294967296", " ", "never"] {
            assert_eq!(parse("drain", None, Some(bad)), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn weights_read_as_they_print(hundredths: u32) {
            let text = Hundredths(hundredths).to_string();
            prop_assert_eq!(super::hundredths(&text), Some(hundredths));
        }
    }
}
