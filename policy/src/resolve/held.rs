//! What many rules say alike, resolved once and held once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::front::Written;
use crate::hash::Keyed;
use crate::ir::{Pattern, Who};
use crate::syntax::Word;
use crate::text::Text;

/// What lists of words and paths came to, by their words.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) who: Lists<Arc<Who>>,
    pub(super) zones: Lists<Arc<[u32]>>,
    pub(super) schedules: Lists<Arc<[u32]>>,
    pub(super) methods: Lists<Arc<[Text]>>,
    /// Paths of apps that tell cases apart, and of those that do not.
    pub(super) patterns: [HashMap<Text, Arc<Pattern>, Keyed>; 2],
    /// Keys of the front.
    pub(super) fronts: HashSet<Arc<Written>, Keyed>,
    pub(super) root: Arc<Pattern>,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            who: Lists::default(),
            zones: Lists::default(),
            schedules: Lists::default(),
            methods: Lists::default(),
            patterns: Default::default(),
            fronts: HashSet::default(),
            root: Arc::new(Pattern::root()),
        }
    }
}

/// Lists of words with what they came to, where nothing was wrong with them.
#[derive(Debug)]
pub(super) struct Lists<T> {
    one: HashMap<Text, T, Keyed>,
    many: HashMap<Box<[Text]>, T, Keyed>,
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self {
            one: HashMap::default(),
            many: HashMap::default(),
        }
    }
}

impl<T: Clone> Lists<T> {
    pub(super) fn get(&self, words: &[Word]) -> Option<T> {
        if let [word] = words {
            return self.one.get(&word.v).cloned();
        }
        self.many.get(key(words).as_slice()).cloned()
    }

    pub(super) fn keep(&mut self, words: &[Word], value: T) {
        if let [word] = words {
            self.one.insert(word.v.clone(), value);
        } else {
            self.many.insert(key(words).into(), value);
        }
    }
}

fn key(words: &[Word]) -> Vec<Text> {
    words.iter().map(|word| word.v.clone()).collect()
}
