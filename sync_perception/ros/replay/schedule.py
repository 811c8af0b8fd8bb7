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

"""When the frames of a recording are due, whatever the recorder's clock did."""

from __future__ import annotations

from collections.abc import Callable

from sync_perception.ros.replay.shot import Shot
from sync_perception.ros.replay.sources import NANOSECONDS

# Seconds between two frames. Beyond, the clock was set, as it is when a robot finds its time
# server; a true pause of that length is shortened, too
LONGEST_PAUSE = 60.0
WAITING = 5.0  # seconds until a frame, from which on the user is told


class Schedule:
    """
    Turns the times of recording into the times of a replay.

    Where the clock of the recording jumps, forwards or backwards, the replay goes on with the
    spacing of the frames before. Frames that were recorded at the same moment, as all are where
    the recorder had no clock, are spaced as their stamps are, or at the replay's rate.

    :param speed: how many times as fast as recorded.
    :param period: nanoseconds between frames of which nothing is known.
    :param report: takes the kind of trouble and a line for the user.
    """

    def __init__(self, speed: float, period: int, report: Callable[[str, str], None]):
        self.speed = speed
        self.spacing = period
        self.report = report
        self.before: Shot | None = None
        self.anchor = 0  # the time of recording that is due at the begin of the replay
        self.due = 0  # nanoseconds of the recording since the begin, of the frame before

    def seconds(self, shot: Shot) -> float:
        """
        Return when the next frame is due, in seconds since the first one.

        :param shot: frames are given in their order; each has a time of recording.
        """
        before, self.before = self.before, shot
        if before is None:
            self.anchor = shot.recorded
            return 0.0
        gap, stamped = shot.recorded - before.recorded, shot.stamp - before.stamp
        if 0 < gap <= LONGEST_PAUSE * NANOSECONDS:
            self.spacing = gap
            due = max(shot.recorded - self.anchor, self.due)
        else:
            if 0 < stamped <= LONGEST_PAUSE * NANOSECONDS:
                self.spacing = stamped
            due = self.due + self.spacing
            if gap:
                self.anchor = shot.recorded - due
                self.report('clock', (
                    f"the recording's clock goes from {before.recorded / NANOSECONDS:.3f} s to "
                    f'{shot.recorded / NANOSECONDS:.3f} s between two frames, expected at most '
                    f'{LONGEST_PAUSE:g} s: they are played {self.spacing / NANOSECONDS:.3g} s '
                    'apart'))
        if stamped <= 0:
            self.report('stamps', (
                f'the stamps of two frames go from {before.stamp} ns to {shot.stamp} ns, '
                'expected later ones with each frame: the parameter stamps has the choice now'))
        seconds = (due - self.due) / NANOSECONDS / self.speed
        if seconds > WAITING:
            self.report('pause', f'the next frame is due in {seconds:.1f} s, as recorded')
        self.due = due
        return due / NANOSECONDS / self.speed
