use std::collections::{BTreeMap, HashMap};

use crate::wire::host::{Host, HostPort, Scheme};

/// Which hosts a pattern covers, beside or instead of the one that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Covers {
    Host,
    HostAndBelow,
    Below,
}

/// Which ports a pattern covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ports {
    /// None, and those that count as none.
    Usual,
    Only(u16),
    Any,
}

impl Ports {
    /// Those of one place, whatever the scheme.
    pub(super) fn of(host: &HostPort<'_>) -> Self {
        host.unusual_port().map_or(Self::Usual, Self::Only)
    }
}

/// Patterns of hosts, each with a rank. What a search costs depends on the labels of the patterns, and neither on their
/// number nor on the host that is searched.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns {
    by_host: HashMap<Host<'static>, BTreeMap<Ports, Ranks>>,
    /// Labels of the longest name that covers what is below it.
    labels: usize,
}

/// The lowest rank of all patterns that name this host, by what they cover.
#[derive(Clone, Copy, Debug, Default)]
struct Ranks {
    itself: Option<usize>,
    below: Option<usize>,
}

impl Patterns {
    pub(super) fn is_empty(&self) -> bool {
        self.by_host.is_empty()
    }

    pub(super) fn add(&mut self, covers: Covers, host: Host<'static>, ports: Ports, rank: usize) {
        let (itself, below) = match covers {
            Covers::Host => (Some(rank), None),
            Covers::HostAndBelow => (Some(rank), Some(rank)),
            Covers::Below => (None, Some(rank)),
        };
        self.merge(host, ports, Ranks { itself, below });
    }

    /// All patterns of another set, with this rank.
    pub(super) fn add_all(&mut self, other: &Self, rank: usize) {
        for (host, by_ports) in &other.by_host {
            for (ports, ranks) in by_ports {
                let ranks = Ranks { itself: ranks.itself.map(|_| rank), below: ranks.below.map(|_| rank) };
                self.merge(host.clone(), *ports, ranks);
            }
        }
    }

    fn merge(&mut self, host: Host<'static>, ports: Ports, ranks: Ranks) {
        if ranks.below.is_some() {
            self.labels = self.labels.max(host.above().count().saturating_add(1));
        }
        let known = self.by_host.entry(host).or_default().entry(ports).or_default();
        known.itself = known.itself.into_iter().chain(ranks.itself).min();
        known.below = known.below.into_iter().chain(ranks.below).min();
    }

    /// The same, and what covered the usual ports covers all.
    pub(super) fn on_any_port(&self) -> Self {
        let mut patterns = Self::default();
        for (host, by_ports) in &self.by_host {
            for (ports, ranks) in by_ports {
                let ports = if *ports == Ports::Usual { Ports::Any } else { *ports };
                patterns.merge(host.clone(), ports, *ranks);
            }
        }
        patterns
    }

    /// The lowest rank of the patterns that cover this host under this scheme.
    pub(super) fn rank(&self, scheme: Scheme, host: &HostPort<'_>) -> Option<usize> {
        let port = host.unusual_port();
        let ports = [
            Some(Ports::Any),
            Some(Ports::Only(port.unwrap_or(scheme.default_port()))),
            port.is_none().then_some(Ports::Usual),
        ];
        let lowest = |host: &Host<'_>, rank: fn(&Ranks) -> Option<usize>| {
            let by_ports = self.by_host.get(host)?;
            ports.iter().flatten().filter_map(|ports| rank(by_ports.get(ports)?)).min()
        };
        let itself = lowest(host.host(), |ranks| ranks.itself);
        let above = host.host().above().take(self.labels);
        let below = above.filter_map(|above| lowest(&above, |ranks| ranks.below));
        itself.into_iter().chain(below).min()
    }
}
