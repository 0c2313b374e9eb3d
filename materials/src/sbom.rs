//! The list of what is in a binary, in the form of CycloneDX 1.6.

use serde_json::{Value, json};

use crate::packages::{Graph, Package};

/// Returns the document. It has neither a time nor a serial number: the same commit gives the same
/// one.
pub(crate) fn of(graph: &Graph, target: &str) -> Value {
    let mut root = component(&graph.root, "application");
    root["properties"] = json!([{ "name": "target", "value": target }]);
    let url_of = |id: &String| {
        let found = graph.packages.iter().find(|package| package.id == *id);
        found.map(Package::url)
    };
    let all = std::iter::once(&graph.root).chain(&graph.packages);
    let dependencies: Vec<Value> = all
        .map(|package| {
            let needs: Vec<String> = package.needs.iter().filter_map(url_of).collect();
            json!({ "ref": package.url(), "dependsOn": needs })
        })
        .collect();
    let components: Vec<Value> =
        graph.packages.iter().map(|package| component(package, "library")).collect();
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": root },
        "components": components,
        "dependencies": dependencies,
    })
}

fn component(package: &Package, kind: &str) -> Value {
    let mut component = json!({
        "type": kind,
        "bom-ref": package.url(),
        "name": package.name,
        "version": package.version,
        "licenses": [{ "expression": package.license }],
        "purl": package.url(),
    });
    if let Some(checksum) = &package.checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    if let Some(repository) = &package.repository {
        component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
    }
    component
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const TARGET: &str = "x86_64-unknown-linux-musl";

    #[test]
    fn everything_that_is_linked_is_listed_with_license_and_checksum() {
        let graph = Graph::of(TARGET).expect("metadata");
        let document = of(&graph, TARGET);
        let components = document["components"].as_array().expect("a list");
        let names: BTreeSet<_> =
            components.iter().filter_map(|component| component["name"].as_str()).collect();
        for name in ["ring", "rustls", "rustls-webpki", "hyper", "tokio", "dlmalloc", "zeroize"] {
            assert!(names.contains(name), "{name}");
        }
        for name in ["vault-exec", "test-vault", "cc", "serde_derive", "tempfile", "proptest"] {
            assert!(!names.contains(name), "{name} is not in the binary");
        }
        for component in components {
            assert_eq!(component["hashes"][0]["content"].as_str().map(str::len), Some(64));
            let license = component["licenses"][0]["expression"].as_str().expect("a license");
            assert!(!license.is_empty() && !license.contains('/'), "{license}");
        }
        let refs: BTreeSet<_> = components
            .iter()
            .chain([&document["metadata"]["component"]])
            .map(|component| &component["bom-ref"])
            .map(Value::to_string)
            .collect();
        let dependencies = document["dependencies"].as_array().expect("a list");
        assert_eq!(dependencies.len(), refs.len());
        for needed in dependencies.iter().flat_map(|of| of["dependsOn"].as_array().expect("a list"))
        {
            assert!(refs.contains(&needed.to_string()), "{needed}");
        }
    }

    #[test]
    fn it_is_the_same_each_time() {
        let text = || of(&Graph::of(TARGET).expect("metadata"), TARGET).to_string();
        assert_eq!(text(), text());
        assert!(!text().contains(&*crate::packages::top().to_string_lossy()), "a path of here");
    }
}
