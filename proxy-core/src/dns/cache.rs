//! What was answered, for as long as it may be believed, and no more of it than fits.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;

use super::{Answer, Question};
use crate::time::{Instant, Millis};

/// How many answers are kept. Above that, the one that would go first by itself goes.
pub const ANSWERS_MAX: usize = 4096;
/// An answer is believed for as long as this at least, as in nginx, which counts in whole seconds: the requests that wait
/// for a name share its answer even where it says zero.
const TTL_MIN: Millis = Millis::from_secs(1);
/// And for no longer than this (RFC 8767, 4, allows a cap of days).
const TTL_MAX: Millis = Millis::from_secs(24 * 3600);
/// "There is nothing" is believed for no longer than this, so that a name that appears is soon found.
const NEGATIVE_MAX: Millis = Millis::from_secs(5);

/// An answer, and until when it may be believed.
#[derive(Clone, Debug)]
pub struct Known {
    /// What was said.
    pub answer: Arc<Answer>,
    /// Until when.
    pub until: Instant,
}

/// The answers of one resolver's name servers.
#[derive(Debug, Default)]
pub struct Cache {
    answers: BTreeMap<Question, Known>,
    /// The same, the first to go in front.
    order: BTreeSet<(Instant, Question)>,
}

impl Cache {
    /// What is known, if it may still be believed.
    #[must_use]
    pub fn find(&self, question: &Question, now: Instant) -> Option<&Known> {
        self.answers.get(question).filter(|known| now < known.until)
    }

    /// Keeps an answer. `valid` stands for the time that it came with.
    pub fn keep(
        &mut self,
        question: &Question,
        answer: Answer,
        valid: Option<Millis>,
        now: Instant,
    ) -> Known {
        let until = now + lifetime(&answer, valid);
        let known = Known { answer: Arc::new(answer), until };
        if let Some(old) = self.answers.insert(question.clone(), known.clone()) {
            self.order.remove(&(old.until, question.clone()));
        }
        self.order.insert((until, question.clone()));
        if self.answers.len() > ANSWERS_MAX
            && let Some((_, first)) = self.order.pop_first()
        {
            self.answers.remove(&first);
        }
        debug_assert!(self.answers.len() == self.order.len() && self.answers.len() <= ANSWERS_MAX);
        known
    }

    /// How many answers are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }
}

fn lifetime(answer: &Answer, valid: Option<Millis>) -> Millis {
    match answer {
        Answer::Records { ttl_s, .. } | Answer::Alias { ttl_s, .. } => {
            valid.unwrap_or(Millis::from_secs(u64::from(*ttl_s))).clamp(TTL_MIN, TTL_MAX)
        }
        Answer::Nothing { ttl_s: Some(ttl_s) } => {
            Millis::from_secs(u64::from(*ttl_s)).clamp(TTL_MIN, NEGATIVE_MAX)
        }
        Answer::Nothing { ttl_s: None } | Answer::Truncated | Answer::Failed(_) => TTL_MIN,
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::super::{Kind, Name};
    use super::*;

    #[test]
    fn answers_go_in_time_and_when_there_are_too_many() {
        let question = |n: usize| Question {
            name: Name::from_text(&format!("n{n}")).unwrap_or_else(|| panic!("{n}")),
            kind: Kind::A,
        };
        let at = |s| Instant::default() + Millis::from_secs(s);
        let lasting = |ttl_s| Answer::Records { records: alloc::vec![], ttl_s };
        let mut cache = Cache::default();
        cache.keep(&question(0), lasting(0), None, at(0));
        cache.keep(&question(1), lasting(0), Some(Millis::from_secs(7)), at(0));
        cache.keep(&question(2), Answer::Nothing { ttl_s: Some(900) }, Some(Millis::from_secs(900)), at(0));
        cache.keep(&question(3), lasting(u32::MAX), None, at(0));
        let known = |cache: &Cache, s| [0, 1, 2, 3].map(|n| cache.find(&question(n), at(s)).is_some());
        assert_eq!(known(&cache, 0), [true; 4]);
        assert_eq!(known(&cache, 1), [false, true, true, true]);
        assert_eq!(known(&cache, 5), [false, true, false, true]);
        assert_eq!(known(&cache, 7), [false, false, false, true]);
        assert_eq!(known(&cache, 86_400), [false; 4]);
        for n in 4..ANSWERS_MAX + 4 {
            cache.keep(&question(n), lasting(100), None, at(0));
        }
        assert_eq!(cache.len(), ANSWERS_MAX);
        assert_eq!(known(&cache, 0), [false, false, false, true], "the shortest-lived go first");
        cache.keep(&question(3), lasting(1), None, at(0));
        assert_eq!((cache.len(), cache.order.len()), (ANSWERS_MAX, ANSWERS_MAX));
    }
}
