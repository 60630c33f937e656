use std::{collections::HashMap, mem};

/// What an isolate remembers of late: by weight, at most twice `capacity`, and one value more.
pub(crate) struct Recent<V> {
    capacity: usize,
    weight: usize,
    young: HashMap<String, (V, usize)>,
    old: HashMap<String, (V, usize)>,
}

impl<V: Clone> Recent<V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            weight: 0,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// What is used stays.
    pub(crate) fn get(&mut self, key: &str) -> Option<V> {
        if let Some((value, _)) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, (value, weight)) = self.old.remove_entry(key)?;
        self.keep(key, value.clone(), weight);
        Some(value)
    }

    pub(crate) fn forget(&mut self, key: &str) {
        self.old.remove(key);
        if let Some((_, weight)) = self.young.remove(key) {
            self.weight -= weight;
        }
    }

    pub(crate) fn keep(&mut self, key: String, value: V, weight: usize) {
        if self.weight + weight > self.capacity {
            self.old = mem::take(&mut self.young);
            self.weight = 0;
        }
        let replaced = self.young.insert(key, (value, weight));
        self.weight += weight;
        self.weight -= replaced.map_or(0, |(_, weight)| weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let mut recent = Recent::new(10);
        recent.keep("used".into(), 0, 1);
        for n in 0..1_000 {
            recent.keep(n.to_string(), n, 2);
            assert_eq!(recent.get("used"), Some(0), "after {n}");
            assert_eq!(recent.get(&n.to_string()), Some(n));
            assert!(recent.young.len() + recent.old.len() <= 20);
        }
        assert_eq!(recent.get("0"), None);
        recent.keep("used".into(), 1, 1);
        assert_eq!(recent.get("used"), Some(1));
        recent.forget("used");
        assert_eq!(recent.get("used"), None);
    }

    #[test]
    fn what_is_larger_than_all_is_remembered_alone() {
        let mut recent = Recent::new(10);
        recent.keep("small".into(), 1, 1);
        recent.keep("huge".into(), 2, 100);
        recent.keep("next".into(), 3, 1);
        assert_eq!(recent.get("huge"), Some(2), "one generation more");
        recent.keep("more".into(), 4, 100);
        recent.keep("last".into(), 5, 1);
        assert_eq!(recent.get("small"), None);
    }
}
