/// All of a member that one compare-and-swap changes: what the operator wants, apart from what requests find out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) intent: Intent,
    /// One request tries the ejected member.
    pub(super) is_probed: bool,
    /// In a row, the one that lasts included.
    pub(super) ejections: u8,
    /// In a row, of a member that is not ejected.
    pub(super) failures: u8,
    /// 0 where the member is not ejected.
    pub(super) retry_at: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Intent {
    #[default]
    Ok,
    Drain,
    Disabled,
    Stopped,
}

/// 2 bits of intent, 1 of the probe, 5 of ejections, 8 of failures, 48 of time.
impl Word {
    pub(super) const MOST_EJECTIONS: u8 = 31;
    pub(super) const LATEST: u64 = u64::MAX >> 16;

    pub(super) fn is_ejected(self) -> bool {
        self.retry_at != 0
    }

    pub(super) fn is_down(self) -> bool {
        self.is_ejected() || self.intent == Intent::Disabled
    }

    pub(super) fn may_be_tried(self, now: u64) -> bool {
        !self.is_ejected() || (now > self.retry_at && !self.is_probed)
    }

    /// A failure while the member is ejected already says nothing new, and must not double the wait. Of a stopped one
    /// nobody asks.
    pub(super) fn may_be_ejected(self, now: u64) -> bool {
        self.intent != Intent::Stopped && (!self.is_ejected() || now > self.retry_at)
    }

    pub(super) fn pack(self) -> u64 {
        let intent = match self.intent {
            Intent::Ok => 0,
            Intent::Drain => 1,
            Intent::Disabled => 2,
            Intent::Stopped => 3,
        };
        intent
            | u64::from(self.is_probed) << 2
            | u64::from(self.ejections.min(Self::MOST_EJECTIONS)) << 3
            | u64::from(self.failures) << 8
            | self.retry_at << 16
    }

    pub(super) fn unpack(word: u64) -> Self {
        let [flags, failures, ..] = word.to_le_bytes();
        Self {
            intent: match flags & 3 {
                0 => Intent::Ok,
                1 => Intent::Drain,
                2 => Intent::Disabled,
                _ => Intent::Stopped,
            },
            is_probed: flags & 4 != 0,
            ejections: flags >> 3,
            failures,
            retry_at: word >> 16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_pack() {
        for intent in [Intent::Ok, Intent::Drain, Intent::Disabled, Intent::Stopped] {
            for (is_probed, ejections, failures, retry_at) in
                [(false, 0, 0, 0), (true, 31, 255, Word::LATEST), (true, 5, 0, 1), (false, 0, 7, 0)]
            {
                let word = Word { intent, is_probed, ejections, failures, retry_at };
                assert_eq!(Word::unpack(word.pack()), word);
            }
        }
    }
}
