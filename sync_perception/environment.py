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

"""Environment variables of libraries for all programs of the package: threads and caches."""

from __future__ import annotations

import os

SETTINGS = {
    # By default, waiting OpenMP threads spin. On cores shared with other processes, a frame then
    # takes seconds instead of a tenth of a second.
    'GOMP_SPINCOUNT': '1000',  # iterations; GNU OpenMP, which torch's wheels contain
    'KMP_BLOCKTIME': '1',  # milliseconds; Intel's and LLVM's OpenMP
}


def set_up() -> None:
    """
    Set environment variables of the libraries, for this process and its children.

    The libraries read them when they are loaded, so importing the package calls this function.
    Variables that are already set keep their values.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
