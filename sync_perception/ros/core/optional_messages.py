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

"""Messages of packages that not every installation has; a missing class is None."""

from __future__ import annotations

try:
    from nav_msgs.msg import OccupancyGrid, Odometry
except ImportError:
    OccupancyGrid = Odometry = None

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # there is no wheel of it: it comes with a full ROS 2 installation
    TFMessage = None

try:
    from visualization_msgs.msg import Marker
except ImportError:
    Marker = None

__all__ = ['Marker', 'OccupancyGrid', 'Odometry', 'TFMessage']
