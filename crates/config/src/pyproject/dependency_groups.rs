//! Dependency groups (PEP 735).
//!
//! As the PEP requires, only the requested group and the groups that it includes are validated.

use toml::{Table, Value};

use super::{ProjectError, PyProject};
use crate::names::normalize_name;

const KIND: &str = "dependency group";
const KEY: &str = "dependency-groups";

impl PyProject {
    /// Returns the PEP 508 requirements of a dependency group.
    ///
    /// # Errors
    /// Fails if the group does not exist, if groups include each other, and if
    /// an item is neither a string nor `{include-group = "name"}`.
    pub fn group(&self, name: &str) -> Result<Vec<String>, ProjectError> {
        let none = Table::new();
        let groups = self.table(&self.document, KEY, KEY)?.unwrap_or(&none);
        let mut texts = Vec::new();
        self.collect_group(groups, name, &mut Vec::new(), &mut texts)?;
        Ok(texts)
    }

    /// Returns the normalized names of the groups, sorted.
    ///
    /// # Errors
    /// Fails if `dependency-groups` is not a table.
    pub fn group_names(&self) -> Result<Vec<String>, ProjectError> {
        let groups = self.table(&self.document, KEY, KEY)?;
        let names = groups.into_iter().flat_map(Table::keys);
        let mut names: Vec<_> = names.map(|name| normalize_name(name)).collect();
        names.sort();
        Ok(names)
    }

    fn collect_group(
        &self,
        groups: &Table,
        name: &str,
        open: &mut Vec<String>,
        texts: &mut Vec<String>,
    ) -> Result<(), ProjectError> {
        let (written, value) = self.find_name(groups, KIND, name)?;
        self.enter(KIND, open, normalize_name(name))?;
        let key = format!("{KEY}.{written}");
        for (index, item) in self.list(value, &key)?.iter().enumerate() {
            match (item.as_str(), included_group(item)) {
                (Some(text), _) => texts.push(text.to_owned()),
                (None, Some(included)) => self.collect_group(groups, included, open, texts)?,
                (None, None) => {
                    let expected = "a text or `{include-group = \"name\"}`";
                    return Err(self.fault(format!("{key}[{index}]"), expected));
                }
            }
        }
        open.pop();
        Ok(())
    }
}

/// Returns the name in `{include-group = "name"}`; `None` for any other table.
fn included_group(item: &Value) -> Option<&str> {
    let table = item.as_table().filter(|table| table.len() == 1)?;
    table.get("include-group")?.as_str()
}
