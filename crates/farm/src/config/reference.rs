//! The documentation and the schema of `farm.toml`, generated from one list of keys.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// The type of a value.
#[derive(Clone, Copy)]
enum ValueKind {
    Text,
    Quantity,
    Texts,
    /// A table of strings.
    Labels,
    Number(u32),
    Tables(&'static [Key]),
}

/// A key, with an example of its value in TOML.
#[derive(Clone, Copy)]
struct Key {
    name: &'static str,
    kind: ValueKind,
    required: bool,
    does: &'static str,
}

const fn key(name: &'static str, kind: ValueKind, does: &'static str) -> Key {
    Key {
        name,
        kind,
        required: false,
        does,
    }
}

const fn required(key: Key) -> Key {
    Key {
        required: true,
        ..key
    }
}

static IMAGES: &[Key] = {
    use ValueKind::{Labels, Text};
    &[
        required(key(
            "image",
            Text,
            "The image, which has the program, the Python and the compilers.",
        )),
        key(
            "python",
            Text,
            "The Python in it, such as `3.12` or `3.13t`; without it, any.",
        ),
        key(
            "platform",
            Text,
            "The platform of its wheels, such as `linux`, `linux-arm64` or `alpine`; without it, any.",
        ),
        key(
            "node-selector",
            Labels,
            "Labels of the nodes for these pods, such as `kubernetes.io/arch`.",
        ),
    ]
};

static RESOURCES: &[Key] = {
    use ValueKind::{Quantity, Text, Texts};
    &[
        required(key(
            "packages",
            Texts,
            "Names of packages, in which `*` stands for any characters.",
        )),
        key("cpu", Text, "The requested processors."),
        key("memory", Quantity, "The memory, requested and at most."),
    ]
};

static TOLERATIONS: &[Key] = {
    use ValueKind::Text;
    &[
        key("key", Text, "The key of the taint; without it, any."),
        key("operator", Text, "`Exists` or `Equal`."),
        key("value", Text, "The value of the taint."),
        key("effect", Text, "The effect of the taint; without it, any."),
    ]
};

static KEYS: &[Key] = {
    use ValueKind::{Labels, Number, Quantity, Tables, Text, Texts};
    &[
        key(
            "namespace",
            Text,
            "The namespace of the Jobs. Default: that of the kubeconfig's context.",
        ),
        key(
            "service-account",
            Text,
            "The service account of the pods, which needs no permissions.",
        ),
        key(
            "cache",
            Text,
            "The shared cache as the pods reach it, if that differs from `--cache-to`.",
        ),
        key(
            "cache-secret",
            Text,
            "A Secret whose keys become variables of the pods: the credentials of the shared cache.",
        ),
        key(
            "sign-secret",
            Text,
            "A Secret whose key `key` is the private key with which the pods sign records, as `--sign` does.",
        ),
        key(
            "program",
            Text,
            "The program in the images. Default: `wheelhouse`.",
        ),
        key(
            "images",
            Tables(IMAGES),
            "The images by Python and platform; the first that fits a step is used.",
        ),
        key(
            "resources",
            Tables(RESOURCES),
            "The resources of packages; the first table that names a package is used.",
        ),
        key(
            "cpu",
            Text,
            "The processors that other steps request. Default: `1`.",
        ),
        key(
            "memory",
            Quantity,
            "The memory of other steps. Default: `2Gi`.",
        ),
        key(
            "memory-limit",
            Quantity,
            "The most memory of a step that is repeated because its memory was too small. Default: `16Gi`.",
        ),
        key(
            "disk",
            Quantity,
            "The size limit of the directory in which a step works. Default: none.",
        ),
        key("node-selector", Labels, "Labels of the nodes for all pods."),
        key(
            "tolerations",
            Tables(TOLERATIONS),
            "Tolerations of all pods.",
        ),
        key("priority-class", Text, "The priority class of the pods."),
        key(
            "image-pull-secrets",
            Texts,
            "Secrets with the credentials of image registries.",
        ),
        key(
            "parallelism",
            Number(1),
            "The number of steps that run at the same time. Default: 16.",
        ),
        key(
            "retries",
            Number(0),
            "The number of times that a step is repeated after its pod was lost. Default: 3.",
        ),
        key(
            "ttl",
            Number(0),
            "The time after which a finished Job is removed, in seconds. Default: 3600.",
        ),
        key(
            "run-ttl",
            Number(1),
            "The time after which the Jobs of a run are removed if it was killed, or cannot reach the API server, in seconds. Longer \
             than the machine of the command may sleep. Default: 3600.",
        ),
        key(
            "deadline",
            Number(1),
            "The time limit of a Job in seconds. Default: 14400.",
        ),
        key(
            "image-timeout",
            Number(1),
            "The time in which an image must be there, in seconds. Default: 300.",
        ),
        key(
            "api-timeout",
            Number(1),
            "The time for which a lost API server is waited for, in seconds. Default: 600.",
        ),
    ]
};

fn expected(kind: ValueKind) -> String {
    match kind {
        ValueKind::Text => "a string".to_owned(),
        ValueKind::Quantity => "a string such as `4Gi`".to_owned(),
        ValueKind::Texts => "an array of strings".to_owned(),
        ValueKind::Labels => "a table of strings".to_owned(),
        ValueKind::Number(least) => format!("an integer of at least {least}"),
        ValueKind::Tables(_) => "an array of tables".to_owned(),
    }
}

/// Returns the tables of keys in `docs/reference/farm.md`.
#[must_use]
pub fn table() -> String {
    let mut text = String::new();
    add_table(&mut text, KEYS);
    for key in KEYS {
        if let ValueKind::Tables(keys) = key.kind {
            let _ = write!(text, "\nThe keys of `[[{}]]`:\n\n", key.name);
            add_table(&mut text, keys);
        }
    }
    text
}

fn add_table(text: &mut String, keys: &[Key]) {
    text.push_str("| key | value | effect |\n| --- | --- | --- |\n");
    for key in keys {
        let required = if key.required { " (required)" } else { "" };
        let value = expected(key.kind);
        let _ = writeln!(
            text,
            "| `{}`{required} | {value} | {} |",
            key.name, key.does
        );
    }
}

/// Returns the schema of the table, `docs/reference/farm.schema.json`.
#[must_use]
pub fn json_schema() -> String {
    let mut schema = object(KEYS);
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = "farm.toml, or the table [tool.wheelhouse.farm] of a pyproject.toml".into();
    format!("{schema:#}\n")
}

fn object(keys: &[Key]) -> Value {
    let properties = keys.iter().map(|key| {
        let mut property = schema(key.kind);
        property["description"] = key.does.into();
        (key.name.to_owned(), property)
    });
    let properties: Map<String, Value> = properties.collect();
    let required: Vec<&str> = keys
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    let mut object = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    });
    if !required.is_empty() {
        object["required"] = required.into();
    }
    object
}

fn schema(kind: ValueKind) -> Value {
    let text = json!({ "type": "string" });
    match kind {
        ValueKind::Text => text,
        ValueKind::Quantity => json!({ "type": "string", "pattern": "^[0-9]+([KMGT]i|[kMGT])?$" }),
        ValueKind::Texts => json!({ "type": "array", "items": text }),
        ValueKind::Labels => json!({ "type": "object", "additionalProperties": text }),
        ValueKind::Number(least) => json!({ "type": "integer", "minimum": least }),
        ValueKind::Tables(keys) => json!({ "type": "array", "items": object(keys) }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::FarmConfig;

    fn example(key: &Key) -> String {
        let value = match key.kind {
            ValueKind::Text if key.name == "python" => "'3.12'".to_owned(),
            ValueKind::Text if key.name == "platform" => "'linux'".to_owned(),
            ValueKind::Text => "'1'".to_owned(),
            ValueKind::Quantity => "'4Gi'".to_owned(),
            ValueKind::Texts => "['a']".to_owned(),
            ValueKind::Labels => "{ a = 'b' }".to_owned(),
            ValueKind::Number(_) => "5".to_owned(),
            ValueKind::Tables(keys) => {
                let pairs: Vec<String> = keys.iter().map(example).collect();
                format!("[{{ {} }}]", pairs.join(", "))
            }
        };
        format!("{} = {value}", key.name)
    }

    #[test]
    fn documented_keys_are_those_that_are_read() {
        let text: Vec<String> = KEYS.iter().map(example).collect();
        let config = FarmConfig::parse(&text.join("\n"), Path::new("farm.toml")).unwrap();
        // Every field of the value has a key: none keeps its default.
        let default = format!("{:#?}", FarmConfig::default());
        let fields = |text: &str| -> Vec<String> {
            let lines = text
                .lines()
                .filter(|line| line.starts_with("    ") && !line.starts_with("     "));
            let names = lines.filter_map(|line| line.trim().split_once(": "));
            names.map(|(name, _)| name.replace('_', "-")).collect()
        };
        let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(fields(&default), names);
        assert_eq!(config.images[0].platform.as_deref(), Some("linux"));
    }
}
