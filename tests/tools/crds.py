#!/usr/bin/python3
"""Puts the schemas of custom resources beside those of Kubernetes, in the form that its validator looks for.

    crds.py DIRECTORY CRD.yaml...

DIRECTORY has a folder a version of Kubernetes; the strict ones get a schema for each served version of each CRD: as
an API server takes it, but for fields that it does not know, which are refused here and pruned there. What CRDs say in CEL
(x-kubernetes-validations) is not checked.
"""

import json
import pathlib
import sys

import yaml

METADATA = "/api/_definitions.json#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def strict(schema):
    """A structural schema as JSON Schema, where what is not named is refused."""
    out = {k: v for k, v in schema.items() if k != "nullable" and not k.startswith("x-kubernetes-")}
    for k in ("properties", "additionalProperties", "items"):
        if isinstance(out.get(k), dict):
            out[k] = {n: strict(s) for n, s in out[k].items()} if k == "properties" else strict(out[k])
    if "properties" in out and "additionalProperties" not in out and not schema.get("x-kubernetes-preserve-unknown-fields"):
        out["additionalProperties"] = False
    if schema.get("nullable") and "type" in out:
        out["type"] = [out["type"], "null"]
    return out


def schemas(crd):
    """(file name, schema) of each version that is served."""
    spec = crd["spec"]
    kind, group = spec["names"]["kind"], spec["group"]
    for v in spec["versions"]:
        if not v["served"]:
            continue
        s = strict(v["schema"]["openAPIV3Schema"])
        s["properties"]["apiVersion"] = {"enum": [f"{group}/{v['name']}"]}
        s["properties"]["kind"] = {"enum": [kind]}
        s["properties"]["metadata"] = {"$ref": METADATA}
        s["required"] = sorted({"apiVersion", "kind", "metadata", *s.get("required", [])})
        s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
        s["$id"] = f"https://kubernetes.io/api/{kind.lower()}/{group}/{v['name']}"
        yield f"{kind.lower()}-{group.split('.')[0]}-{v['name']}.json", s


def main(directory, *files):
    made = [s for f in files for s in schemas(yaml.safe_load(pathlib.Path(f).read_text(encoding="utf-8")))]
    folders = list(pathlib.Path(directory).glob("v*-strict"))
    if not made or not folders:
        sys.exit(f"crds.py: {len(made)} schemas for {len(folders)} folders")
    for folder in folders:
        for name, schema in made:
            (folder / name).write_text(json.dumps(schema), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
