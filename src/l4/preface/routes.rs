//! Which service carries connections to which server name.

use std::collections::HashMap;

use crate::l4::settings::Route;

/// Routes, compiled: a name is found by as many look-ups as it has labels, however many there are.
#[derive(Debug, Default)]
pub struct Routes {
    /// For each very name, which route it is of.
    exact: HashMap<Box<str>, usize>,
    /// The same for what stands after `*.`.
    below: HashMap<Box<str>, usize>,
}

impl Routes {
    /// Of these; the first of two that have the same name counts.
    pub fn new(routes: &[Route]) -> Routes {
        let mut compiled = Routes::default();
        for (index, route) in routes.iter().enumerate() {
            for name in &route.names {
                let (table, name) = match name.strip_prefix("*.") {
                    Some(suffix) => (&mut compiled.below, suffix),
                    None => (&mut compiled.exact, name.as_str()),
                };
                table.entry(name.into()).or_insert(index);
            }
        }
        compiled
    }

    /// The index of the route of this name, which is in lower case: that of the very name, else of
    /// the longest name that it is below of.
    pub fn find(&self, name: &str) -> Option<usize> {
        let above = name.match_indices('.').filter_map(|(dot, _)| self.below.get(&name[dot + 1..]));
        self.exact.get(name).into_iter().chain(above).next().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn routes(names: &[&[&str]]) -> Vec<Route> {
        let route = |names: &&[&str]| Route {
            names: names.iter().map(|name| name.to_string()).collect(),
            service: String::new(),
        };
        names.iter().map(route).collect()
    }

    #[test]
    fn the_very_name_is_taken_before_the_longest_suffix_before_shorter_ones() {
        let routes = Routes::new(&routes(&[
            &["*.example.net", "www.example.com"],
            &["*.eu.example.net", "a.eu.example.net"],
            &["*.example.net", "example.net"],
        ]));
        let found = |name| routes.find(name);
        assert_eq!(found("www.example.com"), Some(0));
        assert_eq!(found("x.www.example.com"), None);
        assert_eq!(found("b.eu.example.net"), Some(1));
        assert_eq!(found("a.eu.example.net"), Some(1));
        assert_eq!(found("eu.example.net"), Some(0), "it is not below itself");
        assert_eq!(found("deep.down.example.net"), Some(0));
        assert_eq!(found("example.net"), Some(2));
        assert_eq!(found("badexample.net"), None, "a suffix begins at a dot");
        assert_eq!(found(""), None);
    }

    proptest! {
        #[test]
        fn a_name_is_found_as_by_a_look_at_each_route(
            names in prop::collection::vec("(\\*\\.)?([ab]\\.){0,3}[ab]", 0..20),
            name in "([ab]\\.){0,4}[ab]",
        ) {
            let each: Vec<Vec<&str>> = names.iter().map(|name| vec![name.as_str()]).collect();
            let each: Vec<&[&str]> = each.iter().map(Vec::as_slice).collect();
            let by_hand = |pattern: &String| match pattern.strip_prefix('*') {
                Some(suffix) => (name.len() > suffix.len() && name.ends_with(suffix))
                    .then_some(suffix.len()),
                None => (*pattern == name).then_some(usize::MAX),
            };
            let fits = names.iter().enumerate().filter_map(|(i, p)| Some((i, by_hand(p)?)));
            // The first of the longest.
            let wanted = fits.rev().max_by_key(|(_, length)| *length).map(|(index, _)| index);
            prop_assert_eq!(Routes::new(&routes(&each)).find(&name), wanted);
        }
    }
}
