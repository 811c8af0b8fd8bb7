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

"""Settings of libraries that hold for every program of the package: threads and caches."""

from __future__ import annotations

import os

SETTINGS = {
    # By default OpenMP's threads spin while they wait for one another. On cores that others use
    # as well, a frame then takes seconds instead of a tenth of one.
    'GOMP_SPINCOUNT': '1000',  # of GNU's OpenMP, which torch's wheels bring: iterations
    'KMP_BLOCKTIME': '1',  # of Intel's and LLVM's OpenMP: milliseconds
}


def set_up() -> None:
    """
    Set the environment of the libraries, here and for the processes that this one starts.

    They read it when they load, so importing the package calls this. What the environment says
    already stays.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
