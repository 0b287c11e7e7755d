"""Checks TOML files, named on stdin, against a JSON Schema as an editor does; tells what it finds in each that is TOML."""

import json
import sys
import tomllib

from jsonschema import validators

with open(sys.argv[1]) as file:
    schema = json.load(file)
kind = validators.validator_for(schema)
kind.check_schema(schema)
validator = kind(schema)
found = {}
for path in sys.stdin.read().splitlines():
    with open(path, "rb") as file:
        try:
            table = tomllib.load(file)
        except ValueError:
            continue
    found[path] = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(table)]
json.dump(found, sys.stdout)
