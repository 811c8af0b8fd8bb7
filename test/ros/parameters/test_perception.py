# Copyright 2026 The sync_perception Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""The shipped parameter file says what the node does without it."""

from __future__ import annotations

from dataclasses import fields

from sync_perception.resources import config_folder
from sync_perception.ros.parameters.consumers import CONSUMERS
from sync_perception.ros.parameters.perception import PerceptionParameters
import yaml


def flat(values: dict, prefix: str = '') -> dict:
    """Join the keys of nested dictionaries with dots."""
    result = {}
    for key, value in values.items():
        nested = flat(value, f'{prefix}{key}.') if isinstance(value, dict) else {
            f'{prefix}{key}': tuple(value) if isinstance(value, list) else value}
        result.update(nested)
    return result


def test_the_shipped_file_holds_the_defaults_of_all_that_no_consumer_decides():
    text = (config_folder() / 'perception.yaml').read_text()
    written = flat(yaml.safe_load(text)['/**']['ros__parameters'])
    defaults = {spec.metadata['name']: spec.default for spec in fields(PerceptionParameters)}
    decided = {name for consumer in CONSUMERS.values() for name in consumer.parameters}
    assert written == {name: defaults[name] for name in defaults.keys() - decided}
    for name in decided:  # mentioned, but not set: what the file sets goes before a consumer
        group, key = name.split('.')
        assert f'{group}:' in text and f'# {key}: {str(defaults[name]).lower()}' in text.lower()


def test_every_consumer_has_its_preset():
    names = {spec.metadata['name'] for spec in fields(PerceptionParameters)}
    for consumer in CONSUMERS.values():
        assert consumer.parameters.keys() <= names
