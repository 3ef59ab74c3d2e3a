//! Prints the steps of the demo side by side, and counts those that did not show what they must.

/// What happened in one step, in three columns.
pub(crate) struct Step {
    pub(crate) title: &'static str,
    pub(crate) sent: Vec<String>,
    pub(crate) saw: Vec<String>,
    pub(crate) back: Vec<String>,
    /// What must be so, and whether it is.
    pub(crate) must: Vec<(&'static str, bool)>,
}

#[derive(Default)]
pub(crate) struct Walk {
    steps: usize,
    failed: usize,
}

const WIDTHS: [usize; 3] = [42, 42, 42];

impl Walk {
    pub(crate) fn show(&mut self, step: Step) {
        self.steps += 1;
        println!("\n{}. {}", self.steps, step.title);
        let columns = [
            column("what was sent", &step.sent, WIDTHS[0]),
            column("what the application saw", &step.saw, WIDTHS[1]),
            column("what came back", &step.back, WIDTHS[2]),
        ];
        for row in 0..columns.iter().map(Vec::len).max().unwrap_or(0) {
            let cells = columns.iter().zip(WIDTHS).map(|(column, width)| {
                let text = column.get(row).map_or("", String::as_str);
                format!("{text:<width$}")
            });
            println!("   {}", cells.collect::<Vec<_>>().join(" | ").trim_end());
        }
        for (what, holds) in &step.must {
            println!("   {} {what}", if *holds { "ok:  " } else { "NOT: " });
        }
        self.failed += usize::from(step.must.iter().any(|(_, holds)| !holds));
    }

    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    pub(crate) fn failed(&self) -> usize {
        self.failed
    }
}

fn column(head: &str, lines: &[String], width: usize) -> Vec<String> {
    let mut column = vec![head.to_owned(), "-".repeat(width)];
    for line in lines {
        let mut rest: Vec<char> = line.chars().collect();
        let mut indent = 0;
        while rest.len() + indent > width {
            // Behind a blank or a slash, if there is one not too far to the left.
            let room = width - indent;
            let cut =
                (room / 2..room).rev().find(|at| matches!(rest[*at], ' ' | '/')).map_or(room, |at| at + 1);
            column.push(" ".repeat(indent) + &rest.drain(..cut).collect::<String>());
            indent = 4;
        }
        column.push(" ".repeat(indent) + &rest.into_iter().collect::<String>());
    }
    column
}
