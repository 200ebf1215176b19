//! One copy of each text that repeats: names of 300,000 containers are some thousands.

use std::collections::HashSet;
use std::sync::Arc;

/// The texts that were seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Texts(HashSet<Arc<str>>);

impl Texts {
    /// The one copy of a text.
    pub(crate) fn one(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.0.insert(Arc::clone(&text));
        text
    }

    /// Puts the one copy in the place of a text.
    pub(crate) fn share(&mut self, text: &mut Arc<str>) {
        match self.0.get(text) {
            Some(known) => *text = Arc::clone(known),
            None => {
                self.0.insert(Arc::clone(text));
            }
        }
    }
}
