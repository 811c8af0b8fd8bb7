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

"""
Networks: a normalised image batch in, a DenseOutput out.

Names are imported on first use, because torch takes seconds to import and the list of
architectures does not need it.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    'BRANCHES': 'registry', 'MODELS': 'registry', 'ModelConfig': 'config',
    'PerceptionModel': 'perception_model', 'build_branch': 'registry',
    'build_model': 'perception_model', 'build_sync': 'registry'}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """Import a name on first use."""
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_MODULES[name]}'), name)
