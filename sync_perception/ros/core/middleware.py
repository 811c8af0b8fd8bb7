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

"""Fast DDS settings for large messages between processes; this module imports nothing slow."""

from __future__ import annotations

import os
from pathlib import Path

from sync_perception.resources import config_folder

PROFILE_VARIABLES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')
"""Environment variables of the Fast DDS versions; that of ROS 2 Jazzy reads the second."""
TRANSPORTS_VARIABLE = 'FASTDDS_BUILTIN_TRANSPORTS'
"""Environment variable of the transports; DEFAULT means Fast DDS's own default."""
LOCAL_FILES = ('DEFAULT_FASTDDS_PROFILES.xml', 'DEFAULT_FASTRTPS_PROFILES.xml')
"""Profile files that Fast DDS reads from the working directory."""


def shared_memory_profile() -> Path:
    """Return the shipped profile, whose shared memory has room for images and clouds."""
    return config_folder() / 'fastdds_shm.xml'


def use_shared_memory() -> None:
    """
    Select the shipped profile for this process and its children, unless the user chose another.

    The user chooses a profile by one of the variables or by a file in the working directory. A
    profile chosen for one version of Fast DDS is used for the others, too. Call this function
    before the middleware starts.
    """
    named = next(filter(None, map(os.environ.get, PROFILE_VARIABLES)), '')
    if not named and (
            TRANSPORTS_VARIABLE in os.environ or any(map(os.path.exists, LOCAL_FILES))):
        return
    for name in PROFILE_VARIABLES:
        os.environ[name] = os.environ.get(name) or named or str(shared_memory_profile())


def advice() -> str:
    """Return advice for the user if messages to this process are lost."""
    return ('if the publisher runs on this machine, start it with '
            f'{PROFILE_VARIABLES[1]}={shared_memory_profile()} and provide enough space in '
            '/dev/shm')
